"""Every derived layer once, in order: what an hourly run does between extraction and planning."""

from __future__ import annotations

from datetime import datetime

from crm_attribution.attribution import credits, touches
from crm_attribution.events import events, milestones
from crm_attribution.identity import clicks
from crm_attribution.identity import update as identity
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.session import Session


def derive(session: Session, rules: Rules, as_of: datetime) -> dict[str, int]:
    """Bring identity, events, milestones, touches and credit up to date with raw; rows changed per layer."""
    return {
        "identity": identity.update(session, rules, as_of).changed,
        "clicks": clicks.update(session, rules, as_of).changed,
        "events": events.update(session, rules).changed,
        "milestones": milestones.update(session, rules).changed,
        "touches": touches.update_touches(session, rules).changed,
        "credit": credits.update_credits(session, rules, as_of).changed,
    }
