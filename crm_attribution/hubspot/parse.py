"""HubSpot's JSON as rows of `raw.*`: pure, typed, one bad value never stops the others.

A field that cannot be read becomes null, a record that cannot be told at all is left out; either way a row for
quarantine (`Refused`) says why.
https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from crm_attribution.clock import parse_instant
from crm_attribution.contracts import CONTRACTS
from crm_attribution.hubspot.objects import OBJECT_TYPES, ObjectType, Texts
from crm_attribution.hubspot.parsed import Parsed, Record, frame_of, refuse
from crm_attribution.hubspot.texts import blank, both, clean, hubspot_id, listed, millis, moment, readable, reason
from crm_attribution.identifiers import record_id

_PRIMARY_TYPES = {"1", "5"}
"""contact to company (primary) and deal to company (primary).
https://developers.hubspot.com/docs/api/crm/associations"""


_MERGED = ("hs_merged_object_ids", "hs_calculated_merged_vids")


def records(
    object_type: str, results: Iterable[Record], *, home_currency: str | None, extracted_at: datetime
) -> Parsed:
    """raw.contact, raw.company or raw.deal rows of a page of records.

    A field that cannot be read is null and a `stored` refusal says why. A record without a readable id or properties,
    or without any date of its own, is refused as a whole.
    """
    described = OBJECT_TYPES[object_type]
    name = described.table
    rows, refused = [], []
    unread: dict[int, str] = {}
    for result in results:
        problems: list[str] = []
        try:
            texts = _texts(result)
            row = _common(result, texts, described, extracted_at, problems)
        except (ValueError, KeyError, TypeError) as error:
            refused.append(refuse(result, name, reason(error)))
            continue
        rows.append(row | described.convert(texts, home_currency, problems))
        unread[row["id"]] = both(*problems)
    sifted = CONTRACTS[name].sift(frame_of(name, rows))
    by_id = {record_id(result.get("id")): result for result in results}
    refused += [refuse(by_id[key], name, reasons) for key, reasons in sifted.bad.select("id", "reasons").iter_rows()]
    left_out = dict(sifted.incomplete.select("id", "reasons").iter_rows())
    for key in sifted.rows["id"]:
        if why := both(unread[key], left_out.get(key)):
            refused.append(refuse(by_id[key], name, why, stored=True))
    return Parsed(sifted.rows, refused)


def history(object_type: str, results: Iterable[Record], *, extracted_at: datetime) -> Parsed:
    """raw.property_history rows. HubSpot gives values newest first; `ordinal` keeps the order of equal stamps."""
    name = "raw.property_history"
    rows, refused = [], []
    for result in results:
        for prop, values in (result.get("propertiesWithHistory") or {}).items():
            places: dict[datetime, int] = {}
            for value in reversed(values or []):
                try:
                    at = parse_instant(str(value["timestamp"]))
                except (ValueError, KeyError, TypeError) as error:
                    row = {"id": result.get("id"), "property": prop}
                    refused.append(refuse(row, name, reason(error), key=f"{object_type}:{result.get('id')}"))
                    continue
                places[at] = places.get(at, -1) + 1
                rows.append(
                    {
                        "object_type": object_type,
                        "object_id": int(result["id"]),
                        "property": prop,
                        "timestamp": at,
                        "value": None if value.get("value") is None else clean(value["value"]),
                        "ordinal": places[at],
                        "source_type": blank(value.get("sourceType")),
                        "source_id": blank(value.get("sourceId")),
                        "history_truncated": len(values) >= OBJECT_TYPES[object_type].history_cap,
                        "extracted_at": extracted_at,
                    }
                )
    return Parsed(frame_of(name, rows), refused)


def without_history(object_type: str, results: Iterable[Record]) -> list[str]:
    """Ids of records that came without any history although a tracked property has a value, and every value has one."""
    tracked = OBJECT_TYPES[object_type].tracked
    return [
        str(result["id"])
        for result in results
        if not any((result.get("propertiesWithHistory") or {}).values())
        and any((result.get("properties") or {}).get(name) for name in tracked)
    ]


def stages_capped(object_type: str, result: Record) -> bool:
    """Whether HubSpot shows no more values of the record's stage than it ever shows: the first may be missing."""
    described = OBJECT_TYPES[object_type]
    history = (result.get("propertiesWithHistory") or {}).get(described.stage_property) or []
    return len(history) >= described.history_cap


def deletions(object_type: str, results: Iterable[Record], *, noticed_at: datetime) -> pl.DataFrame:
    """raw.deletion rows of archived records."""
    rows = [
        {
            "object_type": object_type,
            "object_id": int(result["id"]),
            "kind": "archived",
            "deleted_at": _first_moment(result, "archivedAt", "updatedAt") or noticed_at,
            "source": "archived_list",
            "noticed_at": noticed_at,
        }
        for result in results
        if result.get("archived")
    ]
    return frame_of("raw.deletion", rows)


