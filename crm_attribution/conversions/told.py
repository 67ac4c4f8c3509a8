"""What HubSpot is told of touches: planned once for each, and whose it is, read at the moment of claiming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from crm_attribution.contracts.topics import AUDIENCE, IDENTIFY, TOUCH_ACCOUNT, TOUCH_PERSON
from crm_attribution.conversions import told_rules
from crm_attribution.conversions.consent import consent_of
from crm_attribution.conversions.teller import OF_CLICK, OF_TOUCH, Resolver, Teller, Work
from crm_attribution.destinations.base import Destination, Resolved
from crm_attribution.errors import ConfigurationError
from crm_attribution.mapping import Rules
from crm_attribution.mapping.write_back import TOLD_KINDS
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.session import Session

TRACK, MEMBER = "track", "audience"

_TOUCHES = f"""
SELECT t.touch_id, t.person_id, t.contact_id, {OF_TOUCH}, {OF_CLICK}, o.act, NULL::VARCHAR AS said,
    NULL::VARCHAR AS properties, NULL::TIMESTAMPTZ AS noted_at
FROM attribution.touch t
LEFT JOIN raw.link_click k ON t.kind = 'link_click' AND t.touch_id = 'click:' || k.click_id
LEFT JOIN raw.offline_touch o ON t.kind = 'offline_touch' AND t.touch_id = 'offline:' || o.touch_id
WHERE t.kind IN ({", ".join(f"'{kind}'" for kind in TOLD_KINDS)})
"""

_TRACKED = f"""
WITH asked AS (SELECT * FROM raw.identify SEMI JOIN messages USING (message_id) WHERE kind = '{TRACK}'),
owners AS (
    SELECT email_normalised, min(id) AS id FROM raw.contact
    WHERE NOT archived AND email_normalised IN (SELECT email_normalised FROM asked) GROUP BY ALL
)
SELECT '{TRACK}:' || a.message_id AS touch_id, a.kind, a.happened_at AS touched_at, a.told_at AS received_at,
    coalesce(m.survivor_id, a.contact_id, o.id) AS contact_id, a.event AS said, a.properties::VARCHAR AS properties
FROM asked a LEFT JOIN owners o USING (email_normalised)
LEFT JOIN raw.merge m ON m.object_type = 'contacts' AND m.absorbed_id = a.contact_id
"""
"""What files say that people did: of the contact that a row names, else of the oldest that has the e-mail."""

_MEMBERS = f"""
SELECT '{MEMBER}:' || e.event_id AS touch_id, '{MEMBER}_' || e.change AS kind, e.happened_at AS touched_at,
    e.happened_at AS received_at, e.noted_at, coalesce(m.survivor_id, e.contact_id) AS contact_id, e.audience AS said
