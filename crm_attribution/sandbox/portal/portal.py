"""A HubSpot account that plays a portal log: every line up to its clock is applied."""

from __future__ import annotations

import heapq
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from crm_attribution.sandbox.instants import DAY, iso
from crm_attribution.sandbox.portal import merging, schema
from crm_attribution.sandbox.portal.activity import Activity
from crm_attribution.sandbox.portal.associations import Graph, Node, orient
from crm_attribution.sandbox.portal.derived import implied
from crm_attribution.sandbox.portal.feed import Bonds, Feed
from crm_attribution.sandbox.portal.kinds import KINDS
from crm_attribution.sandbox.portal.log import Line, LogError
from crm_attribution.sandbox.portal.records import Entry, Record, Store

Json = dict[str, Any]
COMPANY_PROPERTY = {"contacts": "associatedcompanyid", "deals": "hs_primary_associated_company"}
RESTORABLE = 90 * DAY  # https://developers.hubspot.com/docs/api/crm/contacts: archived records, ninety days
DEFAULT_ACCOUNT = {"portalId": 1000001, "timeZone": "Europe/Berlin", "companyCurrency": "EUR"}


class ClockError(ValueError):
    """The sandbox's clock was asked to go back."""


def _text(value: str | int | float | bool | None) -> str:
    """A property value as HubSpot stores it: text, and clearing is writing the empty one."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _source(line: Line) -> str:
    """Who made the change, in HubSpot's vocabulary."""
    return sys.intern(line.body.get("source") or "CRM_UI")


