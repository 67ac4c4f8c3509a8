"""The properties of one object type: those the account has from the start or the log writes, and what was done to them.

https://developers.hubspot.com/docs/api/crm/properties: a removed property is archived and is in the archived list.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from crm_attribution.sandbox.portal.kinds import Kind
from crm_attribution.sandbox.portal.schema import EPOCH, field_type

Json = dict[str, Any]
TYPES = ("string", "number", "enumeration", "bool", "date", "datetime")


class BadChange(ValueError):
    """A change of properties that is not understood; the message names the field."""


class Definitions:
    """Which properties exist, and where they differ from their first definition."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.names: set[str] = set(kind.types)
        self.archived: dict[str, str] = {}
        self._changed: dict[str, Json] = {}

    def written(self, names: Iterable[str]) -> None:
        """The log writes these properties; one that was removed stays so."""
        self.names.update(name for name in names if name not in self.archived)

    def known(self, name: str) -> bool:
        """Whether a read gives it; the dates of stages exist before anybody enters one."""
        if name in self.names:
            return True
        return name not in self.archived and name not in self.kind.types and self.kind.type_of(name) == "datetime"

    def type_of(self, name: str) -> str:
        """HubSpot's type of the property now."""
        return str(self._changed.get(name, {}).get("type") or self.kind.type_of(name))

    def shown(self, definition: Json) -> Json:
        """A first definition with what was changed since."""
        name = definition["name"]
        row = {**definition, **self._changed.get(name, {})}
        if name in self.archived:
            row.update(archived=True, archivedAt=self.archived[name])
        return row

    def change(self, raw: Any, now: str) -> None:
        """`add`, `rename`, `retype` and `remove`, all or none.

        Raises:
            BadChange: at the first field that is not understood.
        """
        if not isinstance(raw, dict):
            raise BadChange("the body is an object")
        add, remove = raw.get("add") or [], raw.get("remove") or []
        rename, retype = raw.get("rename") or {}, raw.get("retype") or {}
        if not isinstance(add, list) or not all(isinstance(item, dict) and item.get("name") for item in add):
            raise BadChange("`add` is a list of objects with a name")
        if not isinstance(rename, dict) or not isinstance(retype, dict) or not isinstance(remove, list):
            raise BadChange("`rename` is {name: label}, `retype` is {name: type}, `remove` is a list of names")
        added = {item["name"] for item in add}
        missing = [name for name in (*rename, *retype, *remove) if name not in self.names | added]
        if missing:
            raise BadChange(f"{self.kind.name} have no property {missing[0]}")
        types = [*retype.values(), *(item.get("type", "string") for item in add)]
        unknown = [found for found in types if found not in TYPES]
        if unknown:
            raise BadChange(f"{unknown[0]!r} is no property type; known are {', '.join(TYPES)}")
        for item in add:
            self._add(item, now)
        for name, label in rename.items():
            self._note(name, now, {"label": label})
        for name, value_type in retype.items():
            self._note(name, now, {"type": value_type, "fieldType": field_type(value_type)})
        for name in remove:
            self.names.discard(name)
            self.archived[name] = now

    def _add(self, item: Json, now: str) -> None:
        """A new property, or an archived one again."""
        name, value_type = item["name"], item.get("type", "string")
        self.archived.pop(name, None)
        self.names.add(name)
        head = {"label": name, "type": value_type, "fieldType": field_type(value_type), "createdAt": now}
        self._note(name, now, {**head, **item})

    def _note(self, name: str, now: str, fields: Json) -> None:
        self._changed[name] = {**self._changed.get(name, {"createdAt": EPOCH}), **fields, "updatedAt": now}
