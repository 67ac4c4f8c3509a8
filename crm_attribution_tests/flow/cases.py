"""Small business stories, each with the milestones it must end in, all told by one portal.

A story owns the record ids from `100 * number`; its records are named 1, 2, … in it. Expected milestones are written
`name subject time` with `reversed:reason` where they no longer hold; times are `MM-DDTHH:MM`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from crm_attribution_tests.sandbox_process import Line

FORM = "f0f0f0f0-1111-4222-8333-444444444444"
FIRST_DAY = "2026-01-01T00:00:00Z"
LAST_DAY = "2026-07-01T00:00:00Z"


def _pipeline(name: str, *stages: tuple[str, bool, str]) -> Line:
    made = [{"id": key, "label": key.title(), "metadata": {"isClosed": closed, "probability": chance}}
            for key, closed, chance in stages]  # fmt: skip
    return {"at": FIRST_DAY, "op": "pipeline", "pipeline": {"id": name, "label": name.title(), "stages": made}}


SETUP: list[Line] = [
    {"at": FIRST_DAY, "op": "account", "account": {"timeZone": "Europe/Berlin", "companyCurrency": "EUR"}},
    _pipeline("renewals", ("due", False, "0.5"), ("renewed", True, "1.0"), ("churned", True, "0.0")),
    _pipeline("partners", ("talking", False, "0.5"), ("signed", True, "1.0")),
    _pipeline("trials", ("trying", False, "0.5"), ("bought", True, "1.0")),
]


@dataclass
class Story:
    """Lines of one case under construction, and what must come of them."""

    name: str
    number: int
    expected: list[str]
    lines: list[Line] = field(default_factory=list)

    def id(self, local: int) -> str:
        return str(100 * self.number + local)

    def _write(self, op: str, when: str, kind: str, local: int, source: str, properties: dict[str, object]) -> None:
        head = {"at": f"2026-{when}Z", "op": op, "object": kind, "id": self.id(local)}
        self.lines.append({**head, "source": source, "properties": properties})

    def company(self, local: int, when: str = "01-01T00:00:00", **properties: object) -> None:
        self._write("create", when, "companies", local, "CRM_UI", {"name": f"{self.name} {local}", **properties})

    def contact(
        self, local: int, when: str = "01-01T00:00:00", company: int | None = None, source: str = "FORM", **p: object
    ) -> None:
        self._write("create", when, "contacts", local, source, {"email": f"c{self.id(local)}@buyer.example", **p})
        if company is not None:
            self.join(when, ("contacts", local), ("companies", company))

    def deal(
        self, local: int, when: str, stage: str, company: int | None = None, contacts: Iterable[int] = (), **p: object
    ) -> None:
        source = str(p.pop("source", "CRM_UI"))
        self._write("create", when, "deals", local, source, {"dealname": self.name, "dealstage": stage, **p})
        if company is not None:
            self.join(when, ("deals", local), ("companies", company))
        for contact in contacts:
            self.join(when, ("deals", local), ("contacts", contact))

    def join(self, when: str, one: tuple[str, int], other: tuple[str, int]) -> None:
        ends = {"from": [one[0], self.id(one[1])], "to": [other[0], self.id(other[1])]}
        primary = {"primary": True} if other[0] == "companies" else {}
        self.lines.append({"at": f"2026-{when}Z", "op": "associate", **primary, **ends})

    def part(self, when: str, one: tuple[str, int], other: tuple[str, int]) -> None:
        ends = {"from": [one[0], self.id(one[1])], "to": [other[0], self.id(other[1])]}
        self.lines.append({"at": f"2026-{when}Z", "op": "dissociate", **ends})

    def stage(self, local: int, when: str, stage: str, **properties: object) -> None:
        self._write("update", when, "deals", local, "CRM_UI", {"dealstage": stage, **properties})

    def life(self, when: str, stage: str, *contacts: int, source: str = "AUTOMATION_PLATFORM") -> None:
        for contact in contacts:
            self._write("update", when, "contacts", contact, source, {"lifecyclestage": stage})

    def company_life(self, local: int, when: str, stage: str) -> None:
        self._write("update", when, "companies", local, "AUTOMATION_PLATFORM", {"lifecyclestage": stage})

    def click(self, when: str, contact: int, **fields: object) -> None:
        given = {"click_id": f"k{self.number}-{when}", "link_slug": "demo", "destination_url": "https://v.example",
                 "contact_id": self.id(contact), "clicked_at": f"2026-{when}Z", **fields}  # fmt: skip
        self.lines.append({"at": f"2026-{when}Z", "op": "click", "click": given})

    def submit(self, when: str, contact: int, **fields: object) -> None:
        given = {"form_id": FORM, "email": f"c{self.id(contact)}@buyer.example", **fields}
        self.lines.append({"at": f"2026-{when}Z", "op": "submit", "submission": given})

    def merge(self, kind: str, when: str, primary: int, merged: int, into: int | None = None) -> None:
        third = {} if into is None else {"into": self.id(into)}
        ends = {"primary": self.id(primary), "merged": self.id(merged)}
        self.lines.append({"at": f"2026-{when}Z", "op": "merge", "object": kind, **ends, **third})


STORIES: list[Story] = []


def story(name: str, *expected: str) -> Story:
    made = Story(name, len(STORIES) + 1, sorted(expected))
    STORIES.append(made)
    return made


s = story(
    "HubSpot and a workflow repeat the deal on every contact and on the company",
    "opportunity_created deal 1 03-05T09:00",
    "meeting_scheduled deal 1 03-05T09:00",
    "customer_won deal 1 03-08T09:00",
)
s.company(1)
s.contact(1, company=1)
s.contact(2, company=1)
s.deal(1, "03-05T09:00:00", "appointmentscheduled", 1, [1])
s.life("03-05T09:00:01", "opportunity", 1, 2)
s.company_life(1, "03-05T09:00:01", "opportunity")
s.stage(1, "03-08T09:00:00", "closedwon")
s.life("03-08T09:00:01", "customer", 1)
s.company_life(1, "03-08T09:00:01", "customer")
s.life("03-11T09:00:00", "customer", 2)

s = story(
    "a contact joins an account that is a customer already",
    "opportunity_created deal 1 03-05T09:00",
    "customer_won deal 1 03-05T09:00",
    "lead_captured contact 1 04-20T09:00",
)
s.company(1)
s.deal(1, "03-05T09:00:00", "closedwon", 1)
s.contact(1, "04-20T09:00:00", company=1, lifecyclestage="lead")
s.life("04-20T09:05:00", "customer", 1)

s = story("a win without a deal", "customer_won company 1 03-05T09:00", "opportunity_created company 1 03-01T09:00")
s.company(1)
s.contact(1, company=1)
s.contact(2, company=1)
s.life("03-01T09:00:00", "opportunity", 1)
s.life("03-05T09:00:00", "customer", 1)
s.life("03-06T09:00:00", "customer", 2)

s = story("a win of somebody without company or deal", "customer_won contact 1 03-05T09:00")
s.contact(1)
s.life("03-05T09:00:00", "customer", 1)

s = story(
    "a deal ten days later takes the lifecycle's opportunity over",
    "opportunity_created deal 1 03-02T09:00",
    "meeting_scheduled deal 1 03-12T09:00",
)
s.company(1)
s.contact(1, company=1)
s.life("03-02T09:00:00", "opportunity", 1)
s.deal(1, "03-12T09:00:00", "appointmentscheduled", 1, [1])

s = story("a deal exactly 24 hours later: still an echo", "opportunity_created deal 1 03-03T09:00",
          "meeting_scheduled deal 1 03-03T09:00")  # fmt: skip
s.company(1)
s.contact(1, company=1)
s.life("03-02T09:00:00", "opportunity", 1)
s.deal(1, "03-03T09:00:00", "appointmentscheduled", 1)

s = story("a second beyond 24 hours: adopted", "opportunity_created deal 1 03-02T09:00",
          "meeting_scheduled deal 1 03-03T09:00")  # fmt: skip
s.company(1)
s.contact(1, company=1)
s.life("03-02T09:00:00", "opportunity", 1)
s.deal(1, "03-03T09:00:01", "appointmentscheduled", 1)

s = story("exactly 90 days: adopted", "opportunity_created deal 1 01-10T09:00", "meeting_scheduled deal 1 04-10T09:00")
s.company(1)
s.contact(1, company=1)
s.life("01-10T09:00:00", "opportunity", 1)
s.deal(1, "04-10T09:00:00", "appointmentscheduled", 1)

s = story(
    "a second beyond 90 days: two opportunities",
    "opportunity_created company 1 01-10T09:00",
    "opportunity_created deal 1 04-10T09:00",
    "meeting_scheduled deal 1 04-10T09:00",
)
s.company(1)
s.contact(1, company=1)
s.life("01-10T09:00:00", "opportunity", 1)
s.deal(1, "04-10T09:00:01", "appointmentscheduled", 1)

s = story(
    "the second win of an account is an expansion",
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "customer_won deal 1 03-05T09:00",
    "opportunity_created deal 2 03-02T09:00",
    "meeting_scheduled deal 2 03-02T09:00",
    "customer_expanded deal 2 03-25T09:00",
)
s.company(1)
s.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
s.deal(2, "03-02T09:00:00", "appointmentscheduled", 1)
s.stage(1, "03-05T09:00:00", "closedwon")
s.stage(2, "03-25T09:00:00", "closedwon")

s = story(
    "a win lost again leaves the next win to be the first",
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "customer_won deal 1 03-05T09:00 reversed:lost_after_won",
    "opportunity_created deal 2 03-02T09:00",
    "meeting_scheduled deal 2 03-02T09:00",
    "customer_won deal 2 03-25T09:00",
)
s.company(1)
s.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
s.deal(2, "03-02T09:00:00", "appointmentscheduled", 1)
s.stage(1, "03-05T09:00:00", "closedwon")
s.stage(1, "03-09T09:00:00", "closedlost")
s.stage(2, "03-25T09:00:00", "closedwon")

s = story(
    "reopened",
    "opportunity_created deal 1 03-01T09:00",
    "proposal_sent deal 1 03-01T09:00",
    "customer_won deal 1 03-05T09:00 reversed:reopened",
)
s.company(1)
s.deal(1, "03-01T09:00:00", "contractsent", 1)
s.stage(1, "03-05T09:00:00", "closedwon")
s.stage(1, "03-09T09:00:00", "contractsent")

s = story(
    "reopened and won again",
    "opportunity_created deal 1 03-01T09:00",
    "proposal_sent deal 1 03-01T09:00",
    "customer_won deal 1 03-12T09:00",
)
s.company(1)
s.deal(1, "03-01T09:00:00", "contractsent", 1)
s.stage(1, "03-05T09:00:00", "closedwon")
s.stage(1, "03-09T09:00:00", "contractsent")
s.stage(1, "03-12T09:00:00", "closedwon")

s = story(
    "a renewal is no acquisition, not even the account's first win",
    "opportunity_created deal 1 03-01T09:00",
    "customer_expanded deal 1 03-05T09:00",
    "opportunity_created deal 2 03-20T09:00",
    "customer_won deal 2 03-20T09:00",
)
s.company(1)
s.deal(1, "03-01T09:00:00", "due", 1)
s.stage(1, "03-05T09:00:00", "renewed")
s.deal(2, "03-20T09:00:00", "closedwon", 1)

s = story("a pipeline to ignore and one nobody mapped")
s.company(1)
s.deal(1, "03-01T09:00:00", "signed", 1)
s.deal(2, "03-01T09:00:00", "bought", 1)

s = story(
    "a deal that moves from an ignored pipeline into ours begins there",
    "opportunity_created deal 1 03-09T09:00",
    "negotiation_started deal 1 03-09T09:00",
)
s.company(1)
s.deal(1, "03-01T09:00:00", "talking", 1)
s.stage(1, "03-09T09:00:00", "decisionmakerboughtin", pipeline="default")

s = story(
    "a deal of nobody is its own account; two of them share nothing",
    "opportunity_created deal 1 03-01T09:00",
    "customer_won deal 1 03-01T09:00",
    "opportunity_created deal 2 03-02T09:00",
    "customer_won deal 2 03-02T09:00",
)
s.deal(1, "03-01T09:00:00", "closedwon")
s.deal(2, "03-02T09:00:00", "closedwon")

s = story(
    "a slip of the mouse, taken back within the hour, is nothing; the true entry later is one",
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "proposal_sent deal 1 03-09T09:00",
    "lead_captured contact 1 03-01T09:00",
    "sales_qualified_lead contact 1 03-09T09:00",
)
s.company(1)
s.contact(1, "03-01T09:00:00", lifecyclestage="lead")
s.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
s.stage(1, "03-02T09:00:00", "contractsent")
s.stage(1, "03-02T10:00:00", "appointmentscheduled")
s.stage(1, "03-09T09:00:00", "contractsent")
s.life("03-02T09:00:00", "salesqualifiedlead", 1)
s.life("03-02T09:30:00", "", 1)
s.life("03-02T09:30:10", "lead", 1)
s.life("03-09T09:00:00", "salesqualifiedlead", 1)

s = story(
    "taken back later than that it happened",
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "proposal_sent deal 1 03-02T09:00",
)
s.company(1)
s.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
s.stage(1, "03-02T09:00:00", "contractsent")
s.stage(1, "03-02T10:00:01", "appointmentscheduled")

s = story(
    "won by a slip, then moved on as an open deal",
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "proposal_sent deal 1 03-02T09:20",
)
s.company(1)
s.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
s.stage(1, "03-02T09:00:00", "closedwon")
s.stage(1, "03-02T09:20:00", "contractsent")

for regime, into in (("as before 2025", None), ("into a third record", 3)):
    s = story(
        f"two contacts merged {regime}: one lead, the earlier",
        f"lead_captured contact {into or 1} 03-01T09:00",
        f"qualified_lead contact {into or 1} 03-04T09:00",
    )
    s.contact(1, "03-01T09:00:00", lifecyclestage="lead")
    s.contact(2, "03-03T09:00:00", lifecyclestage="lead")
    s.life("03-04T09:00:00", "marketingqualifiedlead", 2)
    s.life("03-06T09:00:00", "marketingqualifiedlead", 1)
    s.merge("contacts", "03-10T09:00:00", 1, 2, into)
    s = story(
        f"two companies merged {regime}: the later win becomes an expansion",
        "opportunity_created deal 1 03-05T09:00",
        "customer_won deal 1 03-05T09:00",
        "opportunity_created deal 2 03-09T09:00",
        "customer_expanded deal 2 03-09T09:00",
    )
    s.company(1)
    s.company(2)
    s.contact(1, company=1)
    s.contact(2, company=2)
    s.deal(1, "03-05T09:00:00", "closedwon", 1)
    s.deal(2, "03-09T09:00:00", "closedwon", 2)
    s.merge("companies", "03-20T09:00:00", 2, 1, into)

s = story(
    "the echo of a person who is only on the deal, not in its company",
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "opportunity_created deal 2 05-01T09:00",
    "meeting_scheduled deal 2 05-01T09:00",
)
s.company(1)
s.company(2)
s.contact(1)
s.contact(2, company=2)
s.deal(1, "03-01T09:00:00", "appointmentscheduled", 1, [1, 2])
s.life("04-01T09:00:00", "opportunity", 1)
s.life("04-02T09:00:00", "opportunity", 2)
s.deal(2, "05-01T09:00:00", "appointmentscheduled", 2)

s = story(
    "whoever is taken off the deal no longer repeats it",
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "opportunity_created contact 1 04-01T09:00",
)
s.company(1)
s.contact(1)
s.deal(1, "03-01T09:00:00", "appointmentscheduled", 1, [1])
s.life("04-01T09:00:00", "opportunity", 1)
s.part("05-02T09:00:00", ("deals", 1), ("contacts", 1))
s.stage(1, "05-02T09:00:01", "appointmentscheduled", amount=10)

s = story(
    "imported long after the fact: at the close date",
    "opportunity_created deal 1 01-20T09:00",
    "customer_won deal 1 01-20T09:00",
    "lead_captured contact 1 03-01T09:00",
)
s.company(1)
s.contact(1, "03-01T09:00:00", source="IMPORT", lifecyclestage="lead")
s.deal(1, "03-01T09:00:00", "closedwon", 1, closedate="2026-01-20T09:00:00Z", source="IMPORT")

s = story("our own people are marked, and still no milestone is lost", "lead_captured contact 1 03-01T09:00")
s.contact(1, "03-01T09:00:00", lifecyclestage="lead", email="tester@vendor.example")


s = story(
    "a win taken back between two others gives its touches to the third",
    *(f"{name} deal {n} {when}" for n, when in ((1, "03-01T09:00"), (3, "03-09T09:00"))
      for name in ("opportunity_created", "customer_won" if n == 1 else "customer_expanded")),
    "opportunity_created deal 2 03-05T09:00",
    "customer_expanded deal 2 03-05T09:00 reversed:lost_after_won",
)  # fmt: skip
s.company(1)
s.contact(1, company=1)
s.click("02-20T09:00:00", 1)
s.deal(1, "03-01T09:00:00", "closedwon", 1)
s.click("03-03T09:00:00", 1)
s.deal(2, "03-05T09:00:00", "closedwon", 1)
s.click("03-07T09:00:00", 1)
s.deal(3, "03-09T09:00:00", "closedwon", 1)
s.stage(2, "05-02T09:00:00", "closedlost")

s = story(
    "the form of a contact that is merged into a third record after the win",
    "opportunity_created deal 1 03-05T09:00",
    "customer_won deal 1 03-05T09:00",
)
s.company(1)
s.contact(1, company=1)
s.contact(2, company=1)
s.submit("03-01T09:00:00", 1)
s.deal(1, "03-05T09:00:00", "closedwon", 1)
s.merge("contacts", "05-02T09:00:00", 1, 2, 3)

SPLIT_WINS, MERGED_FORM = STORIES[-2].number, STORIES[-1].number


def portal() -> list[Line]:
    """All stories as one log."""
    lines = [line for told in STORIES for line in told.lines]
    return [*SETUP, *sorted(lines, key=lambda line: str(line["at"]))]
