"""events.milestone: what happened in the business, of the persons and accounts that events, merges or deals touch."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.events.events import with_account
from crm_attribution.events.neighbours import Near
from crm_attribution.events.rules import milestones as milestone_rules
from crm_attribution.events.rules.values import measures, needed_properties
from crm_attribution.identifiers import DEAL_EVENT
from crm_attribution.identity.accounts import live_accounts
from crm_attribution.mapping import Rules
from crm_attribution.raw.merges import survivors_of
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Changes, Session

_LIFECYCLE = ["opportunity_created", "customer_won", "customer_expanded"]
"""Milestones that lifecycle changes may tell."""

_EVENT = [
    "event_id", "event", "occurred_at", "observed_at", "source", "object_type", "object_id", "record_id", "contact_id",
    "deal_id", "from_stage", "to_stage", "left_at", "next_stage", "undone", "pipeline", "currency", "amount", "mrr",
    "arr", "tcv", "suppressed_by",
]  # fmt: skip
"""Columns of events.event that milestones are made of."""


def update(session: Session, changes: Changes, rules: Rules, _: datetime) -> Report:
    """Recompute the milestones of every person and account that an event, a merge or a deal touched."""
    report = Report()
    near = Near(session)
    persons, accounts = _touched(session, near, changes)
    if persons or accounts:
        accounts |= _reached(near, persons, accounts)
        frame = milestone_rules.milestones(_facts(session, near, persons, accounts, rules), rules)
        groups = ids_frame("group_key", [*(f"person:{p}" for p in persons), *(f"account:{a}" for a in accounts)])
        frame = frame.join(groups, on="group_key", how="semi")
        changed = session.replace("events.milestone", frame, groups)
        key = pl.concat_str("milestone", "milestone_id", separator="|")
        session.journal("milestone", changed.select(key)["milestone"])
        session.journal("milestone_account", changed["account_id"])
        report.changed = changed.filter("_came").height
    report.rows = session.scalar("SELECT count(*) FROM events.milestone")
    report.figures = dict(
        session.connection.execute(
            "SELECT milestone || ' (' || state || ')', n FROM"
            " (SELECT milestone, state, count(*) AS n FROM events.milestone GROUP BY ALL) ORDER BY 1"
        ).fetchall()
    )
    return report


def lifecycle_outcomes(session: Session, person_id: str | None, account_id: str | None, rules: Rules) -> pl.DataFrame:
    """What became of the lifecycle changes around a person or an account, decided as `update` does.

    Returns:
        event_id, outcome (echo | adopted | own | linked), deal_id of the deal that explains it.
    """
    near = Near(session)
    persons = {person_id} if person_id and not account_id else set()
    accounts = {account_id} if account_id else set()
    accounts |= _reached(near, persons, accounts)
    return milestone_rules.lifecycle_outcomes(_facts(session, near, persons, accounts, rules), rules)


def _touched(session: Session, near: Near, changes: Changes) -> tuple[set[str], set[str]]:
    """Persons and accounts whose milestones may be others now, with those they had been counted under.

    A person whose memberships or contacts changed is journalled: only of those other accounts have to be looked up.
    """
    if changes.everything:
        persons = set(session.query("SELECT person_id FROM identity.person")["person_id"])
        accounts = set(session.query("SELECT account_id FROM identity.account")["account_id"])
        accounts |= set(session.query("SELECT account_id FROM identity.deal_account")["account_id"])
        accounts |= set(session.query("SELECT account_id FROM identity.membership")["account_id"])
        return persons, accounts
    moved = ids_frame("person_id", changes.of("person"))
    deals = records_frame("deal_id", changes.ids("event_deals", "deals", "deal_account"))
    told = session.read_keys("events.milestone", deals, ["milestone", "account_id", "linked_event_ids"])
    links = near.contacts_on.of(deals["deal_id"])["contact_id"]
    contacts = {*changes.ids("event_contacts"), *links, *_once_linked_contacts(session, told)}
    persons = {*moved["person_id"], *near.persons.of(contacts)["person_id"]}
    companies = live_accounts(session, {f"company:{c}" for c in changes.of("event_companies")})
    accounts = {*changes.of("account"), *companies, *companies.values()}
    accounts |= set(near.accounts_of_deals.of(deals["deal_id"])["account_id"])
    accounts |= set(near.memberships.of(persons)["account_id"])
    former = session.read_keys("events.milestone", moved, ["account_id"])["account_id"]
    accounts |= {*former.drop_nulls(), *told["account_id"].drop_nulls()}
    return persons, accounts | _once_linked_accounts(session, near.contacts.of(moved["person_id"]))


def _reached(near: Near, persons: set[str], accounts: set[str]) -> set[str]:
    """The accounts of the deals that lifecycle events of these persons and accounts may repeat or be adopted by."""
    everyone = persons | set(near.members.of(accounts)["person_id"])
    return set(near.accounts_of_deals.of(near.deals_of(everyone))["account_id"])


def _facts(session: Session, near: Near, persons: set[str], accounts: set[str], rules: Rules) -> milestone_rules.Facts:
    """All that decides the milestones of these persons and accounts.

    Lifecycle events reach an account's deals from its members and from the contacts of its deals; whether such an
    event is the first of its own account, and what other deals are nearer, only that account's facts tell.
    """
    on_deals = near.persons_on(near.deals_in.of(accounts)["deal_id"])["person_id"]
    told = {*persons, *near.members.of(accounts)["person_id"], *on_deals}
    around = {*accounts, *near.memberships.of(told)["account_id"]}
    who = {*told, *near.members.of(around)["person_id"]}
    deals = {*near.deals_in.of(around)["deal_id"], *near.deals_of(who)}
    return _facts_of(session, near, who, around, _deals(session, records_frame("id", deals), rules))


def _facts_of(
    session: Session, near: Near, who: set[str], accounts: set[str], deals: pl.DataFrame
) -> milestone_rules.Facts:
    contacts = near.contacts.of(who).select(object_id="contact_id", object_type=pl.lit("contacts"))
    below = session.read_keys("identity.account_alias", ids_frame("account_id", accounts))["alias_id"]
    companies = records_frame(
        "record_id", [int(a.removeprefix("company:")) for a in [*accounts, *below] if a.startswith("company:")]
    )
    records = pl.concat(
        [
            companies.with_columns(object_type=pl.lit("companies")),
            deals.select(record_id="deal_id", object_type=pl.lit("deals")),
        ]
    )
    of_records = session.read_keys("events.event", records, _EVENT)
    by_contact = with_account(session, near, session.read_keys("events.event", contacts, _EVENT), "contacts")
    by_company = with_account(session, near, of_records.filter(pl.col("object_type") == "companies"), "companies")
    by_deal = of_records.filter(pl.col("object_type") == "deals").with_columns(
        person_id=pl.lit(None, pl.String), account_id=pl.lit(None, pl.String)
    )
    columns = by_contact.columns
    return milestone_rules.Facts(
        events=pl.concat([by_contact, by_company.select(columns), by_deal.select(columns)]),
        deals=deals,
        deal_persons=near.persons_on(deals["deal_id"]),
        time_zone=session.scalar("SELECT time_zone FROM raw.account") or "UTC",
    )


def _once_linked_contacts(session: Session, told: pl.DataFrame) -> set[int]:
    """Contacts whose lifecycle changes these milestones of deals told so far, though they may have left the deal."""
    linked = told.filter(pl.col("milestone").is_in(_LIFECYCLE))["linked_event_ids"].explode().drop_nulls()
    others = ids_frame("event_id", linked.filter(~linked.str.starts_with(DEAL_EVENT)))
    return set(session.read_keys("events.event", others, ["contact_id"])["contact_id"].drop_nulls())


def _once_linked_accounts(session: Session, contacts: pl.DataFrame) -> set[str]:
    """Accounts whose milestones these contacts' events told so far, though they may belong elsewhere now."""
    if contacts.is_empty():
        return set()
    names = ", ".join(f"'{name}'" for name in _LIFECYCLE)
    events = session.read_keys("events.event", contacts.select("contact_id"), ["event_id"])
    return set(
        session.query(
            "SELECT DISTINCT account_id FROM (SELECT account_id, unnest(linked_event_ids) AS event_id"
            f" FROM events.milestone WHERE account_id IS NOT NULL AND milestone IN ({names}))"
            " SEMI JOIN events USING (event_id)",
            events=events,
        )["account_id"]
    )


def _deals(session: Session, ids: pl.DataFrame, rules: Rules) -> pl.DataFrame:
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
            account_id=pl.coalesce("account_id", pl.format("deal:{}", "deal_id")),
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
