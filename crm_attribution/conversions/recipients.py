"""Who a due conversion is about: the person, the identifiers and the consent, read at the moment of claiming."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from crm_attribution.conversions import rules as planning
from crm_attribution.conversions.consent import consent_of
from crm_attribution.conversions.plan import deal_contacts
from crm_attribution.conversions.teller import Resolver
from crm_attribution.conversions.tellers import TELLERS
from crm_attribution.destinations.base import Destination, Resolved
from crm_attribution.mapping import Rules
from crm_attribution.mapping.conversions import Destination as DestinationRules
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session

NO_CONTACT = Resolved(consent="granted")
"""A deal without contacts: no consent and no identifier; the platform's rules hold it for that."""


_UNREADABLE = "SELECT DISTINCT key FROM quarantine.{} WHERE NOT resolved AND NOT coalesce(stored, false)"
"""Records whose newest version could not be read at all: what is stored of them is older and no longer valid."""


def resolver(destination: Destination, rules: Rules) -> Resolver:
    """For a destination: due conversions -> person, identifiers and consent of each, read at the moment of claiming.

    The person of a deal's conversion is the contact with the configured association label, else the one with the
    latest eligible click of that platform, else the earliest created. A row claimed before keeps its person and click.
    A row whose milestone is no longer live is left out, and so held.
    """
    if (teller := TELLERS.get(destination.plans_from)) is not None:
        return teller.resolver(destination, rules)
    mine = rules.destinations[destination.name]
    kinds = [destination.click_id, *destination.other_click_ids] if destination.click_id else []
    pixels = list(dict.fromkeys(rule.browser_event_id for rule in mine.conversions if rule.browser_event_id))

    def resolve(session: Session, rows: pl.DataFrame) -> Mapping[str, Resolved]:
        live = _standing(session, rows)
        candidates = _candidates(session, live, mine.contact_label)
        clicks = _clicks(session, candidates, kinds, mine.click_days, rules.identity.click_id_properties)
        chosen = _choose(candidates, clicks)
        details = _details(
            session, chosen.join(live.select("conversion_id", "deal_id"), on="conversion_id"), rules, pixels
        )
        unresolved = live.filter(~pl.col("sent")).join(candidates, on="conversion_id", how="anti")["conversion_id"]
        properties = dict(rows.select("conversion_id", pl.struct("milestone", "action")).iter_rows())
        found = {
            row["conversion_id"]: _resolved(row, rules, _told(row, mine, pixels, properties[row["conversion_id"]]))
            for row in details.iter_rows(named=True)
        }
        return found | dict.fromkeys(unresolved, NO_CONTACT)

    return resolve


