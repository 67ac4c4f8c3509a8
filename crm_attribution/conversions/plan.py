"""conversions.conversion: the uploads of changed milestones, planned once for each platform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from crm_attribution import mapping as rules_module
from crm_attribution.clock import iso
from crm_attribution.contracts.topics import MILESTONE
from crm_attribution.conversions import identify, mirror, traits
from crm_attribution.conversions import rules as planning
from crm_attribution.conversions.restate import restate
from crm_attribution.conversions.teller import Work
from crm_attribution.conversions.tellers import TELLERS
from crm_attribution.destinations import destinations
from crm_attribution.destinations.accounts import Account, accounts
from crm_attribution.destinations.base import Destination
from crm_attribution.ledger import entries, moves
from crm_attribution.ledger.store import Book, Ledger
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.ledger.transitions import Move
from crm_attribution.mapping import Rules
from crm_attribution.marts.traits import Trait
from crm_attribution.settings import Settings
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import Figures

TOPICS = (MILESTONE,)


def consumer(account: str) -> str:
    """Each account (`Account.key`) has its own cursor: one configured later plans from the beginning, as suppressed
    history."""
    return f"conversions:{account}"


@dataclass
class Planning(Report):
    """What was planned, and why something was not.

    Attributes:
        skipped: destination or account -> why.
        wrong: threshold rule or computed trait that cannot be used as it stands -> why.
    """

    skipped: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def shown(self) -> Figures:
        return {f"{name}: skipped": why for name, why in {**self.skipped, **self.wrong}.items()} | self.figures


def update(session: Session, ledger: Ledger, rules: Rules, settings: Settings, now: datetime) -> Planning:
    """Plan new rows and refresh the value of unsent ones; for configured accounts, where sending is on.

    Rows are planned by key, in the ledger, before the cursor in the warehouse moves: what is planned again is there
    already.
    """
    report = Planning()
    wanted: list[Account] = []
    for name, destination in destinations().items():
        reason = why_not(destination, rules, settings)
        if reason is not None:
            report.skipped[name] = reason
            continue
        mine = accounts_of(destination, rules, settings)
        wanted += [account for account in mine if account.missing is None]
        report.skipped |= {account.title: account.missing for account in mine if account.missing is not None}
    unsafe = mirror.ready(session, ledger) if wanted else None
    if unsafe is not None:
        report.skipped |= {account.title: unsafe for account in wanted}
        return report
    if wanted:
        _activate(session, ledger, [(one.key, named_of(one, rules)) for one in wanted])
    used: Mapping[str, Trait] = {}
    if any(account.destination.plans_from == "inputs" for account in wanted):
        used, broken = traits.usable(rules, settings)
        told = traits.update(session, used, session.state.watermark or now, identify.due(session, now), broken, now)
        report.figures["computed traits: subjects that changed"] = told.changed
        report.wrong |= {f"trait {name}": why for name, why in {**broken, **told.wrong}.items()}
    for account in wanted:
        teller = TELLERS.get(account.destination.plans_from)
        if teller is None:
            report.changed += _plan_milestones(session, ledger, account, rules, settings, now)
            continue
        report.changed += plan_told(session, ledger, account, rules, settings, now, used)
        report.wrong |= {f"{account.title} {name}": why for name, why in teller.wrong(session, rules).items()}
    counts = session.connection.execute(
        "SELECT destination || ': ' || state || coalesce(' (' || reason || ')', ''), count(*)"
        " FROM conversions.conversion GROUP BY 1 ORDER BY 1"
    ).fetchall()
    report.figures |= dict(counts)
    report.rows = sum(count for _, count in counts)
    return report


def why_not(destination: Destination, rules: Rules, settings: Settings) -> str | None:
    """Why nothing is planned for or sent to a destination; None where it is."""
    if not settings.send:
        return "sending is switched off (CRM_ATTRIBUTION_SEND=off)"
    if destination.is_hubspot and not settings.write_back:
        return "writing back to HubSpot is switched off (CRM_ATTRIBUTION_WRITE_BACK=off)"
    if not rules.named(destination.name):
        return not_named(destination)
    missing = [account.missing for account in accounts_of(destination, rules, settings)]
    return None if None in missing else "; ".join(filter(None, missing))


def accounts_of(destination: Destination, rules: Rules, settings: Settings) -> list[Account]:
    """The accounts of a destination that the mapping has rules for, also those that cannot be used."""
    if destination.plans_from == "news":
        return accounts(destination, rules.alerts.accounts, settings)
    mine = rules.destinations.get(destination.name)
    return accounts(destination, mine.accounts if mine else (), settings)


def section(account: Account, rules: Rules) -> rules_module.Destination:
    """The account's part of the mapping."""
    return rules.destinations[account.destination.name].of_account(account.name)


