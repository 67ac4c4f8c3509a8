"""HubSpot's JSON as rows of `raw.*`: pure, typed, one bad value never stops the others.

What cannot be read becomes a refused row (`Refused`) with its reason; everything else follows the contract.
https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from crm_attribution.clock import from_millis, parse_instant
from crm_attribution.contracts import CONTRACTS
from crm_attribution.identifiers import CLICK_ID_PARAMETERS, url_parameters
from crm_attribution.money import to_minor

Record = Mapping[str, Any]

TABLE = {"contacts": "raw.contact", "companies": "raw.company", "deals": "raw.deal"}

TYPED = {
    "contacts": ["email", "hs_additional_emails", "lifecyclestage", "associatedcompanyid", "hubspot_owner_id"],
    "companies": ["name", "domain", "lifecyclestage", "hubspot_owner_id"],
    "deals": [
        "dealname",
        "pipeline",
        "dealstage",
        "dealtype",
        "deal_currency_code",
        "amount",
        "closedate",
        "hubspot_owner_id",
    ],
}
"""Properties with a column of their own."""

NEEDED = {
    "contacts": ["createdate", "hs_merged_object_ids", "hs_calculated_merged_vids"],
    "companies": ["createdate", "hs_merged_object_ids"],
    "deals": ["createdate", "hs_merged_object_ids", "hs_primary_associated_company"],
}
"""Properties the product reads besides; kept in the JSON column."""

TRACKED = {
    "contacts": ["lifecyclestage", "email", "associatedcompanyid", "hubspot_owner_id"],
    "companies": ["lifecyclestage", "hubspot_owner_id"],
    "deals": [
        "dealstage",
        "pipeline",
        "amount",
        "deal_currency_code",
        "closedate",
        "hubspot_owner_id",
        "hs_primary_associated_company",
    ],
}
"""Properties whose history is read."""

HISTORY_CAP = {"contacts": 45, "companies": 20, "deals": 20}
"""How many values of a property HubSpot shows: reported by integrators, not documented."""

_PRIMARY_TYPES = {"1", "5"}
"""contact to company (primary) and deal to company (primary).
https://developers.hubspot.com/docs/api/crm/associations"""


_MERGED = ("hs_merged_object_ids", "hs_calculated_merged_vids")


@dataclass
class Refused:
    """A row for quarantine: its key, why, what it was, and where it came from."""

    key: str
    reasons: str
    row: str
    source: str


@dataclass
class Parsed:
    """Rows of one table, and what was refused."""

    rows: pl.DataFrame
    refused: list[Refused] = field(default_factory=list)


def records(
    object_type: str, results: Iterable[Record], *, home_currency: str | None, extracted_at: datetime
) -> Parsed:
    """raw.contact, raw.company or raw.deal rows of a page of records."""
    name = TABLE[object_type]
    convert = _CONVERTERS[object_type]
    rows, refused = [], []
    for result in results:
        try:
            texts = _texts(result)
            rows.append(_common(result, texts, object_type, extracted_at) | convert(texts, home_currency))
        except (ValueError, KeyError, TypeError) as error:
            refused.append(_refuse(result, name, _reason(error)))
    good, bad = CONTRACTS[name].split(_frame(name, rows))
    by_id = {clean(result.get("id")): result for result in results}
    refused += [_refuse(by_id[key], name, reasons) for key, reasons in bad.select("id", "reasons").iter_rows()]
    return Parsed(good, refused)


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
                    refused.append(_refuse(row, name, _reason(error), key=f"{object_type}:{result.get('id')}"))
                    continue
                places[at] = places.get(at, -1) + 1
                rows.append(
                    {
                        "object_type": object_type,
                        "object_id": str(result["id"]),
                        "property": prop,
                        "timestamp": at,
                        "value": None if value.get("value") is None else clean(value["value"]),
                        "ordinal": places[at],
                        "source_type": _blank(value.get("sourceType")),
                        "source_id": _blank(value.get("sourceId")),
                        "history_truncated": len(values) >= HISTORY_CAP[object_type],
                        "extracted_at": extracted_at,
                    }
                )
    return Parsed(_frame(name, rows), refused)


