"""The journal of changes: which keys changed, by topic, and how far each consumer has read it.

A consumer moves its cursor in the transaction that writes its result. Nothing here depends on partitions: any order or
repetition of runs sees each change once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from crm_attribution.contracts import Contract
from crm_attribution.contracts.topics import OF_MODELS, Topic
from crm_attribution.warehouse.identifiers import quote_identifier as q
from crm_attribution.warehouse.sql import Sql


@dataclass(frozen=True)
class Changes:
    """What a consumer has not yet seen.

    Attributes:
        everything: no cursor yet (first run, rebuild): treat every key as changed.
        keys: changed keys by topic, sorted.
        upto: the cursor to store with the result.
        signature: fingerprint of the rules the result was made with.
    """

    everything: bool
    keys: Mapping[str, list[list[str]]]
    upto: int
    signature: str = ""

    def of(self, *topics: str) -> list[str]:
        """Keys of topics whose keys are one value."""
        return sorted({key[0] for topic in topics for key in self.keys.get(topic, [])})

    def frame(self, *topics: Topic) -> pl.DataFrame:
        """Keys of topics with the same columns, a String column per value of a key."""
        columns = topics[0].columns
        rows = sorted({tuple(key) for topic in topics for key in self.keys.get(topic, [])})
        return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")

    def ids(self, *topics: str) -> list[int]:
        """Changed keys that are record ids."""
        return sorted(map(int, self.of(*topics)))

    @property
    def idle(self) -> bool:
        return not self.everything and not any(self.keys.values())


OF_A_MODEL = "model:"
"""Before the name of a SQL model: as which it follows."""


class Journal:
    """`meta.change` and `meta.cursor`."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._models_follow: bool | None = None

    def add(self, topic: str, keys: Iterable[str | int] | pl.DataFrame) -> int:
        """Journal keys that no contract's journal covers: values, or a frame with a column per value of a key. Nulls
        are left out. Returns how many."""
        frame = keys if isinstance(keys, pl.DataFrame) else pl.Series("key", list(keys), strict=False).to_frame()
        frame = frame.unique().drop_nulls()
        if frame.height:
            key = ", ".join(f"{q(column)}::VARCHAR" for column in frame.columns)
            self._add(f"SELECT '{topic}' AS topic, [{key}] AS key FROM _changed", frame)
        return frame.height

    def add_rows(self, contract: Contract, rows: str, changed: pl.DataFrame | None = None) -> None:
        """Journal changed rows as the contract declares. `rows` is SQL that gives them."""
        told = [
            f"SELECT DISTINCT {entry.topic_sql} AS topic, [{', '.join(f'({key})::VARCHAR' for key in entry.key_sql)}]"
            f" AS key FROM ({rows}) WHERE {' AND '.join(f'({key}) IS NOT NULL' for key in entry.key_sql)}"
            for entry in contract.journal
            if self._models_follow_any() or not {*OF_MODELS}.issuperset(entry.topics)
        ]
        if told:
            self._add(" UNION ".join(told), changed)

    def _models_follow_any(self) -> bool:
        """Before they do, in a first load, nothing is told to them: they run in full."""
        if self._models_follow is None:
            sql = "SELECT count(*) FROM meta.cursor WHERE starts_with(consumer, ?)"
            self._models_follow = bool(self._sql.scalar(sql, [OF_A_MODEL]))
        return self._models_follow

    def _add(self, keys: str, changed: pl.DataFrame | None) -> None:
        seq = self._sql.scalar("SELECT nextval('meta.change_seq')")
        with self._sql.registered({} if changed is None else {"_changed": changed}):
            self._sql.connection.execute(f"INSERT INTO meta.change SELECT {seq}, topic, key FROM ({keys})")

    def unseen(self, consumer: str, topics: Sequence[str], signature: str = "") -> Changes:
        """What `consumer` has not seen of `topics`.

        Everything, where it has never run or its rules (`signature`) are not those of its last run.
        """
        upto = self._sql.scalar("SELECT coalesce(max(seq), 0) FROM meta.change") or 0
        rows = self._sql.connection.execute(
            "SELECT seq FROM meta.cursor WHERE consumer = ? AND signature = ?", [consumer, signature]
        ).fetchall()
        if not rows:
            return Changes(True, {}, upto, signature)
        cursor = rows[0][0]
        rows = self._sql.connection.execute(
            "SELECT topic, list(DISTINCT key ORDER BY key) FROM meta.change"
            " WHERE seq > ? AND topic IN (SELECT unnest(?)) GROUP BY topic",
            [cursor, list(topics)],
        ).fetchall()
        return Changes(False, dict(rows), max(upto, cursor), signature)

    def advance(self, consumer: str, changes: Changes) -> None:
        """Store how far a consumer has come, in the transaction of its result."""
        self._models_follow = None
        self._sql.connection.execute("DELETE FROM meta.cursor WHERE consumer = ?", [consumer])
        self._sql.connection.execute(
            "INSERT INTO meta.cursor VALUES (?, ?, ?)", [consumer, changes.upto, changes.signature]
        )

    def forget(self, consumers: Sequence[str]) -> None:
        self._sql.connection.execute("DELETE FROM meta.cursor WHERE consumer IN (SELECT unnest(?))", [list(consumers)])

    def drop(self, topics: Sequence[str]) -> None:
        """Forget what topics told."""
        self._sql.connection.execute("DELETE FROM meta.change WHERE topic IN (SELECT unnest(?))", [list(topics)])

    def models_read_on(self, known: Sequence[str], idle: Sequence[str]) -> None:
        """Drop the cursors of models that are not known, and let those that are idle have seen all there is."""
        self._sql.connection.execute(
            "DELETE FROM meta.cursor WHERE starts_with(consumer, ?) AND consumer NOT IN (SELECT unnest(?))",
            [OF_A_MODEL, list(known)],
        )
        self._sql.connection.execute(
            "UPDATE meta.cursor SET seq = (SELECT coalesce(max(seq), 0) FROM meta.change)"
            " WHERE consumer IN (SELECT unnest(?))",
            [list(idle)],
        )

    def compact(self) -> None:
        """Drop journal rows every consumer has seen; the newest stays, so that sequence numbers never restart."""
        self._sql.connection.execute(
            "DELETE FROM meta.change WHERE seq <= (SELECT min(seq) FROM meta.cursor)"
            " AND seq < (SELECT max(seq) FROM meta.change)"
        )
