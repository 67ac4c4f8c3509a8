"""A data directory belongs to one portal and one START, and its first hour comes first."""

from __future__ import annotations

from datetime import datetime

from crm_attribution.clock import iso, parse_instant
from crm_attribution.errors import ConfigurationError
from crm_attribution.warehouse.session import Session


def check_first_load(session: Session, start: datetime, since: datetime | None) -> None:
    """The first partition holds all history; a later hour on an empty warehouse would leave it out for good.

    Args:
        session: an open session.
        start: CRM_ATTRIBUTION_START.
        since: lower bound of the run's window, None where it has the first partition in it.

    Raises:
        ConfigurationError: with the hint to run the first hour.
    """
    if since is not None and session.fact("extracted:account") is None:
        raise ConfigurationError(
            f"the warehouse is empty and {iso(since)} is not its first hour: materialize the partition "
            f"{start:%Y-%m-%d-%H:%M} first, it loads the whole history "
            f"(crm-attribution backfill --from {iso(start)} --to …)"
        )


def check_portal(session: Session, portal: str) -> None:
    """Two portals never share a data directory.

    Raises:
        ConfigurationError: naming both portals.
    """
    known = session.fact("portal_id")
    if known is None:
        session.set_fact("portal_id", portal)
    elif known != portal:
        raise ConfigurationError(
            f"this data directory belongs to HubSpot portal {known}, the token is for portal {portal}: "
            "use that portal's token, or name another CRM_ATTRIBUTION_DATA_DIR"
        )


def watermark(session: Session, end: datetime) -> datetime:
    """The end of the newest hour any run has stood for: what is known as of now, whatever hour is run again."""
    known = session.fact("watermark")
    newest = end if known is None else max(end, datetime.fromisoformat(known))
    session.set_fact("watermark", newest.isoformat())
    return newest


def newest_hour_end(session: Session) -> datetime:
    """The end of the newest hour any run has stood for.

    Raises:
        ConfigurationError: when there has been none.
    """
    known = session.fact("watermark")
    if known is None:
        raise ConfigurationError("the warehouse is empty: materialize the first hour (crm-attribution backfill)")
    return datetime.fromisoformat(known)


_RESTORED = "restored"


def note_restored(session: Session, since: datetime, until: datetime) -> None:
    """The warehouse is a snapshot of `since`, put back at `until`: what was sent between the two is not known here."""
    session.set_fact(_RESTORED, f"{iso(since)} {iso(until)}")


def restored(session: Session) -> tuple[datetime, datetime] | None:
    """When the snapshot was taken that was put back last, and when it was; None where none ever was."""
    known = session.fact(_RESTORED)
    if known is None:
        return None
    since, until = known.split()
    return parse_instant(since), parse_instant(until)
