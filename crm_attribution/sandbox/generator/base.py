"""Accounts that were there before the portal: customers with last year's wins, and deals under way."""

from __future__ import annotations

import random

from crm_attribution.sandbox.generator import catalog
from crm_attribution.sandbox.generator.account import Account, Ids, Setting
from crm_attribution.sandbox.generator.journey import company_properties, contact_properties
from crm_attribution.sandbox.generator.lines import DAY, HOUR, MINUTE, SECOND, Log, Ref, iso
from crm_attribution.sandbox.generator.rhythm import later, visit
from crm_attribution.sandbox.generator.sales import attach, deal_properties, draw_price, echo, estimate, walk
from crm_attribution.sandbox.generator.touches import make_click

_UNDER_WAY = (
    "appointmentscheduled",
    "qualifiedtobuy",
    "presentationscheduled",
    "decisionmakerboughtin",
    "contractsent",
)


def _move_in(log: Log, rng: random.Random, account: Account, at: int, stage: str, source: str, since: int) -> None:
    """Company and people as the migration writes them, with the dates of the old system."""
    if account.company:
        log.create(at, account.company, source, company_properties(rng, account, stage))
    for person in account.people:
        person.created = at
        person.ids = [(at, person.ids[0][1])]
        properties = contact_properties(rng, account, person, None)
        properties |= {"lifecyclestage": stage, "createdate": iso(since), f"hs_lifecyclestage_{stage}_date": iso(since)}
        properties |= {
            "hs_analytics_source": "OFFLINE",
            "hs_latest_source": "OFFLINE",
            "hubspot_owner_id": account.owner,
        }
        log.create(at, person.ref(at), source, properties)
        if account.company:
            log.associate(at + SECOND, person.ref(at), account.company, primary=True)


def tell_customer(log: Log, rng: random.Random, account: Account, ids: Ids, setting: Setting) -> None:
    """Won last year (imported as won), renews now; its people still read the newsletter."""
    at = setting.start + HOUR
    won = at - int((200 + 165 * rng.random()) * DAY) // SECOND * SECOND
    _move_in(log, rng, account, at, "customer", "IMPORT", won)
    deal: Ref = ("deals", ids.next("deals"))
    price = draw_price(rng)
    dates = {"dealstage": "closedwon", "closedate": iso(won), "createdate": iso(won - 40 * DAY)}
    properties = {**deal_properties(account, f"{account.name} - New business", price), **price.properties(), **dates}
    log.create(at + 2 * SECOND, deal, "IMPORT", properties)
    attach(log, account, deal, at + 2 * SECOND)
    renewal: Ref = ("deals", ids.next("deals"))
    due = visit(rng, at + DAY, setting.end, account.region)
    stage = {"pipeline": catalog.RENEWALS, "dealstage": catalog.RENEWAL_DUE, "closedate": estimate(due)}
    base = deal_properties(account, f"{account.name} - Renewal", price, kind="existingbusiness")
    log.create(due, renewal, "INTEGRATION", {**base, **price.properties(), **stage})
    attach(log, account, renewal, due)
    talks = later(rng, due, 20 * setting.pace, account.region)
    log.update(talks, renewal, "CRM_UI", {"dealstage": catalog.RENEWAL_TALKS})
    end = later(rng, talks, 30 * setting.pace, account.region)
    fate = catalog.RENEWED if rng.random() < 0.8 else catalog.CHURNED
    log.update(end, renewal, "CRM_UI", {"dealstage": fate, "closedate": iso(end)})


def tell_under_way(log: Log, rng: random.Random, account: Account, ids: Ids, setting: Setting) -> None:
    """A deal the old system had opened continues; its people click meanwhile, known by their mail's `eid`."""
    at = setting.start + HOUR + 10 * MINUTE
    opened = at - int((10 + 50 * rng.random()) * DAY) // SECOND * SECOND
    _move_in(log, rng, account, at, "opportunity", "MIGRATION", opened)
    deal: Ref = ("deals", ids.next("deals"))
    price = draw_price(rng)
    begin = rng.randrange(len(_UNDER_WAY))
    properties = {**deal_properties(account, f"{account.name} - New business", price), **price.properties()}
    properties |= {"dealstage": _UNDER_WAY[begin], "createdate": iso(opened), "closedate": estimate(at)}
    log.create(at + 2 * SECOND, deal, "MIGRATION", properties)
    attach(log, account, deal, at + 2 * SECOND)
    echo(account, at + 2 * SECOND, "opportunity", rng)
    latest = at + min(int((setting.end - at) * 0.75), int(20 * DAY * setting.pace))
    resumes = visit(rng, at, latest, account.region)
    for person in account.people:
        seen = visit(rng, at + HOUR, max(resumes, at + 2 * HOUR), account.region)
        click = make_click(rng, seen, rng.choice(catalog.PAID), "product", account.region, person.ref(seen)[1])
        log.add(seen, "click", click=click.line())
        if click.ad_id and click.channel.click_property:
            log.update(seen + 2 * SECOND, person.ref(seen), "INTEGRATION", {click.channel.click_property: click.ad_id})
    walk(log, rng, account, deal, price, setting, resumes, begin=begin)
