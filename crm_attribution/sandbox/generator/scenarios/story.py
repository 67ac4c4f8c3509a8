"""Helpers that write a scenario as lines of a portal log.

Times are written `03-12 10:05[:30[.250]]` (UTC, the sample's year). Objects are numbered inside their scenario:
contact 2 of scenario 7 is 190702, its company 390702, its deal 590702.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from crm_attribution.sandbox.generator import catalog
from crm_attribution.sandbox.generator.catalog import Channel, Form
from crm_attribution.sandbox.generator.lines import DAY, MINUTE, SECOND, Line, Log, Ref, given, instant, iso
from crm_attribution.sandbox.generator.rhythm import EUROPE
from crm_attribution.sandbox.generator.sales import money_properties
from crm_attribution.sandbox.generator.touches import Click, make_click, submission

OPENED = "appointmentscheduled"


def sums(monthly: int, months: int = 12) -> Line:
    """A year's amount at this monthly price, and what HubSpot adds up over the line items."""
    year = f"{monthly * 12:.2f}"
    return {"amount": year, "hs_mrr": f"{monthly:.2f}", "hs_arr": year, "hs_tcv": f"{monthly * months:.2f}"}


def amount(text: str) -> Line:
    """A typed amount; no line items."""
    return {"amount": text}


def moment(text: str) -> int:
    return instant(f"2026-{text.replace(' ', 'T')}")


class Story:
    """One scenario; `log` collects its lines."""

    def __init__(self, seed: int, number: int) -> None:
        self.log = Log()
        self.rng = random.Random(f"{seed}:scenario:{number}")
        self._number = number

    def contact(self, place: int) -> Ref:
        return "contacts", f"19{self._number:02d}{place:02d}"

    def company(self, place: int) -> Ref:
        return "companies", f"39{self._number:02d}{place:02d}"

    def deal(self, place: int) -> Ref:
        return "deals", f"59{self._number:02d}{place:02d}"

    def found(
        self, when: str, place: int, name: str, domain: str, *, stage: str = "lead", source: str = "CRM_UI"
    ) -> Ref:
        """A company appears."""
        ref = self.company(place)
        properties: Line = {"name": name, "domain": domain, "industry": "COMPUTER_SOFTWARE", "lifecyclestage": stage}
        self.log.create(moment(when), ref, source, {**properties, "hs_is_target_account": "false"})
        return ref

    def enter(
        self,
        when: str,
        place: int,
        email: str,
        name: str,
        *,
        stage: str = "lead",
        company: Ref | None = None,
        channel: Channel | None = None,
        form: Form = catalog.DEMO,
        source: str = "FORM",
        consent: str | None = "granted",
        more: Line | None = None,
    ) -> Click | None:
        """A contact appears; with a channel it clicked three minutes before, and its form carries the click."""
        at, ref = moment(when), self.contact(place)
        click = self.click(at - 3 * MINUTE, channel, form.path) if channel else None
        kept: Line = {channel.click_property: click.ad_id} if channel and click and channel.click_property else {}
        origin = channel.hubspot_source if channel else "DIRECT_TRAFFIC" if source == "FORM" else "OFFLINE"
        first, _, last = name.partition(" ")
        sources: Line = {"hs_analytics_source": origin, "hs_latest_source": origin}
        named = {"email": email, "firstname": first, "lastname": last, "lifecyclestage": stage, "ad_consent": consent}
        self.log.create(at, ref, source, given({**named, **kept, **sources, **(more or {})}))
        if source == "FORM":
            self.log.add(at, "submit", submission=submission(form, email, click))
        if company:
            self.log.associate(at + 2 * SECOND, ref, company, primary=True)
        return click

    def click(self, when: str | int, channel: Channel, path: str, who: Ref | None = None, **more: object) -> Click:
        """A link is followed; `who` is the contact the mail was sent to."""
        at = moment(when) if isinstance(when, str) else when
        drawn = make_click(self.rng, at, channel, path, EUROPE, who[1] if who else None)
        click = replace(drawn, more=dict(more))
        self.log.add(at, "click", click=click.line())
        return click

    def submit(self, when: str, form: Form, email: str, click: Click | None = None, **more: object) -> None:
        self.log.add(moment(when), "submit", submission={**submission(form, email, click), **more})

    def change(self, when: str, ref: Ref, values: Line, source: str = "CRM_UI") -> None:
        self.log.update(moment(when), ref, source, values)

    def move(self, when: str, ref: Ref, stage: str, source: str = "CRM_UI") -> None:
        """A lifecycle stage is set."""
        self.change(when, ref, {"lifecyclestage": stage}, source)

    def open(
        self,
        when: str,
        place: int,
        name: str,
        values: Line | None = None,
        *,
        company: Ref | None = None,
        people: Sequence[Ref] = (),
        stage: str = OPENED,
        source: str = "CRM_UI",
        currency: str = "EUR",
    ) -> Ref:
        """A deal appears, with its company and people."""
        at, ref = moment(when), self.deal(place)
        properties: Line = {"dealname": name, "pipeline": "default", "dealstage": stage, **money_properties(currency)}
        properties |= {"closedate": iso((at // DAY + 21) * DAY), "hubspot_owner_id": "9002", "dealtype": "newbusiness"}
        properties |= {"billing_period": "annual", "contract_term_months": "12"}
        self.log.create(at, ref, source, {**properties, **(values or {})})
        if company:
            self.log.associate(at + SECOND, ref, company, primary=True)
        for person in people:
            self.log.associate(at + SECOND, ref, person)
        return ref

    def win(self, when: str, deal: Ref, values: Line | None = None) -> None:
        self.change(when, deal, {"dealstage": "closedwon", "closedate": iso(moment(when)), **(values or {})})

    def lose(self, when: str, deal: Ref, reason: str = "Price") -> None:
        closed = {"dealstage": "closedlost", "closedate": iso(moment(when)), "closed_lost_reason": reason}
        self.change(when, deal, {**closed})

    def echo(self, when: str, stage: str, *refs: Ref) -> None:
        """HubSpot's automation follows a deal."""
        for place, ref in enumerate(refs):
            at = moment(when) + (4 + place) * SECOND + 310
            self.log.update(at, ref, "AUTOMATION_PLATFORM", {"lifecyclestage": stage})

    def merge(self, when: str, primary: Ref, merged: Ref, into: Ref | None = None) -> None:
        self.log.merge(moment(when), primary[0], primary[1], merged[1], into[1] if into else None)
