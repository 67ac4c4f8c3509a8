"""conversions.trait: what computed traits and audiences say of people and accounts, and who entered and left.

A file runs again when a table it reads has changed since, or its text has, and in the first hour of each UTC day, as a
mart does. Only what differs is written, and told.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from crm_attribution import stopping
from crm_attribution.clock import iso
from crm_attribution.contracts.topics import TRAIT
from crm_attribution.conversions.identify_rules import typed
from crm_attribution.errors import ConfigurationError, Terminal
from crm_attribution.mapping import Rules
from crm_attribution.mapping.inputs import not_to_be_written
from crm_attribution.mapping.problems import kept_from_inputs
from crm_attribution.marts import traits as files
from crm_attribution.marts.errors import run_within
from crm_attribution.marts.traits import Trait
from crm_attribution.settings import TRAITS, Settings
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.engine import damage
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.versions import versions

MOST_SECONDS = 300
"""A query that takes longer is ended; its values stay as they are."""
TABLE, EVENTS = "conversions.trait", "conversions.audience_event"


@dataclass
class Told:
    """What an hour did to computed traits: how many subjects changed, and by trait what is wrong with it."""

    changed: int = 0
    wrong: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """When a change of membership happened, as far as is known, and when it was noted."""

    happened_at: datetime
    noted_at: datetime


_IDS = {"person": "person_id", "account": "account_id"}


def usable(rules: Rules, given: Settings) -> tuple[dict[str, Trait], dict[str, str]]:
    """The traits that the mapping names; and of those that cannot be used, by name, why."""
    named = dict.fromkeys(rules.write_back.identify.traits)
    if not named:
        return {}, {}
    own = given[TRAITS]
    try:
        paths = files.paths([files.SHIPPED, *([own] if own else [])])
    except ConfigurationError as error:
        return {}, dict.fromkeys(named, str(error))
    kept = kept_from_inputs(rules)
    found: dict[str, Trait] = {}
    wrong: dict[str, str] = {}
    for name in named:
        if name not in paths:
            wrong[name] = f"write_back.identify.traits names {name}; there are {', '.join(sorted(paths))}"
            continue
        try:
            found[name] = _checked(files.read(paths[name]), kept)
        except ConfigurationError as error:
            wrong[name] = str(error)
    return found, wrong


def _checked(trait: Trait, kept: Mapping[str, set[str]]) -> Trait:
    """What would come back as news, or is HubSpot's own, no query may write either."""
    for name in trait.properties:
        if not_to_be_written(name) or any(name in kept[kind] for kind in trait.tell):
            raise ConfigurationError(
                f"{trait.path}: {name} is HubSpot's own, or the pipeline reads it; name another property"
            )
    return trait


def properties(traits: Mapping[str, Trait]) -> dict[str, dict[str, str]]:
    """Object type -> the properties that traits are told in, with their types."""
    wanted: dict[str, dict[str, str]] = {}
    for trait in traits.values():
        for kind in sorted(trait.tell):
            wanted.setdefault(kind, {}).update(trait.properties)
    return wanted


def update(
    session: Session,
    traits: Mapping[str, Trait],
    until: datetime,
    at: datetime,
    kept: Iterable[str] = (),
    now: datetime | None = None,
) -> Told:
    """Bring the values of traits up to date. A trait that cannot be computed stays as it was, and stops no other.

    Args:
        until: end of the hour.
        at: when who entered and left did so.
        kept: traits besides that stay as they are: their files cannot be read.
        now: the clock; None: `at`.
    """
    known, told = versions(session.connection), Told()
    for name, trait in traits.items():
        stand = {
            "text": hashlib.sha256(trait.text.encode()).hexdigest()[:32],
            "inputs": {table: known.get(table, 0) for table in sorted({*trait.depends, *_lifted(trait)})},
            "day": until.astimezone(UTC).date().isoformat(),
        }
        if session.state.traits[name] == stand:
            continue
        try:
            rows = _rows(session, trait, until)
        except (ConfigurationError, Terminal) as error:
            if stopping.received() is not None or damage(error) is not None:
                raise
            told.wrong[name] = str(error)
            continue
        with session.transaction():
            told.changed += _store(session, trait, rows, Found(at, now or at), told)
            session.state.traits[name] = stand
    others = session.query("SELECT DISTINCT trait FROM conversions.trait")["trait"]
    if unused := [name for name in others if name not in {*traits, *kept}]:
        with session.transaction():
            session[TABLE].replace(session.read(TABLE, "false"), ids_frame("trait", unused))
            for name in unused:
                del session.state.traits[name]
    return told


def _lifted(trait: Trait) -> tuple[str, ...]:
    return ("identity.membership",) if trait.accounts else ()


