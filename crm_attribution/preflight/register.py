"""Which data leave for whom, and where data of persons are kept: made from the code that sends and stores them.

What a destination sends is read from its own requests: a conversion of an invented person is built twice, the second
time with another e-mail, phone or value, and what differs is what it sends of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from crm_attribution.contracts import CONTRACTS
from crm_attribution.destinations import destinations
from crm_attribution.destinations.base import Destination, Ready
from crm_attribution.mapping import Rules
from crm_attribution.privacy.retention import RETENTION
from crm_attribution.sources import sources

_WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_HASH = re.compile(r"[0-9a-f]{64}")

_OTHER: Mapping[str, Mapping[str, Any]] = {
    "e-mail address": {"email": "grace@hopper.example"},
    "phone": {"phone": "+4915112345679"},
    "first name": {"first_name": "Grace"},
    "last name": {"last_name": "Hopper"},
    "country": {"country": "FR"},
    "person id": {"person_id": "person-2"},
    "contact id": {"contact_id": 2},
    "click id": {"click_id": "CjwOtherClick"},
    "time of the click": {"clicked_at": _WHEN - timedelta(days=2)},
    "lead id": {"lead_id": "9876543210987654"},
    "action": {},
    "time of the fact": {"occurred_at": _WHEN + timedelta(hours=1)},
    "value": {"value": 654321},
    "currency": {"currency": "USD"},
    "key of the conversion": {"conversion_id": "conversion-2"},
    "the browser's id of the event, in place of the key": {"browser_event_id": "event-2"},
}
"""What may be sent of a conversion -> another one of it."""


@dataclass(frozen=True)
class Sent:
    """One datum that leaves.

    Attributes:
        what: in our words.
        fields: the platform's, with their place in the request.
        form: hashed, or as it is.
    """

    what: str
    fields: list[str]
    form: str


@dataclass(frozen=True)
class Recipient:
    """What one platform gets.

    Attributes:
        sent: of a conversion; nothing else is in a request but constants and what the account is called.
        click_id: the click id it takes, or of which of several one, if any.
        conversions: milestone, action and value of each rule.
        documentation: the call.
    """

    name: str
    sent: list[Sent]
    click_id: str | None
    conversions: list[dict[str, str | None]]
    documentation: str


@dataclass(frozen=True)
class Kept:
    """A table with data of persons: what it holds, and what an erasure does to it."""

    holds: str
    end: str


@dataclass(frozen=True)
class Register:
    """Who gets what, on which consent, and which tables hold data of persons."""

    recipients: list[Recipient]
    consent: dict[str, Any]
    identifiers: dict[str, list[str]]
    tables: dict[str, Kept]

    def document(self) -> dict[str, Any]:
        return asdict(self)


def register(rules: Rules) -> Register:
    """The register under a mapping."""
    sources()  # registers the contracts that stand in the files of sources
    recipients = []
    for name, destination in destinations().items():
        mine = rules.destinations.get(name)
        rated = mine.conversions if mine else []
        values: dict[tuple[str, str], str | None] = {(one.milestone, one.action): one.value for one in rated}
        conversions = [
            {"milestone": fact, "action": action, "value": values.get((fact, action))}
            for fact, action in rules.named(name)
        ]
        sent = list(_sent(destination, rules.options(name)))
        clicks = " or ".join(filter(None, [destination.click_id, *destination.other_click_ids])) or None
        recipients.append(Recipient(name, sent, clicks, conversions, destination.documentation))
    tables = {name: Kept(CONTRACTS[name].description, end) for name, end in RETENTION.items()}
    return Register(recipients, rules.consent.model_dump(), rules.identifiers.model_dump(), tables)


def _sent(destination: Destination, options: Mapping[str, str]) -> Iterator[Sent]:
    person = Ready(
        conversion_id="conversion-1",
        action=destination.example_action,
        kind="conversion",
        occurred_at=_WHEN,
        value=123456,
        currency="EUR",
        person_id="person-1",
        contact_id=1,
        email="ada@lovelace.example",
        click_id="CjwSampleClick",
        clicked_at=_WHEN - timedelta(days=1),
        phone="+4915112345678",
        first_name="Ada",
        last_name="Lovelace",
        country="DE",
        lead_id="1234567890123456",
    )
    as_it_is = _leaves(_request(destination, person, options))
    for what, changes in _OTHER.items():
        other = replace(person, **(changes or {"action": f"{person.action}1"}))
        differs = as_it_is - _leaves(_request(destination, other, options))
        for form in ("SHA-256 of the normalised value", "as it is"):
            fields = sorted({path for path, value in differs if bool(_HASH.fullmatch(value)) == (form != "as it is")})
            if fields:
                yield Sent(what, fields, form)


def _request(destination: Destination, ready: Ready, options: Mapping[str, str]) -> Any:
    settings = {setting.name: "1234567890" for setting in destination.settings}
    return destination.build([ready], settings, options).json


def _leaves(body: Any, path: str = "") -> set[tuple[str, str]]:
    """(place, value) of everything in a request; places in a list are one."""
    if isinstance(body, dict):
        return {leaf for name, value in body.items() for leaf in _leaves(value, f"{path}.{name}".strip("."))}
    if isinstance(body, list):
        return {leaf for value in body for leaf in _leaves(value, f"{path}[]")}
    return {(path, str(body))}


def page(made: Register) -> str:
    """The register in Markdown."""
    return "\n".join([*_recipients(made), *_basis(made), *_tables(made.tables)])


def _recipients(made: Register) -> Iterator[str]:
    for one in made.recipients:
        yield f"## {one.name}\n"
        yield "| what | fields of the request | form |"
        yield "| --- | --- | --- |"
        for sent in one.sent:
            what = f"{sent.what} (`{one.click_id}`)" if sent.what == "click id" else sent.what
            yield f"| {what} | {', '.join(f'`{name}`' for name in sent.fields)} | {sent.form} |"
        yield ""
        if one.conversions:
            yield "| milestone | action | value |"
            yield "| --- | --- | --- |"
            for rule in one.conversions:
                yield f"| `{rule['milestone']}` | `{rule['action']}` | {rule['value'] or 'none'} |"
        else:
            yield "The mapping names no conversions for it: nothing is sent."
        yield f"\n{one.documentation}\n"


def _basis(made: Register) -> Iterator[str]:
    consent = made.consent
    yield "## Consent\n"
    yield f"Contact properties: {_listed(consent['properties'])}. Granted: {_listed(consent['granted'])}."
    yield f"Denied: {_listed(consent['denied'])}; a denial in any of them wins."
    yield f"Without an answer: `{consent['when_absent']}`."
    yield "It is read anew when a conversion is about to be sent; without it nothing of the conversion leaves.\n"
    yield "## Identifiers\n"
    yield "Read from these HubSpot properties, the first that has a value; what is sent of them stands above.\n"
    yield "| identifier | properties |"
    yield "| --- | --- |"
    for name, properties in made.identifiers.items():
        yield f"| {name} | {_listed(properties) if properties else 'none'} |"
    yield ""


def _tables(tables: Mapping[str, Kept]) -> Iterator[str]:
    yield "## What is kept\n"
    yield (
        "No table forgets by age: a row is kept until HubSpot erases the contact or a person does\n"
        "(`crm-attribution privacy-deletion`). That also rewrites the inbox and its archive, the refused rows in\n"
        "`quarantine`, the ledger and the copies of the warehouse.\n"
    )
    yield "| table | holds | at an erasure |"
    yield "| --- | --- | --- |"
    for name, kept in tables.items():
        yield f"| `{name}` | {' '.join(kept.holds.split())} | {kept.end} |"
    yield ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
