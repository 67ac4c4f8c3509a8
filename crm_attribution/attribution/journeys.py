"""What led to outcomes: reads what the rules ask for, and keeps attribution.journey."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from crm_attribution.attribution.rules import journeys as rules_of_journeys
from crm_attribution.attribution.rules import unattributed
from crm_attribution.attribution.rules.journeys import DEAL, OUTCOME, Journeys
from crm_attribution.events.rules.deal_milestones import WINS
from crm_attribution.events.rules.events import hubspot_time
from crm_attribution.events.rules.milestones import PERSON_MILESTONES
from crm_attribution.events.rules.values import CREDITED
from crm_attribution.identifiers import DEAL_ACCOUNT
from crm_attribution.identity.lookups import persons_of
from crm_attribution.identity.rules.memberships import account_at
from crm_attribution.mapping import Attribution
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.session import Session

TOUCH = ("touch_id", "touched_at", "account_id", "person_id", "contact_id", "channel", "campaign")
"""What is read of a touch."""

DEAL_CONTACTS = """
    SELECT DISTINCT a.from_id AS deal_id, i.person_id FROM raw.association a
    SEMI JOIN asked_deal ON a.from_id = asked_deal.deal_id
    JOIN identity.alias i ON i.identifier_type = 'contact' AND i.identifier = a.to_id::VARCHAR
    WHERE a.from_type = 'deals' AND a.to_type = 'contacts' AND a.valid_to IS NULL ORDER BY ALL
"""
"""deal_id, person_id of the contacts the deal has now: since when, HubSpot does not tell."""

_FACTS = f"""
    SELECT milestone, account_id, person_id, deal_id, occurred_at FROM events.milestone
    WHERE state = 'live' AND milestone IN {(*PERSON_MILESTONES, DEAL, *WINS)}
        AND (account_id IN (SELECT account_id FROM asked_account) OR person_id IN (SELECT person_id FROM asked_person))
"""
_BOT_CLICKS = """
    WITH person AS (
        SELECT person_id FROM asked_person
        UNION SELECT person_id FROM identity.membership SEMI JOIN asked_account USING (account_id)),
    identifier AS (
        SELECT identifier_type, identifier, person_id FROM identity.alias SEMI JOIN person USING (person_id)
        WHERE identifier_type IN ('contact', 'email'))
    SELECT i.person_id, click.contact_id, click.clicked_at AS touched_at
    FROM identity.click AS click JOIN identifier i
        ON i.identifier_type = 'contact' AND i.identifier = click.contact_id::VARCHAR
    WHERE click.status = 'suspect'
    UNION ALL SELECT i.person_id, NULL, mail.created_at
    FROM identity.email_click AS answer JOIN raw.email_click AS mail USING (created_at, id)
    JOIN identifier i ON i.identifier_type = 'email' AND i.identifier = mail.recipient_normalised
    WHERE answer.status = 'suspect'
"""


@dataclass(frozen=True)
class Read:
    """Journeys of some outcomes.

    Attributes:
        found: the journeys.
        reasons: milestone, milestone_id, scope, unattributed_reason of those without touches.
        said: the same with answers for touches, for models that share among these; None where none is in use.
    """

    found: Journeys
    reasons: pl.DataFrame
    said: Read | None = None


def read(session: Session, keys: pl.DataFrame, rules: Attribution) -> Read:
    """The journeys of those of the milestones (milestone, milestone_id) that are outcomes, written to
    attribution.journey."""
    asked = session.read_keys("events.milestone", keys).filter(
        pl.col("milestone").is_in(rules.outcomes) & (pl.col("state") == "live") & pl.col("suppressed_by").is_null()
    )
    changes = _movements(session, keys, rules)
    of = changes.select(milestone="of_milestone", milestone_id="of_milestone_id").unique()
    more = session.read_keys("events.milestone", of.join(asked, on=OUTCOME, how="anti"))
    outcomes = pl.concat([asked, more]).join(
        _home_values(session, asked), on=OUTCOME, how="left", maintain_order="left"
    )
    contacts = session.query(DEAL_CONTACTS, asked_deal=_asked_deals(outcomes, rules))
    accounts = outcomes.select("account_id").drop_nulls().unique()
    alone = outcomes.filter(pl.col("account_id").is_null()).select("person_id").drop_nulls()
    persons = pl.concat([alone, contacts.select("person_id"), *_without_deal(outcomes, rules)]).unique()
    touches = pl.concat(session.read_keys("attribution.touch", who, TOUCH) for who in (accounts, persons))
    touches = touches.unique("touch_id")
    births = _births(session, touches["contact_id"].drop_nulls())
    facts = session.query(_FACTS, asked_account=accounts, asked_person=alone.unique())
    scoped = rules_of_journeys.scoped(outcomes, facts, rules)
    found = rules_of_journeys.journeys(scoped, contacts, touches, births, rules)
    bots = _bot_clicks(session, found)
    reasons = unattributed.reasons(found, contacts, touches, births, bots)
    found, reasons = rules_of_journeys.of_movements(found, reasons, changes, asked.select(OUTCOME))
    _store(session, keys, found, reasons)
    if not any(model.model.answers for model in rules.chosen):
        return Read(found, reasons)
    said = _answers(session, accounts, persons)
    births = _births(session, said["contact_id"])
    answered = rules_of_journeys.journeys(scoped, contacts, said, births, rules)
    silent = unattributed.reasons(answered, contacts, said, births, bots.clear())
    return Read(found, reasons, Read(answered, silent))


def _answers(session: Session, accounts: pl.DataFrame, persons: pl.DataFrame) -> pl.DataFrame:
    """Self-reported answers, with the columns of touches."""
    columns = [name for name in TOUCH if name != "campaign"]
    read = (session.read_keys("attribution.self_reported", who, columns) for who in (accounts, persons))
    return pl.concat(read).unique("touch_id").with_columns(campaign=pl.lit(None, pl.String)).select(TOUCH)


def _movements(session: Session, keys: pl.DataFrame, rules: Attribution) -> pl.DataFrame:
    """Movements of revenue that are outcomes, with the columns of a milestone that credit reads."""
    rows = session.read_keys("events.revenue", keys).filter(pl.col("milestone").is_in(rules.outcomes))
    return (
        rows.join(_home_values(session, rows), on=OUTCOME, how="left", maintain_order="left")
        .rename(CREDITED)
        .select(
            *(*OUTCOME, "of_milestone", "of_milestone_id", "currency", "home_currency", *CREDITED.values()),
            *(f"{measure}_home" for measure in CREDITED),
        )
    )


def _home_values(session: Session, outcomes: pl.DataFrame) -> pl.DataFrame:
    """What outcomes are worth in the home currency: the key, home_currency and each measure's `_home`."""
    columns = [*OUTCOME, "home_currency", *(f"{measure}_home" for measure in CREDITED)]
    return session.read_keys("events.home_value", outcomes.select(OUTCOME), columns)


