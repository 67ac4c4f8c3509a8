"""Answers that an emulator does not give but HubSpot may: matched by id, never by place."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from crm_attribution.clock import to_millis
from crm_attribution.errors import ConfigurationError, Rejected, Retryable
from crm_attribution.hubspot.paths import Paths
from crm_attribution_tests.hubspot.fake import client_of

NOW = datetime(2026, 4, 23, 12, tzinfo=UTC)


def not_found(*ids: str) -> dict[str, object]:
    return {"category": "OBJECT_NOT_FOUND", "context": {"ids": list(ids)}}


def none_found(*ids: str) -> dict[str, object]:
    sub = "crm.associations.NO_ASSOCIATIONS_FOUND"
    return {"category": "OBJECT_NOT_FOUND", "subCategory": sub, "context": {"fromObjectId": list(ids)}}


def test_batch_read_matches_by_id_and_names_what_is_missing():
    def answer(_path, _query, body):
        assert body["propertiesWithHistory"] == ["dealstage"]
        assert "hs_merged_object_ids" in body["properties"]
        found = [{"id": "30"}, {"id": "10"}]
        return 207, {"results": found, "numErrors": 1, "errors": [not_found("20")]}

    with client_of(answer) as (client, server):
        result = client.batch_read("deals", ["10", "20", "30", "10"], ["amount"], ["dealstage"])
    assert sorted(r["id"] for r in result.records) == ["10", "30"]
    assert (result.missing, result.aliases) == (["20"], {})
    assert server.seen[0].path == "/crm/objects/2026-09/deals/batch/read"
    assert len(server.seen[0].json["inputs"]) == 3


@pytest.mark.parametrize(("history", "calls"), [([], 3), (["email"], 5)])
def test_batch_read_takes_as_many_as_hubspot_allows(history, calls):
    def answer(_path, _query, body):
        assert len(body["inputs"]) <= (50 if history else 100)
        return {"results": [{"id": one["id"]} for one in body["inputs"]]}

    with client_of(answer) as (client, server):
        result = client.batch_read("contacts", [str(n) for n in range(1, 250)], [], history)
    assert (len(result.records), len(server.seen)) == (249, calls)


def test_merged_ids_are_mapped_to_the_record_that_answers():
    def answer(_path, _query, body):
        survivor = {"id": 9, "properties": {"hs_merged_object_ids": "7;8"}}
        return {"results": [survivor] if body["inputs"] else []}

    with client_of(answer) as (client, _):
        result = client.batch_read("contacts", ["7", "8", "9"], [])
        lonely = client.batch_read("contacts", ["7"], [])
    assert [r["id"] for r in result.records] == ["9"]
    assert result.aliases == {"7": "9", "8": "9"}
    assert (result.missing, lonely.aliases) == ([], {"7": "9"})


def test_a_single_unexplained_answer_is_the_single_unanswered_id():
    with client_of(lambda *_: {"results": [{"id": "9", "properties": {}}, {"id": "5"}]}) as (client, _):
        assert client.batch_read("contacts", ["5", "7"], []).aliases == {"7": "9"}
        several = client.batch_read("contacts", ["5", "7", "8"], [])
    assert (several.aliases, several.missing) == ({}, ["7", "8"])


def test_a_survivor_answering_in_two_calls_is_one_record():
    survivor = {"id": "1000", "properties": {"hs_merged_object_ids": "1;101"}}
    with client_of(lambda *_: {"results": [survivor]}) as (client, _):
        result = client.batch_read("contacts", [str(n) for n in range(1, 102)], [])
    assert [r["id"] for r in result.records] == ["1000"]
    assert (result.aliases, len(result.missing)) == ({"1": "1000", "101": "1000"}, 99)


@pytest.mark.parametrize("body", [{"results": [], "errors": [{"category": "INTERNAL"}]}, {"results": [{}]}, []])
def test_batch_read_does_not_guess(body):
    with client_of(lambda *_: (207, body)) as (client, _), pytest.raises(Rejected, match="hubspot batch read"):
        client.batch_read("contacts", ["1"], [])


def test_associations_page_per_record_coerce_ids_and_know_none():
    def answer(_path, _query, body):
        types = [{"category": "HUBSPOT_DEFINED", "typeId": 3, "label": None}]
        results, errors = [], []
        for one in body["inputs"]:
            if one["id"] == "3":
                errors.append(none_found("3"))
                continue
            row = {"from": {"id": one["id"]}, "to": [{"toObjectId": 7, "associationTypes": types}]}
            if one["id"] == "1" and one.get("after") != "b":
                row["paging"] = {"next": {"after": "b" if one.get("after") else "a"}}
            results.append(row)
        return (207 if errors else 200), {"results": results, "errors": errors}

    with client_of(answer) as (client, server):
        found = client.associations("deals", "contacts", ["1", "2", "3"])
    assert {key: len(value) for key, value in found.items()} == {"1": 3, "2": 1, "3": 0}
    assert found["2"][0]["toObjectId"] == "7"
    assert [len(s.json["inputs"]) for s in server.seen] == [3, 1, 1]
    assert server.seen[0].path == "/crm/associations/2026-09/deals/contacts/batch/read"


def test_associations_go_by_the_thousand_and_continuations_share_calls():
    def answer(_path, _query, body):
        assert len(body["inputs"]) <= 1000
        rows = [{"from": {"id": one["id"]}, "to": [{"toObjectId": "7"}]} for one in body["inputs"]]
        for one, row in zip(body["inputs"], rows, strict=True):
            if "after" not in one and int(one["id"]) <= 10:
                row["paging"] = {"next": {"after": one["id"]}}
        return {"results": rows}

    with client_of(answer) as (client, server):
        found = client.associations("contacts", "companies", [str(n) for n in range(1, 1991)])
    assert (len(found), len(server.seen)) == (1990, 2)
    assert sum(map(len, found.values())) == 2000


def test_associations_that_go_in_circles_are_an_error():
    loop = {"from": {"id": "1"}, "to": [], "paging": {"next": {"after": "x"}}}
    with client_of(lambda *_: {"results": [loop]}) as (client, _), pytest.raises(Retryable, match="does not advance"):
        client.associations("deals", "contacts", ["1"])


def test_an_id_hubspot_says_nothing_about_is_not_an_empty_list():
    with client_of(lambda *_: {"results": []}) as (client, _):
        assert client.associations("deals", "contacts", ["1"]) == {}


@pytest.mark.parametrize(("history", "limit"), [([], "100"), (["email"], "50")])
def test_listing_follows_cursors(history, limit):
    def answer(_path, query, _body):
        assert query["limit"] == limit
        assert query["archived"] == "true"
        after = {"paging": {"next": {"after": "a b", "link": "http://elsewhere.test"}}} if "after" not in query else {}
        return {"results": [{"id": query.get("after", "first")}], **after}

    with client_of(answer) as (client, _):
        pages = list(client.list_all("contacts", ["email"], history, archived=True))
    assert [(page.records[0]["id"], page.after) for page in pages] == [("first", "a b"), ("a b", None)]


def test_listing_in_circles_is_an_error():
    body = {"results": [], "paging": {"next": {"after": "x"}}}
    with client_of(lambda *_: body) as (client, _), pytest.raises(Retryable, match="does not advance"):
        list(client.list_all("contacts", []))


def test_names_that_do_not_fit_into_a_url_go_by_batch_read():
    names = [f"a_property_with_a_long_name_{n}" for n in range(300)]

    def answer(path, query, body):
        if body is None:
            assert query["limit"] == "100"
            return {"results": [{"id": str(n)} for n in range(1, 61)]}
        assert query == {"archived": "true"}
        return {"results": [{"id": one["id"], "asked": len(body["properties"])} for one in body["inputs"]]}

    with client_of(answer) as (client, server):
        pages = list(client.list_all("contacts", names, ["email"], archived=True))
    (page,) = pages
    assert len(page.records) == 60
    assert page.records[0]["asked"] == 301
    assert all(len(s.path) < 8_200 for s in server.seen)


def test_submissions_stop_at_the_watermark_and_come_once():
    """A new submission shifts the second page by one while we read."""
    times = [to_millis(NOW) - 1000 * n for n in range(300)]

    def answer(path, query, _body):
        assert path == "/form-integrations/v1/submissions/forms/f%2F1"
        start = int(query.get("after", 0))
        rows = [{"conversionId": f"c{n}", "submittedAt": times[n]} for n in range(start, start + int(query["limit"]))]
        return {"results": rows, "paging": {"next": {"after": str(start + 49)}}}

    watermark = datetime.fromtimestamp(times[120] / 1000, UTC)
    with client_of(answer) as (client, server):
        found = [row["conversionId"] for page in client.form_submissions("f/1", watermark) for row in page]
    assert found == [f"c{n}" for n in range(121)]
    assert len(server.seen) == 3


def test_email_clicks_follow_offsets_inside_an_inclusive_window():
    def answer(_path, query, _body):
        assert query["eventType"] == "CLICK"
        assert int(query["endTimestamp"]) == to_millis(NOW) - 1
        more = "offset" not in query
        return {"events": [{"id": query.get("offset", "first")}], "hasMore": more, "offset": "o1"}

    with client_of(answer) as (client, _):
        assert [[e["id"] for e in page] for page in client.email_clicks(None, NOW)] == [["first"], ["o1"]]


def test_paths_of_versions():
    assert Paths.of("v3").associations == "/crm/v4/associations"
    assert Paths.of("2026-03").objects == "/crm/objects/2026-03"
    with pytest.raises(ConfigurationError):
        Paths.of("v4/../x")


def test_ids_and_types_cannot_leave_their_path_segment():
    with client_of(lambda *_: {"results": []}) as (client, server):
        client.properties("deals/../../x?y")
    assert server.seen[0].path == "/crm/properties/2026-09/deals%2F..%2F..%2Fx%3Fy"