def without_history(object_type: str, results: Iterable[Record]) -> list[str]:
    """Ids of records that came without any history although a tracked property has a value, and every value has one."""
    tracked = TRACKED[object_type]
    return [
        str(result["id"])
        for result in results
        if not any((result.get("propertiesWithHistory") or {}).values())
        and any((result.get("properties") or {}).get(name) for name in tracked)
    ]


def stages_capped(object_type: str, result: Record) -> bool:
    """Whether HubSpot shows no more values of the record's stage than it ever shows: the first may be missing."""
    name = "dealstage" if object_type == "deals" else "lifecyclestage"
    return len((result.get("propertiesWithHistory") or {}).get(name) or []) >= HISTORY_CAP[object_type]


def deletions(object_type: str, results: Iterable[Record], *, noticed_at: datetime) -> pl.DataFrame:
    """raw.deletion rows of archived records."""
    rows = [
        {
            "object_type": object_type,
            "object_id": str(result["id"]),
            "kind": "archived",
            "deleted_at": parse_instant(str(result.get("archivedAt") or result["updatedAt"])),
            "source": "archived_list",
            "noticed_at": noticed_at,
        }
        for result in results
        if result.get("archived")
    ]
    return _frame("raw.deletion", rows)


def properties(object_type: str, results: Iterable[Record]) -> pl.DataFrame:
    """raw.property rows. https://developers.hubspot.com/docs/api/crm/properties"""
    rows = [
        {
            "object_type": object_type,
            "name": str(result["name"]),
            "label": _blank(result.get("label")),
            "type": _blank(result.get("type")),
            "field_type": _blank(result.get("fieldType")),
            "archived": bool(result.get("archived")),
        }
        for result in results
    ]
    return _frame("raw.property", rows)


def merges(object_type: str, results: Iterable[Record]) -> pl.DataFrame:
    """raw.merge rows from hs_merged_object_ids, with times from hs_calculated_merged_vids where it has them."""
    rows = []
    for result in results:
        if not any((result.get("properties") or {}).get(name) for name in _MERGED):
            continue
        texts = _texts(result)
        times = dict(pair.split(":", 1) for pair in _list(texts.get("hs_calculated_merged_vids")) if ":" in pair)
        for absorbed in dict.fromkeys([*_list(texts.get("hs_merged_object_ids")), *times]):
            if absorbed == str(result["id"]):
                continue
            rows.append(
                {
                    "object_type": object_type,
                    "absorbed_id": absorbed,
                    "survivor_id": str(result["id"]),
                    "merged_at": _millis(times.get(absorbed)),
                    "source": "hs_calculated_merged_vids" if absorbed in times else "hs_merged_object_ids",
                }
            )
    return _frame("raw.merge", rows)


