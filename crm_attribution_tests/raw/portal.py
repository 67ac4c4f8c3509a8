"""A portal log written by a test, with the truth of it kept beside: an oracle that shares nothing with the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from crm_attribution.clock import FixedClock, iso, parse_instant
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.mapping import Rules, load
from crm_attribution.raw.readers import Readers, readers
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution_tests.helpers import new_warehouse
from crm_attribution_tests.sandbox_process import Sandbox

START = parse_instant("2026-03-02T00:00:00Z")
OBJECTS = ("companies", "contacts", "deals")
TRACKED = {"contacts": ("email", "lifecyclestage"), "companies": ("lifecyclestage",), "deals": ("dealstage", "amount")}
COMPARED = {
    "contacts": ("email", "lifecyclestage", "firstname"),
    "companies": ("name", "domain", "lifecyclestage"),
    "deals": ("dealname", "dealstage"),
}

Key = tuple[str, str]


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


@dataclass
class Portal:
    """Lines, and what the raw tables must hold once they are read."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    records: dict[Key, dict[str, str]] = field(default_factory=dict)
    histories: set[tuple[str, str, str, datetime, str]] = field(default_factory=set)
    associations: dict[tuple[str, str, str, str], bool] = field(default_factory=dict)
    merges: dict[tuple[str, str], str] = field(default_factory=dict)
    archived: set[Key] = field(default_factory=set)
    sent: int = 0

    def _line(self, at: datetime, op: str, **fields: Any) -> None:
        self.lines.append({"at": iso(at), "op": op, **fields})

    def fresh(self) -> list[dict[str, Any]]:
        """The lines since the last time."""
        fresh = self.lines[self.sent :]
        self.sent = len(self.lines)
        return fresh

    def create(self, at: datetime, kind: str, number: int, **properties: str) -> str:
        self._line(at, "create", object=kind, id=str(number), source="CRM_UI", properties=properties)
        self.records[kind, str(number)] = dict(properties)
        self._tell(at, kind, str(number), properties)
        return str(number)

    def update(self, at: datetime, kind: str, number: int | str, **properties: str) -> None:
        self._line(at, "update", object=kind, id=str(number), source="CRM_UI", properties=properties)
        changed = {n: v for n, v in properties.items() if self.records[kind, str(number)].get(n) != v}
        self.records[kind, str(number)].update(properties)
        self._tell(at, kind, str(number), changed)

    def _tell(self, at: datetime, kind: str, number: str, properties: dict[str, str]) -> None:
        for name in TRACKED[kind]:
            if name in properties:
                self.histories.add((kind, number, name, at, properties[name]))

    def associate(self, at: datetime, one: Key, other: Key, primary: bool | None = None) -> None:
        """The first company of a contact or deal is its primary one."""
        extra = {} if primary is None else {"primary": primary}
        self._line(at, "associate", **{"from": list(one), "to": list(other)}, **extra)
        mine = [key for key in self.associations if key[:2] == one and key[2] == other[0] == "companies"]
        first = not any(self.associations[key] for key in mine)
        is_primary = other[0] == "companies" and (first if primary is None else primary)
        if is_primary:
            self.associations.update(dict.fromkeys(mine, False))
        self.associations[*one, *other] = is_primary

    def dissociate(self, at: datetime, one: Key, other: Key) -> None:
        self._line(at, "dissociate", **{"from": list(one), "to": list(other)})
        del self.associations[*one, *other]

    def merge(self, at: datetime, kind: str, primary: str, merged: str, into: str | None = None) -> None:
        """Old regime: the primary id stays. New regime: both go into a third id. Histories go along."""
        self._line(at, "merge", object=kind, primary=primary, merged=merged, **({"into": into} if into else {}))
        survivor = into or primary
        kept = {**self.records[kind, merged], **self.records[kind, primary]}
        for gone in {primary, merged} - {survivor}:
            self.merges[kind, gone] = survivor
            for absorbed, (k, into_) in [(key, (key[0], value)) for key, value in self.merges.items()]:
                if k == kind and into_ == gone:
                    self.merges[absorbed] = survivor
            del self.records[kind, gone]
        self.records[kind, survivor] = kept

    def archive(self, at: datetime, kind: str, number: str) -> None:
        self._line(at, "archive", object=kind, id=number)
        self.archived.add((kind, number))

    def restore(self, at: datetime, kind: str, number: str) -> None:
        self._line(at, "restore", object=kind, id=number)
        self.archived.discard((kind, number))

    def erase(self, at: datetime, number: str) -> None:
        self._line(at, "privacy_delete", object="contacts", id=number)


