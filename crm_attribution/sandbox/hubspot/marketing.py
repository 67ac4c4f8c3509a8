"""Forms, their submissions, e-mail events, marketing events and campaigns.

Submissions: https://developers.hubspot.com/docs/api-reference/legacy/marketing/forms/v1/
get-form-integrations-v1-submissions-forms-form_guid (50 a page, newest first, no time filter).
E-mail events: https://developers.hubspot.com/docs/api-reference/legacy/email-analytics-v1/events/
get-email-public-v1-events (both bounds inclusive; the key is created and id). Newest first is an assumption there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import Json
from crm_attribution.sandbox.hubspot.answers import answer, integer, invalid, missing, next_page, world_of
from crm_attribution.sandbox.portal.activity import Received

MOST_SUBMISSIONS, DEFAULT_SUBMISSIONS = 50, 20
MOST_FORMS, DEFAULT_FORMS = 100, 20
MOST_EVENTS, DEFAULT_EVENTS = 1000, 10
CAMPAIGNS = ("/marketing/v3/campaigns", "/marketing/campaigns/2026-03")


def routes() -> Sequence[BaseRoute]:
    return [
        Route("/marketing/v3/forms", list_forms),
        Route("/marketing/v3/forms/{id}", read_form),
        Route("/form-integrations/v1/submissions/forms/{id}", list_submissions),
        Route("/email/public/v1/events", list_email_events),
        *(
            route
            for base in CAMPAIGNS
            for route in (
                Route(base, list_campaigns),
                Route(f"{base}/{{id}}/budget/totals", read_budget),
                Route(f"{base}/{{id}}/reports/revenue", read_revenue),
            )
        ),
        Route("/marketing/v3/marketing-events", list_marketing_events),
        Route("/marketing/v3/marketing-events/participations/{id}/breakdown", list_attendance),
    ]


def _form(raw: Json) -> Json:
    return {**raw, "formType": "hubspot", "archived": False, "fieldGroups": []}


async def list_forms(request: Request) -> Response:
    forms = world_of(request).portal.activity.forms
    archived = request.query_params.get("archived", "false").lower() == "true"
    after = request.query_params.get("after", "")
    rest = sorted(form for form in forms if form > after and not archived)
    limit = integer(request, "limit", DEFAULT_FORMS, MOST_FORMS)
    body: Json = {"results": [_form(forms[form]) for form in rest[:limit]]}
    if limit < len(rest):
        body["paging"] = next_page(request, rest[limit - 1])
    return answer(body)


async def read_form(request: Request) -> Response:
    form = world_of(request).portal.activity.forms.get(request.path_params["id"])
    if form is None:
        raise missing(request)
    return answer(_form(form))


async def list_submissions(request: Request) -> Response:
    """The cursor counts from the newest: submissions that arrive while somebody pages shift the pages."""
    activity = world_of(request).portal.activity
    form = request.path_params["id"]
    if form not in activity.forms:
        raise missing(request)
    limit = integer(request, "limit", DEFAULT_SUBMISSIONS, MOST_SUBMISSIONS)
    after = request.query_params.get("after") or "0"
    if not after.isdigit():
        raise invalid(request, f"after is not a cursor of this list: {after}")
    rows = activity.submissions.get(form, [])
    end = max(len(rows) - int(after), 0)
    page = rows[max(end - limit, 0) : end]
    body: Json = {"results": [row.row for row in reversed(page)]}
    if end > limit:
        body["paging"] = next_page(request, str(int(after) + limit))
    return answer(body)


async def list_marketing_events(request: Request) -> Response:
    """https://developers.hubspot.com/docs/api-reference/legacy/marketing/marketing-events/guide"""
    return _paged(request, world_of(request).portal.activity.events)


async def list_attendance(request: Request) -> Response:
    """https://developers.hubspot.com/docs/api-reference/legacy/marketing/marketing-events/participant-state/
    get-breakdown"""
    found = world_of(request).portal.activity.attendance.get(request.path_params["id"])
    if found is None:
        raise missing(request)
    return _paged(request, found)