def named_of(account: Account, rules: Rules) -> list[tuple[str, str]]:
    """What an account is told of, and as what: milestone or kind of touch, and action, each pair once."""
    if account.destination.plans_from == "news":
        return [(rule.on, rule.name) for rule in rules.alerts.rules if rule.account == account.name]
    if account.destination.name not in rules.destinations:
        return rules.named(account.destination.name)
    return list(dict.fromkeys((rule.milestone, rule.action) for rule in section(account, rules).conversions))


def scope(account: Account, book: Book) -> entries.Scope:
    """The rows that planning for an account looks at: its own; and for that of the destination's own settings those it
    had under another id, but nothing that was ever of a further account."""
    name = account.destination.name
    if account.name:
        return entries.Scope(name, account.id)
    further = {key.partition("@")[2] for key, *_ in entries.activations(book) if key.startswith(f"{name}@")}
    return entries.Scope(name, None, frozenset({*account.others, *further} - {account.id}))


def not_named(destination: Destination) -> str:
    """Why the mapping gives a destination nothing to do."""
    teller = TELLERS.get(destination.plans_from)
    if teller is None:
        return f"no conversions under destinations.{destination.name} in the mapping"
    return teller.not_named.format(told_as=destination.told_as)


def plan_told(
    session: Session,
    ledger: Ledger,
    account: Account,
    rules: Rules,
    settings: Settings,
    now: datetime,
    used: Mapping[str, Trait],
) -> int:
    """Plan what HubSpot or a channel is told; how many rows are new.

    Args:
        used: computed traits in use, where the account is told of them.
    """
    teller = TELLERS[account.destination.plans_from]
    more = teller.more(session, used)
    signature = f"{rules.signature(teller.section)}:{account.id}" + (f":{more}" if more else "")
    following = session.following(consumer(account.key), teller.topics, signature)
    with following as changes, ledger.writing() as book:  # the ledger commits first
        new = teller.plan(Work(session, book, account, rules, settings.start, changes, now, used))
        mirror.follow(session, book)
    return len(new)


def _plan_milestones(
    session: Session, ledger: Ledger, account: Account, rules: Rules, settings: Settings, now: datetime
) -> int:
    mine, destination = section(account, rules), account.destination
    signature = f"{rules.signature('conversions')}:{mine.model_dump_json()}:{account.id}"
    following = session.following(consumer(account.key), TOPICS, signature)
    with following as changes, ledger.writing() as book:  # the ledger commits first
        mine = _effective(book, account.key, mine)
        plan = planning.Plan(
            destination.name, account.id, mine, rules.conversions, destination.limits.max_age, settings.start
        )
        milestones = _milestones(session, None if changes.everything else changes.frame(MILESTONE))
        events = session.read_keys("events.milestone_event", milestones.select("milestone", "milestone_id"))
        existing = _existing(session, book, scope(account, book), milestones, events)
        new = planning.plan(plan, milestones, events, existing, now)
        written = book.insert(CONVERSION, new)["conversion_id"].to_list() if new.height else []
        updated = moves.refresh(book, planning.refresh(existing, milestones, events, plan, now))
        standing = planning.standing(existing, milestones, events).iter_rows()
        moved = moves.move(book, (Move(*row) for row in standing), now)
        keys = None if changes.everything else changes.frame(MILESTONE)
        told = restate(session, book, account, scope(account, book), mine, keys, _due(session, now), now)
        mirror.follow(session, book)
    return len({*written, *updated, *moved, *told})