def _rows(session: Session, trait: Trait, until: datetime) -> pl.DataFrame:
    """What the query gives.

    Raises:
        ConfigurationError: where DuckDB does not accept it, or its columns are others than the file names.
        Terminal: where it fails on its data.
    """
    made = "temp.main.trait_rows"
    try:
        run_within(
            MOST_SECONDS,
            session.connection,
            f"CREATE OR REPLACE TEMP TABLE trait_rows AS {trait.sql(until)}",
            trait.path,
        )
        rows = session.query(f"FROM {made}")
    finally:
        session.connection.execute(f"DROP TABLE IF EXISTS {made}")
    expected = [_IDS[trait.subject], *([] if trait.is_audience else trait.properties)]
    if rows.columns != expected:
        raise ConfigurationError(f"{trait.path}: gives {', '.join(rows.columns)}; must give {', '.join(expected)}")
    return rows


def _store(session: Session, trait: Trait, rows: pl.DataFrame, at: Found, told: Told) -> int:
    """Write what differs; how many subjects that are. What of the rows cannot be told is counted in `told`."""
    key = _IDS[trait.subject]
    named = rows.drop_nulls(key)
    once = named.unique(key, keep="first", maintain_order=True)
    wrong = {f"rows without {key}": rows.height - named.height, f"further rows of a {key}": named.height - once.height}
    if trait.accounts:
        once = _of_accounts(session, once["person_id"], trait.accounts)
    frame = pl.DataFrame(
        [
            {
                "trait": trait.name,
                "subject_id": subject,
                "subject_type": trait.about,
                "told": json.dumps({"": "true"} if trait.is_audience else _texts(trait, values, wrong), sort_keys=True),
            }
            for subject, *values in once.iter_rows()
        ],
        schema=dict.fromkeys(["trait", "subject_id", "subject_type", "told"], pl.String),
    )
    if left_out := [f"{number} {what}" for what, number in wrong.items() if number]:
        told.wrong[trait.name] = f"{trait.path}: left out: {', '.join(left_out)}"
    moved = session[TABLE].replace(frame, ids_frame("trait", [trait.name]))
    if trait.is_audience and moved.height:
        _note(session, trait, moved, at)
    return int(moved["subject_id"].n_unique())


def _texts(trait: Trait, values: Iterable[Any], wrong: dict[str, int]) -> dict[str, str]:
    """The values as HubSpot's type of the property; what is none is counted in `wrong`."""
    found: dict[str, str] = {}
    for name, value in zip(trait.properties, values, strict=True):
        if value is None:
            continue
        try:
            found[name] = typed(_text(value), trait.properties[name])
        except ValueError as error:
            what = f"values of {name} ({error})"
            wrong[what] = wrong.get(what, 0) + 1
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return iso(value if value.tzinfo else value.replace(tzinfo=UTC))
    return value.isoformat() if isinstance(value, date) else str(value)


def _of_accounts(session: Session, people: pl.Series, how: str) -> pl.DataFrame:
    """Accounts of whose people any, all or none are among some; one without people is never."""
    asked = {"any": "bool_or(i.person_id IS NOT NULL)", "all": "bool_and(i.person_id IS NOT NULL)"}
    holds = asked.get(how, "NOT bool_or(i.person_id IS NOT NULL)")
    return session.query(
        "SELECT m.account_id FROM identity.membership m LEFT JOIN people i ON i.person_id = m.person_id"
        f" WHERE m.valid_to IS NULL GROUP BY m.account_id HAVING {holds} ORDER BY 1",
        people=ids_frame("person_id", people),
    )


