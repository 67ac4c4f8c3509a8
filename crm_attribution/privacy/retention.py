"""Where data of persons are kept, and what ends them. Nothing is forgotten by age; an erasure is what ends a row."""

from __future__ import annotations

from collections.abc import Mapping

_DELETED = "deleted with the contact"
_DERIVED = "derived again without the contact"
_IDS = "ids only; what named a touch says `erased:…`"

RETENTION: Mapping[str, str] = {
    "raw.contact": _DELETED,
    "raw.property_history": _DELETED,
    "raw.association": _DELETED,
    "raw.merge": _DELETED,
    "raw.reread": _DELETED,
    "raw.missing": _DELETED,
    "raw.form_submission": _DELETED,
    "raw.offline_touch": _DELETED,
    "raw.identify": _DELETED,
    "raw.link_click": _DELETED,
    "raw.email_click": _DELETED,
    "raw.webhook_event": _DELETED,
    "raw.activity": "the contact is taken out of it; deleted where it had nobody else",
    "raw.deletion": "kept: an id without data, so that nothing brings the contact back",
    "raw.company": "kept: a company's record; its properties may name people",
    "raw.deal": "kept: a deal's record; its properties may name people",
    "raw.owner": "kept: your own users, as HubSpot lists them",
    "identity.node": "the identifier becomes `erased`",
    "identity.edge": _DERIVED,
    "identity.edge_rejected": _DERIVED,
    "identity.alias": _DERIVED,
    "identity.person": _DERIVED,
    "identity.membership": _DERIVED,
    "identity.person_change": "kept without the identifier",
    "identity.click": _DELETED,
    "identity.email_click": _DELETED,
    "events.event": _DERIVED,
    "events.milestone": _DERIVED,
    "events.milestone_event": _DERIVED,
    "attribution.touch": _DERIVED,
    "attribution.telling": _DERIVED,
    "attribution.self_reported": _DERIVED,
    "attribution.credit": _IDS,
    "conversions.conversion": _IDS,
    "conversions.told_record": _DELETED,
    "conversions.audience_event": _DELETED,
    "conversions.trait": _DERIVED,
    "delivery.attempt": "ids of conversions only",
}
"""Table -> what becomes of a person's rows when HubSpot or a person erases the contact."""
