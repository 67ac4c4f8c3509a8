"""events.milestone: what happened in the business, of the persons and accounts that events, merges or deals touch."""

from __future__ import annotations

import polars as pl

from crm_attribution.mapping import Mapping
from crm_attribution.steps.accounts import live_accounts
from crm_attribution.steps.clicks import persons_of
from crm_attribution.steps.events import SECTIONS, with_account
from crm_attribution.steps.report import Report
from crm_attribution.steps.sources import ids_frame, survivors_of
from crm_attribution.transforms import milestones as milestone_rules
from crm_attribution.transforms.values import measures, needed_properties
from crm_attribution.warehouse.session import Changes, Session

TOPICS = ["event_contacts", "event_companies", "event_deals", "deals", "person", "account", "deal_account"]
CONSUMER = "milestones"

_LIFECYCLE = "('opportunity_created', 'customer_won', 'customer_expanded')"
"""Milestones that lifecycle changes may tell."""


def update(session: Session, rules: Mapping) -> Report:
    """Recompute the milestones of every person and account that an event, a merge or a deal touched."""
    changes = session.changes(CONSUMER, TOPICS, rules.signature(*SECTIONS))
    report = Report()
    with session.transaction():
        persons, accounts = _touched(session, changes)
        if persons or accounts:
            accounts |= _reached(session, persons, accounts)
            frame = milestone_rules.milestones(_facts(session, persons, accounts, rules), rules)
            groups = ids_frame("group_key", [*(f"person:{p}" for p in persons), *(f"account:{a}" for a in accounts)])
            frame = frame.join(groups, on="group_key", how="semi")
            changed = session.replace("events.milestone", frame, groups)
            key = pl.concat_str("milestone", "milestone_id", separator="|")
            session.journal("milestone", changed.select(key)["milestone"])
            session.journal("milestone_account", changed["account_id"])
            report.changed = changed.filter("_came").height
        session.advance(CONSUMER, changes)
    report.rows = session.scalar("SELECT count(*) FROM events.milestone")
    report.facts = dict(
        session.connection.execute(
            "SELECT milestone || ' (' || state || ')', n FROM"
            " (SELECT milestone, state, count(*) AS n FROM events.milestone GROUP BY ALL) ORDER BY 1"
        ).fetchall()
    )
    return report


def lifecycle_outcomes(session: Session, person_id: str | None, account_id: str | None, rules: Mapping) -> pl.DataFrame:
    """What became of the lifecycle changes around a person or an account, decided as `update` does.

    Returns:
        event_id, outcome (echo | adopted | own | linked), deal_id of the deal that explains it.
    """
    persons = {person_id} if person_id and not account_id else set()
    accounts = {account_id} if account_id else set()
    accounts |= _reached(session, persons, accounts)
    return milestone_rules.lifecycle_outcomes(_facts(session, persons, accounts, rules), rules)


def _touched(session: Session, changes: Changes) -> tuple[set[str], set[str]]:
    """Persons and accounts whose milestones may be others now, with those they had been counted under."""
    if changes.everything:
        persons = set(session.query("SELECT person_id FROM identity.person")["person_id"])
        accounts = set(session.query("SELECT account_id FROM identity.account")["account_id"])
        accounts |= set(session.query("SELECT account_id FROM identity.deal_account")["account_id"])
        accounts |= set(session.query("SELECT account_id FROM identity.membership")["account_id"])
        return persons, accounts
    contacts = pl.Series(changes.of("event_contacts"), dtype=pl.String)
    deals = ids_frame("deal_id", changes.of("event_deals", "deals", "deal_account"))
    persons = set(changes.of("person")) | set(persons_of(session, contacts)["person_id"])
    persons |= _persons_on(session, deals) | _once_linked_persons(session, deals)
    who = ids_frame("person_id", persons)
    companies = live_accounts(session, {f"company:{c}" for c in changes.of("event_companies")})
    accounts = {*changes.of("account"), *companies, *companies.values()}
    accounts |= set(session.read_keys("identity.deal_account", deals)["account_id"]) | _accounts_of(session, who)
    former = session.read_keys("events.milestone", who)["account_id"]
    former_deals = session.read_keys("events.milestone", deals)["account_id"]
    accounts |= set(former.drop_nulls()) | set(former_deals.drop_nulls()) | _once_linked_accounts(session, who)
    return persons, accounts


