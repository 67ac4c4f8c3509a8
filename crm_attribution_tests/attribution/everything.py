"""Rules with every model, variant and scope in use, and the tables that the oracle reads."""

from __future__ import annotations

from typing import Any

from crm_attribution.attribution.models import models
from crm_attribution.mapping import Attribution
from crm_attribution.warehouse.session import Session

OURS = {"of": "custom", "first": 3, "lead": 2, "close": 4, "rest": 1}


def rules(shipped: Attribution) -> Attribution:
    """Every model, a variant of two, both scopes, and repeats collapsed."""
    variants = {"time_decay_30": {"of": "time_decay", "half_life_days": 30}, "ours": OURS}
    names = sorted(name for name, model in models().items() if name != "made_up" and not model.answers)
    return Attribution.model_validate(
        {
            **shipped.model_dump(),
            "variants": variants,
            "models": [*names, *variants],
            "scopes": ["account", "deal_contacts"],
            "collapse_minutes": 30,
        }
    )


_BORN = """
    SELECT t.touch_id, t.touched_at, t.account_id, t.person_id, t.channel, t.campaign, min(least(c.created_at,
        TRY_CAST(json_extract_string(c.properties, '$.createdate') AS TIMESTAMPTZ))) AS born
    FROM attribution.touch t
    LEFT JOIN identity.alias a ON a.identifier_type = 'contact' AND a.identifier = t.contact_id::VARCHAR
    LEFT JOIN identity.alias other ON other.identifier_type = 'contact' AND other.person_id = a.person_id
    LEFT JOIN raw.contact c ON c.id::VARCHAR = other.identifier GROUP BY ALL
"""
_PERSONS = """
    SELECT from_id, list(DISTINCT person_id) FROM raw.association JOIN identity.alias ON identifier = to_id::VARCHAR
    WHERE from_type = 'deals' AND to_type = 'contacts' AND valid_to IS NULL AND identifier_type = 'contact' GROUP BY 1
"""


def tables(session: Session) -> dict[str, Any]:
    """What `oracle.credits` is given, other than the rules."""
    effects: dict[tuple[Any, ...], dict[str, int]] = {}
    for model, milestone, month, channel, effect in session.query(
        "SELECT model, milestone, month, channel, effect FROM attribution.channel_effect"
    ).iter_rows():
        effects.setdefault((model, milestone, month), {})[channel] = effect
    return {
        "touches": session.query(_BORN).rows(named=True),
        "milestones": session.query("FROM events.milestone").rows(named=True),
        "deal_persons": dict(session.query(_PERSONS).iter_rows()),
        "effects": effects,
        "movements": session.query("FROM events.revenue").rows(named=True),
    }


def stored(session: Session) -> dict[tuple[Any, ...], int]:
    """The credit that holds, as `oracle.credits` returns it."""
    return {
        tuple(key): credit
        for *key, credit in session.query(
            "SELECT milestone, milestone_id, model, scope, measure, touch_id, credit FROM attribution.credit"
            " WHERE superseded_at IS NULL"
        ).iter_rows()
    }