def _standing(session: Session, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the due rows whose business fact is live, with its current subject. Rows sent before always stay."""
    live = session.query(
        "SELECT m.milestone, e.event_id AS milestone_id, m.person_id AS _person, m.deal_id, m.state"
        " FROM events.milestone_event e SEMI JOIN ids ON e.event_id = ids.milestone_id"
        " JOIN events.milestone m ON m.milestone = e.milestone AND m.milestone_id = e.milestone_id",
        ids=rows.select("milestone_id").unique(),
    ).with_columns(_family=planning.family(pl.col("milestone")))
    live = live.sort("state").unique(["_family", "milestone_id"], keep="first", maintain_order=True)
    wanted = rows.select(
        "conversion_id",
        "milestone_id",
        "occurred_at",
        "contact_id",
        "touch_id",
        _sent_person="person_id",
        # a restatement is about whom the conversion was about
        sent=pl.col("payload_hash").is_not_null() | pl.col("adjusts").is_not_null(),
        _family=planning.family(pl.col("milestone")),
    )
    return wanted.join(live.drop("milestone"), on=["_family", "milestone_id"], how="left").filter(
        (pl.col("state") == "live") | pl.col("sent")
    )


def _candidates(session: Session, live: pl.DataFrame, label: str | None) -> pl.DataFrame:
    """conversion_id, contact_id, person_id, place (earliest first), labelled, of everyone a conversion may be about."""
    representatives = session.query(
        "SELECT p.person_id AS _person, p.contact_id FROM identity.person p SEMI JOIN ids ON p.person_id = ids._person",
        ids=live.select("_person").drop_nulls().unique(),
    )
    live = _with_survivors(session, live.rename({"touch_id": "_sent_touch", "contact_id": "_sent_contact"}))
    base = ["conversion_id", "occurred_at", "sent", "_sent_touch", "_sent_contact", "_sent_person", "_survivor"]
    person = live.select(*base, "_person").join(representatives, on="_person")
    people = person.select(
        *base,
        "contact_id",
        person_id="_person",
        labelled=pl.lit(False),
    )
    contacts = deal_contacts(session, live.filter(pl.col("_person").is_null())["deal_id"])
    named = pl.col("labels").list.contains(label) if label else pl.lit(False)
    deals = (
        live.filter(pl.col("_person").is_null() & pl.col("deal_id").is_not_null())
        .select(*base, "deal_id")
        .join(contacts, on="deal_id", maintain_order="left_right")
        .with_columns(labelled=named.fill_null(False))
        .select(people.columns)
    )
    return pl.concat([people, deals]).with_columns(place=pl.int_range(pl.len()).over("conversion_id"))


def _with_survivors(session: Session, live: pl.DataFrame) -> pl.DataFrame:
    """The rows with `_survivor`: the contact that has become of the one that was sent."""
    merged = session.query(
        "SELECT m.absorbed_id AS _sent_contact, m.survivor_id AS _survivor FROM raw.merge m"
        " SEMI JOIN sent ON sent.contact_id = m.absorbed_id WHERE m.object_type = 'contacts'",
        sent=records_frame("contact_id", live["_sent_contact"].drop_nulls()),
    ).unique("_sent_contact")
    found = live.join(merged, on="_sent_contact", how="left", maintain_order="left")
    return found.with_columns(pl.coalesce("_survivor", "_sent_contact").alias("_survivor"))


def _clicks(
    session: Session, candidates: pl.DataFrame, kinds: Sequence[str], days: int, told_by: Mapping[str, str]
) -> pl.DataFrame:
    """The latest click of the platform of each candidate within the window before the conversion.

    Args:
        session: an open session.
        candidates: of `_candidates`.
        kinds: of the platform's click ids; of a click that has several the first counts.
        days: the window.
        told_by: contact property -> kind of click id.
    """
    texts = ("conversion_id", "person_id", "touch_id", "click_id", "click_kind")
    if not kinds or candidates.is_empty():
        return pl.DataFrame(schema={**dict.fromkeys(texts, pl.String), "clicked_at": pl.Datetime("us", "UTC")})
    mine = [(name, kind) for name, kind in told_by.items() if kind in kinds]
    properties = pl.DataFrame(mine, schema={"property": pl.String, "kind": pl.String}, orient="row")
    value = f"coalesce({', '.join(kinds)})"
    kind = "CASE " + " ".join(f"WHEN {name} IS NOT NULL THEN '{name}'" for name in kinds) + " END"
    return session.query(
        f"""
        WITH clicks AS (
            SELECT 'click:' || click_id AS touch_id, {value} AS click_id, {kind} AS click_kind, '' AS telling_id
            FROM raw.link_click WHERE {value} IS NOT NULL
            UNION ALL
            SELECT 'form:' || form_id || ':' || conversion_id, {value}, {kind}, '' FROM raw.form_submission
            WHERE {value} IS NOT NULL
            UNION ALL
            -- what a contact's property told, of a touch of its own or of one that does not carry it itself
            SELECT told.touch_id, max(history.value), arg_max(properties.kind, history.value), told.telling_id FROM (
                SELECT t.touch_id, t.touch_id AS telling_id FROM attribution.touch t
                    SEMI JOIN candidates USING (person_id) WHERE t.kind = 'ad_click'
                UNION ALL SELECT t.touch_id, t.telling_id FROM attribution.telling t
                    SEMI JOIN candidates USING (person_id) WHERE t.kind = 'ad_click' AND t.touch_id IS NOT NULL
            ) AS told JOIN raw.property_history AS history
                ON history.object_id = split_part(told.telling_id, ':', 2)::BIGINT
                AND history.property = split_part(told.telling_id, ':', 3)
                AND epoch_ms(history."timestamp") = split_part(told.telling_id, ':', 4)::BIGINT
            JOIN properties ON properties.property = history.property
            WHERE history.object_type = 'contacts' GROUP BY told.touch_id, told.telling_id)
        SELECT c.conversion_id, c.person_id, t.touch_id, k.click_id, k.click_kind, t.touched_at AS clicked_at
        FROM candidates c
        JOIN attribution.touch t ON t.person_id = c.person_id
        JOIN clicks k ON k.touch_id = t.touch_id
        WHERE CASE WHEN c.sent THEN t.touch_id = c._sent_touch
            ELSE t.touched_at BETWEEN c.occurred_at - to_days(?) AND c.occurred_at END
        QUALIFY row_number() OVER (PARTITION BY c.conversion_id, c.person_id
            ORDER BY t.touched_at DESC, t.touch_id DESC, k.telling_id) = 1
        """,
        [days],
        candidates=candidates,
        properties=properties,
    )


def _choose(candidates: pl.DataFrame, clicks: pl.DataFrame) -> pl.DataFrame:
    """One contact per conversion: the one sent before, else labelled, else the latest click, else the earliest."""
    sent = (pl.col("contact_id") == pl.col("_survivor")).fill_null(False)
    return (
        candidates.join(clicks, on=["conversion_id", "person_id"], how="left", maintain_order="left")
        .with_columns(_same=sent)
        .sort(
            "conversion_id",
            "_same",
            "labelled",
            "clicked_at",
            "place",
            descending=[False, True, True, True, False],
            nulls_last=True,
        )
        .unique("conversion_id", keep="first", maintain_order=True)
        .filter(~pl.col("sent") | pl.col("_same"))
        # a row that was sent keeps the person and the contact it had, also where they have been merged since
        .with_columns(
            contact_id=pl.when("sent").then("_sent_contact").otherwise("contact_id"),
            person_id=pl.when("sent").then(pl.coalesce("_sent_person", "person_id")).otherwise("person_id"),
        )
        .select("conversion_id", "contact_id", "person_id", "touch_id", "click_id", "click_kind", "clicked_at")
    )


def _details(session: Session, chosen: pl.DataFrame, rules: Rules, told: Sequence[str] = ()) -> pl.DataFrame:
    known = rules.identifiers
    read = {
        "phone": [("c", known.phone)],
        "first_name": [("c", known.first_name)],
        "last_name": [("c", known.last_name)],
        "country": [("c", known.country), ("f", known.account_country)],
        "lead_id": [("c", known.lead_id)],
    }
    named = [
        f"list_filter({_listed(places)}, lambda one: trim(one) <> '')[1] AS {name}" for name, places in read.items()
    ]
    bound = [("c", rules.consent.properties), ("c", told), *(place for places in read.values() for place in places)]
    return session.query(
        "SELECT i.*, c.email, c.archived, q.key IS NOT NULL OR d.key IS NOT NULL AS unreadable,"
        f" {_listed(bound[:1])} AS consent, {_listed(bound[1:2])} AS told, {', '.join(named)}"
        " FROM chosen i LEFT JOIN raw.merge m ON m.object_type = 'contacts' AND m.absorbed_id = i.contact_id"
        " JOIN raw.contact c ON c.id = coalesce(m.survivor_id, i.contact_id)"
        " LEFT JOIN raw.merge n ON n.object_type = 'companies' AND n.absorbed_id = c.associatedcompanyid"
        " LEFT JOIN raw.company f ON f.id = coalesce(n.survivor_id, c.associatedcompanyid)"
        f" LEFT JOIN ({_UNREADABLE.format('contact')}) q ON q.key = c.id::VARCHAR"
        f" LEFT JOIN ({_UNREADABLE.format('deal')}) d ON d.key = i.deal_id::VARCHAR"
        " ORDER BY i.conversion_id",
        [[f'$."{name}"' for name in properties] for _, properties in bound],
        chosen=chosen,
    )


_READABLE = re.compile(r"[!-?A-~]{1,128}")
"""An id of an event: printable ASCII without spaces, and no address."""


def _told(row: Mapping[str, Any], mine: DestinationRules, told: Sequence[str], fact: Mapping[str, str]) -> str | None:
    """What the browser called the event of a conversion; None where that is not known or cannot be read."""
    name = mine.told_by_browser(fact["milestone"], fact["action"])
    text = "" if name is None else (row["told"][told.index(name)] or "").strip()
    return text if _READABLE.fullmatch(text) else None


def _resolved(row: Mapping[str, Any], rules: Rules, browser_event_id: str | None = None) -> Resolved:
    held = "record_unreadable" if row["unreadable"] else "contact_archived" if row["archived"] else None
    return Resolved(
        consent=consent_of(row["consent"], rules),
        held=held,
        person_id=row["person_id"],
        contact_id=row["contact_id"],
        touch_id=row["touch_id"],
        email=row["email"],
        click_id=row["click_id"],
        click_kind=row["click_kind"],
        clicked_at=row["clicked_at"],
        phone=row["phone"],
        first_name=row["first_name"],
        country=row["country"],
        last_name=row["last_name"],
        lead_id=row["lead_id"],
        browser_event_id=browser_event_id,
    )


def _listed(places: Sequence[tuple[str, Sequence[str]]]) -> str:
    """The values of properties of records as one list in SQL, in their order; their paths are parameters, one list for
    each record."""
    return " || ".join(
        f"coalesce(json_extract_string({record}.properties, CAST(? AS VARCHAR[])), [])" for record, _ in places
    )