def _reached(session: Session, persons: set[str], accounts: set[str]) -> set[str]:
    """The accounts of the deals that lifecycle events of these persons and accounts may repeat or be adopted by."""
    everyone = ids_frame("person_id", persons | _members(session, ids_frame("account_id", accounts)))
    deals = ids_frame("deal_id", _deals_of(session, everyone))
    return set(session.read_keys("identity.deal_account", deals)["account_id"])


def _facts(session: Session, persons: set[str], accounts: set[str], rules: Mapping) -> milestone_rules.Facts:
    """All that decides the milestones of these persons and accounts.

    Lifecycle events reach an account's deals from its members and from the contacts of its deals; whether such an
    event is the first of its own account, and what other deals are nearer, only that account's facts tell.
    """
    own = ids_frame("account_id", accounts)
    own_deals = ids_frame("deal_id", session.read_keys("identity.deal_account", own)["deal_id"])
    told = ids_frame("person_id", persons | _members(session, own) | _persons_on(session, own_deals))
    near = ids_frame("account_id", accounts | _accounts_of(session, told))
    who = ids_frame("person_id", {*told["person_id"], *_members(session, near)})
    deals = {*session.read_keys("identity.deal_account", near)["deal_id"], *_deals_of(session, who)}
    return _facts_of(session, who, near, _deals(session, ids_frame("id", deals), rules))


def _facts_of(
    session: Session, who: pl.DataFrame, accounts: pl.DataFrame, deals: pl.DataFrame
) -> milestone_rules.Facts:
    contacts = session.query(
        "SELECT identifier AS object_id FROM identity.alias SEMI JOIN who USING (person_id)"
        " WHERE identifier_type = 'contact'",
        who=who,
    ).with_columns(object_type=pl.lit("contacts"))
    below = session.read_keys("identity.account_alias", accounts)["alias_id"]
    companies = ids_frame(
        "record_id", [a.removeprefix("company:") for a in [*accounts["account_id"], *below] if a.startswith("company:")]
    ).with_columns(object_type=pl.lit("companies"))
    by_contact = with_account(session, session.read_keys("events.event", contacts), "contacts")
    by_company = with_account(session, session.read_keys("events.event", companies), "companies")
    by_deal = session.read_keys(
        "events.event", deals.select(record_id="deal_id").with_columns(object_type=pl.lit("deals"))
    ).with_columns(person_id=pl.lit(None, pl.String), account_id=pl.lit(None, pl.String))
    columns = by_contact.columns
    return milestone_rules.Facts(
        events=pl.concat([by_contact, by_company.select(columns), by_deal.select(columns)]),
        deals=deals,
        deal_persons=_deal_persons(session, deals.select("deal_id")),
        time_zone=session.scalar("SELECT time_zone FROM raw.account") or "UTC",
    )


def _members(session: Session, accounts: pl.DataFrame) -> set[str]:
    return set(session.read_keys("identity.membership", accounts)["person_id"])


def _accounts_of(session: Session, persons: pl.DataFrame) -> set[str]:
    return set(session.read_keys("identity.membership", persons)["account_id"])


def _persons_on(session: Session, deals: pl.DataFrame) -> set[str]:
    return set(_deal_persons(session, deals)["person_id"])