async def list_campaigns(request: Request) -> Response:
    """https://developers.hubspot.com/docs/api-reference/2026-03/marketing/campaigns/get-campaigns"""
    wanted = request.query_params.get("properties", "").split(",")
    rows = world_of(request).portal.activity.campaigns
    shown = {
        number: {**row, "properties": {name: value for name, value in row["properties"].items() if name in wanted}}
        for number, row in rows.items()
    }
    return _paged(request, shown)


async def read_budget(request: Request) -> Response:
    """https://developers.hubspot.com/docs/api-reference/2026-03/marketing/campaigns/budget/get-budget-totals"""
    found = world_of(request).portal.activity.budgets.get(request.path_params["id"])
    if found is None:
        raise missing(request)
    budget, spend = (sum(item["amount"] for item in found[name]) for name in ("budgetItems", "spendItems"))
    return answer({**found, "budgetTotal": budget, "spendTotal": spend, "remainingBudget": budget - spend})


async def read_revenue(request: Request) -> Response:
    """https://developers.hubspot.com/docs/api-reference/latest/marketing/campaigns/reports/get-revenue-report

    The linear model alone is told in the portal's log; how HubSpot comes to it, nobody says.
    """
    activity, model = world_of(request).portal.activity, request.query_params.get("attributionModel", "LINEAR")
    if request.path_params["id"] not in activity.campaigns:
        raise missing(request)
    if model != "LINEAR":
        raise invalid(request, f"attributionModel {model} is not known here")
    nothing = {"currencyCode": "EUR", "revenueAmount": 0, "dealAmount": 0, "dealsNumber": 0, "contactsNumber": 0}
    return answer({**nothing, **activity.revenue.get(request.path_params["id"], {})})


def _paged(request: Request, rows: dict[str, Json]) -> Response:
    after = request.query_params.get("after", "")
    rest = sorted(key for key in rows if key > after)
    limit = integer(request, "limit", DEFAULT_EVENTS, MOST_FORMS)
    body: Json = {"total": len(rows), "results": [rows[key] for key in rest[:limit]]}
    if limit < len(rest):
        body["paging"] = next_page(request, rest[limit - 1])
    return answer(body)


def _moment(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isdigit():
        raise invalid(request, f"{name} is a number of epoch milliseconds")
    return int(text)


async def list_email_events(request: Request) -> Response:
    portal = world_of(request).portal
    asked = request.query_params
    rows = portal.activity.email_events
    first = bisect_left(rows, (_moment(request, "startTimestamp", 0),))
    last = bisect_left(rows, (_moment(request, "endTimestamp", 2**62) + 1,))
    wanted = {"eventType": "type", "recipient": "recipient", "campaignId": "emailCampaignId", "appId": "appId"}
    unfiltered = asked.get("excludeFilteredEvents", "false").lower() == "true"

    def fits(row: Received) -> bool:
        if unfiltered and row.row["filteredEvent"]:
            return False
        return all(str(row.row.get(field)) == asked[name] for name, field in wanted.items() if name in asked)

    offset = asked.get("offset") or "9" * 25
    if not offset.isdigit():
        raise invalid(request, f"offset is not a token of this list: {offset}")
    limit = integer(request, "limit", DEFAULT_EVENTS, MOST_EVENTS)
    matching = [row for row in reversed(rows[first:last]) if fits(row)]
    place = _token(offset)
    start = next((p for p, row in enumerate(matching) if (row.at, row.number) < place), len(matching))
    page = matching[start : start + limit]
    more = start + limit < len(matching)
    events = [{"portalId": portal.account["portalId"], **row.row} for row in page]
    token = f"{page[-1].at}{page[-1].number:09d}" if page else offset
    return answer({"hasMore": more, "offset": token, "events": events})


def _token(offset: str) -> tuple[int, int]:
    """The place in the list an offset stands for."""
    return int(offset[:-9] or "0"), int(offset[-9:])