def _asked_deals(outcomes: pl.DataFrame, rules: Attribution) -> pl.DataFrame:
    """deal_id of the outcomes whose journeys are those of their deal's contacts."""
    if "deal_contacts" not in rules.scopes:
        outcomes = outcomes.filter(pl.col("account_id").str.starts_with(DEAL_ACCOUNT))
    return records_frame("deal_id", outcomes["deal_id"].drop_nulls())


def _without_deal(outcomes: pl.DataFrame, rules: Attribution) -> list[pl.DataFrame]:
    """person_id of outcomes without a deal: in the scope deal_contacts it is that person alone."""
    if "deal_contacts" not in rules.scopes:
        return []
    return [outcomes.filter(pl.col("deal_id").is_null()).select("person_id").drop_nulls()]


def _births(session: Session, contacts: pl.Series) -> pl.DataFrame:
    """contact_id, created_at: when HubSpot first knew the person, whatever contact it is known by now."""
    asked = persons_of(session, contacts)
    family = session.query(
        "SELECT a.person_id, c.created_at, json_extract_string(c.properties, '$.createdate') AS created"
        " FROM identity.alias a SEMI JOIN asked ON a.person_id = asked.person_id"
        " JOIN raw.contact c ON c.id::VARCHAR = a.identifier WHERE a.identifier_type = 'contact'",
        asked=asked.select("person_id").unique(),
    )
    born = family.group_by("person_id").agg(
        created_at=pl.min_horizontal(pl.col("created_at").min(), hubspot_time(pl.col("created")).min())
    )
    return asked.join(born, on="person_id").select("contact_id", "created_at").unique("contact_id")


def _bot_clicks(session: Session, found: Journeys) -> pl.DataFrame:
    """account_id, person_id, touched_at of the bot clicks near outcomes without a touch."""
    untouched = found.outcomes.with_row_index("journey").filter(
        ~pl.col("journey").cast(pl.Int64).is_in(found.touches["journey"].unique().implode())
    )
    by_deal = (pl.col("scope") == "deal_contacts") | pl.col("account_id").str.starts_with(DEAL_ACCOUNT)
    deals = records_frame("deal_id", untouched.filter(by_deal)["deal_id"].drop_nulls())
    persons = [*untouched["person_id"].drop_nulls(), *session.query(DEAL_CONTACTS, asked_deal=deals)["person_id"]]
    clicks = session.query(
        _BOT_CLICKS,
        asked_account=ids_frame("account_id", untouched["account_id"].drop_nulls()),
        asked_person=ids_frame("person_id", persons),
    )
    membership = session.read_keys("identity.membership", clicks.select("person_id").unique())
    return account_at(clicks, "touched_at", membership).select("account_id", "person_id", "touched_at")


def _store(session: Session, keys: pl.DataFrame, found: Journeys, reasons: pl.DataFrame) -> None:
    paths = found.touches.group_by("journey", maintain_order=True).agg(
        touches=pl.len().cast(pl.Int64), channels="channel"
    )
    rows = (
        found.outcomes.select(*OUTCOME, "scope", journey=pl.int_range(pl.len(), dtype=pl.Int64))
        .join(paths, on="journey", how="left")
        .join(reasons, on=[*OUTCOME, "scope"], how="left")
        .select(
            *OUTCOME,
            "scope",
            touches=pl.col("touches").fill_null(0),
            channels=pl.col("channels").fill_null([]),
            unattributed_reason="unattributed_reason",
        )
    )
    session["attribution.journey"].replace(rows, keys)