FROM conversions.audience_event e SEMI JOIN members USING (event_id)
LEFT JOIN raw.merge m ON m.object_type = 'contacts' AND m.absorbed_id = e.contact_id
"""
"""Who entered or left an audience. No history: a rule that is in use when they are found is told of them, though the
hour that found them had ended."""


def plan(work: Work) -> list[str]:
    """Plan the touches of changed persons and accounts; returns the new conversion ids.

    Raises:
        ConfigurationError: where the HubSpot account was not read yet.
    """
    touches = _changed(work.session, work.changes)
    if touches.is_empty():
        return []
    portal = portal_of(work.session)
    existing = work.session.query(
        "SELECT DISTINCT milestone_id FROM conversions.conversion SEMI JOIN ids ON milestone_id = ids.touch_id"
        " WHERE destination = ?",
        [work.destination.name],
        ids=touches.select("touch_id").unique(),
    )
    told = work.rules.write_back
    since = {
        (kind, name): work.begin(first, told_rules.begins(told.events, name, kind, told.send_from))
        for (kind, name), first in work.seen().items()
    }
    made = told_rules.Plan(told.events, since, lambda name: work.destination.action_of(name, portal), work.oldest)
    return work.insert(told_rules.plan(made, touches, existing))


def portal_of(session: Session) -> str:
    """The id of the HubSpot account.

    Raises:
        ConfigurationError: where it was not read yet.
    """
    found = session.scalar("SELECT min(portal_id) FROM raw.account")
    if found is None:
        raise ConfigurationError("HubSpot's account has not been read yet: materialize raw/account first")
    return str(found)


def _changed(session: Session, changes: Changes) -> pl.DataFrame:
    if changes.everything:
        messages = session.query("SELECT message_id FROM raw.identify")
        members = session.query("SELECT event_id FROM conversions.audience_event")
        return _with_others(session, session.query(_TOUCHES), messages, members)
    persons, accounts = changes.frame(TOUCH_PERSON), changes.frame(TOUCH_ACCOUNT)
    touches = session.query(
        _TOUCHES + " AND (t.person_id IN (SELECT person_id FROM persons)"
        " OR (t.person_id IS NULL AND t.account_id IN (SELECT account_id FROM accounts)))",
        persons=persons,
        accounts=accounts,
    )
    return _with_others(session, touches, changes.frame(IDENTIFY), changes.frame(AUDIENCE))


def _with_others(
    session: Session, touches: pl.DataFrame, messages: pl.DataFrame, members: pl.DataFrame
) -> pl.DataFrame:
    """Touches, what files say that people did by some of their rows (`message_id`), and who entered or left an audience
    (`event_id`)."""
    parts = [touches]
    if messages.height:
        parts.append(session.query(_TRACKED, messages=messages))
    if members.height:
        parts.append(session.query(_MEMBERS, members=members))
    return pl.concat(parts, how="diagonal_relaxed")


def _of(kind: str, column: str, keys: pl.Series) -> pl.DataFrame:
    """The ids behind the touch ids that begin like a kind."""
    return ids_frame(column, (key.removeprefix(f"{kind}:") for key in keys if key.startswith(f"{kind}:")))


def resolver(destination: Destination, rules: Rules) -> Resolver:
    """Due rows -> the contact of each touch and what is told of it. A row claimed before keeps its contact. A touch
    that is none any more is left out, and so held."""
    events = rules.write_back.events

    def resolve(session: Session, rows: pl.DataFrame) -> Mapping[str, Resolved]:
        touches = session.query(
            _TOUCHES + " AND t.touch_id IN (SELECT touch_id FROM ids)", ids=ids_frame("touch_id", rows["milestone_id"])
        )
        messages = _of(TRACK, "message_id", rows["milestone_id"])
        touches = _with_others(session, touches, messages, _of(MEMBER, "event_id", rows["milestone_id"]))
        found = told_rules.rule_of(events, touches)
        known = rows.select("conversion_id", "action", touch_id="milestone_id", _sent="payload_hash",
                            _person="person_id", _contact="contact_id").join(found, on="touch_id")  # fmt: skip
        portal = portal_of(session)
        contacts = _contacts(session, known, rules)
        return {
            row["conversion_id"]: _resolved(row, contacts.get(row["conversion_id"]), destination, rules, portal)
            for row in known.iter_rows(named=True)
        }

    return resolve


def _contacts(session: Session, known: pl.DataFrame, rules: Rules) -> dict[str, dict[str, Any]]:
    """conversion_id -> the contact as it is now, through merges: id, email, archived, consent, matching."""
    wanted = known.select(
        "conversion_id",
        contact_id=pl.when(pl.col("_sent").is_not_null()).then("_contact").otherwise("contact_id").cast(pl.Int64),
    ).drop_nulls()
    matching = rules.write_back.events.matching
    properties = [[f'$."{name}"' for name in rules.consent.properties]]
    properties.append([f'$."{matching.contact_property}"'] if matching else [])
    rows = session.query(
        "SELECT w.conversion_id, c.id AS contact_id, c.email, c.archived,"
        " coalesce(json_extract_string(c.properties, CAST(? AS VARCHAR[])), []) AS consent,"
        " coalesce(json_extract_string(c.properties, CAST(? AS VARCHAR[])), []) AS matching"
        " FROM wanted w LEFT JOIN raw.merge m ON m.object_type = 'contacts' AND m.absorbed_id = w.contact_id"
        " JOIN raw.contact c ON c.id = coalesce(m.survivor_id, w.contact_id) ORDER BY w.conversion_id",
        properties,
        wanted=wanted,
    )
    return {row["conversion_id"]: row for row in rows.iter_rows(named=True)}


def _resolved(
    row: dict[str, Any], contact: dict[str, Any] | None, destination: Destination, rules: Rules, portal: str
) -> Resolved:
    """Whose touch it is. Without a contact it has no identifier, and is held for that."""
    events = rules.write_back.events
    rule = None if row["rule"] is None else events.rules[row["rule"]]
    if row["_sent"] is None and (rule is None or destination.action_of(row["event"], portal) != row["action"]):
        return Resolved("granted", held="no_rule_any_more")
    texts = {} if rule is None else told_rules.details(events, rule, row)
    told = contact or {"contact_id": None, "email": None, "archived": False, "consent": [], "matching": []}
    if events.matching is not None and any(told["matching"]):
        texts[events.matching.event_property] = told["matching"][0]
    strict = rule is not None and rule.consent == "granted"
    return Resolved(
        consent=consent_of(told["consent"], rules) if strict else "granted",
        held="contact_archived" if told["archived"] else None,
        person_id=row["_person"] if row["_sent"] else row["person_id"],
        contact_id=row["_contact"] if row["_sent"] else told["contact_id"],
        touch_id=row["touch_id"],
        email=told["email"],
        details=texts,
    )


TELLER = Teller(
    topics=(TOUCH_PERSON, TOUCH_ACCOUNT, IDENTIFY, AUDIENCE),
    section="write_back",
    not_named="no rules under write_back.events of the mapping with told_as: {told_as}",
    plan=plan,
    resolver=resolver,
)
