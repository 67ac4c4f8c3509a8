"""HubSpot's newer Python client, which speaks the dated paths, against the sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import hubspot_sdk
import pytest
from hubspot_sdk import HubSpot

from crm_attribution_tests.sandbox.lines import NOW
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def client(company: Sandbox) -> Iterator[HubSpot]:
    token = company.env["HUBSPOT_ACCESS_TOKEN"]
    with HubSpot(access_token=token, base_url=company.base_url, max_retries=0) as client:
        yield client


def test_lists_with_histories_and_associations(client: HubSpot):
    page = client.crm.objects.contacts.list(
        limit=1, properties=["email"], properties_with_history=["lifecyclestage"], associations=["companies"]
    )
    first = page.results[0]
    assert (first.id, first.properties["email"]) == ("11", "ann@quelle.example")
    assert first.properties_with_history is not None
    assert [entry.value for entry in first.properties_with_history["lifecyclestage"]] == [
        "opportunity",
        "marketingqualifiedlead",
        "lead",
    ]
    assert first.associations is not None
    assert {end.id for end in first.associations["companies"].results} == {"31", "32"}
    assert [row.id for row in client.crm.objects.contacts.list(limit=1)] == ["11", "12", "13"]


def test_lists_the_archived_alone(client: HubSpot):
    (row,) = client.crm.objects.contacts.list(archived=True).results
    assert row.archived_at is not None
    assert (row.id, row.archived, row.archived_at.day) == ("14", True, 7)


def test_searches(client: HubSpot):
    found = client.crm.objects.contacts.search(
        after="0",
        filter_groups=[{"filters": [{"property_name": "email", "operator": "HAS_PROPERTY"}]}],
        limit=1,
        properties=["email"],
        sorts=["-hs_object_id"],
    )
    assert found.paging is not None
    assert found.paging.next is not None
    assert (found.total, found.results[0].id, found.paging.next.after) == (3, "13", "1")


def test_reads_batches_with_histories_and_errors(client: HubSpot):
    found = client.crm.objects.contacts.batch.get(
        inputs=[{"id": "12"}, {"id": "99"}], properties=[], properties_with_history=["email"]
    )
    history = found.results[0].properties_with_history
    assert history is not None
    assert [(entry.value, entry.source_type) for entry in history["email"]] == [("Ben@Ufer.example", "FORM")]


def test_reads_associations(client: HubSpot):
    found = client.crm.associations.batch.get(
        to_object_type="companies", from_object_type="contacts", inputs=[{"id": "11"}, {"id": "13"}]
    )
    ends = [(end.to_object_id, [kind.type_id for kind in end.association_types]) for end in found.results[0].to]
    assert [(end, types[0]) for end, types in ends] == [("31", 1), ("32", 279)]
    one = client.crm.associations.list("contacts", object_type="deals", object_id="21")
    assert [end.to_object_id for end in one] == ["11"]


def test_reads_the_set_up(client: HubSpot):
    assert [owner.email for owner in client.crm.owners.list(limit=1)] == ["ada@vendor.example", "bob@vendor.example"]
    assert [pipeline.id for pipeline in client.crm.pipelines.list("deals").results] == ["default", "880"]
    properties = {row.name: row.type for row in client.crm.properties.list("deals").results}
    assert properties["amount"] == "number"
    assert client.crm.properties.list("deals", archived=True).results == []
    assert client.account.get().portal_id == 1000001
    (usage,) = client.account.get_daily_private_apps_usage().results
    assert (usage.usage_limit, usage.current_usage > 0, usage.fetch_status) == (250_000, True, "SUCCESS")
    assert usage.resets_at is not None
    assert usage.resets_at.isoformat() == f"{NOW[:10]}T23:00:00+00:00"


def test_reads_deals_by_type_id(client: HubSpot):
    assert client.crm.objects.deals.get("21", properties=["amount"]).properties["amount"] == "12500.00"


def test_its_token_request_is_json_which_the_description_does_not_allow(client: HubSpot, company: Sandbox):
    asked = {name: company.oauth[name] for name in ("client_id", "client_secret", "refresh_token")}
    with pytest.raises(hubspot_sdk.BadRequestError, match="BAD_GRANT_TYPE"):
        client.auth.oauth.create_token(grant_type="refresh_token", **asked)


def test_campaigns_with_their_budget(client: HubSpot):
    (found,) = client.marketing.campaigns.list(limit=10, properties=["hs_name", "hs_utm"]).results
    assert (found.id, found.properties) == ("c1", {"hs_name": "Spring", "hs_utm": "spring"})
    totals = client.marketing.campaigns.budget.get_totals(found.id)
    assert (totals.currency_code, totals.spend_total, totals.budget_items) == ("EUR", 5.5, [])
    assert [(item.id, item.amount, item.order) for item in totals.spend_items] == [("1", 5.5, 0)]
    revenue = client.marketing.campaigns.metrics.get_revenue_attribution(found.id, attribution_model="LINEAR")
    assert (revenue.currency_code, revenue.revenue_amount, revenue.deals_number) == ("EUR", 0, 0)
