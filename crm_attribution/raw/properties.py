"""raw.property: the portal's property definitions, what changed about them, and configured names it does not know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from crm_attribution.hubspot import parse_setup
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.mapping import Rules
from crm_attribution.raw.reading import Readings, StreamReport
from crm_attribution.raw.records import wanted_of

_KEY = ["object_type", "name"]


@dataclass(frozen=True)
class PropertyReader:
    """Property definitions."""

    readings: Readings
    hubspot: HubSpotClient
    rules: Rules

    def read(self) -> StreamReport:
        """Read the definitions of all object types, and note what is another than at the last reading.

        The report's `unknown_properties` are configured properties the portal does not have: HubSpot ignores them
        without a word.
        """
        run = self.readings.begin("properties", None, self.hubspot.transport)
        listed = pl.concat([parse_setup.properties(kind, self.hubspot.properties(kind)) for kind in OBJECT_TYPES])
        now = self.readings.clock.now()
        with self.readings.warehouse.session() as session, session.transaction():
            stored = session.read("raw.property")
            gone = stored.join(listed, on=_KEY, how="anti").with_columns(archived=pl.lit(True))
            changed = session["raw.property"].upsert(pl.concat([listed, gone]))
            if stored.height:
                session["raw.property_drift"].append(drift(stored, listed, now))
        report = self.readings.end_reference(run, listed, changed, len(OBJECT_TYPES))
        report.unknown_properties = self._unknown(listed)
        return report

    def _unknown(self, listed: pl.DataFrame) -> list[str]:
        known = set(listed.filter(~pl.col("archived")).select(*_KEY).iter_rows())
        wanted = [wanted_of(self.readings.warehouse, self.rules, kind) for kind in OBJECT_TYPES]
        configured = {(one.object_type, name) for one in wanted for name in (*one.copied, *one.tracked)}
        return sorted(f"{kind}.{name}" for kind, name in configured - known)


def drift(before: pl.DataFrame, now_listed: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """What differs between two readings of the definitions, as raw.property_drift rows.

    Args:
        before: raw.property rows as stored.
        now_listed: as the portal lists them.
        now: when this was seen.
    """
    both = before.join(now_listed, on=_KEY, how="full", coalesce=True, suffix="_now")
    was, is_ = pl.col("archived").eq_missing(False), pl.col("archived_now").eq_missing(False)
    known_before = pl.col("archived").is_not_null()
    kinds = {
        "added": (is_ & ~known_before, pl.lit(None, pl.String), pl.col("type_now")),
        "returned": (is_ & known_before & ~was, pl.lit(None, pl.String), pl.col("type_now")),
        "removed": (was & ~is_, pl.col("type"), pl.lit(None, pl.String)),
        "renamed": (was & is_ & pl.col("label").ne_missing(pl.col("label_now")), pl.col("label"), pl.col("label_now")),
        "retyped": (was & is_ & pl.col("type").ne_missing(pl.col("type_now")), pl.col("type"), pl.col("type_now")),
    }
    found = [
        both.filter(condition).select(*_KEY, change=pl.lit(name), before=old, after=new)
        for name, (condition, old, new) in kinds.items()
    ]
    return pl.concat(found).with_columns(noticed_at=pl.lit(now).dt.cast_time_unit("us"))
