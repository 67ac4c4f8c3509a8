"""What HubSpot is to have of a record, by all that was said of it: pure rules over values.

Of a property the value said last holds, whatever order the rows came in; of two of one instant the one of the greater
row id. What cannot be a value of the property is left out before, so that it hides nothing, and is reported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from crm_attribution.clock import from_millis, iso, parse_instant
from crm_attribution.identifiers import sha256

LIFECYCLE = "lifecyclestage"
_LONGEST = 65_536
_DIGEST = 24
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@dataclass(frozen=True)
class Said:
    """One row about a record: its properties, when it was so, and its id."""

    at: datetime
    row: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class Known:
    """What is known of the properties of an object type.

    Attributes:
        names: key of a row -> property; None: left out. A key that is not there is the property.
        types: property -> HubSpot's type, of those that HubSpot has.
        kept: properties that no input may write.
        stages: lifecycle stages in their order.
        options: property -> the values it may have, of those that HubSpot has a list of.
    """

    names: Mapping[str, str | None]
    types: Mapping[str, str]
    kept: frozenset[str]
    stages: Sequence[str]
    options: Mapping[str, Collection[str]] = field(default_factory=dict)

    def read(self, values: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Values of a row as HubSpot's, and what is left out with the reason. Of two values of a property that which
        stands under its own name is kept."""
        good: dict[str, str] = {}
        wrong: dict[str, str] = {}
        for key, text in sorted(values.items(), key=lambda item: (item[0] in self.names, item[0])):
            name = self.names.get(key, key)
            if name is None:
                continue
            try:
                value = self._value(name, text)
                if good.setdefault(name, value) != value:
                    raise ValueError("named_twice")
            except ValueError as error:
                wrong[name] = str(error)
        return good, wrong

    def _value(self, name: str, text: str) -> str:
        if name in self.kept or name.startswith("hs_"):
            raise ValueError("not_to_be_written")
        if name not in self.types:
            raise ValueError("no_such_property")
        if name == LIFECYCLE:
            return stage_of(text, self.stages)
        value = typed(text, self.types[name])
        if name in self.options and self.types[name] == "enumeration":
            several = [one.strip() for one in value.split(";") if one.strip()]
            if not set(several) <= set(self.options[name]):
                raise ValueError("no_such_option")
        return value


def typed(text: str, kind: str) -> str:
    """A text as a value of HubSpot's type: https://developers.hubspot.com/docs/api/crm/properties

    Raises:
        ValueError: with the reason, where it is none.
    """
    if kind == "number":
        plain = text.replace(" ", "")
        if not _NUMBER.fullmatch(plain):
            raise ValueError("not_a_number")
        return plain
    if kind == "bool":
        if text.lower() not in _TRUE | _FALSE:
            raise ValueError("not_true_or_false")
        return "true" if text.lower() in _TRUE else "false"
    if kind == "date":
        return _moment(text, "not_a_date").date().isoformat()
    if kind == "datetime":
        return iso(_moment(text, "not_a_time"))
    return text[:_LONGEST]


def _moment(text: str, reason: str) -> datetime:
    """A day, a time or milliseconds; without a zone it is UTC."""
    try:
        return from_millis(text) if re.fullmatch(r"\d{11,14}", text) else parse_instant(text)
    except ValueError:
        raise ValueError(reason) from None


def stage_of(text: str, stages: Sequence[str]) -> str:
    """A lifecycle stage by its id, or by its label: `Marketing Qualified Lead`.

    Raises:
        ValueError: with the reason, where it is none.
    """
    plain = re.sub(r"[\W_]+", "", text.casefold())
    found = next((stage for stage in stages if plain in (stage, re.sub(r"[\W_]+", "", stage.casefold()))), None)
    if found is None:
        raise ValueError("no_such_stage")
    return found


@dataclass(frozen=True)
class Wanted:
    """What a record is to have: property -> (text, id of the row that says it)."""

    values: Mapping[str, tuple[str, str]]

    @property
    def texts(self) -> dict[str, str]:
        return {name: text for name, (text, _) in sorted(self.values.items())}

    def key(self, subject: str, changed: Mapping[str, str], tellings: int) -> str:
        """Names what is told: the changed values with the rows that say them, after so many that HubSpot took, so that
        a value that comes back is told again."""
        told = [[name, text, self.values[name][1]] for name, text in sorted(changed.items())]
        return f"{subject}:{sha256(json.dumps([tellings, told]))[:_DIGEST]}"


def folded(said: Iterable[Said]) -> Wanted:
    """What holds by all rows about a record, in whatever order they stand."""
    found: dict[str, tuple[datetime, str, str]] = {}
    for one in said:
        for name, text in one.values.items():
            if name not in found or (one.at, one.row) >= found[name][:2]:
                found[name] = (one.at, one.row, text)
    return Wanted({name: (text, row) for name, (_, row, text) in found.items()})


def changed(
    wanted: Mapping[str, str], told: Mapping[str, str], stage: str | None, stages: Sequence[str]
) -> dict[str, str]:
    """What of it HubSpot was not told last; of the lifecycle stage only a step forward from `stage`."""
    found = {name: text for name, text in wanted.items() if text != told.get(name)}
    if LIFECYCLE in found and not _is_forward(found[LIFECYCLE], stage, stages):
        del found[LIFECYCLE]
    return found


def _is_forward(to: str, now: str | None, stages: Sequence[str]) -> bool:
    """From a stage that is not of the order nothing is forward: HubSpot would take it for a step back or aside."""
    if not now:
        return True
    return now in stages and to in stages and stages.index(to) > stages.index(now)


def digest(kind: str, name: str) -> str:
    """Stands for an e-mail or a domain where neither may: in the ledger."""
    return sha256(f"told record\n{kind}\n{name}")[:_DIGEST]
