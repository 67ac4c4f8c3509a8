"""The records that inputs are about, each with what was said of it and the names it had before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from crm_attribution.conversions import inputs
from crm_attribution.conversions.identify_rules import Known, Said, digest
from crm_attribution.destinations.hubspot_identify import DOMAIN, NEW
from crm_attribution.mapping import Rules
from crm_attribution.mapping.inputs import NEVER
from crm_attribution.mapping.problems import kept_from_inputs
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session

SEVERAL = "several_companies_have_the_domain"
NO_COMPANY = "names_no_company"

Json = dict[str, Any]


@dataclass
class Subject:
    """A record and what was said of it.

    Attributes:
        kind: contacts or companies.
        record: its id; None where HubSpot has none.
        name: e-mail or domain, by which it is made.
        before: subjects it was told as before: without an id, or as records that it absorbed.
    """

    kind: str
    record: int | None
    name: str
    before: set[str] = field(default_factory=set)
    said: list[Said] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"{self.kind}:{digest(self.kind, self.name) if self.record is None else self.record}"

    @property
    def made_of(self) -> dict[str, tuple[str, str]]:
        """What a record that HubSpot does not have is made of."""
        keys = ("email",) if self.kind == "contacts" else ("domain", DOMAIN)
        return {} if self.record is not None else dict.fromkeys(keys, (self.name, ""))

    @property
    def action(self) -> str:
        return self.kind if self.record is not None else NEW + self.kind


@dataclass
class Telling:
    """One planning.

    Attributes:
        known: by object type.
        wrong: what is reported of inputs: (row, object type, property) -> reason.
        seen: ids of the inputs that were looked at.
    """

    known: Mapping[str, Known]
    wrong: dict[tuple[str, str, str], str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def say(self, subject: Subject, row: Json) -> None:
        """Take what a row of raw.identify says of a record."""
        values = json.loads(row["properties"]) if row["properties"] else {}
        good, wrong = self.known[subject.kind].read(values)
        self.wrong |= {(row["message_id"], subject.kind, name): reason for name, reason in wrong.items()}
        subject.said.append(Said(row["happened_at"], row["message_id"], good))


def known_of(session: Session, rules: Rules) -> dict[str, Known]:
    rows = session.query("SELECT object_type, name, type, options FROM raw.property WHERE NOT archived")
    kept, found = kept_from_inputs(rules), {}
    for kind in ("contacts", "companies"):
        mine = rows.filter(pl.col("object_type") == kind)
        found[kind] = Known(
            rules.write_back.identify.names.get(kind, {}),
            dict(mine.select("name", pl.col("type").fill_null("")).iter_rows()),
            frozenset({*kept[kind], *NEVER}),
            rules.lifecycle.order,
            {name: frozenset(options) for name, options in mine.drop_nulls("options").select("name", "options").rows()},
        )
    return found


def people_of(session: Session, found: inputs.Inputs, telling: Telling) -> dict[str, Subject]:
    """Contacts by subject id, with what the rows say."""
    emails: dict[int, list[str]] = {}
    for contact, email in found.contacts.drop_nulls("email").select("id", "email").iter_rows():
        emails.setdefault(contact, []).append(email)
    absorbed = _absorbed(session, "contacts", found.people["record_id"])
    people: dict[str, Subject] = {}
    for row in found.people.iter_rows(named=True):
        record = row["record_id"]
        subject = Subject("contacts", record, row["email"] or "")
        subject = people.setdefault(subject.id, subject)
        telling.seen.add(row["message_id"])
        if record is not None:
            names = {row["email"], *emails.get(record, [])} - {None}
            subject.before |= {f"contacts:{digest('contacts', one)}" for one in names}
            subject.before |= {f"contacts:{one}" for one in absorbed.get(record, [])}
        if row["kind"] == "identify":
            telling.say(subject, row)
    return people


def companies_of(session: Session, found: inputs.Inputs, telling: Telling) -> dict[str, Subject]:
    """Companies by subject id, with what the rows say. A domain that several companies have names none of them."""
    owners: dict[str, list[int]] = {}
    for domain, company in found.owners.iter_rows():
        owners.setdefault(domain, []).append(company)
    absorbed = _absorbed(session, "companies", found.owners["company_id"])
    companies: dict[str, Subject] = {}
    for message in found.nameless:
        telling.seen.add(message)
        telling.wrong[message, "companies", "domain"] = NO_COMPANY
    for row in found.companies.iter_rows(named=True):
        domain = row["business_domain"]
        telling.seen.add(row["message_id"])
        mine = owners.get(domain, [])
        if len(mine) > 1:
            telling.wrong[row["message_id"], "companies", "domain"] = SEVERAL
            continue
        subject = Subject("companies", mine[0] if mine else None, domain)
        subject = companies.setdefault(subject.id, subject)
        if subject.record is not None:
            subject.before |= {f"companies:{digest('companies', domain)}"}
            subject.before |= {f"companies:{one}" for one in absorbed.get(subject.record, [])}
        if row["kind"] == "group":
            telling.say(subject, row)
    return companies


def _absorbed(session: Session, kind: str, records: pl.Series) -> dict[int, list[int]]:
    """Record -> ids that were merged into it."""
    rows = session.query(
        "SELECT survivor_id, absorbed_id FROM raw.merge SEMI JOIN ids ON survivor_id = ids.id WHERE object_type = ?",
        [kind],
        ids=records_frame("id", records.drop_nulls()),
    )
    found: dict[int, list[int]] = {}
    for survivor, one in rows.iter_rows():
        found.setdefault(survivor, []).append(one)
    return found
