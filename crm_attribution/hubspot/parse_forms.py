"""Form submissions as rows of `raw.form_submission`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from crm_attribution.clock import from_millis
from crm_attribution.contracts import CONTRACTS
from crm_attribution.hubspot.parsed import Parsed, Record, frame_of, reason, refuse
from crm_attribution.hubspot.texts import blank, clean
from crm_attribution.identifiers import CLICK_ID_PARAMETERS, url_parameters

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
                | {
                    key: blank(values.get(key))
                    or blank(page.get(key))
                    or blank(values.get(_CLICK_ID_PROPERTIES.get(key, key)))
                    for key in _CLICK_IDS
                }
                | {key: blank(page.get(key)) or blank(values.get(key)) for key in _UTM}
            )
        except (ValueError, KeyError, TypeError) as error:
            refused.append(refuse(result, name, reason(error), key=f"{form_id}:{result.get('conversionId')}"))
    good, bad = CONTRACTS[name].split(frame_of(name, rows))
    by_id = {clean(result.get("conversionId")): result for result in results}
    refused += [
        refuse(by_id[key], name, reasons, key=f"{form_id}:{key}")
        for key, reasons in bad.select("conversion_id", "reasons").iter_rows()
    ]
    return Parsed(good, refused)
