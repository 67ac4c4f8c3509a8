"""How figures moved: the deltas of a history, and the one cause of each among what was found."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

OUTCOME = ["milestone", "milestone_id"]
GROUP = ["basis", *OUTCOME, "model", "scope", "measure"]
FIGURE = [*GROUP, "booked_month", "currency", "channel"]
"""What one figure is about: the grain of finance.restatement without its time."""


def by_basis(history: pl.DataFrame) -> pl.DataFrame:
    """The history once in each outcome's own currency, once in the home currency where it has one.

    Args:
        history: FIGURE without `basis`, home_currency, credit, credit_home, since, until.

    Returns:
        FIGURE, credit, since, until.
    """
    home = history.filter(pl.col("credit_home").is_not_null())
    return pl.concat(
        [
            part.with_columns(basis=pl.lit(basis), currency=currency, credit=credit).select(
                *FIGURE, "credit", "since", "until"
            )
            for part, basis, currency, credit in (
                (history, "own", pl.col("currency"), pl.col("credit")),
                (home, "home", pl.col("home_currency"), pl.col("credit_home")),
            )
        ]
    )


def deltas(history: pl.DataFrame) -> pl.DataFrame:
    """FIGURE, recorded_at, old, new, delta (Int64) of each instant at which a figure moved.

    Args:
        history: FIGURE, credit Int64, since, until: each row was part of its figure from `since` up to `until`, without
            it; null is now.
    """
    moves = pl.concat(
        [
            history.select(*FIGURE, recorded_at="since", delta="credit"),
            history.filter(pl.col("until").is_not_null()).select(*FIGURE, recorded_at="until", delta=-pl.col("credit")),
        ]
    )
    moved = moves.group_by(*FIGURE, "recorded_at").agg(pl.col("delta").sum()).filter(pl.col("delta") != 0)
    found = moved.sort(*FIGURE, "recorded_at").with_columns(new=pl.col("delta").cum_sum().over(FIGURE))
    return found.select(*FIGURE, "recorded_at", old=pl.col("new") - pl.col("delta"), new="new", delta="delta")


def causes(rows: pl.DataFrame, evidence: pl.DataFrame, order: Sequence[str]) -> pl.DataFrame:
    """Add cause, cause_table and cause_key to deltas: the first of `order` that was found and can have moved the row.

    Args:
        rows: as `deltas` returns them, of one time of recording.
        evidence: OUTCOME, recounted (whether it began or ceased to count), and per cause a column `TABLE KEY` of the
            row that shows it, null where there is none; `unexplained` always.
        order: causes, the first that holds counts.
    """
    shown = evidence.select(*OUTCOME, "recounted", **{f"_{cause}": cause for cause in order})
    moved = rows.join(_moved(rows), on=GROUP, how="left").join(shown, on=OUTCOME, how="left")
    own = moved.filter(pl.col("basis") == "own").select(
        *(name for name in GROUP if name != "basis"), _own_moved="_total_moved"
    )
    moved = moved.join(own.unique(), on=[name for name in GROUP if name != "basis"], how="left").with_columns(
        pl.col("_own_moved").fill_null(value=False)
    )
    money = pl.col("measure") != "count"
    recounted, total = pl.col("recounted"), pl.col("_total_moved")
    guards = {
        "archived": recounted,
        "suppressed": recounted,
        "stage": recounted,
        "currency": money,
        "close_date": pl.col("_month_moved"),
        "amount": money & pl.col("_own_moved"),
        "rate": (pl.col("basis") == "home") & ~pl.col("_own_moved") & (total | recounted),
        "late_touch": ~total,
        "touch_label": ~total,
        "learned": ~total,
    }
    named = [
        pl.when(guards.get(cause, pl.lit(value=True)) & pl.col(f"_{cause}").is_not_null()).then(
            pl.concat_str(pl.lit(f"{cause} "), f"_{cause}")
        )
        for cause in order
    ]
    found = moved.with_columns(_found=pl.coalesce(named).str.splitn(" ", 3))
    return found.select(
        *rows.columns,
        cause=pl.col("_found").struct.field("field_0"),
        cause_table=pl.col("_found").struct.field("field_1"),
        cause_key=pl.col("_found").struct.field("field_2"),
    )


def _moved(rows: pl.DataFrame) -> pl.DataFrame:
    """GROUP, _total_moved (the outcome's whole figure moved, whatever its channels), _month_moved (what one month lost
    another gained)."""
    of_currency = rows.group_by(*GROUP, "currency").agg(pl.col("delta").sum())
    return (
        rows.group_by(GROUP)
        .agg(_month_moved=pl.col("booked_month").n_unique() > 1)
        .join(of_currency.group_by(GROUP).agg(_total_moved=(pl.col("delta") != 0).any()), on=GROUP)
    )
