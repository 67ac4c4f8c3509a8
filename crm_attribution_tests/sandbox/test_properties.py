"""Property definitions of the sandbox change while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crm_attribution_tests.sandbox.lines import COMPANY, NOW, create, day, update
from crm_attribution_tests.sandbox.test_hubspot import found
from crm_attribution_tests.sandbox_process import Sandbox, SandboxRefused

pytestmark = pytest.mark.sandbox

PATH = "/crm/properties/2026-09/deals"


def definitions(sandbox: Sandbox, query: str = "") -> dict[str, Any]:
    status, answer = sandbox.hubspot("GET", PATH + query)
    assert status == 200
    return {row["name"]: row for row in answer["results"]}


def test_definitions_are_added_renamed_retyped_and_removed(start: Callable[..., Sandbox]):
    sandbox = start(COMPANY)
    before = definitions(sandbox)
    sandbox.set_properties(
        "deals",
        add=[{"name": "region", "label": "Region", "type": "enumeration", "fieldType": "radio"}],
        rename={"dealname": "Name of the deal"},
        retype={"amount": "string"},
        remove=["hs_priority"],
    )
    after = definitions(sandbox)
    assert before.keys() - after.keys() == {"hs_priority"}
    assert after.keys() - before.keys() == {"region"}
    region = after["region"]
    assert (region["type"], region["fieldType"], region["createdAt"], region["hubspotDefined"]) == (
        "enumeration",
        "radio",
        NOW,
        False,
    )
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert changed == {"dealname", "amount"}
    assert (after["dealname"]["label"], after["dealname"]["updatedAt"]) == ("Name of the deal", NOW)
    assert (after["amount"]["type"], after["amount"]["fieldType"]) == ("string", "text")
    archived = definitions(sandbox, "?archived=true")
    assert [(row["name"], row["archived"], row["archivedAt"]) for row in archived.values()] == [
        ("hs_priority", True, NOW)
    ]
    assert sandbox.hubspot("GET", f"{PATH}/hs_priority")[0] == 404
    assert sandbox.hubspot("GET", f"{PATH}/hs_priority?archived=true")[0] == 200


def test_a_removed_property_is_ignored_like_an_unknown_one(start: Callable[..., Sandbox]):
    sandbox = start([create(day(1), "deals", 1, hs_priority="high", amount="9")])
    sandbox.set_properties("deals", remove=["hs_priority"])
    sandbox.log([update(day(2), "deals", 1, hs_priority="low", amount="10")])
    body = {"inputs": [{"id": "1"}], "properties": ["amount", "hs_priority", "unheard_of"]}
    status, answer = sandbox.hubspot("POST", "/crm/objects/2026-09/deals/batch/read", body)
    given = answer["results"][0]["properties"]
    assert (status, sorted(given)) == (200, ["amount", "createdate", "hs_lastmodifieddate", "hs_object_id"])
    sandbox.set_properties("deals", add=[{"name": "hs_priority"}])
    assert sandbox.hubspot("GET", "/crm/v3/objects/deals/1?properties=hs_priority")[1]["properties"]["hs_priority"]
    assert definitions(sandbox, "?archived=true") == {}


def test_a_search_compares_by_the_new_type(start: Callable[..., Sandbox]):
    sandbox = start([create(day(1), "deals", n, amount=text) for n, text in ((1, "9"), (2, "10"))])
    larger = {"propertyName": "amount", "operator": "GT", "value": "1"}
    assert found(sandbox, "deals", larger, {**larger, "value": "9"}) == ["2"]
    sandbox.set_properties("deals", retype={"amount": "string"})
    assert found(sandbox, "deals", {**larger, "value": "9"}) == []


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("tickets", {}, "`object` is one of contacts"),
        ("deals", {"remove": ["colour"]}, "deals have no property colour"),
        ("deals", {"retype": {"amount": "money"}}, "'money' is no property type"),
        ("deals", {"add": ["region"]}, "`add` is a list of objects"),
        ("deals", {"drop": []}, "`drop` is unknown"),
    ],
)
def test_a_change_that_is_not_understood(company: Sandbox, kind: str, changes: dict[str, Any], words: str):
    with pytest.raises(SandboxRefused, match=words):
        company.set_properties(kind, **changes)
