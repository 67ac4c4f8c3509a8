"""What the people of an account do: click, convert, read newsletters, move through the lead stages."""

from __future__ import annotations

import random

from crm_attribution.sandbox.generator import catalog, names
from crm_attribution.sandbox.generator.account import Account, Person, Setting
from crm_attribution.sandbox.generator.catalog import Channel
from crm_attribution.sandbox.generator.lines import DAY, HOUR, MINUTE, SECOND, Line, Log, given, iso
from crm_attribution.sandbox.generator.rhythm import later, visit
from crm_attribution.sandbox.generator.touches import Click, email_click, make_click, submission

_BLOG = ("blog", "blog/attribution-without-cookies", "customers", "product", "blog/crm-as-source-of-truth")


def tell_person(log: Log, rng: random.Random, account: Account, person: Person, setting: Setting) -> int | None:
    """Everything one person does; answers when sales accepted the lead, if it did."""
    second = tell_touches(log, rng, account, person, setting)
    return _qualify(log, rng, account, person, second)


def tell_touches(log: Log, rng: random.Random, account: Account, person: Person, setting: Setting) -> int | None:
    """Clicks and forms of one person; answers when a second form came, if it did."""
    _before(log, rng, account, person, setting)
    _convert(log, rng, account, person)
    second = _second_form(log, rng, account, person, setting)
    _reads(log, rng, account, person, setting)
    return second


def _before(log: Log, rng: random.Random, account: Account, person: Person, setting: Setting) -> None:
    """Anonymous visits of the days before; most come back over an ad."""
    for _ in range(rng.choices((0, 1, 2), weights=(0.5, 0.35, 0.15))[0]):
        earliest = max(setting.start, person.created - int(6 * DAY * setting.pace))
        if person.created - HOUR <= earliest:
            return
        at = visit(rng, earliest, person.created - HOUR, account.region)
        channel = person.channel if rng.random() < 0.7 else rng.choice(catalog.PAID)
        log.add(at, "click", click=make_click(rng, at, channel, rng.choice(_BLOG), account.region).line())


def _conversion_click(log: Log, rng: random.Random, account: Account, person: Person, at: int, path: str) -> Click:
    click = make_click(
        rng, at - int((1 + 9 * rng.random()) * MINUTE) // SECOND * SECOND, person.channel, path, account.region
    )
    log.add(click.at, "click", click=click.line())
    return click


def _convert(log: Log, rng: random.Random, account: Account, person: Person) -> None:
    """The form that makes the contact, and the company HubSpot finds for its domain."""
    at = person.created
    click = None
    if person.channel is not catalog.ORGANIC:
        click = _conversion_click(log, rng, account, person, at, person.form.path)
    log.create(at, person.ref(at), "FORM", contact_properties(rng, account, person, click))
    log.add(at, "submit", submission=submission(person.form, person.email, click, hidden=rng.random() < 0.85))
    if not account.company:
        return
    if at == min(other.created for other in account.people) and person is account.present(at)[0]:
        properties = company_properties(rng, account, "lead")
        log.create(at + 3 * SECOND, account.company, "AUTOMATION_PLATFORM", properties)
    log.associate(at + 4 * SECOND, person.ref(at), account.company, primary=True)


def company_properties(rng: random.Random, account: Account, stage: str) -> Line:
    return {
        "name": account.name,
        "domain": account.domain,
        "industry": names.industry(rng),
        "lifecyclestage": stage,
        "hs_is_target_account": "true" if rng.random() < 0.22 else "false",
    }


def contact_properties(rng: random.Random, account: Account, person: Person, click: Click | None) -> Line:
    """The contact as the form writes it."""
    ids: Line = {}
    if click and click.ad_id and click.channel.click_property:
        ids[click.channel.click_property] = click.ad_id
    return given(
        {
            "email": person.email,
            "firstname": person.first,
            "lastname": person.last,
            "phone": names.phone(rng, account.region) if rng.random() < 0.35 else None,
            "lifecyclestage": person.form.stage,
            **ids,
            "ad_consent": person.consent,
            "hs_analytics_source": person.channel.hubspot_source,
            "hs_latest_source": person.channel.hubspot_source,
        }
    )


