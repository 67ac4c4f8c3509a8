"""HubSpot's own Python client against the sandbox: what it can read, the sandbox says in HubSpot's shapes."""

from __future__ import annotations

from typing import Any

import pytest
from hubspot import HubSpot, oauth
from hubspot.crm import companies, contacts, deals, owners
from hubspot.crm.associations import v4

from crm_attribution_tests.sandbox.lines import day
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def client(company: Sandbox) -> Any:
    address = company.env["HUBSPOT_BASE_URL"]
    return HubSpot(access_token=company.env["HUBSPOT_ACCESS_TOKEN"], host=address, base_url=address)


def test_lists_with_associations(client: Any):
    page = client.crm.contacts.basic_api.get_page(limit=2, properties=["email"], associations=["companies"])
    assert [row.id for row in page.results] == ["11", "12"]
    assert page.results[0].properties["email"] == "ann@quelle.example"
    assert page.results[0].updated_at.isoformat() == "2026-03-04T09:00:00+00:00"
    assert [(row.id, row.type) for row in page.results[0].associations["companies"].results] == [
        ("31", "contact_to_company"),
        ("31", "contact_to_company_unlabeled"),
        ("32", "contact_to_company_unlabeled"),
    ]
    rest = client.crm.contacts.basic_api.get_page(limit=2, after=page.paging.next.after)
    assert [row.id for row in rest.results] == ["13"]
    assert rest.paging is None


def test_walks_all_pages(client: Any):
    assert [row.id for row in client.crm.deals.get_all(properties=["amount"])] == ["21", "22"]


def test_lists_the_archived_alone(client: Any):
    page = client.crm.contacts.basic_api.get_page(archived=True)
    assert [(row.id, row.archived, row.archived_at.day) for row in page.results] == [("14", True, 7)]


def test_reads_by_email(client: Any):
    found = client.crm.contacts.basic_api.get_by_id("ben@ufer.example", id_property="email")
    assert found.id == "12"


def test_does_not_find_what_is_not_there(client: Any):
    with pytest.raises(deals.ApiException) as caught:
        client.crm.deals.basic_api.get_by_id("404")
    assert caught.value.status == 404


def test_searches(client: Any):
    request = contacts.PublicObjectSearchRequest(
        filter_groups=[
            {"filters": [{"propertyName": "lastmodifieddate", "operator": "GTE", "value": "1772355600000"}]},
        ],
        sorts=[{"propertyName": "lastmodifieddate", "direction": "DESCENDING"}],
        properties=["lifecyclestage"],
        limit=1,
    )
    found = client.crm.contacts.search_api.do_search(request)
    assert found.total == 3
    assert [(row.id, row.properties["lifecyclestage"]) for row in found.results] == [("11", "opportunity")]
    assert found.paging.next.after == "1"


def test_reads_batches_with_histories(client: Any):
    request = contacts.BatchReadInputSimplePublicObjectId(
        inputs=[{"id": "11"}], properties=["email"], properties_with_history=["lifecyclestage"]
    )
    found = client.crm.contacts.batch_api.read(request)
    assert found.status == "COMPLETE"
    history = found.results[0].properties_with_history["lifecyclestage"]
    assert [(entry.value, entry.source_type) for entry in history] == [
        ("opportunity", "CRM_UI"),
        ("marketingqualifiedlead", "AUTOMATION_PLATFORM"),
        ("lead", "FORM"),
    ]
    assert history[0].timestamp.isoformat() == "2026-03-04T09:00:00+00:00"


def test_reads_batches_with_errors(client: Any):
    request = companies.BatchReadInputSimplePublicObjectId(
        inputs=[{"id": "31"}, {"id": "999"}], properties=["domain"], properties_with_history=[]
    )
    found = client.crm.companies.batch_api.read(request)
    assert [row.properties["domain"] for row in found.results] == ["quelle.example"]
    assert (found.num_errors, found.errors[0].category, found.errors[0].context) == (
        1,
        "OBJECT_NOT_FOUND",
        {"ids": ["999"]},
    )


