"""State of a data directory other than its tables: every key of `meta.fact`, with its type and meaning.

A value is text in the table and typed here; only this module uses the keys. Reading one gives None where nothing
was stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar, overload

import duckdb

from crm_attribution.clock import iso, parse_instant
from crm_attribution.errors import ConfigurationError

T = TypeVar("T")
Figures = dict[str, int | str | float]
Key = str | tuple[str, ...]


@dataclass(frozen=True)
class Kind(Generic[T]):
    """How a value is read from text and written as text."""

    read: Callable[[str], T]
    write: Callable[[T], str]


TEXT: Kind[str] = Kind(str, str)
NUMBER: Kind[int] = Kind(int, str)
INSTANT: Kind[datetime] = Kind(parse_instant, datetime.isoformat)
FLAG: Kind[bool] = Kind(lambda text: text == "yes", lambda flag: "yes" if flag else "no")
FIGURES: Kind[Figures] = Kind(json.loads, json.dumps)
JSON: Kind[Any] = Kind(json.loads, json.dumps)


def _interval(text: str) -> tuple[datetime, datetime]:
    since, until = text.split()
    return parse_instant(since), parse_instant(until)


INTERVAL: Kind[tuple[datetime, datetime]] = Kind(_interval, lambda ends: " ".join(map(iso, ends)))


class Value(Generic[T]):
    """A property of `State` that is one row."""

    def __init__(self, name: str, kind: Kind[T], meaning: str) -> None:
        self.name, self.kind, self.meaning = name, kind, meaning

    @overload
    def __get__(self, state: None, owner: type) -> Value[T]: ...
    @overload
    def __get__(self, state: State, owner: type) -> T | None: ...
    def __get__(self, state: State | None, owner: type) -> Value[T] | T | None:
        if state is None:
            return self
        text = state.text(self.name)
        return None if text is None else self.kind.read(text)

    def __set__(self, state: State, value: T) -> None:
        state.store(self.name, self.kind.write(value))


@dataclass(frozen=True)
class Found(Generic[T]):
    """The rows of a `Values` property, by key."""

    state: State
    prefix: str
    kind: Kind[T]

    def __getitem__(self, key: Key) -> T | None:
        text = self.state.text(self._name(key))
        return None if text is None else self.kind.read(text)

    def __setitem__(self, key: Key, value: T) -> None:
        self.state.store(self._name(key), self.kind.write(value))

    def __delitem__(self, key: Key) -> None:
        self.state.forget(self._name(key))

    def _name(self, key: Key) -> str:
        return self.prefix + (key if isinstance(key, str) else ":".join(key))

    def all(self) -> dict[str, T]:
        """Every key with its value."""
        return {key: self.kind.read(text) for key, text in self.state.starting_with(self.prefix)}


class Values(Generic[T]):
    """A property of `State` that has a row per key, e.g. per stream."""

    def __init__(self, name: str, key: str, kind: Kind[T], meaning: str) -> None:
        self.name, self.key, self.kind, self.meaning = name, key, kind, meaning

    @overload
    def __get__(self, state: None, owner: type) -> Values[T]: ...
    @overload
    def __get__(self, state: State, owner: type) -> Found[T]: ...
    def __get__(self, state: State | None, owner: type) -> Values[T] | Found[T]:
        return self if state is None else Found(state, f"{self.name}:", self.kind)


class State:
    """The state of a data directory, over one connection."""

    portal_id = Value("portal_id", TEXT, "HubSpot portal the data directory belongs to")
    start = Value("start", INSTANT, "CRM_ATTRIBUTION_START of the first run: its first hour holds all history")
    watermark = Value("watermark", INSTANT, "end of the newest hour a run has stood for")
    knowledge = Value("knowledge", INSTANT, "latest time at which a figure was recorded or a month closed")
    ledger = Value("ledger", JSON, "id and serial number of the delivery ledger that the warehouse has a copy of")
    restated = Values("restated", "account", NUMBER, "serial number of the ledger when restatements were planned last")
    looked = Values("looked", "account", JSON, "ledger, serial number and window of the last look at held conversions")
    traits = Values("trait", "trait", JSON, "text, versions of its tables and day of a computed trait's last run")
    restored = Value("restored", INTERVAL, "of releases before the ledger was a store of its own, which takes it over")
    hash_version = Value("identity:hash", TEXT, "DuckDB version whose hashes identity.node holds")
    identity_figures = Value("identity:quality", FIGURES, "identity in figures, as of its last change")
    touch_prints = Values(
        "touches", "month", TEXT, "fingerprint of the month's touches, where a model learns from them"
    )
    click_figures = Value("identity:clicks", FIGURES, "clicks that are not resolved, by reason")

    extracted = Values("extracted", "stream", INSTANT, "upper bound of the stream's last complete reading")
    progress = Values("progress", "stream", JSON, "how far a reading of records came that has not ended")
    properties = Values("properties", "object type", JSON, "names of the copied and of the tracked properties read")
    swept = Values("swept", "object type", NUMBER, "record whose associations were read last, in rotation")
    reconciled = Values("reconciled", "object type", JSON, "listing cursor and highest id of the last reconciliation")
    activity_difference = Values(
        "activity_difference", "stream", NUMBER, "how many more activities are known here than HubSpot counted last"
    )
    form_read_to = Values("form_read_to", "form", INSTANT, "newest submission of the form's last complete reading")
    rule_since = Values(
        "rule", "account:milestone:action", TEXT, "copy of the ledger's: send_from of a rule when first seen"
    )
    pause = Values("delivery.pause", "destination:account", INSTANT, "of releases before, likewise")

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def text(self, name: str) -> str | None:
        rows = self._connection.execute("SELECT value FROM meta.fact WHERE name = ?", [name]).fetchall()
        return None if not rows else str(rows[0][0])

    def store(self, name: str, text: str) -> None:
        """Also outside a transaction: one statement, since the table has no key that would make it one."""
        self._connection.execute(
            "MERGE INTO meta.fact f USING (SELECT ? AS name, ? AS value) n ON f.name = n.name"
            " WHEN MATCHED THEN UPDATE SET value = n.value WHEN NOT MATCHED THEN INSERT VALUES (n.name, n.value)",
            [name, text],
        )

    def forget(self, name: str) -> None:
        self._connection.execute("DELETE FROM meta.fact WHERE name = ?", [name])

    def starting_with(self, prefix: str) -> list[tuple[str, str]]:
        return self._connection.execute(
            "SELECT name[length(?) + 1:], value FROM meta.fact WHERE starts_with(name, ?) ORDER BY name",
            [prefix, prefix],
        ).fetchall()


ENTRIES: list[Value[Any] | Values[Any]] = [one for one in vars(State).values() if isinstance(one, Value | Values)]
"""Every key of `meta.fact`, for the documentation and the tests."""


def check_first_load(state: State, start: datetime, since: datetime | None) -> None:
    """The first partition holds all history; a later hour on an empty warehouse would leave it out for good.

    Args:
        state: of the data directory.
        start: CRM_ATTRIBUTION_START.
        since: lower bound of the run's window, None where it has the first partition in it.

    Raises:
        ConfigurationError: with the hint to run the first hour.
    """
    if since is not None and state.extracted["account"] is None:
        raise ConfigurationError(
            f"the warehouse is empty and {iso(since)} is not its first hour: materialize the partition "
            f"{start:%Y-%m-%d-%H:%M} first, it loads the whole history "
            f"(crm-attribution backfill --from {iso(start)} --to …)"
        )


def check_portal(state: State, portal: str) -> None:
    """Two portals never share a data directory.

    Raises:
        ConfigurationError: naming both portals.
    """
    known = state.portal_id
    if known is None:
        state.portal_id = portal
    elif known != portal:
        raise ConfigurationError(
            f"this data directory belongs to HubSpot portal {known}, the token is for portal {portal}: "
            "use that portal's token, or name another CRM_ATTRIBUTION_DATA_DIR"
        )


def check_start(state: State, start: datetime) -> None:
    """A data directory belongs to one START: its first partition holds all history.

    Raises:
        ConfigurationError: when the directory was begun with another CRM_ATTRIBUTION_START.
    """
    known = state.start
    if known is None:
        state.start = start
    elif known != start:
        raise ConfigurationError(
            f"the data directory was begun with CRM_ATTRIBUTION_START={iso(known)}, now it is {iso(start)}: "
            "restore the setting, or name another CRM_ATTRIBUTION_DATA_DIR"
        )


def advance_watermark(state: State, end: datetime) -> datetime:
    """The end of the newest hour of any run: the data is known as of this time, also when an older hour runs again."""
    known = state.watermark
    newest = end if known is None else max(end, known)
    state.watermark = newest
    return newest


def knowledge_time(state: State, as_of: datetime) -> datetime:
    """When what is recorded now is known: the end of the window, or the latest time anything was recorded where that is
    later. Known times never go back."""
    return as_of if state.knowledge is None else max(as_of, state.knowledge)


def newest_hour_end(state: State) -> datetime:
    """The end of the newest hour any run has stood for.

    Raises:
        ConfigurationError: when there has been none.
    """
    if (known := state.watermark) is None:
        raise ConfigurationError("the warehouse is empty: materialize the first hour (crm-attribution backfill)")
    return known