def merges(object_type: str, results: Iterable[Record]) -> pl.DataFrame:
    """raw.merge rows from hs_merged_object_ids, with times from hs_calculated_merged_vids where it has them."""
    rows = []
    for result in results:
        if not any((result.get("properties") or {}).get(name) for name in _MERGED):
            continue
        texts = _texts(result)
        survivor, times = int(result["id"]), _merge_times(texts)
        for absorbed in dict.fromkeys([*_absorbed(texts, []), *times]):
            if absorbed == survivor:
                continue
            rows.append(
                {
                    "object_type": object_type,
                    "absorbed_id": absorbed,
                    "survivor_id": survivor,
                    "merged_at": millis(times.get(absorbed)),
                    "source": "hs_calculated_merged_vids" if absorbed in times else "hs_merged_object_ids",
                }
            )
    return frame_of("raw.merge", rows)


def _merge_times(texts: Mapping[str, str | None]) -> dict[int, str]:
    """absorbed id -> epoch milliseconds, from `id:time;…`; parts that cannot be read are left out."""
    pairs = [pair.split(":", 1) for pair in listed(texts.get(_MERGED[1])) if ":" in pair]
    found = ((record_id(absorbed), time) for absorbed, time in pairs)
    return {absorbed: time for absorbed, time in found if absorbed is not None}


def _absorbed(texts: Mapping[str, str | None], problems: list[str]) -> list[int]:
    """The ids a record absorbed, of both properties; parts that cannot be read are problems of the field."""
    listed_ids = listed(texts.get(_MERGED[0]))
    timed = [pair.split(":", 1)[0] for pair in listed(texts.get(_MERGED[1])) if ":" in pair]
    for name, parts in zip(_MERGED, (listed_ids, timed), strict=True):
        if any(record_id(part) is None for part in parts):
            problems.append(f"{name}:not_a_record_id")
    return [found for found in map(record_id, listed_ids) if found is not None]


def associations(from_type: str, to_type: str, found: Mapping[int, Sequence[Mapping[str, Any]]]) -> pl.DataFrame:
    """Current associations: from_type … position, without the dates, which only the journal knows."""
    rows = [
        {
            "from_type": from_type,
            "from_id": from_id,
            "to_type": to_type,
            "to_id": int(target["toObjectId"]),
            "type_ids": sorted({str(kind["typeId"]) for kind in target["associationTypes"]}),
            "labels": sorted({str(kind["label"]) for kind in target["associationTypes"] if kind.get("label")}),
            "is_primary": any(str(kind["typeId"]) in _PRIMARY_TYPES for kind in target["associationTypes"]),
            "position": position,
        }
        for from_id, targets in found.items()
        for position, target in enumerate(targets)
    ]
    return frame_of("raw.association", rows).drop("valid_from", "valid_to")


def _common(
    result: Record, texts: Texts, object_type: ObjectType, extracted_at: datetime, problems: list[str]
) -> dict[str, Any]:
    modified = texts.get(object_type.modified_property)
    given = {name: value for name, value in sorted(texts.items()) if value not in (None, "")}
    own = {**result, "createdate": texts.get("createdate"), "modified": modified}
    return {
        "id": hubspot_id("id", result["id"]),
        "properties": json.dumps(given, ensure_ascii=False),
        "created_at": _dated(own, problems, "createdAt", "createdate", "updatedAt"),
        "modified_at": _dated(own, problems, "modified", "updatedAt", "createdAt"),
        "archived": bool(result.get("archived")),
        "merged_ids": _absorbed(texts, problems),
        "extracted_at": extracted_at,
        "hubspot_owner_id": blank(texts.get("hubspot_owner_id")),
    }


def _dated(result: Record, problems: list[str], *names: str) -> datetime:
    """The first of several dates; one that is there and cannot be read is a problem of the field, and the next counts.

    Raises:
        ValueError: when none can be read.
    """
    for name in names:
        if result.get(name) in (None, ""):
            continue
        found = readable(lambda name=name: moment(name, str(result[name])), problems)  # type: ignore[misc]
        if found is not None:
            return found
    raise ValueError(f"{names[0]}:missing" if not problems else both(*problems))


def _first_moment(result: Record, *names: str) -> datetime | None:
    try:
        return _dated(result, [], *names)
    except ValueError:
        return None


def _texts(result: Record) -> Texts:
    properties = result.get("properties")
    if not isinstance(properties, Mapping):
        raise ValueError("properties:missing")
    return {name: None if value is None else clean(value) for name, value in properties.items()}
