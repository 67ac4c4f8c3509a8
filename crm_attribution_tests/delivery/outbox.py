"""An outbox of one destination: conversions of our own in a warehouse, the sandbox as platform, a fixed clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import requests

from crm_attribution import configuration, mapping
from crm_attribution.clock import FixedClock, parse_instant
from crm_attribution.contracts import CONTRACTS
from crm_attribution.delivery.deliver import deliver
from crm_attribution.delivery.report import DeliveryReport
from crm_attribution.destinations import destinations
from crm_attribution.destinations.base import Destination, Limits, Resolved
from crm_attribution.identifiers import delivery_key, sha256
from crm_attribution.ledger.store import Ledger
from crm_attribution.ledger.tables import ATTEMPT, CONVERSION
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session

NOW = parse_instant("2026-03-10T12:00:00Z")
WINDOW_END = NOW


def rules() -> mapping.Rules:
    """The shipped rules, with an entry for every destination: a new one needs none to be tested."""
    shipped = mapping.load()
    plain = mapping.Destination(send_from="start", click_days=90, options={}, conversions=[])
    named = {name: shipped.destinations.get(name, plain) for name in destinations()}
    return shipped.model_copy(update={"destinations": named})


RULES = rules()


def with_limits(destination: Destination, **changes: Any) -> Destination:
    """The same destination with other limits."""
    limits: Limits = replace(destination.limits, **changes)
    copy: Destination = type(type(destination).__name__, (type(destination),), {"limits": limits})()
    return copy


def small(destination: Destination) -> Destination:
    """The same destination with batches of two, so that a few rows make several."""
    return with_limits(destination, batch=2)


SMALL = {name: small(destination) for name, destination in destinations().items()}
"""Every destination there is: tests of delivery run over all of them."""
KINDS = {
    destination.limits.dedupe is None: name
    for name, destination in sorted(SMALL.items(), reverse=True)
    if destination.plans_from == "milestones"
}
"""Whether a platform forgets our key -> an ad platform of that kind."""
FEW = sorted(
    {
        *KINDS.values(),
        *{destination.plans_from: name for name, destination in sorted(SMALL.items(), reverse=True)}.values(),
    }
)
"""One of each of these kinds, and one of each way to plan: for tests of what all share."""


def over_kinds(values: Sequence[Any], of_others: Sequence[Any] | None = None) -> list[tuple[str, Any]]:
    """(destination, value) for a test of what all destinations share: every value for a destination of each kind; of
    the others each has `of_others`, or some by turns, so that every value meets one of them too."""
    others = sorted(set(SMALL) - set(KINDS.values()))
    pairs = [(name, value) for name in sorted(KINDS.values()) for value in values]
    for place, name in enumerate(others):
        pairs += [(name, value) for value in (values[place :: len(others)] if of_others is None else of_others)]
    return pairs


def emulator(destination: Destination, env: Mapping[str, str]) -> str:
    """The sandbox's platform that stands for a destination: the first part of the address it gives for it. A part of
    HubSpot has HubSpot's address and is called like the destination.

    Raises:
        AssertionError: where there is none.
    """
    needed = [destination.base_url_setting, *(setting.name for setting in destination.required)]
    missing = [name for name in needed if not env.get(name)]
    assert not missing, (
        f"the sandbox has no counterpart of {destination.name}: it does not set {', '.join(missing)};"
        " add one in crm_attribution/sandbox/platforms/"
    )
    return urlsplit(env[destination.base_url_setting]).path.strip("/").split("/")[0] or destination.name


def conversion(
    destination: Destination, values: Mapping[str, str], milestone_id: str, **changes: Any
) -> dict[str, Any]:
    """A row as planning writes it."""
    account = destination.account(values)
    action = changes.get("action", destination.example_action)
    occurred = changes.pop("occurred_at", NOW - timedelta(hours=5))
    return {
        "conversion_id": delivery_key(destination.name, account, action, milestone_id, 0),
        "destination": destination.name,
        "account": account,
        "action": action,
        "milestone": "customer_won",
        "milestone_id": milestone_id,
        "event_id": milestone_id,
        "kind": "conversion",
        "revision": 0,
        "occurred_at": occurred,
        "ready_at": occurred + timedelta(hours=1),
        "expires_at": occurred + destination.limits.max_age,
        "value": 123456,
        "currency": "EUR",
        "state": "pending",
        "attempts": 0,
        "planned_at": NOW,
        "updated_at": NOW,
        **changes,
    }


def contact_of(milestone_id: str) -> int:
    """The contact a business fact is about."""
    return int(sha256(milestone_id)[:12], 16)


def resolved(milestone_id: str, **changes: Any) -> Resolved:
    """A person with everything, identified by the business fact."""
    known = {
        "consent": "granted",
        "person_id": f"person_{milestone_id}",
        "contact_id": contact_of(milestone_id),
        "touch_id": f"click:{milestone_id}",
        "email": f"{milestone_id}@example.com",
        "click_id": f"Click-{milestone_id}",
        "clicked_at": NOW - timedelta(days=3),
    }
    return Resolved(**{**known, **changes})


_WRITTEN: Mapping[str, tuple[str, dict[str, str], Callable[[str], dict[str, str]]]] = {
    "records": ("contacts", {}, lambda key: {"jobtitle": key}),
    "inputs": ("contacts", {}, lambda key: {"jobtitle": key}),
    "thresholds": ("deals", {"dealstage": "appointmentscheduled"}, lambda _: {"dealstage": "qualifiedtobuy"}),
}
"""What writes to records: of which type, what they have, and what they are given, by the delivery key."""


@dataclass
class Outbox:
    """One warehouse, one destination. Business facts are called by short names; on the wire they carry a tag, so that
    outboxes can share a sandbox.

    Attributes:
        people: by name, what the resolver answers; others get `resolved(...)`.
        slept: the waits a delivery asked for.
        url: of a ledger in PostgreSQL.
        made: whose records the portal has.
    """

    directory: Path
    env: Mapping[str, str]
    destination: Destination
    now: datetime = NOW
    people: dict[str, Resolved | None] = field(default_factory=dict)
    slept: list[float] = field(default_factory=list)
    url: str = ""
    made: set[str] = field(default_factory=set)
    tag: str = field(default_factory=lambda: f"{random.getrandbits(48):012x}-")

    def __post_init__(self) -> None:
        self.warehouse = Warehouse(self.directory)
        self.ledger = Ledger(self.directory, self.url)
        self.rules = RULES
        self.env = {**self.env, "CRM_ATTRIBUTION_WRITE_BACK": "on"}

    @property
    def emulator(self) -> str:
        return emulator(self.destination, self.env)

    @property
    def path(self) -> str:
        """What the paths of its calls begin with in the sandbox."""
        return urlsplit(self.env[self.destination.base_url_setting]).path

    @property
    def forgets(self) -> bool:
        """The platform may count an event twice, so that an uncertain one is never sent again by itself."""
        return self.destination.limits.dedupe is None

    @property
    def replays(self) -> bool:
        """What the platform took may be asked for once more."""
        return not self.forgets and not self.destination.limits.once

    @property
    def values(self) -> dict[str, str]:
        return {name: self.env[name] for name in (setting.name for setting in self.destination.required)}

    def plan(self, *names: str, **changes: Any) -> list[str]:
        """Put rows into the outbox; returns their keys."""
        records = [conversion(self.destination, self.values, self.tag + name, **changes) for name in names]
        schema = CONTRACTS[CONVERSION].polars_schema
        given = {name: kind for name, kind in schema.items() if any(name in r for r in records)}
        if not self.ledger.exists():
            self.ledger.create()
        if self.destination.plans_from in _WRITTEN:
            self._make_records(names)
        with self.ledger.writing() as book:
            book.insert(CONVERSION, pl.DataFrame(records, schema=given))
        return [record["conversion_id"] for record in records]

    def _make_records(self, names: Iterable[str]) -> None:
        """Records that can be written to."""
        ids = [str(contact_of(self.tag + name)) for name in names if name not in self.made]
        self.made.update(names)
        kind, properties, _ = _WRITTEN[self.destination.plans_from]
        head = {"at": "2026-03-10T00:00:00Z", "op": "create", "object": kind, "source": "FORM"}
        lines = [{**head, "id": one, "properties": properties} for one in ids]
        answer = requests.post(f"{self.env['HUBSPOT_BASE_URL']}/_sandbox/log", json=lines, timeout=30)
        assert answer.ok, answer.text

    def resolve(self, _: Session, rows: pl.DataFrame) -> Mapping[str, Resolved]:
        known = {
            row["conversion_id"]: self.people.get(self.name(row), resolved(row["milestone_id"]))
            for row in rows.iter_rows(named=True)
        }
        found = {key: person for key, person in known.items() if person is not None}
        if self.destination.plans_from == "news":
            found = {
                key: replace(one, details=one.details or {"title": str(one.contact_id)}) for key, one in found.items()
            }
        if self.destination.plans_from in _WRITTEN:
            change = _WRITTEN[self.destination.plans_from][2]
            found = {key: replace(one, details=one.details or change(key)) for key, one in found.items()}
        return found

    def deliver(self, checkpoint: Callable[[str], None] = lambda _: None, **options: Any) -> DeliveryReport:
        own = {"CRM_ATTRIBUTION_DATA_DIR": str(self.directory)}
        given = configuration.load({**self.env, **own, **options.pop("environment", {})})
        return deliver(
            options.pop("destination", self.destination),
            settings=given,
            rules=options.pop("rules", self.rules),
            warehouse=self.warehouse,
            ledger=options.pop("ledger", self.ledger),
            clock=options.pop("clock", FixedClock(self.now)),
            window_end=options.pop("window_end", self.now),
            resolve=options.pop("resolve", self.resolve),
            rng=random.Random(1),
            sleep=self.slept.append,
            checkpoint=checkpoint,
            **options,
        )

    def name(self, row: Mapping[str, Any]) -> str:
        return str(row["milestone_id"]).removeprefix(self.tag)

    def counted(self, events: Iterable[Mapping[str, Any]], names: Iterable[str]) -> list[str]:
        """Which of our business facts are among events, once per event: identified by the person, never by our key."""
        marks = {sha256(f"{self.tag}{name}@example.com"): name for name in names}
        marks |= {str(contact_of(self.tag + name)): name for name in list(marks.values())}
        return sorted(marks[mark] for mark in map(email_of, events) if mark in marks)

    def rows(self) -> dict[str, dict[str, Any]]:
        """Every conversion by its name."""
        with self.ledger.reading() as book:
            return {self.name(row): row for row in book.read(CONVERSION).iter_rows(named=True)}

    def states(self) -> dict[str, str]:
        return {name: row["state"] for name, row in self.rows().items()}

    def reasons(self) -> dict[str, tuple[str, str | None]]:
        return {name: (row["state"], row["reason"]) for name, row in self.rows().items()}

    def attempts(self) -> list[dict[str, Any]]:
        with self.ledger.reading() as book:
            return list(book.read(ATTEMPT).sort("started", "batch_id").iter_rows(named=True))

    def change(self, name: str, **columns: Any) -> None:
        """Behind the ledger's back: what planning or a defect may do."""
        key = self.rows()[name]["conversion_id"]
        with self.ledger.writing() as book:
            book.update(CONVERSION, [{"conversion_id": key, **columns}])


def email_of(event: Mapping[str, Any]) -> str:
    """The hashed address of a received event, any platform's; of HubSpot's events the contact."""
    if "objectId" in event:
        return str(event["objectId"])
    if "objectWriteTraceId" in event and "object" in event:
        return str(event["id"])
    if "blocks" in event:
        return str(event["blocks"][0]["text"]["text"])
    if "associations" in event:
        return str(event["associations"][0]["to"]["id"])
    if "ConversionName" in event:
        return str(event.get("HashedEmailAddress", ""))
    if "userData" in event:
        return next((i["emailAddress"] for i in event["userData"]["userIdentifiers"] if "emailAddress" in i), "")
    if "user_data" in event:
        return str(event["user_data"].get("em", [""])[0])
    return next((i["idValue"] for i in event["user"]["userIds"] if i["idType"] == "SHA256_EMAIL"), "")