def associations(from_type: str, to_type: str, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> pl.DataFrame:
    """Current associations: from_type … position, without the dates, which only the journal knows."""
    rows = [
        {
            "from_type": from_type,
            "from_id": from_id,
            "to_type": to_type,
            "to_id": str(target["toObjectId"]),
            "type_ids": sorted({str(kind["typeId"]) for kind in target["associationTypes"]}),
            "labels": sorted({str(kind["label"]) for kind in target["associationTypes"] if kind.get("label")}),
            "is_primary": any(str(kind["typeId"]) in _PRIMARY_TYPES for kind in target["associationTypes"]),
            "position": position,
        }
        for from_id, targets in found.items()
        for position, target in enumerate(targets)
    ]
    return _frame("raw.association", rows).drop("valid_from", "valid_to")


def owners(results: Iterable[Record]) -> pl.DataFrame:
    """raw.owner rows. https://developers.hubspot.com/docs/api/crm/owners"""
    rows = [
        {
            "id": str(result["id"]),
            "email": result.get("email"),
            "first_name": result.get("firstName"),
            "last_name": result.get("lastName"),
            "archived": bool(result.get("archived")),
        }
        for result in results
    ]
    return _frame("raw.owner", rows).unique("id", keep="last", maintain_order=True)


def stages(object_type: str, pipelines: Iterable[Record]) -> pl.DataFrame:
    """raw.pipeline_stage rows; isClosed and probability are text on the wire."""
    rows = []
    for pipeline in pipelines:
        for stage in pipeline.get("stages") or []:
            metadata = stage.get("metadata") or {}
            probability = _number(metadata.get("probability"))
            closed = str(metadata.get("isClosed", "")).lower()
            rows.append(
                {
                    "object_type": object_type,
                    "pipeline_id": str(pipeline["id"]),
                    "pipeline_label": str(pipeline.get("label", "")),
                    "stage_id": str(stage["id"]),
                    "stage_label": str(stage.get("label", "")),
                    "display_order": int(stage.get("displayOrder", 0)),
                    "probability": probability,
                    "is_closed": closed == "true" if closed else probability in (0.0, 1.0),
                    "archived": bool(pipeline.get("archived")) or bool(stage.get("archived")),
                }
            )
    return _frame("raw.pipeline_stage", rows)


def account(details: Record) -> pl.DataFrame:
    """The raw.account row. https://developers.hubspot.com/docs/api-reference/account-account-info-v3/guide"""
    row = {
        "portal_id": str(details["portalId"]),
        "time_zone": str(details["timeZone"]),
        "company_currency": details.get("companyCurrency"),
        "additional_currencies": list(details.get("additionalCurrencies") or []),
    }
    return _frame("raw.account", [row])


def forms(results: Iterable[Record]) -> pl.DataFrame:
    """raw.form rows."""
    rows = [
        {"id": str(result["id"]), "name": result.get("name"), "archived": bool(result.get("archived"))}
        for result in results
    ]
    return _frame("raw.form", rows).unique("id", keep="last", maintain_order=True)


_CLICK_IDS = ("link_click_id", *CLICK_ID_PARAMETERS)
_CLICK_ID_PROPERTIES = {"gclid": "hs_google_click_id", "fbclid": "hs_facebook_click_id"}
"""HubSpot's own contact properties, where a form carries them as hidden fields. They may be of an earlier visit."""

_UTM = ("utm_source", "utm_medium", "utm_campaign")


def submissions(form_id: str, results: Sequence[Record], *, extracted_at: datetime) -> Parsed:
    """raw.form_submission rows; click ids from hidden fields, else from the page's URL; utm_* the other way round."""
    name = "raw.form_submission"
    rows, refused = [], []
    for result in results:
        try:
            values = {str(pair["name"]).lower(): pair.get("value") for pair in result.get("values") or []}
            address = _blank(result.get("pageUrl"))
            page = url_parameters(address)
            rows.append(
                {
                    "form_id": form_id,
                    "conversion_id": clean(result["conversionId"]),
                    "submitted_at": from_millis(result["submittedAt"]),
                    "email": _blank(values.get("email")),
                    "page_url": address,
                    "extracted_at": extracted_at,
                }
                | {
                    key: _blank(values.get(key))
                    or _blank(page.get(key))
                    or _blank(values.get(_CLICK_ID_PROPERTIES.get(key, key)))
                    for key in _CLICK_IDS
                }
                | {key: _blank(page.get(key)) or _blank(values.get(key)) for key in _UTM}
            )
        except (ValueError, KeyError, TypeError) as error:
            refused.append(_refuse(result, name, _reason(error), key=f"{form_id}:{result.get('conversionId')}"))
    good, bad = CONTRACTS[name].split(_frame(name, rows))
    by_id = {clean(result.get("conversionId")): result for result in results}
    refused += [
        _refuse(by_id[key], name, reasons, key=f"{form_id}:{key}")
        for key, reasons in bad.select("conversion_id", "reasons").iter_rows()
    ]
    return Parsed(good, refused)


def _common(
    result: Record, texts: Mapping[str, str | None], object_type: str, extracted_at: datetime
) -> dict[str, Any]:
    modified = texts.get("lastmodifieddate" if object_type == "contacts" else "hs_lastmodifieddate")
    given = {name: value for name, value in sorted(texts.items()) if value not in (None, "")}
    return {
        "id": clean(result["id"]),
        "properties": json.dumps(given, ensure_ascii=False),
        "created_at": parse_instant(str(result["createdAt"])),
        "modified_at": parse_instant(str(modified or result["updatedAt"])),
        "archived": bool(result.get("archived")),
        "merged_ids": _list(texts.get("hs_merged_object_ids")),
        "extracted_at": extracted_at,
        "hubspot_owner_id": _blank(texts.get("hubspot_owner_id")),
    }


def _contact(texts: Mapping[str, str | None], _home: str | None) -> dict[str, Any]:
    return {
        "email": _blank(texts.get("email")),
        "additional_emails": _list(texts.get("hs_additional_emails")),
        "lifecyclestage": _blank(texts.get("lifecyclestage")),
        "associatedcompanyid": _blank(texts.get("associatedcompanyid")),
    }


def _company(texts: Mapping[str, str | None], _home: str | None) -> dict[str, Any]:
    return {name: _blank(texts.get(name)) for name in ("name", "domain", "lifecyclestage")}


def _deal(texts: Mapping[str, str | None], home: str | None) -> dict[str, Any]:
    currency = _blank(texts.get("deal_currency_code")) or home
    amount = _blank(texts.get("amount"))
    minor = None
    if amount is not None:
        minor = to_minor(amount, currency or "")
        if minor is None:
            raise ValueError("amount:not_a_number")
    closed = _blank(texts.get("closedate"))
    return {
        "dealname": _blank(texts.get("dealname")),
        "pipeline": _blank(texts.get("pipeline")),
        "dealstage": _blank(texts.get("dealstage")),
        "dealtype": _blank(texts.get("dealtype")),
        "currency": currency,
        "amount": minor,
        "closedate": None if closed is None else _moment("closedate", closed),
    }


_CONVERTERS: dict[str, Callable[[Mapping[str, str | None], str | None], dict[str, Any]]] = {
    "contacts": _contact,
    "companies": _company,
    "deals": _deal,
}


def _moment(name: str, text: str) -> datetime:
    try:
        return from_millis(text) if text.lstrip("-").isdigit() else parse_instant(text)
    except ValueError:
        raise ValueError(f"{name}:not_a_time") from None


def _texts(result: Record) -> Mapping[str, str | None]:
    properties = result.get("properties")
    if not isinstance(properties, Mapping):
        raise ValueError("properties:missing")
    return {name: None if value is None else clean(value) for name, value in properties.items()}


def clean(value: object) -> str:
    """As text that can be stored. Half of a surrogate pair, where a form cut an emoji in two, becomes U+FFFD."""
    text = str(value)
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _blank(value: object) -> str | None:
    return None if value is None or not str(value).strip() else clean(value).strip()


def _millis(text: str | None) -> datetime | None:
    try:
        return None if text is None else from_millis(text)
    except ValueError:
        return None


def _list(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(";") if part.strip()]


def _number(text: object) -> float | None:
    try:
        return None if text is None else float(str(text))
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]}:missing"
    text = str(error)
    return text if ":" in text and " " not in text else f"record:{type(error).__name__}"


def _refuse(result: Record, name: str, reasons: str, *, key: str | None = None) -> Refused:
    row = json.dumps(result, ensure_ascii=False, default=str, sort_keys=True)
    return Refused(clean(key or result.get("id")), reasons, clean(row), name)


def _frame(name: str, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return CONTRACTS[name].conform(
        pl.DataFrame(rows, schema={k: v for k, v in CONTRACTS[name].polars_schema.items() if not rows or k in rows[0]})
    )