def test_reads_associations(client: Any):
    request = v4.BatchInputPublicFetchAssociationsBatchRequest(inputs=[{"id": "11"}, {"id": "13"}])
    found = client.crm.associations.v4.batch_api.get_page("contacts", "companies", request)
    ends = [
        (end.to_object_id, [(kind.type_id, kind.label) for kind in end.association_types])
        for end in found.results[0].to
    ]
    assert (int(ends[0][0]), ends[0][1]) == (31, [(1, "Primary"), (279, None)])
    assert (int(ends[1][0]), [label for _, label in ends[1][1]]) == (32, [None, "Advisor"])
    assert found.num_errors == 1
    assert found.errors[0].sub_category == "crm.associations.NO_ASSOCIATIONS_FOUND"
    assert found.errors[0].context["fromObjectId"] == ["13"]


def test_lists_the_associations_of_one_record(client: Any):
    found = client.crm.associations.v4.basic_api.get_page("deals", "21", "contacts")
    assert [(int(end.to_object_id), end.association_types[0].type_id) for end in found.results] == [(11, 3)]


def test_reads_pipelines(client: Any):
    found = client.crm.pipelines.pipelines_api.get_all("deals").results
    assert [pipeline.id for pipeline in found] == ["default", "880"]
    assert [stage.metadata for stage in found[1].stages] == [
        {"isClosed": "false", "probability": "0.5"},
        {"isClosed": "true", "probability": "1.0"},
    ]
    assert len(found[0].stages) == 7
    assert found[0].created_at.year == 1970


def test_reads_owners_in_pages(client: Any):
    first = client.crm.owners.owners_api.get_page(limit=1)
    second = client.crm.owners.owners_api.get_page(limit=1, after=first.paging.next.after)
    assert [row.email for page in (first, second) for row in page.results] == [
        "ada@vendor.example",
        "bob@vendor.example",
    ]
    gone = client.crm.owners.owners_api.get_page(archived=True).results[0]
    assert (gone.id, gone.user_id, gone.archived) == ("72", None, True)


def test_reads_properties(client: Any):
    found = {row.name: row for row in client.crm.properties.core_api.get_all("deals").results}
    assert found["amount"].type == "number"
    assert "8802" in [option.value for option in found["dealstage"].options]
    assert found["hs_v2_date_entered_closedwon"].type == "datetime"


def test_lists_the_archived_properties_alone(client: Any):
    assert client.crm.properties.core_api.get_all("contacts", archived=True).results == []


def test_reads_archived_batches(client: Any):
    request = contacts.BatchReadInputSimplePublicObjectId(
        inputs=[{"id": "14"}, {"id": "11"}], properties=["email"], properties_with_history=["email"]
    )
    found = client.crm.contacts.batch_api.read(request, archived=True)
    assert [(row.id, row.archived, row.archived_at.day) for row in found.results] == [("14", True, 7)]
    assert [entry.value for entry in found.results[0].properties_with_history["email"]] == ["old@quelle.example"]
    assert found.errors[0].context == {"ids": ["11"]}


def test_refreshes_a_token_and_reads_with_it(company: Sandbox):
    address = {"host": company.base_url, "base_url": company.base_url}
    asked = {name: company.oauth[name] for name in ("client_id", "client_secret", "refresh_token")}
    issued = HubSpot(**address).oauth.tokens_api.create(grant_type="refresh_token", **asked)
    assert (issued.token_type, issued.expires_in) == ("bearer", 1800)
    assert issued.refresh_token == asked["refresh_token"]
    reader = HubSpot(access_token=issued.access_token, **address)
    assert [row.id for row in reader.crm.deals.get_all()] == ["21", "22"]
    with pytest.raises(oauth.ApiException) as caught:
        HubSpot(**address).oauth.tokens_api.create(grant_type="refresh_token", **{**asked, "refresh_token": "x"})
    assert caught.value.status == 400
    assert "BAD_REFRESH_TOKEN" in caught.value.body


def test_says_that_the_token_is_wrong(company: Sandbox):
    stranger = HubSpot(access_token="pat-na1-other", host=company.base_url, base_url=company.base_url)
    with pytest.raises(owners.ApiException) as caught:
        stranger.crm.owners.owners_api.get_page()
    assert caught.value.status == 401
    assert "INVALID_AUTHENTICATION" in caught.value.body


def test_asks_raw_for_dated_paths(client: Any):
    answer = client.api_request({"path": "/crm/objects/2026-09/0-3/21?properties=closedate"})
    assert answer.json()["properties"]["closedate"] == day(5)
