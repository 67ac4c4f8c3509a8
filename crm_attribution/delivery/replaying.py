"""Which conversions may be sent again on a person's wish: pure rules."""

from __future__ import annotations

from datetime import datetime

from crm_attribution.delivery.rules import KEPT, Row, recognised
from crm_attribution.destinations.base import Limits


def why_not_again(row: Row, limits: Limits, now: datetime) -> str | None:
    """Why a conversion is not sent again; None where it is, under the key it has.

    What the platform may have counted is sent again only while it recognises the key, so that it counts once.
    """
    if row.state in ("pending", "held"):
        return "not_sent_yet"
    if row.state in ("in_flight", "retry"):
        return "on_its_way"
    if row.state in ("suppressed", "expired"):
        return f"{row.state}: {row.reason}" if row.reason else row.state
    if row.expires_at <= now:
        return "too_old"
    if row.state != "rejected" and limits.once:
        return "not_done_twice"
    if row.state != "rejected" and (row.first_sent_at is None or not recognised(row.first_sent_at, limits, now)):
        return "not_recognised_any_more" if limits.dedupe else "key_not_recognised"
    return None


def is_deduplicated(row: Row) -> bool:
    """Whether the platform has a conversion already and leaves the one that is sent again uncounted."""
    return row.state in KEPT
