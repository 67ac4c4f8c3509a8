"""Records with their property histories, and the orders in which HubSpot reads them out."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import NamedTuple, Protocol

from crm_attribution.sandbox.instants import iso
from crm_attribution.sandbox.portal.definitions import Definitions
from crm_attribution.sandbox.portal.kinds import Kind


class Entry(NamedTuple):
    """One value a property had, as HubSpot's history returns it."""

    value: str
    at: int
    source: str
    source_id: str | None = None


class Document(Protocol):
    """What search looks at: a record as it is, or as it was when the index last saw it."""

    @property
    def id(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def created(self) -> int: ...
    @property
    def modified(self) -> int: ...
    @property
    def archived_at(self) -> int | None: ...
    def value(self, name: str) -> str | None: ...


class Record:
    """A contact, company or deal. Histories are kept oldest first; the last value is the current one.

    `hs_object_id`, the modified property and, unless a line gave it, `createdate` are answered from the record itself.
    """

    __slots__ = ("archived_at", "created", "history", "id", "kind", "modified", "number", "stamps")

    def __init__(self, kind: Kind, identifier: str, created: int) -> None:
        self.kind = kind
        self.id = identifier
        self.number = int(identifier)
        self.created = created
        self.modified = created
        self.stamps: list[int] = [created]
        self.archived_at: int | None = None
        self.history: dict[str, list[Entry]] = {}

    def value(self, name: str) -> str | None:
        """The current value; a cleared property has none."""
        entries = self.history.get(name)
        if entries:
            return entries[-1].value or None
        return self._own(name)

    def _own(self, name: str) -> str | None:
        if name == "hs_object_id":
            return self.id
        if name == self.kind.modified_property:
            return iso(self.modified)
        return iso(self.created) if name == "createdate" else None

    def entries(self, name: str) -> list[Entry]:
        """The property's history, newest first."""
        entries = self.history.get(name)
        if entries:
            return entries[::-1]
        own = self._own(name)
        if own is None:
            return []
        return [Entry(own, self.modified if name == self.kind.modified_property else self.created, "INTERNAL")]

    def write(self, name: str, entry: Entry) -> bool:
        """Append the value if it differs from the current one; whether it did."""
        if name in ("hs_object_id", self.kind.modified_property):
            return False
        entries = self.history.get(name)
        if (entries[-1].value if entries else self._own(name) or "") == entry.value:
            return False
        if entries is None:
            self.history[name] = [entry]
        else:
            entries.append(entry)
            del entries[: -self.kind.history_cap]
        return True

    def stamp(self, at: int) -> None:
        """Move the modified time."""
        self.modified = at
        if self.stamps[-1] != at:
            self.stamps.append(at)


class Version:
    """A record as it was at an earlier instant: what a late search index still holds."""

    __slots__ = ("archived_at", "created", "id", "modified", "number", "record", "seen")

    def __init__(self, record: Record, seen: int) -> None:
        self.record = record
        self.seen = seen
        self.id, self.number, self.created = record.id, record.number, record.created
        self.modified = record.stamps[bisect_right(record.stamps, seen) - 1]
        self.archived_at: int | None = None

    def value(self, name: str) -> str | None:
        if name == self.record.kind.modified_property:
            return iso(self.modified)
        entries = self.record.history.get(name)
        if not entries:
            return self.record.value(name)
        past = [entry for entry in entries if entry.at <= self.seen]
        return past[-1].value or None if past else None


Row = tuple[int, int, Document]
MOST_VIEWS = 8


class Ordered:
    """Documents ordered by (key, id number).

    Writes only note what moved; a read folds the moved ones in. Sorting an almost sorted list is linear, and a portal
    that has not changed is not touched at all.
    """

    def __init__(self, key: Callable[[Document], int]) -> None:
        self._key = key
        self.revision = 0
        self._rows: list[Row] = []
        self._moved: dict[int, Document | None] = {}

    def put(self, document: Document) -> None:
        self.revision += 1
        self._moved[document.number] = document

    def drop(self, document: Document) -> None:
        self.revision += 1
        self._moved[document.number] = None

    def rows(self) -> list[Row]:
        """In order. The caller must not keep it across changes."""
        if self._moved:
            moved = self._moved
            rows = [row for row in self._rows if row[1] not in moved]
            rows.extend((self._key(d), d.number, d) for d in moved.values() if d is not None)
            rows.sort()
            self._rows, self._moved = rows, {}
        return self._rows


class Store:
    """All records of one type, dead and alive."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.records: dict[str, Record] = {}
        self.aliases: dict[str, str] = {}
        self.properties = Definitions(kind)
        self.by_modified = Ordered(lambda document: document.modified)
        self.by_created = Ordered(lambda document: document.created)
        self.by_id = Ordered(lambda document: document.number)
        self.archived_by_id = Ordered(lambda document: document.number)
        self._emails: dict[str, str] = {}
        self._views: dict[tuple[int, ...], list[Row]] = {}
        self._viewed = 0

    def find(self, identifier: str) -> Record | None:
        """The record with this id, or the one it was merged into; archived ones too."""
        while identifier in self.aliases:
            identifier = self.aliases[identifier]
        return self.records.get(identifier)

    def find_by_email(self, address: str) -> Record | None:
        """The contact whose primary e-mail this is."""
        record = self.find(self._emails.get(address.lower(), ""))
        return record if record and (record.value("email") or "").lower() == address.lower() else None

    def add(self, record: Record) -> None:
        self.records[record.id] = record
        self.show(record)

    def touched(self, record: Record) -> None:
        """The record's modified time or e-mail changed."""
        if record.archived_at is None:
            self.by_modified.put(record)
        email = record.value("email")
        if email:
            self._emails[email.lower()] = record.id

    def show(self, record: Record) -> None:
        """Put a record among the living."""
        for order in (self.by_modified, self.by_created, self.by_id):
            order.put(record)
        self.archived_by_id.drop(record)
        self.touched(record)

    def hide(self, record: Record) -> None:
        """Take a record out of every listing."""
        for order in (self.by_modified, self.by_created, self.by_id, self.archived_by_id):
            order.drop(record)

    def remove(self, record: Record, survivor: Record | None = None) -> None:
        """Forget a record; reads of its id go to the survivor of a merge."""
        self.hide(record)
        self.records.pop(record.id, None)
        if survivor is not None:
            self.aliases[record.id] = survivor.id

    def indexed(self, seen: int | None) -> list[Row]:
        """Rows by modified time as a search index sees them: now, or when it stopped looking at `seen`."""
        rows = self.by_modified.rows()
        if seen is None:
            return rows
        return self._view((seen,), lambda: _past(rows, seen))

    def window(self, low: int, high: int, seen: int | None) -> list[Row]:
        """The rows modified from `low` to `high`, both included, by id."""

        def cut() -> list[Row]:
            rows = self.indexed(seen)
            part = rows[bisect_left(rows, (low,)) : bisect_left(rows, (high + 1,))]
            return sorted((number, number, document) for _, number, document in part)

        return self._view((low, high, -1 if seen is None else seen), cut)

    def _view(self, key: tuple[int, ...], make: Callable[[], list[Row]]) -> list[Row]:
        """A derived order, kept while nothing changes: whoever pages asks for the same one again and again."""
        if self._viewed != self.by_modified.revision or len(self._views) >= MOST_VIEWS:
            self._viewed = self.by_modified.revision
            self._views.clear()
        if key not in self._views:
            self._views[key] = make()
        return self._views[key]


def _past(rows: list[Row], seen: int) -> list[Row]:
    """`rows` as they were at `seen`: a row changed since keeps its place, a newer row is absent."""
    end = bisect_left(rows, (seen + 1,))
    versions = (Version(row[2], seen) for row in rows[end:] if row[2].created <= seen and isinstance(row[2], Record))
    return sorted([*rows[:end], *((version.modified, version.number, version) for version in versions)])
