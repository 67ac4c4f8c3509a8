"""Computed traits and audiences as SQL files: what a query says of people or accounts, for HubSpot.

A file is a header and one SELECT:

    -- Clicks on tracked links of a person in the last 30 days.
    --
    -- @subject: person
    -- @look_back: 30
    -- @trait link_clicks_30_days [number]: property of HubSpot that gets the value
    SELECT person_id, count(*) AS link_clicks_30_days
    FROM attribution.touch
    WHERE kind = 'link_click' AND person_id IS NOT NULL AND touched_at >= {since}
    GROUP BY person_id

* The first column is `person_id` or `account_id`, as `@subject` says; a row without it counts for nobody.
* Each further column is a trait, with a `@trait` line in the order of the SELECT and a type: string, number, date,
  datetime or bool.
* A file without `@trait` is an audience: its rows are the members. Its property has the file's name and is true or
  false; entering and leaving are events.
* `@accounts: any`, `all` or `none` makes accounts of people: those of whose people any, all or none are members.
* `@tell: companies`, `contacts` or both says who gets what is said of an account; as shipped both.
* `{since}` is the end of the hour less `@look_back` days, `{until}` the end of the hour.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from crm_attribution.clock import iso
from crm_attribution.errors import ConfigurationError
from crm_attribution.marts.dependencies import DependencyReader

TYPES = ("string", "number", "date", "datetime", "bool")
SHIPPED = Path(__file__).parents[1] / "traits"
"""The product's own files, beside the packages."""

_LINE = re.compile(r"--\s*@(?P<name>\w+):?\s*(?P<rest>.*)")
_TRAIT = re.compile(r"(?P<name>[a-z][a-z0-9_]*)\s*\[(?P<type>\w+)\]\s*(?::.*)?")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_SOME_TIME = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


@dataclass(frozen=True)
class Trait:
    """One file.

    Attributes:
        subject: person or account: what the query is about.
        properties: property of HubSpot -> type.
        is_audience: whether it says who is in, and nothing more.
        accounts: of an audience of people that speaks of accounts: any, all or none of the account's people.
        tell: object types that get it.
        look_back: days; None where the query has none.
        depends: tables that it reads.
    """

    name: str
    path: Path
    text: str
    description: str
    subject: str
    properties: dict[str, str]
    is_audience: bool
    accounts: str | None
    tell: frozenset[str]
    look_back: int | None
    depends: frozenset[str]

    @property
    def about(self) -> str:
        """What its values are of: person or account."""
        return "account" if self.accounts else self.subject

    def sql(self, until: datetime) -> str:
        """The query for an hour that ends then."""
        return _placed(self.text, self.look_back, until)


def _placed(text: str, look_back: int | None, until: datetime) -> str:
    since = until - timedelta(days=look_back or 0)
    for name, moment in (("{since}", since), ("{until}", until)):
        text = text.replace(name, f"TIMESTAMPTZ '{iso(moment)}'")
    return text


def paths(folders: Iterable[Path]) -> dict[str, Path]:
    """The files of some folders by name; one of a later folder stands for one of an earlier one.

    Raises:
        ConfigurationError: where one is no folder.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ConfigurationError(f"{folder} is not a folder; computed traits are files {folder}/NAME.sql")
        found |= {path.stem: path for path in sorted(folder.glob("*.sql"))}
    return found


def read(path: Path) -> Trait:
    """One file.

    Raises:
        ConfigurationError: naming the file and the fix.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: is no text in UTF-8; save it as such") from None
    with DependencyReader() as reader:
        return _parsed(path, text, reader)


def _parsed(path: Path, text: str, reader: DependencyReader) -> Trait:
    head = [line for line in text.splitlines() if line.startswith("--")]
    given: dict[str, str] = {}
    properties: dict[str, str] = {}
    for line in head:
        if (match := _LINE.fullmatch(line.rstrip())) is None:
            continue
        name, rest = match["name"], match["rest"].strip()
        if name == "trait":
            trait = _TRAIT.fullmatch(rest)
            if trait is None or trait["type"] not in TYPES:
                raise ConfigurationError(f"{path}: write `-- @trait name [type]: …`; types are {', '.join(TYPES)}")
            properties[trait["name"]] = trait["type"]
        elif name in ("subject", "look_back", "accounts", "tell"):
            given[name] = rest
        else:
            raise ConfigurationError(
                f"{path}: @{name} is unknown; use @subject, @look_back, @trait, @accounts or @tell"
            )
    look_back = _days(given.get("look_back"), path)
    if "{since}" in text and look_back is None:
        raise ConfigurationError(f"{path}: {{since}} needs `-- @look_back: 30`, in days")
    is_audience = not properties
    description = " ".join(line[2:].strip() for line in head if "@" not in line).strip()
    if not _NAME.fullmatch(path.stem) or not description:
        raise ConfigurationError(f"{path}: name it in lower case (a-z, 0-9, _), and describe it in a first `--` line")
    subject = _one_of(given.get("subject"), ("person", "account"), "subject", path)
    accounts = given.get("accounts")
    if accounts is not None:
        _one_of(accounts, ("any", "all", "none"), "accounts", path)
        if not is_audience or subject != "person":
            raise ConfigurationError(f"{path}: @accounts is for an audience of people: a query of person_id alone")
    told = re.split(r"[,\s]+", given.get("tell", "companies, contacts"))
    tell = frozenset(_one_of(one, ("companies", "contacts"), "tell", path) for one in told)
    return Trait(
        path.stem,
        path,
        text,
        description,
        subject,
        properties or {path.stem: "bool"},
        is_audience,
        accounts,
        tell if subject == "account" or accounts else frozenset({"contacts"}),
        look_back,
        reader.read(_placed(text, look_back, _SOME_TIME), path),
    )


def _one_of(text: str | None, known: tuple[str, ...], name: str, path: Path) -> str:
    if text not in known:
        raise ConfigurationError(f"{path}: write `-- @{name}: {' or '.join(known)}`")
    return str(text)


def _days(text: str | None, path: Path) -> int | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,4})(?: days?)?", text)
    if match is None:
        raise ConfigurationError(f"{path}: write `-- @look_back: 30`, in days")
    return int(match[1])
