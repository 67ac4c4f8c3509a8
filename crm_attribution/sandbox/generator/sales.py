"""Deals: opened for an account, moved through the stages, won or lost, with HubSpot's own echoes."""

from __future__ import annotations

import random
from dataclasses import dataclass

from crm_attribution.sandbox.generator import catalog
from crm_attribution.sandbox.generator.account import Account, Ids, Setting
from crm_attribution.sandbox.generator.lines import DAY, MINUTE, SECOND, Line, Log, Ref, given, iso
from crm_attribution.sandbox.generator.rhythm import later

_MONTHLY_PRICES = (290, 490, 790, 1290, 1990, 2990, 4490)
_OPEN_STAGES = tuple(stage for stage, _, probability in catalog.SALES_STAGES if probability not in ("0.0", "1.0"))
_LOST_REASONS = ("Price", "No budget this year", "Chose a competitor", "No decision")


@dataclass(frozen=True)
class Price:
    """What a deal is worth, in the deal's currency."""

    monthly: int
    billing: str
    months: int
    line_items: bool

    def amount(self) -> str:
        """What is billed at a time: a month, or a year with ten per cent off."""
        return f"{self.monthly:.2f}" if self.billing == "monthly" else f"{self.monthly * 12 * 9 // 10:.2f}"

    def properties(self) -> Line:
        """The amount, and HubSpot's sums over the line items where there are any."""
        monthly = self.monthly if self.billing == "monthly" else self.monthly * 9 // 10
        sums = {"hs_mrr": f"{monthly:.2f}", "hs_arr": f"{monthly * 12:.2f}", "hs_tcv": f"{monthly * self.months:.2f}"}
        return {"amount": self.amount(), **(sums if self.line_items else {})}


def draw_price(rng: random.Random) -> Price:
    billing = "monthly" if rng.random() < 0.4 else "annual"
    return Price(rng.choice(_MONTHLY_PRICES), billing, rng.choice((12, 12, 12, 24, 36)), rng.random() < 0.55)


def deal_properties(account: Account, name: str, price: Price, *, kind: str = "newbusiness") -> Line:
    """What a new deal has before anybody typed an amount."""
    return {
        "dealname": name,
        "pipeline": "default",
        "dealstage": "appointmentscheduled",
        **money_properties(account.currency),
        "hubspot_owner_id": account.owner,
        "billing_period": price.billing,
        "contract_term_months": str(price.months),
        "dealtype": kind,
    }


def money_properties(currency: str) -> Line:
    rate = catalog.DOLLAR_RATE if currency == "USD" else None
    return given({"deal_currency_code": currency, "hs_exchange_rate": rate})


def estimate(at: int) -> str:
    """The close date HubSpot proposes for an open deal: the end of the month, more or less."""
    return iso((at // DAY + 24) * DAY)


def attach(log: Log, account: Account, deal: Ref, at: int, *, contacts: bool = True) -> None:
    """Company and persons of a deal, a second after it was made."""
    if account.company:
        log.associate(at + SECOND, deal, account.company, primary=True)
    if not contacts:
        return
    present = account.present(at)
    for place, person in enumerate(present):
        label = catalog.DECISION_MAKER if len(present) > 1 and place == len(present) - 1 else None
        log.associate(at + SECOND, deal, person.ref(at), label=label)


def echo(account: Account, at: int, stage: str, rng: random.Random) -> None:
    """HubSpot moves everybody of the account seconds after a deal was made or won."""
    moment = at + 2 * SECOND + rng.randrange(600) * 10
    for place, person in enumerate(account.people):
        if person.known(moment):
            person.moves(moment + place * 10, stage, "AUTOMATION_PLATFORM")
    account.stages.append((moment + 400, stage, "AUTOMATION_PLATFORM"))


def tell_deal(
    log: Log, rng: random.Random, account: Account, ids: Ids, setting: Setting, at: int, *, won_at: int | None = None
) -> int | None:
    """One sales process from the opening on; answers when it was won. `won_at` makes it end there."""
    deal: Ref = ("deals", ids.next("deals"))
    price = draw_price(rng)
    early = price.properties() if rng.random() < 0.6 else {}
    properties = {
        **deal_properties(account, f"{account.name} - New business", price),
        **early,
        "closedate": estimate(at),
    }
    log.create(at, deal, "CRM_UI", properties)
    attach(log, account, deal, at, contacts=rng.random() < 0.96)
    echo(account, at, "opportunity", rng)
    return walk(log, rng, account, deal, price, setting, at, won_at=won_at)


def walk(
    log: Log,
    rng: random.Random,
    account: Account,
    deal: Ref,
    price: Price,
    setting: Setting,
    at: int,
    *,
    begin: int = 0,
    won_at: int | None = None,
) -> int | None:
    """The stages after `begin`, then the end: won, lost, or still open when the log stops."""
    chance = account.people[0].channel.rates[2] if account.people else 0.45
    fate = rng.choices(("won", "lost", "open"), weights=(chance, 0.75 - chance, 0.25))[0]
    gives_up = rng.randrange(1, len(_OPEN_STAGES)) if fate == "lost" else len(_OPEN_STAGES)
    for place in range(begin + 1, len(_OPEN_STAGES)):
        skipped = rng.random() < 0.3
        following = later(rng, at, 7 * setting.pace, account.region)
        if place > gives_up or (won_at is not None and following >= won_at - 5 * MINUTE):
            break
        if skipped:
            continue
        at = following
        amounts = price.properties() if _OPEN_STAGES[place] == "presentationscheduled" else {}
        log.update(at, deal, "CRM_UI", {"dealstage": _OPEN_STAGES[place], **amounts})
    if won_at is None and fate == "open":
        return None
    end = won_at if won_at is not None else later(rng, at, 8 * setting.pace, account.region)
    if fate == "lost" and won_at is None:
        lose(log, rng, deal, end)
        return None
    win(log, rng, account, deal, price, end)
    return end


def win(log: Log, rng: random.Random, account: Account, deal: Ref, price: Price, at: int) -> None:
    log.update(at, deal, "CRM_UI", {"dealstage": "closedwon", "closedate": iso(at), **price.properties()})
    echo(account, at, "customer", rng)


def lose(log: Log, rng: random.Random, deal: Ref, at: int) -> None:
    reason = rng.choice(_LOST_REASONS)
    log.update(at, deal, "CRM_UI", {"dealstage": "closedlost", "closedate": iso(at), "closed_lost_reason": reason})
