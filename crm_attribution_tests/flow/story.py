"""A story: what happens in a portal, and the milestones it must end in.

A story is a function below `flow/stories/` with the decorator `expects`; its docstring is its name. It owns the record
ids from `100 * number`, and `number` comes from the function's name: adding a story renumbers no other. Its records are
named 1, 2, … in it. Expected milestones are written `name subject time` with `reversed:reason` where they no longer
hold; times are `MM-DDTHH:MM`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from zlib import crc32

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
    _pipeline("selling", ("contacted", False, "0.5"), ("sold", True, "1.0")),
    _pipeline("upsell", ("planned", False, "0.5"), ("upsold", True, "1.0")),
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


def expects(*milestones: str) -> Callable[[Callable[[Story], None]], Story]:
    """Make a function that writes a story's lines a `Story` that must end in these milestones."""

    def made(write: Callable[[Story], None]) -> Story:
        story = Story(str(write.__doc__), 1 + crc32(write.__name__.encode()) % 10_000_000, sorted(milestones))
        write(story)
        return story

    return made