def _once_linked_persons(session: Session, deals: pl.DataFrame) -> set[str]:
    """Persons whose lifecycle changes these deals' milestones told so far, though they may have left the deal."""
    contacts = session.query(
        "SELECT DISTINCT e.contact_id FROM events.event e SEMI JOIN"
        " (SELECT unnest(linked_event_ids) AS event_id FROM events.milestone SEMI JOIN deals USING (deal_id)"
        f" WHERE milestone IN {_LIFECYCLE}) USING (event_id) WHERE e.contact_id IS NOT NULL",
        deals=deals,
    )
    return set(persons_of(session, contacts["contact_id"])["person_id"])


def _once_linked_accounts(session: Session, persons: pl.DataFrame) -> set[str]:
    """Accounts whose milestones these persons' events told so far, though they may belong elsewhere now."""
    return set(
        session.query(
            "SELECT DISTINCT account_id FROM (SELECT account_id, unnest(linked_event_ids) AS event_id"
            f" FROM events.milestone WHERE account_id IS NOT NULL AND milestone IN {_LIFECYCLE}) SEMI JOIN"
            f" (SELECT e.event_id FROM events.event e"
            " JOIN identity.alias a ON a.identifier_type = 'contact' AND a.identifier = e.contact_id"
            " SEMI JOIN persons ON a.person_id = persons.person_id) USING (event_id)",
            persons=persons,
        )["account_id"]
    )


def _deals_of(session: Session, persons: pl.DataFrame) -> list[str]:
    return session.query(
        "SELECT DISTINCT a.from_id FROM raw.association a JOIN identity.alias i"
        " ON i.identifier_type = 'contact' AND i.identifier = a.to_id SEMI JOIN persons"
        " ON i.person_id = persons.person_id"
        " WHERE a.from_type = 'deals' AND a.to_type = 'contacts' AND a.valid_to IS NULL",
        persons=persons,
    )["from_id"].to_list()


def _deal_persons(session: Session, deals: pl.DataFrame) -> pl.DataFrame:
    """deal_id, person_id of the deals' contacts."""
    return session.query(
        "SELECT DISTINCT a.from_id AS deal_id, i.person_id FROM raw.association a JOIN identity.alias i"
        " ON i.identifier_type = 'contact' AND i.identifier = a.to_id SEMI JOIN deals ON a.from_id = deals.deal_id"
        " WHERE a.from_type = 'deals' AND a.to_type = 'contacts' AND a.valid_to IS NULL ORDER BY 1, 2",
        deals=deals,
    )


def _deals(session: Session, ids: pl.DataFrame, rules: Mapping) -> pl.DataFrame:
    """Live deals with their account, when they were archived, and what they are worth now."""
    gone = survivors_of(session, "deals", ids["id"])
    records = session.read_keys("raw.deal", ids).filter(~pl.col("id").is_in(list(gone)))
    names = needed_properties(rules.values)
    texts = {name: pl.col("properties").str.json_path_match(f"$.{name}") for name in names if name != "amount"}
    minor = pl.col("amount")
    rows = records.with_columns(**texts, _amount=minor, amount=pl.lit(None, pl.String))
    valued = measures(rows, rules.values, given_amount="_amount")
    accounts = session.read_keys("identity.deal_account", records.select(deal_id="id"))
    deleted = session.query(
        "SELECT object_id AS deal_id, max(deleted_at) AS _deleted FROM raw.deletion SEMI JOIN ids"
        " ON raw.deletion.object_id = ids.id WHERE object_type = 'deals' AND kind = 'archived' GROUP BY 1",
        ids=ids,
    )
    return (
        valued.rename({"id": "deal_id"})
        .join(accounts.select("deal_id", "account_id"), on="deal_id", how="left")
        .join(deleted, on="deal_id", how="left")
        .with_columns(
            account_id=pl.coalesce("account_id", pl.lit("deal:") + pl.col("deal_id")),
            archived_at=pl.when("archived").then(pl.coalesce("_deleted", "modified_at")),
        )
        .select(
            "deal_id",
            "account_id",
            "dealname",
            "dealtype",
            "created_at",
            "archived",
            "archived_at",
            "closedate",
            "currency",
            "amount",
            "mrr",
            "arr",
            "tcv",
        )
    )
