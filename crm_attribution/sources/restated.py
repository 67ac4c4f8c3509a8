"""Tables whose parts are told again: a day of an ad account, a month of a kind of cost.

A file tells a part whole. Of two tellings of a part the later one stays, whichever is read first; what decides is
`told_at`: the file's own column, else when the file was last modified. Of two told at one instant the one whose rows
are the greater text stays, so that the outcome never depends on the order of arrival.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from crm_attribution.contracts import Contract
from crm_attribution.hubspot.texts import clean

TOLD_AT = "told_at"


@dataclass(frozen=True)
class Restated:
    """How rows of a table are told again.

    Attributes:
        part: the columns of what a telling replaces whole.
        adds: the columns that add up where one file has several rows of a key. None: the last row of a file stays.
    """

    part: tuple[str, ...]
    adds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a telling.

    Attributes:
        rows: all rows of the parts that were told, stored or new.
        won: the parts whose rows are now the new ones.
        lost: the parts that stay as they were: they had been told later.
    """

    rows: pl.DataFrame
    won: pl.DataFrame
    lost: pl.DataFrame


class Doubles:
    """Lines of a file that were seen: of two that are equal in every field, listed or not, one is a mistake."""

    def __init__(self) -> None:
        self._seen: set[frozenset[tuple[str, str]]] = set()

    def refuse(self, given: Mapping[str, Any]) -> None:
        """Remember a line.

        Raises:
            ValueError: `row:reason`, when it was seen.
        """
        fields = frozenset((name, clean(value).strip()) for name, value in given.items() if value is not None)
        if fields in self._seen:
            raise ValueError("row:twice_in_one_file")
        self._seen.add(fields)


def one_telling(contract: Contract, restated: Restated, rows: pl.DataFrame) -> pl.DataFrame:
    """One row per key of a file's rows, in the file's order. A part was told when the latest of its rows was.

    A column that adds up is null where no row of the key has a value.
    """
    part, key, adds = list(restated.part), list(contract.key), list(restated.adds)
    dated = rows.with_columns(pl.col(TOLD_AT).max().over(part))
    if not adds:
        return dated.unique(key, keep="last", maintain_order=True)
    others = [column.name for column in contract.columns if column.name not in (*key, *adds)]
    sums = [pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum()).alias(name) for name in adds]
    return contract.conform(dated.group_by(key, maintain_order=True).agg(*sums, pl.col(others).last()))


def latest(contract: Contract, restated: Restated, stored: pl.DataFrame, told: pl.DataFrame) -> Outcome:
    """The rows of the parts that were told, each part as it was told last.

    Args:
        contract: of the table.
        restated: how it is told again.
        stored: its rows of these parts.
        told: one telling, of `one_telling`.
    """
    part = list(restated.part)
    text = pl.struct(contract.compared).struct.json_encode()
    both = pl.concat([stored.with_columns(_new=False), told.with_columns(_new=True)])
    tellings = both.group_by(*part, "_new").agg(pl.col(TOLD_AT).max(), text.sort().str.join("\n").alias("_text"))
    last = tellings.sort(*part, TOLD_AT, "_text", "_new").unique(part, keep="last", maintain_order=True)
    rows = both.join(last, on=[*part, "_new"], how="semi").drop("_new").sort(contract.key)
    return Outcome(rows, last.filter("_new").select(part), last.filter(~pl.col("_new")).select(part))