def _due(session: Session, now: datetime) -> datetime:
    """Within the hour of this run, so that its sinks send it."""
    end = session.state.watermark
    return now if end is None else min(now, end - timedelta(seconds=1))


def _activate(session: Session, ledger: Ledger, wanted: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> None:
    """Remember from when each rule sends, where it is seen for the first time: at the first planning of all, by its
    `send_from`; later, from the newest hour on, so that it uploads no history."""
    watermark = session.state.watermark
    with ledger.writing() as book:
        seen = {(name, milestone, action) for name, milestone, action, _ in entries.activations(book)}
        since = "start" if not seen or watermark is None else iso(watermark)
        for key, mine in wanted:
            for milestone, action in mine:
                if (key, milestone, action) not in seen:
                    entries.activate(book, key, milestone, action, since)


def _effective(book: Book, key: str, mine: rules_module.Destination) -> rules_module.Destination:
    """The rules with `start` made the moment a rule was first seen, where that was after the first planning: a rule
    added later uploads no history unless its `send_from` names a time."""
    seen = {(milestone, action): since for of, milestone, action, since in entries.activations(book) if of == key}
    rules = []
    for rule in mine.conversions:
        since = seen[rule.milestone, rule.action]
        wanted = rule.send_from or mine.send_from
        rules.append(rule.model_copy(update={"send_from": since if wanted == "start" else wanted}))
    return mine.model_copy(update={"conversions": rules})


def _milestones(session: Session, keys: pl.DataFrame | None) -> pl.DataFrame:
    """Live milestones with `once_person`."""
    if keys is None:
        rows = session.read("events.milestone", "state = 'live'")
    else:
        rows = session.read_keys("events.milestone", keys).filter(pl.col("state") == "live")
    representatives = deal_contacts(session, rows["deal_id"]).unique("deal_id", keep="first", maintain_order=True)
    return (
        rows.join(
            representatives.select("deal_id", _representative="person_id"),
            on="deal_id",
            how="left",
            maintain_order="left",
        )
        .with_columns(once_person=pl.coalesce("person_id", "_representative"))
        .drop("_representative")
    )


def deal_contacts(session: Session, deals: pl.Series) -> pl.DataFrame:
    """deal_id, contact_id, person_id, labels of the deals' live contacts; the earliest created first."""
    return session.query(
        "SELECT a.from_id AS deal_id, c.id AS contact_id, i.person_id, a.labels"
        " FROM raw.association a JOIN raw.contact c ON c.id = a.to_id"
        " JOIN identity.alias i ON i.identifier_type = 'contact' AND i.identifier = c.id::VARCHAR"
        " SEMI JOIN deals ON a.from_id = deals.deal_id"
        " WHERE a.from_type = 'deals' AND a.to_type = 'contacts' AND a.valid_to IS NULL AND NOT c.archived"
        " ORDER BY a.from_id, c.created_at, c.id",
        deals=records_frame("deal_id", deals.drop_nulls()),
    )


def _existing(
    session: Session, book: Book, mine: entries.Scope, milestones: pl.DataFrame, milestone_events: pl.DataFrame
) -> pl.DataFrame:
    """Rows of an account that a linked event or a once-per-person rule could meet: found in the copy, read in the
    ledger."""
    events = milestone_events.select(id="event_id").unique()
    ids = session.query(
        "SELECT conversion_id FROM conversions.conversion WHERE destination = ? AND"
        " (milestone_id IN (SELECT id FROM events) OR event_id IN (SELECT id FROM events)"
        " OR person_id IN (SELECT person_id FROM persons))",
        [mine.destination],
        events=events,
        persons=ids_frame("person_id", milestones["once_person"].drop_nulls()),
    )
    return entries.rows(book, ids["conversion_id"], mine)