@dataclass
class Reading:
    """A warehouse that reads a portal hour by hour."""

    sandbox: Sandbox
    warehouse: Warehouse
    transport: Transport
    rules: Rules

    @classmethod
    @contextmanager
    def of(cls, folder: Path, portal: Portal, clock: datetime, **transport: Any) -> Iterator[Reading]:
        folder.mkdir(parents=True, exist_ok=True)
        with Sandbox.start(portal.fresh(), iso(clock)) as sandbox:
            headers = {"Authorization": f"Bearer {sandbox.env['HUBSPOT_ACCESS_TOKEN']}"}
            given = {"sleep": lambda _: None, **transport}
            made = Transport(sandbox.env["HUBSPOT_BASE_URL"], service="hubspot", headers=headers, **given)
            yield cls(sandbox, new_warehouse(folder / "warehouse"), made, load())
            made.close()

    def readers(self) -> Readers:
        clock = FixedClock(parse_instant(self.sandbox.clock()))
        return readers(self.warehouse, HubSpotClient(self.transport), clock, self.rules, Path("no inbox"))

    def play(self, portal: Portal, clock: datetime) -> None:
        """Let the portal's new lines happen, up to a time."""
        lines = portal.fresh()
        if lines:
            self.sandbox.log(lines)
        self.sandbox.set_clock(iso(clock))

    def read(self, since: datetime | None, *kinds: str) -> dict[str, dict[str, int]]:
        """One run; by object type the calls it made by route."""
        found = self.readers()
        if since is None:
            found.reference.account()
            found.reference.stages()
        calls = {}
        for kind in kinds or OBJECTS:
            self.sandbox.reset_calls()
            with self.warehouse.kept_open():  # as a run does
                found.records.read(kind, since)
            calls[kind] = self.sandbox.calls()["routes"]
        return calls

    def problems(self, portal: Portal) -> list[str]:
        """Missing, duplicated and wrong rows."""
        return [
            *self._records(portal),
            *self._compare("history", self._histories(), portal.histories, partial=True),
            *self._compare("merge", self._merges(), {(k, a, s) for (k, a), s in portal.merges.items()}),
            *self._compare("association", self._associations(), self._held(portal)),
            *self._compare("archived", self._archived(), portal.archived),
        ]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.warehouse.session() as session:
            return session.query(sql).rows()

    def _records(self, portal: Portal) -> Iterator[str]:
        for kind, table in (("contacts", "contact"), ("companies", "company"), ("deals", "deal")):
            names = ", ".join(f"json_extract_string(properties, '$.{name}')" for name in COMPARED[kind])
            gone = "SELECT absorbed_id FROM raw.merge WHERE object_type = ?".replace("?", f"'{kind}'")
            found = self.rows(f"SELECT id::VARCHAR, {names} FROM raw.{table} WHERE id NOT IN ({gone})")
            wanted = {
                (number, *(values.get(name) for name in COMPARED[kind]))
                for (k, number), values in portal.records.items()
                if k == kind
            }
            if len(found) != len(set(found)):
                yield f"{kind}: duplicated rows"
            yield from self._compare(kind, set(found), wanted)

    def _compare(self, what: str, found: set[Any], wanted: set[Any], *, partial: bool = False) -> Iterator[str]:
        yield from (f"{what} missing: {row}" for row in sorted(wanted - found, key=repr)[:5])
        if not partial:
            yield from (f"{what} wrong: {row}" for row in sorted(found - wanted, key=repr)[:5])

    def _histories(self) -> set[Any]:
        rows = self.rows("SELECT object_type, object_id::VARCHAR, property, timestamp, value FROM raw.property_history")
        names = {(kind, name) for kind, tracked in TRACKED.items() for name in tracked}
        mine = [row for row in rows if (row[0], row[2]) in names]
        assert len(mine) == len(set(mine)), "a history row stands twice"
        return set(mine)

    def _merges(self) -> set[Any]:
        return set(self.rows("SELECT object_type, absorbed_id::VARCHAR, survivor_id::VARCHAR FROM raw.merge"))

    def _associations(self) -> set[Any]:
        return set(
            self.rows(
                "SELECT from_type, from_id::VARCHAR, to_type, to_id::VARCHAR, is_primary FROM raw.association"
                " WHERE valid_to IS NULL"
            )
        )

    def _held(self, portal: Portal) -> set[Any]:
        return {(*key, primary) for key, primary in portal.associations.items()}

    def _archived(self) -> set[Any]:
        listed = self.rows(
            "SELECT object_type, object_id::VARCHAR FROM raw.deletion WHERE kind = 'archived' AND restored_at IS NULL"
        )
        flagged = self.rows(
            "SELECT 'contacts', id::VARCHAR FROM raw.contact WHERE archived UNION ALL SELECT 'companies', id::VARCHAR"
            " FROM raw.company WHERE archived UNION ALL SELECT 'deals', id::VARCHAR FROM raw.deal WHERE archived"
        )
        assert set(listed) == set(flagged), "raw.deletion and the records disagree"
        return set(listed)
