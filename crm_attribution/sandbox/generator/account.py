"""An account: its persons, when they appeared, and which id each of them has at an instant."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from crm_attribution.sandbox.generator import catalog, names
from crm_attribution.sandbox.generator.catalog import Channel, Form
from crm_attribution.sandbox.generator.lines import DAY, HOUR, MINUTE, Log, Ref
from crm_attribution.sandbox.generator.rhythm import AMERICA, EUROPE, Region, at_work, visit

LIFECYCLE = ("subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer")
MERGE_MILLIS = 137  # no other line has this millisecond, so none that uses a merge's result shares its time


@dataclass(frozen=True)
class Setting:
    """The span of a log; `pace` stretches sales cycles where there is more time."""

    start: int
    end: int

    @property
    def pace(self) -> float:
        return min(5.0, max(1.0, (self.end - self.start) / (15 * DAY)))


class Ids:
    """Object ids in HubSpot's manner: digits, with a first one that shows the type to a reader."""

    _FIRST = {"contacts": "1", "companies": "3", "deals": "5"}

    def __init__(self, width: int = 5, after: int = 0) -> None:
        self._width = width
        self._last = dict.fromkeys(self._FIRST, after)

    def next(self, kind: str) -> str:
        self._last[kind] += 1
        return f"{self._FIRST[kind]}{self._last[kind]:0{self._width}d}"


@dataclass
class Person:
    """A contact. `ids` has more than one entry where a merge gave it a new record."""

    first: str
    last: str
    email: str
    channel: Channel
    form: Form
    created: int
    ids: list[tuple[int, str]]
    consent: str | None
    absorbed_at: int | None = None
    stages: list[tuple[int, str, str]] = field(default_factory=list)

    def ref(self, at: int) -> Ref:
        """The live contact at this instant."""
        return "contacts", [identifier for since, identifier in self.ids if since <= at or since == self.ids[0][0]][-1]

    def known(self, at: int) -> bool:
        """Whether this record exists and was not absorbed yet."""
        return self.created <= at and (self.absorbed_at is None or at < self.absorbed_at)

    def moves(self, at: int, stage: str, source: str) -> None:
        self.stages.append((at, stage, source))


@dataclass
class Account:
    """A company (or, without `company`, only its people)."""

    number: int
    region: Region
    name: str
    domain: str
    company: Ref | None
    owner: str
    currency: str
    people: list[Person]
    stages: list[tuple[int, str, str]] = field(default_factory=list)

    def present(self, at: int) -> list[Person]:
        return [person for person in self.people if person.known(at)]


def _channel(rng: random.Random) -> Channel:
    return rng.choices(catalog.CHANNELS, weights=[channel.weight for channel in catalog.CHANNELS])[0]


def _form(rng: random.Random, channel: Channel) -> Form:
    if channel.key == "newsletter":
        return rng.choice((catalog.WEBINAR, catalog.EBOOK, catalog.DEMO))
    weights = (0.36, 0.12, 0.2, 0.2, 0.12) if channel.key != "facebook" else (0.15, 0.05, 0.25, 0.4, 0.15)
    return rng.choices(catalog.FORMS, weights=weights)[0]


def draw_account(rng: random.Random, number: int, size: int, ids: Ids, setting: Setting, first: int | None) -> Account:
    """The n-th account with its people; `first` fixes the hour of the first of them."""
    region = AMERICA if rng.random() < 0.3 else EUROPE
    name, domain = names.company(number, rng, region)
    company = ("companies", ids.next("companies")) if rng.random() < 0.93 else None
    account = Account(
        number=number,
        region=region,
        name=name,
        domain=domain if company else catalog.FREE_MAIL,
        company=company,
        owner=rng.choice(catalog.OWNERS),
        currency=region.currency if rng.random() < 0.85 else "EUR",
        people=[],
    )
    arrival = first if first is not None else visit(rng, setting.start + HOUR, setting.end, region)
    for place in range(size):
        latest = min(setting.end, arrival + int(5 * DAY * setting.pace))
        created = arrival if place == 0 else visit(rng, min(arrival + HOUR, latest), latest, region)
        account.people.append(_draw_person(rng, account, created, ids.next("contacts")))
    return account


def _draw_person(rng: random.Random, account: Account, created: int, identifier: str) -> Person:
    first, last = names.person(rng)
    local = names.mailbox(first, last)
    if not account.company:  # a private mailbox: the number keeps it unique
        local = f"{local}{account.number}"
    taken = {person.email for person in account.people}
    email = f"{local}@{account.domain}"
    while email in taken:
        local += "2"
        email = f"{local}@{account.domain}"
    channel = _channel(rng)
    consent = rng.choices(("granted", "denied", None), weights=(0.78, 0.1, 0.12))[0]
    return Person(first, last, email, channel, _form(rng, channel), created, [(created, identifier)], consent)


def plan_duplicate(rng: random.Random, account: Account, ids: Ids, setting: Setting, log: Log) -> None:
    """The second record is the first person again, under another address, until the two are merged."""
    one, two = account.people[0], account.people[1]
    two.first, two.last = one.first, one.last
    two.email = f"{names.mailbox(one.first[0], one.last)}{account.number}@{account.domain}"
    wish = max(one.created, two.created) + int(HOUR + rng.random() * 3 * DAY)
    at = at_work(rng, wish, account.region) + MERGE_MILLIS
    if at > setting.end - MINUTE:
        return
    primary, merged = one.ids[-1][1], two.ids[-1][1]
    into = ids.next("contacts") if rng.random() < 0.8 else None
    log.merge(at, "contacts", primary, merged, into)
    one.ids.append((at, into or primary))
    two.absorbed_at = at


def tell_stages(log: Log, account: Account) -> None:
    """Lifecycle moves, forward only, as HubSpot's own automation and its users make them."""
    for person in account.people:
        reached = LIFECYCLE.index(person.form.stage)
        for at, stage, source in sorted(person.stages):
            if LIFECYCLE.index(stage) > reached and person.known(at):
                reached = LIFECYCLE.index(stage)
                log.update(at, person.ref(at), source, {"lifecyclestage": stage})
    reached = LIFECYCLE.index("lead")
    for at, stage, source in sorted(account.stages):
        if account.company and LIFECYCLE.index(stage) > reached:
            reached = LIFECYCLE.index(stage)
            log.update(at, account.company, source, {"lifecyclestage": stage})
