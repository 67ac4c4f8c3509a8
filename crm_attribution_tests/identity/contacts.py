"""Contacts written straight into raw, with an oracle that knows the persons they must form."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl

from crm_attribution.mapping import Identity
from crm_attribution.warehouse.session import Session

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Contacts:
    """A little CRM of contacts: the current truth, and what of it raw has not been told yet."""

    created: dict[str, datetime] = field(default_factory=dict)
    primary: dict[str, str] = field(default_factory=dict)
    former: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    extra: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    into: dict[str, str] = field(default_factory=dict)
    archived: set[str] = field(default_factory=set)
    dirty: set[str] = field(default_factory=set)
    hours: int = 0

    def live(self) -> list[str]:
        return [number for number in self.created if number not in self.into]

    def root(self, number: str) -> str:
        while number in self.into:
            number = self.into[number]
        return number

    def _now(self) -> datetime:
        self.hours += 1
        return START + timedelta(hours=self.hours)

    def create(self, email: str) -> str:
        number = str(len(self.created) + 1)
        self.created[number] = self._now()
        self.rename(number, email)
        return number

    def rename(self, number: str, email: str) -> None:
        self.primary[number] = email
        self.former[number].append(email)
        self.dirty.add(number)

    def add_email(self, number: str, email: str) -> None:
        self.extra[number].append(email)
        self.dirty.add(number)

    def drop_emails(self, number: str) -> None:
        self.extra[number].clear()
        self.dirty.add(number)

    def archive_or_restore(self, number: str) -> None:
        self.archived ^= {number}
        self.dirty.add(number)

    def merge(self, primary: str, merged: str, *, third: bool) -> None:
        """The survivor has both histories, and the absorbed one's addresses as further ones."""
        survivor = primary
        if third:
            survivor = self.create(self.primary[primary])
            self.former[survivor] = [*self.former[primary]]
            self.extra[survivor] = [*self.extra[primary]]
            self.into[primary] = survivor
        self.into[merged] = survivor
        self.former[survivor] += self.former[merged]
        self.extra[survivor] += [self.primary[merged], *self.extra[merged]]
        self.dirty |= {primary, merged, survivor}

    def tell(self, session: Session) -> None:
        """Write what changed into raw, as the extraction does: a survivor names everything it ever absorbed."""
        numbers = sorted(self.dirty)
        self.dirty.clear()
        stamp = START + timedelta(hours=self.hours)
        rows = [
            {"id": n, "properties": "{}", "created_at": self.created[n], "modified_at": stamp, "extracted_at": stamp,
             "archived": n in self.archived, "merged_ids": [], "email": self.primary[n],
             "additional_emails": self.extra[n]}
            for n in numbers
        ]  # fmt: skip
        past = [
            {"object_type": "contacts", "object_id": n, "property": "email", "value": value, "ordinal": 0,
             "timestamp": self.created[n] + timedelta(minutes=place), "source_type": "CRM_UI",
             "history_truncated": False, "extracted_at": stamp}
            for n in numbers for place, value in enumerate(self.former[n])
        ]  # fmt: skip
        merges = [
            {"object_type": "contacts", "absorbed_id": n, "survivor_id": self.root(n), "source": "hs_merged_object_ids"}
            for n in self.into if self.root(n) in numbers
        ]  # fmt: skip
        with session.transaction():
            session["raw.contact"].upsert(pl.DataFrame(rows, infer_schema_length=None))
            session["raw.property_history"].append(pl.DataFrame(past), identity=["object_id", "property", "value"])
            if merges:
                session["raw.merge"].upsert(pl.DataFrame(merges))
            session.journal.add("contacts", [*numbers, *(row["absorbed_id"] for row in merges)])

    def persons(self, rules: Identity) -> set[frozenset[str]]:
        """The oracle: union-find over contacts and addresses that may join, and merges; then former addresses, oldest
        first, each unless it would join two live contacts that have an address of their own."""
        holders = defaultdict(set)
        for number in self.created:
            for email in {self.primary[number], *self.former[number], *self.extra[number]}:
                holders[email.strip().lower()].add(number)

        def may_join(email: str) -> bool:
            local = email.split("@")[0]
            living = {self.root(n) for n in holders[email]} - self.archived
            shared = len(living) > rules.shared_identifier_contacts
            return local not in rules.role_mailboxes and local not in rules.blocked_values and not shared

        parent = {name: name for name in (*self.created, *holders)}
        addressed = {name: {name} & set(self.live()) - self.archived for name in parent}

        def find(name: str) -> str:
            while parent[name] != name:
                name = parent[name]
            return name

        def join(one: str, other: str) -> None:
            one, other = find(one), find(other)
            if one != other:
                parent[one] = other
                addressed[other] = addressed[other] | addressed[one]

        for number, survivor in self.into.items():
            join(number, survivor)
        former = []
        for number in self.created:
            present = {text.strip().lower() for text in (self.primary[number], *self.extra[number])}
            past = [text.strip().lower() for text in self.former[number]]
            for email in filter(may_join, present):
                join(number, email)
            for email in set(filter(may_join, past)) - present:
                former.append((self.created[number] + timedelta(minutes=past.index(email)), number, email))
        for _, number, email in sorted(former):
            one, other = find(number), find(email)
            if one == other or not (addressed[one] and addressed[other]):
                join(number, email)
        groups = defaultdict(set)
        for number in self.created:
            groups[find(number)].add(number)
        return {frozenset(group) for group in groups.values()}