class Portal:
    """The state of the account at `now`."""

    def __init__(self, lines: list[Line], now: int) -> None:
        self.now = now
        self.version = 0
        self.stores = {name: Store(kind) for name, kind in KINDS.items()}
        self.graph = Graph()
        self.feed = Feed()
        self.activity = Activity()
        self.account: Json = dict(DEFAULT_ACCOUNT)
        self.owners: dict[str, Json] = {}
        self.pipelines: dict[str, Json] = {"default": schema.default_deal_pipeline()}
        self._stages: dict[str, tuple[str, Json]] = {}
        self._index_stages()
        self._waiting: deque[Line] = deque()
        self._archived: deque[tuple[int, Record]] = deque()
        self._play: dict[str, Callable[[Line], None]] = {
            "create": self._create,
            "update": self._update,
            "associate": self._associate,
            "dissociate": self._dissociate,
            "merge": self._merge,
            "archive": self._archive,
            "restore": self._restore,
            "privacy_delete": self._privacy_delete,
            "submit": lambda line: self.activity.submit(line.body["submission"], line.at),
            "click": lambda line: self.activity.click(line.body["click"], line.at),
            "email_click": lambda line: self.activity.email_click(line.body["event"], line.at),
            "attend": lambda line: self.activity.attend(line.body["attendance"], line.at),
            "spend": lambda _: None,
            "campaign": lambda line: self.activity.campaign(line.body["campaign"], line.at),
            "owner": self._owner,
            "pipeline": self._pipeline,
            "account": lambda line: self.account.update(line.body["account"]),
        }
        self.append(lines)

    def append(self, lines: list[Line]) -> None:
        """Add lines to the log; those that are due are applied at once, the others when the clock reaches them."""
        for line in lines:
            if line.op in ("create", "update"):
                self.stores[line.body["object"]].properties.written(line.body["properties"])
        self._waiting = deque(heapq.merge(self._waiting, lines, key=lambda line: line.at))
        self._catch_up()

    def advance(self, now: int) -> None:
        """Move the clock forward and apply what became due.

        Raises:
            ClockError: when `now` is in the sandbox's past.
            LogError: when a line cannot be applied; the ones before it are.
        """
        if now < self.now:
            raise ClockError(f"the clock is at {iso(self.now)} and does not go back to {iso(now)}")
        self.now = now
        self._catch_up()

    def _catch_up(self) -> None:
        while self._waiting and self._waiting[0].at <= self.now:
            line = self._waiting.popleft()
            self._purge(line.at)
            self._play[line.op](line)
            self.version += 1
        self._purge(self.now)

    def _purge(self, now: int) -> None:
        """Forget what was archived too long ago to be restored."""
        while self._archived and self._archived[0][0] + RESTORABLE <= now:
            at, record = self._archived.popleft()
            store = self.stores[record.kind.name]
            if record.archived_at == at and store.records.get(record.id) is record:
                self.graph.forget(Node(record.kind.name, record.id))
                store.remove(record)

    # -- records ----------------------------------------------------------------------------------------------------

    def _known(self, line: Line, kind: str, identifier: str, *, archived: bool = False) -> Record:
        """The record a line names, alive unless `archived`; through a merge its survivor."""
        record = self.stores[kind].find(identifier)
        if record is None:
            raise LogError(line.number, f"{line.op} of {kind} {identifier}, which does not exist then")
        if (record.archived_at is not None) != archived:
            state = "is not archived" if archived else "is archived"
            raise LogError(line.number, f"{line.op} of {kind} {identifier}, which {state} then")
        return record

    def _write(self, record: Record, properties: Json, line: Line, what: str = "propertyChange") -> None:
        """Set properties and what follows from them. What did not change is not reported."""
        source = _source(line)
        source_id = line.body.get("source_id")
        given = {sys.intern(name): _text(value) for name, value in properties.items()}
        follows = implied(record, given, line.at, self._stages)
        entries = [(name, Entry(value, line.at, source, source_id)) for name, value in given.items()]
        entries.extend((name, Entry(value, line.at, "CALCULATED")) for name, value in follows.items())
        changed: list[str | Entry] = []
        for name, entry in entries:
            if record.write(name, entry):
                changed += (name, entry)
        if changed:
            self.stores[record.kind.name].properties.written(follows)
            record.stamp(line.at)
            self.stores[record.kind.name].touched(record)
        if changed or what == "creation":
            self.feed.note(record, line.at, what, source, tuple(changed))

    def _create(self, line: Line) -> None:
        store = self.stores[line.body["object"]]
        identifier = line.body["id"]
        if store.find(identifier) is not None:
            raise LogError(line.number, f"create of {store.kind.name} {identifier}, which exists already")
        record = Record(store.kind, identifier, line.at)
        store.add(record)
        self._write(record, line.body["properties"], line, "creation")

    def _update(self, line: Line) -> None:
        record = self._known(line, line.body["object"], line.body["id"])
        if line.at < record.modified:
            known = iso(record.modified)
            raise LogError(line.number, f"update of {record.kind.name} {record.id}, which was changed later ({known})")
        self._write(record, line.body["properties"], line)

    def _archive(self, line: Line) -> None:
        record = self._known(line, line.body["object"], line.body["id"])
        store = self.stores[record.kind.name]
        record.archived_at = line.at
        store.hide(record)
        store.archived_by_id.put(record)
        self._archived.append((line.at, record))
        self.feed.note(record, line.at, "deletion", _source(line))

    def _restore(self, line: Line) -> None:
        """Bring an archived record back. That this moves the modified time is an assumption."""
        record = self._known(line, line.body["object"], line.body["id"], archived=True)
        record.archived_at = None
        record.stamp(line.at)
        self.stores[record.kind.name].show(record)
        self.feed.note(record, line.at, "restore", _source(line))

    def _privacy_delete(self, line: Line) -> None:
        """Erase a record for good, and a contact's submissions and e-mail events with it."""
        store = self.stores[line.body["object"]]
        record = store.find(line.body["id"])
        if record is None:
            raise LogError(line.number, f"privacy_delete of {line.body['id']}, which does not exist then")
        addresses = {record.value("email") or "", *(record.value("hs_additional_emails") or "").split(";")} - {""}
        self.activity.erase(addresses)
        self.graph.forget(Node(store.kind.name, record.id))
        store.remove(record)
        if store.kind.name == "contacts":
            self.feed.note(record, line.at, "privacyDeletion", _source(line))
        self.feed.note(record, line.at, "deletion", _source(line))

    # -- associations and merges ------------------------------------------------------------------------------------

    def _ends(self, line: Line) -> tuple[Node, Node]:
        one, other = (self._known(line, *line.body[end]) for end in ("from", "to"))
        return orient(Node(one.kind.name, one.id), Node(other.kind.name, other.id))

    def _sync_company(self, node: Node, line: Line) -> None:
        """A primary company is also a property of the contact or deal, and writing it a change of the record."""
        name = COMPANY_PROPERTY.get(node.kind)
        record = self.stores[node.kind].find(node.id)
        company = self.graph.primary_company(node)
        if name and record is not None and (company is not None or line.op == "dissociate"):
            self._write(record, {name: company}, line)

    def _associate(self, line: Line) -> None:
        owner, target = self._ends(line)
        bonds = Bonds(self.graph, owner, target)
        self.graph.associate(owner, target, line.body.get("primary"), line.body.get("label"))
        bonds.report(self.feed, line.at, _source(line))
        if target.kind == "companies":
            self._sync_company(owner, line)

    def _dissociate(self, line: Line) -> None:
        owner, target = self._ends(line)
        bonds = Bonds(self.graph, owner, target)
        if not self.graph.dissociate(owner, target, line.body.get("label")):
            raise LogError(line.number, f"dissociate of {owner} and {target}, which are not associated so then")
        bonds.report(self.feed, line.at, _source(line))
        if target.kind == "companies":
            self._sync_company(owner, line)

    def _merge(self, line: Line) -> None:
        kind = line.body["object"]
        store = self.stores[kind]
        primary, merged = (self._known(line, kind, line.body[role]) for role in ("primary", "merged"))
        into = line.body.get("into")
        if primary is merged or (into not in (None, primary.id) and store.find(into) is not None):
            raise LogError(
                line.number, f"merge of {primary.id} and {merged.id} into {into or primary.id}, one too many"
            )
        moved = sum(1 for name in merged.history if merged.value(name) and primary.value(name) is None)
        details = (primary.id, merged.id, moved)
        survivor = merging.merge(primary, merged, into, line.at)
        new = Node(kind, survivor.id)
        for parent in (primary, merged):
            if parent is not survivor:
                self.graph.move(Node(kind, parent.id), new)
                store.remove(parent, survivor)
        store.add(survivor)
        line.body["source"] = merging.SOURCE
        self.feed.note(survivor, line.at, "merge", merging.SOURCE, details)
        self._sync_company(new, line)
        if kind == "companies":
            for end, _ in self.graph.neighbours(new):
                self._sync_company(end, line)

    # -- the account's set-up ---------------------------------------------------------------------------------------

    def _owner(self, line: Line) -> None:
        raw = line.body["owner"]
        self.owners[str(raw["id"])] = schema.owner(raw, iso(line.at))

    def _pipeline(self, line: Line) -> None:
        raw = line.body["pipeline"]
        self.pipelines[raw["id"]] = schema.pipeline(raw, iso(line.at))
        self._index_stages()

    def _index_stages(self) -> None:
        self._stages = {
            stage["id"]: (pipeline["id"], stage["metadata"])
            for pipeline in self.pipelines.values()
            for stage in pipeline["stages"]
        }