def _note(session: Session, trait: Trait, moved: pl.DataFrame, at: Found) -> None:
    """Who entered and who left, for each contact of a subject; one that became another did neither."""
    came = set(moved.filter("_came")["subject_id"])
    gone = set(moved.filter(~pl.col("_came"))["subject_id"])
    became = session.query(
        "SELECT person_id AS was, merged_into AS now FROM identity.person WHERE merged_into IS NOT NULL"
        " AND person_id IN (SELECT id FROM ids) UNION ALL"
        " SELECT alias_id, account_id FROM identity.account_alias WHERE alias_id IN (SELECT id FROM ids)",
        ids=ids_frame("id", gone),
    )
    entered = came - gone - set(became["now"])
    left = gone - came - set(became["was"])
    subjects = ids_frame("subject_id", entered | left)
    recipients = {
        "person": "SELECT s.subject_id, p.contact_id FROM subjects s JOIN identity.person p"
        " ON p.person_id = s.subject_id WHERE p.contact_id IS NOT NULL",
        "account": "SELECT DISTINCT s.subject_id, m.contact_id FROM subjects s JOIN identity.membership m"
        " ON m.account_id = s.subject_id AND m.valid_to IS NULL",
    }[trait.about]
    rows = session.query(
        f"SELECT r.subject_id, r.contact_id, coalesce(n.number, 0) + 1 AS number FROM ({recipients}) r"
        " JOIN raw.contact c ON c.id = r.contact_id AND NOT c.archived LEFT JOIN"
        f" (SELECT subject_id, max(number) AS number FROM {EVENTS} WHERE audience = ? GROUP BY ALL) n"
        " USING (subject_id) ORDER BY ALL",
        [trait.name],
        subjects=subjects,
    )
    events = rows.select(
        event_id=pl.format("{}:{}:{}:{}", pl.lit(trait.name), "subject_id", "number", "contact_id"),
        audience=pl.lit(trait.name),
        change=pl.when(pl.col("subject_id").is_in(list(entered))).then(pl.lit("entered")).otherwise(pl.lit("exited")),
        subject_id="subject_id",
        number="number",
        contact_id="contact_id",
        happened_at=pl.lit(at.happened_at).cast(pl.Datetime("us", "UTC")),
        noted_at=pl.lit(at.noted_at).cast(pl.Datetime("us", "UTC")),
    )
    if events.height:
        session[EVENTS].append(events)


# --- what records are told


def changed(session: Session, changes: Changes) -> dict[str, list[int]]:
    """Object type -> records of the subjects whose traits changed."""
    if changes.everything:
        keys = session.query("SELECT DISTINCT subject_type, subject_id FROM conversions.trait")
    else:
        keys = changes.frame(TRAIT)
    contacts = session.query(
        "SELECT c.id FROM raw.contact c JOIN identity.alias a ON a.identifier_type = 'contact'"
        " AND a.identifier = c.id::VARCHAR JOIN keys k ON k.subject_type = 'person' AND k.subject_id = a.person_id"
        " WHERE NOT c.archived UNION SELECT c.id FROM raw.contact c JOIN identity.membership m ON m.contact_id = c.id"
        " AND m.valid_to IS NULL JOIN keys k ON k.subject_type = 'account' AND k.subject_id = m.account_id"
        " WHERE NOT c.archived ORDER BY 1",
        keys=keys,
    )["id"]
    companies = session.query(
        "SELECT DISTINCT a.company_id AS id FROM identity.account a JOIN keys k ON k.subject_type = 'account'"
        " AND k.subject_id = a.account_id WHERE a.company_id IS NOT NULL ORDER BY 1",
        keys=keys,
    )["id"]
    return {"contacts": contacts.to_list(), "companies": companies.to_list()}


def values_of(
    session: Session, traits: Mapping[str, Trait], records: Mapping[str, Iterable[int]]
) -> dict[tuple[str, int], dict[str, tuple[str, str]]]:
    """(object type, record) -> property -> text and `trait:NAME`."""
    of_contacts = session.query(
        "SELECT i.id, t.trait, t.told FROM ids i JOIN identity.alias a ON a.identifier_type = 'contact'"
        " AND a.identifier = i.id::VARCHAR JOIN conversions.trait t ON t.subject_type = 'person'"
        " AND t.subject_id = a.person_id UNION ALL SELECT DISTINCT i.id, t.trait, t.told FROM ids i"
        " JOIN identity.membership m ON m.contact_id = i.id AND m.valid_to IS NULL JOIN conversions.trait t"
        " ON t.subject_type = 'account' AND t.subject_id = m.account_id ORDER BY ALL",
        ids=records_frame("id", records["contacts"]),
    )
    of_companies = session.query(
        "SELECT i.id, t.trait, t.told FROM ids i JOIN conversions.trait t ON t.subject_type = 'account'"
        " AND t.subject_id = 'company:' || i.id ORDER BY ALL",
        ids=records_frame("id", records["companies"]),
    )
    found: dict[tuple[str, int], dict[str, tuple[str, str]]] = {}
    for kind, rows in (("contacts", of_contacts), ("companies", of_companies)):
        for record, name, told in rows.iter_rows():
            trait = traits.get(name)
            if trait is None or kind not in trait.tell:
                continue
            texts = {name: "true"} if trait.is_audience else json.loads(told)
            mine = found.setdefault((kind, record), {})
            mine |= {one: (text, f"trait:{name}") for one, text in texts.items()}
    return found


def cleared(traits: Mapping[str, Trait], kind: str, told: Iterable[str]) -> dict[str, tuple[str, str]]:
    """What a record that was told of traits is told where they say nothing of it: not in, or no value."""
    empty = {
        name: ("false" if trait.is_audience else "", f"trait:{trait.name}")
        for trait in traits.values()
        if kind in trait.tell
        for name in trait.properties
    }
    return {name: empty[name] for name in told if name in empty}
