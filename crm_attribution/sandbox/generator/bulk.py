"""The bulk of a log: as many accounts as are needed for the wanted number of contacts.

Every account is drawn from its own random stream, so one more contact does not change the others.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from crm_attribution.sandbox.generator import catalog
from crm_attribution.sandbox.generator.account import Account, Ids, Setting, draw_account, plan_duplicate, tell_stages
from crm_attribution.sandbox.generator.base import tell_customer, tell_under_way
from crm_attribution.sandbox.generator.journey import tell_person
from crm_attribution.sandbox.generator.lines import Line, Log, iso
from crm_attribution.sandbox.generator.rhythm import later
from crm_attribution.sandbox.generator.sales import attach, deal_properties, draw_price, tell_deal, win
from crm_attribution.sandbox.generator.touches import spend

_SIZES = (1, 2, 3, 4)
_SIZE_WEIGHTS = (0.42, 0.3, 0.18, 0.1)

Timed = tuple[int, Line]


def portal(setting: Setting) -> list[Timed]:
    """Account, owners and pipelines come first."""
    log = Log()
    log.add(setting.start, "account", account=catalog.ACCOUNT)
    for owner in catalog.owners():
        log.add(setting.start, "owner", owner=owner)
    for pipeline in catalog.pipelines():
        log.add(setting.start, "pipeline", pipeline=pipeline)
    return log.lines


def costs(seed: int, contacts: int, setting: Setting) -> list[Timed]:
    """Ad spend that fits the number of contacts."""
    log = Log()
    days = max(1, (setting.end - setting.start) // 86_400_000)
    for at, entry in spend(random.Random(f"{seed}:spend"), setting.start, setting.end, contacts / days / 18):
        log.add(at, "spend", spend=entry)
    return log.lines


def bulk(seed: int, contacts: int, setting: Setting) -> Iterator[list[Timed]]:
    """The lines of one account after the other."""
    yield portal(setting)
    yield costs(seed, contacts, setting)
    ids = Ids(width=max(5, len(str(contacts + contacts // 10))))
    left, number = contacts, 0
    while left > 0:
        rng = random.Random(f"{seed}:{number}")
        size = min(left, rng.choices(_SIZES, weights=_SIZE_WEIGHTS)[0])
        yield tell_account(rng, number, size, ids, setting)
        left -= size
        number += 1


def tell_account(rng: random.Random, number: int, size: int, ids: Ids, setting: Setting) -> list[Timed]:
    """One account: seven of ten are new, the others came with the migration."""
    log = Log()
    account = draw_account(rng, number, size, ids, setting, None)
    kind = rng.choices(("new", "customer", "under_way"), weights=(0.76, 0.09, 0.15))[0]
    if kind == "customer":
        tell_customer(log, rng, account, ids, setting)
    elif kind == "under_way":
        tell_under_way(log, rng, account, ids, setting)
    else:
        tell_new(log, rng, account, ids, setting)
    tell_stages(log, account)
    return log.until(setting.end)


def tell_new(log: Log, rng: random.Random, account: Account, ids: Ids, setting: Setting) -> None:
    """People arrive, convert, are qualified; the first accepted lead brings a deal, a happy account a second one."""
    if len(account.people) > 1 and rng.random() < 0.07:
        plan_duplicate(rng, account, ids, setting, log)
    accepted = [at for person in account.people if (at := tell_person(log, rng, account, person, setting)) is not None]
    if not accepted or rng.random() < 0.08:
        return
    opened = later(rng, min(accepted), 7 * setting.pace, account.region)
    won = tell_deal(log, rng, account, ids, setting, opened)
    if won is None or rng.random() < 0.85:
        return
    expand(log, rng, account, ids, setting, won)


def expand(log: Log, rng: random.Random, account: Account, ids: Ids, setting: Setting, won: int) -> None:
    """A second win of the same account."""
    opened = later(rng, won, 24 * setting.pace, account.region)
    price = draw_price(rng)
    deal = ("deals", ids.next("deals"))
    base = deal_properties(account, f"{account.name} - More seats", price, kind="existingbusiness")
    log.create(opened, deal, "CRM_UI", {**base, **price.properties(), "closedate": iso(opened)})
    attach(log, account, deal, opened)
    win(log, rng, account, deal, price, later(rng, opened, 16 * setting.pace, account.region))
