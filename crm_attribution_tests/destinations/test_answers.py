"""What an answer means before the platform's own rules, status by status, and what is not sent of a person."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from crm_attribution.destinations import destinations
from crm_attribution.destinations.base import Answer, Limits, plain_http
from crm_attribution.destinations.linkedin import DESTINATION as LINKEDIN
from crm_attribution.destinations.meta import DESTINATION as META
from crm_attribution_tests.destinations.conformance import batch, ready

STOPPED = {*range(300, 400), 401, 403, 404, 405, 410, 426}
UNCERTAIN = {*range(100, 200), 408, 425, *range(500, 600)}


@pytest.mark.parametrize(("size", "refused"), [(1, "rejected"), (2, "refused")])
def test_every_status(size: int, refused: str):
    """2xx, 400, 422 and the like are the platform's to read."""
    for status in range(100, 600):
        expected = ("stopped" if status in STOPPED else "uncertain" if status in UNCERTAIN
                    else {413: refused, 429: "throttled"}.get(status))  # fmt: skip
        found = plain_http(Answer(status, {}, None), batch(META, size))
        assert (None if found is None else {each.verdict for each in found}) == (expected and {expected}), status
        assert found is None or {each.code for each in found} == {f"http_{status}"}


def test_codes_of_the_graph_api():
    known = dict.fromkeys([4, 17, 32, 341, 368, 613, *range(80000, 80015)], "throttled")
    known |= dict.fromkeys([1, 2, 5000], "uncertain") | {100: "refused"}
    for code in {0, *known, *(each + 1 for each in known), *(each - 1 for each in known)}:
        (one, _) = META.read(Answer(400, {}, {"error": {"code": code}}), batch(META, 2))
        assert one.verdict == known.get(code, "stopped"), code


@pytest.mark.parametrize("status", [199, 200, 299, 300, 399, 400, 422, 428, 429, 430, 499, 500, 599])
def test_results_of_linkedin_row_by_row(status: int):
    expected = (
        "accepted" if 200 <= status < 300
        else "transient" if status == 429
        else "rejected" if 400 <= status < 500
        else "uncertain"
    )  # fmt: skip
    one, other = LINKEDIN.read(Answer(200, {}, {"elements": [{"status": status}, {"status": 201}]}), batch(LINKEDIN, 2))
    assert (one.verdict, other.verdict) == (expected, "accepted")
    assert one.code == (None if expected == "accepted" else f"status_{status}")


def test_what_cannot_be_sent_of_a_person_is_told_and_what_is_not_known_is_not():
    whole: dict[str, Any] = {"email": "jane@example.com", "click_id": "abc-1", "phone": "+16505551212"}
    broken: dict[str, Any] = {"email": "nobody at all", "click_id": "", "phone": "12"}
    assert META.left_out(ready(META, **whole)) == LINKEDIN.left_out(ready(LINKEDIN, **whole)) == []
    assert META.left_out(ready(META, **broken)) == ["em", "ph"]
    assert LINKEDIN.left_out(ready(LINKEDIN, **broken)) == ["SHA256_EMAIL"]
    assert "fbc" not in META.left_out(ready(META, **{**whole, "clicked_at": None})), "a click without its time"
    for destination in destinations().values():
        assert destination.left_out(ready(destination, email=None, click_id=None, phone=None)) == []


def test_limits_are_those_of_the_platforms_documentation():
    """Documentation: the addresses in the destinations' files."""
    assert META.limits == Limits(batch=1000, max_age=timedelta(days=7), dedupe=timedelta(hours=48))
    assert LINKEDIN.limits == Limits(batch=5000, max_age=timedelta(days=90), dedupe=None, calls_per_minute=600)
    assert {name: one.limits.future for name, one in destinations().items()} == dict.fromkeys(
        destinations(), timedelta(minutes=1)
    )
