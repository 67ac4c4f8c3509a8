"""The schedule of forms: which ones a run reads, where there are too many to read all of them."""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta

import polars as pl

from crm_attribution.mapping import Forms

_DAY = 24


def forms_due(forms: pl.DataFrame, since: datetime | None, now: datetime, rules: Forms) -> pl.DataFrame:
    """Return the forms to read in a run that covers `[since, now)`.

    Up to `every_hour_up_to` forms, all that are not archived. Above that, and of archived ones always: those with a
    submission within `quiet_days`, those never read to their end, and of the rest those whose hour of the day it is.
    A run that catches up on missed hours reads the forms of all of them, so none is skipped.

    Args:
        forms: id String, archived Boolean, newest UTC (latest known submission, or null), read_to UTC (null: never read
            to its end).
        since: UTC; None means the beginning: every form.
        now: end of the window, UTC.
        rules: thresholds.
    """
    if since is None or now - since >= timedelta(hours=_DAY - 1):
        return forms
    hours = {hour % _DAY for hour in range(int(since.timestamp()) // 3600, int(now.timestamp()) // 3600 + 1)}
    scheduled = pl.Series([zlib.crc32(form.encode()) % _DAY in hours for form in forms["id"]], dtype=pl.Boolean)
    rotate = pl.col("archived") | pl.lit(forms.filter(~pl.col("archived")).height > rules.every_hour_up_to)
    awake = (pl.col("newest") >= now - timedelta(days=rules.quiet_days)).fill_null(False)
    return forms.filter(~rotate | awake | pl.col("read_to").is_null() | scheduled)
