"""Form submissions as rows of `raw.form_submission`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from crm_attribution.clock import from_millis
from crm_attribution.contracts import CONTRACTS
from crm_attribution.hubspot.parsed import Parsed, Record, frame_of, refuse
from crm_attribution.hubspot.texts import blank, both, clean, click_id, reason
from crm_attribution.identifiers import CLICK_ID_PARAMETERS, url_parameters

_CLICK_ID_PROPERTIES = {"gclid": "hs_google_click_id", "fbclid": "hs_facebook_click_id"}
"""HubSpot's own contact properties, where a form carries them as hidden fields. They may be of an earlier visit."""

_UTM = ("utm_source", "utm_medium", "utm_campaign")


def submissions(form_id: str, results: Sequence[Record], *, extracted_at: datetime) -> Parsed:
    """raw.form_submission rows; click ids from hidden fields, else from the page's URL; utm_* the other way round."""
    name = "raw.form_submission"
    rows, refused = [], []
    unread: dict[str, str] = {}
    for result in results:
        problems: list[str] = []
        try:
            values = {str(pair["name"]).lower(): pair.get("value") for pair in result.get("values") or []}
            address = blank(result.get("pageUrl"))
            page = url_parameters(address)
            rows.append(
                {
                    "form_id": form_id,
                    "conversion_id": clean(result["conversionId"]),
                    "submitted_at": from_millis(result["submittedAt"]),
                    "email": blank(values.get("email")),
                    "page_url": address,
                    "extracted_at": extracted_at,
                }
                | {"link_click_id": blank(values.get("link_click_id")) or blank(page.get("link_click_id"))}
                | {key: _click_id(key, values, page, problems) for key in CLICK_ID_PARAMETERS}
                | {key: blank(page.get(key)) or blank(values.get(key)) for key in _UTM}
            )
            unread[clean(result["conversionId"])] = both(*problems)
        except (ValueError, KeyError, TypeError) as error:
            refused.append(refuse(result, name, reason(error), key=f"{form_id}:{result.get('conversionId')}"))
    sifted = CONTRACTS[name].sift(frame_of(name, rows))
    by_id = {clean(result.get("conversionId")): result for result in results}
    refused += [
        refuse(by_id[key], name, reasons, key=f"{form_id}:{key}")
        for key, reasons in sifted.bad.select("conversion_id", "reasons").iter_rows()
    ]
    left_out = dict(sifted.incomplete.select("conversion_id", "reasons").iter_rows())
    for key in sifted.rows["conversion_id"]:
        if why := both(unread[key], left_out.get(key)):
            refused.append(refuse(by_id[key], name, why, key=f"{form_id}:{key}", stored=True))
    return Parsed(sifted.rows, refused)


def _click_id(name: str, values: Mapping[str, Any], page: Mapping[str, str], problems: list[str]) -> str | None:
    """The first of hidden field, page address and HubSpot's own property that is a click id."""
    places = (values.get(name), page.get(name), values.get(_CLICK_ID_PROPERTIES.get(name, name)))
    found: list[str] = []
    for text in filter(None, map(blank, places)):
        value = click_id(name, text, found)
        if value is not None:
            return value
    problems += found[:1]
    return None