def _second_form(log: Log, rng: random.Random, account: Account, person: Person, setting: Setting) -> int | None:
    """Days after the first form many come back for a demo, often over another channel."""
    likely = 0.5 if person.form.key in ("subscribe", "ebook") else 0.12
    if rng.random() >= likely:
        return None
    at = later(rng, person.created, 40 * setting.pace, account.region)
    if at > setting.end or not person.known(at):
        return None
    channel: Channel = person.channel if rng.random() < 0.5 else rng.choice(catalog.PAID)
    click = make_click(rng, at - 4 * MINUTE, channel, catalog.DEMO.path, account.region)
    log.add(click.at, "click", click=click.line())
    log.add(at, "submit", submission=submission(catalog.DEMO, person.email, click))
    changes: Line = {"hs_latest_source": channel.hubspot_source, "hs_latest_source_timestamp": iso(click.at)}
    if click.ad_id and channel.click_property:
        changes[channel.click_property] = click.ad_id
    log.update(at, person.ref(at), "FORM", changes)
    return at


def _reads(log: Log, rng: random.Random, account: Account, person: Person, setting: Setting) -> None:
    """Newsletter clicks of a known contact; a scanner sometimes opens every link of the mail first."""
    for _ in range(rng.choices((0, 1, 2), weights=(0.62, 0.27, 0.11))[0]):
        at = visit(rng, person.created + 5 * MINUTE, min(setting.end, person.created + 9 * DAY), account.region)
        identifier = person.ref(at)[1]
        if rng.random() < 0.08:
            scanner_burst(log, rng, account, at - 40 * SECOND, identifier)
        click = make_click(rng, at, catalog.NEWSLETTER, rng.choice(_BLOG), account.region, identifier)
        log.add(at, "click", click=click.line())
        if rng.random() < 0.45:
            event = email_click(rng, at, person.email, filtered=rng.random() < 0.12)
            log.add(at, "email_click", event=event)


def scanner_burst(log: Log, rng: random.Random, account: Account, at: int, identifier: str) -> None:
    """A mail gateway follows three or four links of one recipient within seconds, as an ordinary browser."""
    paths = list(_BLOG[: rng.choice((3, 4))])
    for place, path in enumerate(paths):
        click = make_click(rng, at + place * 2 * SECOND, catalog.NEWSLETTER, path, account.region, identifier)
        log.add(click.at, "click", click={**click.line(), "link_slug": f"ne-scan-{place}"})


def _qualify(log: Log, rng: random.Random, account: Account, person: Person, second: int | None) -> int | None:
    """Marketing's and sales' own moves."""
    to_marketing, to_sales, _ = person.channel.rates
    lucky = min(0.92, to_marketing + (0.3 if second else 0.0))
    if person.form.stage != "marketingqualifiedlead" and rng.random() >= lucky:
        return None
    base = second or person.created
    if rng.random() < 0.6:  # lead scoring reacts at once
        qualified = base + int((20 + 300 * rng.random()) * SECOND) // 10 * 10
        person.moves(qualified, "marketingqualifiedlead", "AUTOMATION_PLATFORM")
    else:
        qualified = later(rng, base, 4, account.region)
        person.moves(qualified, "marketingqualifiedlead", "CRM_UI")
    _assign(log, account, person, qualified + 5 * SECOND)
    if rng.random() >= to_sales:
        if rng.random() < 0.35:
            _recycle(log, rng, account, person, qualified)
        return None
    accepted = later(rng, qualified, 9, account.region)
    person.moves(accepted, "salesqualifiedlead", "CRM_UI")
    return accepted


def _assign(log: Log, account: Account, person: Person, at: int) -> None:
    if person.known(at):
        log.update(
            at, person.ref(at), "AUTOMATION_PLATFORM", {"hubspot_owner_id": account.owner, "hs_lead_status": "OPEN"}
        )


def _recycle(log: Log, rng: random.Random, account: Account, person: Person, qualified: int) -> None:
    """Sales gives the lead back: by the lead status only, or by clearing the stage and setting it lower."""
    at = later(rng, qualified, 20, account.region)
    if not person.known(at) or person.absorbed_at is not None:
        return
    log.update(at, person.ref(at), "CRM_UI", {"hs_lead_status": "UNQUALIFIED"})
    if rng.random() < 0.4 and not any(stage == "salesqualifiedlead" for _, stage, _ in person.stages):
        log.update(at + 6 * SECOND, person.ref(at), "CRM_UI", {"lifecyclestage": ""})
        log.update(at + 7 * SECOND, person.ref(at), "CRM_UI", {"lifecyclestage": "lead"})
