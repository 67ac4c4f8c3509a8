"""HubSpot's reads over HTTP: versions, limits of size, aliases, cursors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crm_attribution_tests.sandbox.lines import FORM, create, day, join, merge, submit, update
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox

MODIFIED = {"propertyName": "lastmodifieddate", "direction": "ASCENDING"}


def search(sandbox: Sandbox, kind: str, **body: Any) -> tuple[int, Any]:
    return sandbox.hubspot("POST", f"/crm/objects/2026-09/{kind}/search", body)


def found(sandbox: Sandbox, kind: str, *filters: dict[str, Any]) -> list[str]:
    status, answer = search(sandbox, kind, filterGroups=[{"filters": list(filters)}])
    assert status == 200, answer
    return [row["id"] for row in answer["results"]]


@pytest.mark.parametrize(
    "path",
    [
        "/crm/v3/objects/contacts/11",
        "/crm/objects/2026-03/contact/11",
        "/crm/objects/2026-09/0-1/11",
        "/crm/v3/owners/71",
        "/crm/owners/2026-09/71",
        "/crm/v3/pipelines/deals/880",
        "/crm/pipelines/2026-03/0-3/880",
        "/crm/v3/properties/deals",
        "/crm/properties/2026-09/deals/amount",
        "/crm/v4/objects/deals/21/associations/contacts",
        "/crm/objects/2026-03/deals/21/associations/contacts",
        "/account-info/v3/details",
        "/marketing/v3/forms",
    ],
)
def test_paths_that_exist(company: Sandbox, path: str):
    assert company.hubspot("GET", path)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/crm/objects/contacts/11",
        "/crm/v4/objects/contacts/11",
        "/crm/objects/2025-09/contacts/11",
        "/crm/v3/owners/72",
        "/crm/v3/objects/contacts/14",
        "/crm/objects/2026-09/deals/21/associations/contacts",
        "/form-integrations/v1/submissions/forms/none",
    ],
)
def test_paths_that_do_not(company: Sandbox, path: str):
    assert company.hubspot("GET", path)[0] == 404


def test_an_unknown_object_type_is_named(company: Sandbox):
    status, answer = company.hubspot("GET", "/crm/v3/objects/unicorns")
    assert (status, answer["category"]) == (400, "VALIDATION_ERROR")
    assert "Unable to infer object type from: unicorns" in answer["message"]


def test_the_account(company: Sandbox):
    account = company.hubspot("GET", "/account-info/v3/details")[1]
    assert (account["portalId"], account["timeZone"], account["companyCurrency"]) == (1000001, "Europe/Berlin", "EUR")
    assert account["utcOffset"] == "+01:00"


def test_properties_asked_for(company: Sandbox):
    path = "/crm/objects/2026-09/contacts/12?properties=email,phone&properties=unheard_of"
    assert company.hubspot("GET", path)[1]["properties"] == {
        "createdate": day(1),
        "email": "Ben@Ufer.example",
        "hs_object_id": "12",
        "lastmodifieddate": day(1),
        "phone": None,
    }


@pytest.mark.parametrize("query", ["limit=101", "limit=51&propertiesWithHistory=email", "limit=0", "after=x"])
def test_list_limits(company: Sandbox, query: str):
    assert company.hubspot("GET", f"/crm/objects/2026-09/contacts?{query}")[0] == 400


@pytest.mark.parametrize("path", ["/crm/v3/objects/contacts", "/crm/owners/2026-09", "/crm/objects/2026-03/0-1"])
def test_the_link_to_the_next_page_can_be_followed(company: Sandbox, path: str):
    first = company.hubspot("GET", f"{path}?limit=1")[1]
    status, second = company.hubspot("GET", first["paging"]["next"]["link"])
    assert (status, len(second["results"])) == (200, 1)
    assert second["results"][0]["id"] != first["results"][0]["id"]


@pytest.mark.parametrize(("history", "most"), [([], 100), (["email"], 50)])
def test_batch_limits(company: Sandbox, history: list[str], most: int):
    path = "/crm/objects/2026-09/contacts/batch/read"
    inputs = [{"id": str(n)} for n in range(1000, 1001 + most)]
    body = {"inputs": inputs, "properties": [], "propertiesWithHistory": history}
    status, answer = company.hubspot("POST", path, body)
    assert (status, answer["category"]) == (400, "VALIDATION_ERROR")
    assert f"is {most}" in answer["message"]
    status, answer = company.hubspot("POST", path, {**body, "inputs": inputs[:most]})
    assert (status, len(answer["errors"][0]["context"]["ids"])) == (207, most)


@pytest.mark.parametrize("body", [{}, {"inputs": ["11"]}, {"inputs": [], "properties": "email"}])
def test_batches_that_break_a_rule(company: Sandbox, body: dict[str, Any]):
    status, answer = company.hubspot("POST", "/crm/objects/2026-09/contacts/batch/read", body)
    assert (status, answer["category"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 201},
        {"limit": True},
        {"sorts": [3]},
        {"properties": "email"},
        {"after": "next"},
        {"after": "9900", "limit": 200},
        {"sorts": [MODIFIED, MODIFIED]},
        {"properties": ["x" * 3000]},
        {"filterGroups": [{"filters": []}] * 6},
        {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "HAS_PROPERTY"}] * 7}]},
        {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "HAS_PROPERTY"}] * 4}] * 5},
        {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "LIKE", "value": "x"}]}]},
        {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "IN", "value": "x"}]}]},
        {"filterGroups": [{"filters": [{"propertyName": "createdate", "operator": "GT", "value": "soon"}]}]},
    ],
)
def test_searches_that_break_a_rule(company: Sandbox, body: dict[str, Any]):
    status, answer = search(company, "contacts", **body)
    assert (status, answer["category"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("name", "operator", "more", "ids"),
    [
        ("email", "EQ", {"value": "BEN@ufer.example"}, ["12"]),
        ("email", "IN", {"values": ["ben@ufer.example"]}, ["12"]),
        ("email", "IN", {"values": ["Ben@Ufer.example"]}, []),
        ("email", "CONTAINS_TOKEN", {"value": "*@ufer.example"}, ["12", "13"]),
        ("email", "CONTAINS_TOKEN", {"value": "quelle"}, ["11"]),
        ("email", "NOT_CONTAINS_TOKEN", {"value": "quelle"}, ["12", "13"]),
        ("lifecyclestage", "EQ", {"value": "LEAD"}, []),
        ("lifecyclestage", "IN", {"values": ["lead", "customer"]}, ["12"]),
        ("lifecyclestage", "NOT_IN", {"values": ["lead"]}, ["11", "13"]),
        ("lifecyclestage", "NEQ", {"value": "lead"}, ["11", "13"]),
        ("lifecyclestage", "HAS_PROPERTY", {}, ["11", "12"]),
        ("firstname", "NOT_HAS_PROPERTY", {}, ["13"]),
        ("createdate", "LT", {"value": "2025-01-01"}, ["13"]),
        ("createdate", "BETWEEN", {"value": "1772323200000", "highValue": "1772409600000"}, ["11", "12"]),
        ("associatedcompanyid", "EQ", {"value": "31"}, ["11"]),
        ("associations.deal", "EQ", {"value": "21"}, ["11"]),
        ("hs_object_id", "GTE", {"value": "12"}, ["12", "13"]),
    ],
)
def test_operators(company: Sandbox, name: str, operator: str, more: dict[str, Any], ids: list[str]):
    assert found(company, "contacts", {"propertyName": name, "operator": operator, **more}) == ids


def test_a_malformed_amount_is_no_number(start: Callable[..., Sandbox]):
    sandbox = start([create(day(1), "deals", n, amount=text) for n, text in ((1, "12 500,00"), (2, "90.5"))])
    assert found(sandbox, "deals", {"propertyName": "amount", "operator": "GT", "value": "10"}) == ["2"]
    assert found(sandbox, "deals", {"propertyName": "amount", "operator": "HAS_PROPERTY"}) == ["1", "2"]


def test_ten_thousand_results_and_no_more(start: Callable[..., Sandbox]):
    sandbox = start([create(day(1), "contacts", n, email=f"p{n}@x.example") for n in range(1, 10_202)])
    status, answer = search(sandbox, "contacts", sorts=[MODIFIED], limit=200, after="9800", properties=["email"])
    assert (status, answer["total"], len(answer["results"])) == (200, 10_201, 200)
    assert answer["results"][-1]["id"] == "10000"
    assert search(sandbox, "contacts", sorts=[MODIFIED], limit=200, after=answer["paging"]["next"]["after"])[0] == 400


@pytest.mark.parametrize("into", [None, 9])
def test_merged_ids_answer_with_the_survivor(start: Callable[..., Sandbox], into: int | None):
    people = [create(day(1), "contacts", n, email=f"p{n}@x.example") for n in (1, 2)]
    sandbox = start([*people, merge(day(2), "contacts", 1, 2, into)])
    survivor = str(into or 1)
    asked = "properties=hs_merged_object_ids"
    status, answer = sandbox.hubspot("GET", f"/crm/objects/2026-09/contacts/2?{asked}")
    assert (status, answer["id"]) == (200, survivor)
    assert answer["properties"]["hs_merged_object_ids"] == ("1;2" if into else "2")
    batch = {"inputs": [{"id": "1"}, {"id": "2"}], "properties": ["hs_merged_object_ids"]}
    status, answer = sandbox.hubspot("POST", "/crm/objects/2026-09/contacts/batch/read", batch)
    assert (status, [row["id"] for row in answer["results"]]) == (200, [survivor])
    assert [row["id"] for row in search(sandbox, "contacts")[1]["results"]] == [survivor]
    assert not sandbox.hubspot("GET", "/crm/objects/2026-09/contacts?archived=true")[1]["results"]


ARCHIVED = "/crm/objects/2026-09/contacts?archived=true"


def archive(at: str, identifier: int, op: str = "archive") -> dict[str, str]:
    return {"at": at, "op": op, "object": "contacts", "id": str(identifier)}


def batch(sandbox: Sandbox, *ids: str, archived: str = "") -> tuple[int, list[str], list[str]]:
    """Status, the ids that were found and those that were not."""
    body = {"inputs": [{"id": identifier} for identifier in ids], "properties": ["email"]}
    status, answer = sandbox.hubspot("POST", f"/crm/objects/2026-09/contacts/batch/read{archived}", body)
    unknown = [identifier for problem in answer.get("errors", ()) for identifier in problem["context"]["ids"]]
    return status, [row["id"] for row in answer["results"]], unknown


def test_the_archived_can_be_read_and_restored_for_ninety_days(start: Callable[..., Sandbox]):
    people = [create("2026-03-01", "contacts", n, email=f"p{n}@x.example") for n in (1, 2, 3)]
    sandbox = start([*people, archive("2026-03-02", 1), archive("2026-03-03", 2), archive("2026-03-04", 1, "restore")])
    (row,) = sandbox.hubspot("GET", ARCHIVED)[1]["results"]
    assert (row["id"], row["archived"], row["archivedAt"]) == ("2", True, "2026-03-03T00:00:00Z")
    assert batch(sandbox, "1", "2", "3") == (207, ["1", "3"], ["2"])
    assert batch(sandbox, "1", "2", archived="?archived=true") == (207, ["2"], ["1"])
    one = "/crm/objects/2026-09/contacts/2"
    assert (sandbox.hubspot("GET", one)[0], sandbox.hubspot("GET", f"{one}?archived=true")[0]) == (404, 200)
    sandbox.set_clock("2026-05-31T23:59:59Z")
    assert sandbox.hubspot("GET", ARCHIVED)[1]["results"]
    sandbox.set_clock("2026-06-01T00:00:00Z")
    assert sandbox.hubspot("GET", ARCHIVED)[1]["results"] == []
    assert batch(sandbox, "2", archived="?archived=true") == (207, [], ["2"])
    assert sandbox.hubspot("GET", f"{one}?archived=true")[0] == 404


def test_the_erased_are_nowhere(start: Callable[..., Sandbox]):
    people = [create(day(1), "contacts", n, email=f"p{n}@x.example") for n in (1, 2, 3)]
    merged = merge(day(2), "contacts", 1, 2, 9)
    sandbox = start([*people, merged, archive(day(2), 3), *(archive(day(3), n, "privacy_delete") for n in (9, 3))])
    for identifier in ("1", "2", "3", "9"):
        for query in ("", "?archived=true"):
            status, answer = sandbox.hubspot("GET", f"/crm/objects/2026-09/contacts/{identifier}{query}")
            assert (status, answer["category"]) == (404, "OBJECT_NOT_FOUND")
    for archived in ("", "?archived=true"):
        assert batch(sandbox, "1", "2", "3", "9", archived=archived) == (207, [], ["1", "2", "3", "9"])
    assert sandbox.hubspot("GET", ARCHIVED)[1]["results"] == []
    assert search(sandbox, "contacts")[1]["total"] == 0


def test_a_search_sees_what_changed_since_the_last_one(start: Callable[..., Sandbox]):
    sandbox = start([create(day(1), "contacts", n) for n in (1, 2, 3)])
    window = {"propertyName": "lastmodifieddate", "operator": "LT", "value": "2026-03-05"}
    body = {"sorts": ["hs_object_id"], "filterGroups": [{"filters": [window]}]}
    assert [row["id"] for row in search(sandbox, "contacts", **body)[1]["results"]] == ["1", "2", "3"]
    sandbox.log([update(day(6), "contacts", 2, city="Bonn"), archive(day(7), 3)])
    assert [row["id"] for row in search(sandbox, "contacts", **body)[1]["results"]] == ["1"]


def test_a_search_forgets_what_a_contact_absorbed(start: Callable[..., Sandbox]):
    people = [create(day(1), "contacts", n) for n in (1, 2)]
    sandbox = start([*people, merge(day(2), "contacts", 1, 2)])
    answer = search(sandbox, "contacts", properties=["hs_merged_object_ids"])[1]
    assert answer["results"][0]["properties"]["hs_merged_object_ids"] is None


def test_associations_are_paged_for_each_record(start: Callable[..., Sandbox]):
    people = [create(day(1), "contacts", n) for n in range(1, 502)]
    lines = [*people, create(day(1), "companies", 7)]
    sandbox = start([*lines, *(join(day(2), ("contacts", n), ("companies", 7)) for n in range(1, 502))])
    path = "/crm/associations/2026-09/companies/contacts/batch/read"
    status, answer = sandbox.hubspot("POST", path, {"inputs": [{"id": "7"}]})
    first = answer["results"][0]
    assert (status, len(first["to"]), first["to"][0]["toObjectId"]) == (200, 500, "1")
    after = first["paging"]["next"]["after"]
    rest = sandbox.hubspot("POST", path, {"inputs": [{"id": "7", "after": after}]})[1]["results"][0]
    assert [end["toObjectId"] for end in rest["to"]] == ["501"]
    assert "paging" not in rest
    assert sandbox.hubspot("POST", path, {"inputs": [{"id": "7"}] * 1001})[0] == 400


def test_submissions_come_newest_first(company: Sandbox):
    path = f"/form-integrations/v1/submissions/forms/{FORM}"
    first = company.hubspot("GET", f"{path}?limit=1")[1]
    rest = company.hubspot("GET", f"{path}?limit=1&after={first['paging']['next']['after']}")[1]
    assert [page["results"][0]["submittedAt"] for page in (first, rest)] == [1772877600000, 1772874000000]
    assert {item["name"]: item["value"] for item in rest["results"][0]["values"]} == {
        "email": "ann@quelle.example",
        "gclid": "Cj0K",
    }
    assert rest["results"][0]["pageUrl"] == "https://v.example/demo"
    assert "paging" not in rest
    assert company.hubspot("GET", f"{path}?limit=51")[0] == 400


def test_email_events(company: Sandbox):
    path = "/email/public/v1/events"
    first = company.hubspot("GET", f"{path}?limit=1")[1]
    assert (first["hasMore"], first["events"][0]["id"], first["events"][0]["filteredEvent"]) == (True, "e2", True)
    rest = company.hubspot("GET", f"{path}?limit=1&offset={first['offset']}")[1]
    assert (rest["hasMore"], rest["events"][0]["emailCampaignId"], rest["events"][0]["created"]) == (
        False,
        5,
        1772960400000,
    )
    bounds = "startTimestamp=1772960400000&endTimestamp=1772960400000"
    assert [row["id"] for row in company.hubspot("GET", f"{path}?{bounds}")[1]["events"]] == ["e1"]
    filtered = company.hubspot("GET", f"{path}?excludeFilteredEvents=true&recipient=ben@ufer.example")[1]
    assert filtered["events"] == []


def test_a_submission_made_later_has_the_same_id(start: Callable[..., Sandbox]):
    lines = [submit(day(1), "a", email="x@x.example"), submit(day(5), "a", email="y@x.example")]
    path = "/form-integrations/v1/submissions/forms/a"
    at_once, later = start(lines), start(lines, day(2))
    later.set_clock(day(6))
    assert at_once.hubspot("GET", path) == later.hubspot("GET", path)


def test_a_record_changes_with_the_clock(start: Callable[..., Sandbox]):
    sandbox = start([create(day(1), "deals", 1, amount="1"), update(day(3), "deals", 1, amount="2")], day(2))
    assert sandbox.hubspot("GET", "/crm/v3/objects/deals/1")[1]["properties"]["amount"] == "1"
    sandbox.set_clock(day(3))
    assert sandbox.hubspot("GET", "/crm/v3/objects/deals/1")[1]["properties"]["amount"] == "2"
