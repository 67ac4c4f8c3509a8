"""The sample's busy end: business that certainly falls into the hours the demo plays.

From Thursday 2026-03-12T10:00Z on, every working hour has new leads, and most have an opportunity and a win. Their
contacts are 180001 and up, their companies 380001 and up, their deals 580001 and up.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from crm_attribution.sandbox.generator import catalog
from crm_attribution.sandbox.generator.account import Account, Ids, Setting, draw_account, tell_stages
from crm_attribution.sandbox.generator.bulk import Timed
from crm_attribution.sandbox.generator.journey import tell_person, tell_touches
from crm_attribution.sandbox.generator.lines import DAY, HOUR, MINUTE, SECOND, Log, instant
from crm_attribution.sandbox.generator.rhythm import at_work, later
from crm_attribution.sandbox.generator.sales import tell_deal

_FIRST_NUMBER = 200  # bulk accounts of the sample have smaller numbers, so no domain comes twice

# hour, leads, opportunities, wins: a webinar is announced on Thursday; the evening belongs to America
PLAN = (
    *((f"2026-03-12T{hour}", 3, 1, hour % 2) for hour in range(10, 17)),
    *((f"2026-03-12T{hour}", 1, 0, 0) for hour in range(17, 20)),
    *((f"2026-03-13T{hour:02d}", 2, 1, hour % 2) for hour in range(7, 10)),
    *((f"2026-03-13T{hour}", 3, 2, 1) for hour in range(10, 13)),
    *((f"2026-03-13T{hour}", 2, 1, 1) for hour in range(13, 20)),
)


def live(seed: int, setting: Setting) -> Iterator[list[Timed]]:
    """The lines of one planned account after the other."""
    ids = Ids(width=5, after=80_000)
    number = _FIRST_NUMBER
    for text, *counts in PLAN:
        hour = instant(f"{text}:00")
        for kind, count in zip(("lead", "opportunity", "win"), counts, strict=True):
            for _ in range(count):
                rng = random.Random(f"{seed}:live:{number}")
                at = hour + int((4 + 50 * rng.random()) * MINUTE) // SECOND * SECOND
                yield _account(rng, kind, number, ids, setting, at)
                number += 1


def _account(rng: random.Random, kind: str, number: int, ids: Ids, setting: Setting, at: int) -> list[Timed]:
    days = {"lead": 0, "opportunity": 3, "win": 7}[kind]
    size = 1 if kind == "lead" else rng.choice((1, 2, 2))
    arrival = at if kind == "lead" else at - days * DAY + int(rng.random() * 20 * HOUR)
    account = draw_account(rng, number, size, ids, setting, arrival)
    if kind != "lead":
        _paid(rng, account, at_work(rng, arrival, account.region))
    log = Log()
    if kind == "lead" and rng.random() < 0.3:
        tell_person(log, rng, account, account.people[0], setting)
    else:
        _accepted(log, rng, account, setting, sales=kind != "lead")
    if kind == "opportunity":
        tell_deal(log, rng, account, ids, setting, at)
    elif kind == "win":
        tell_deal(
            log, rng, account, ids, setting, at - int((40 + 30 * rng.random()) * HOUR) // SECOND * SECOND, won_at=at
        )
    tell_stages(log, account)
    return log.until(setting.end)


def _paid(rng: random.Random, account: Account, arrival: int) -> None:
    """The first person came over an ad, in office hours, and mostly agreed to be measured."""
    person = account.people[0]
    person.channel = rng.choice(catalog.PAID)
    person.created = arrival
    person.ids = [(arrival, person.ids[0][1])]
    person.consent = rng.choices(("granted", "denied", None), weights=(0.86, 0.06, 0.08))[0]
    for other in account.people[1:]:
        other.created = max(other.created, arrival + HOUR)
        other.ids = [(other.created, other.ids[0][1])]


def _accepted(log: Log, rng: random.Random, account: Account, setting: Setting, *, sales: bool) -> None:
    """The first person certainly becomes a qualified lead; with `sales`, an accepted one the day after."""
    for person in account.people:
        tell_touches(log, rng, account, person, setting)
    first = account.people[0]
    qualified = first.created + int((30 + 200 * rng.random()) * SECOND) // 10 * 10
    first.moves(qualified, "marketingqualifiedlead", "AUTOMATION_PLATFORM")
    if sales:
        first.moves(later(rng, qualified, 6, account.region), "salesqualifiedlead", "CRM_UI")
