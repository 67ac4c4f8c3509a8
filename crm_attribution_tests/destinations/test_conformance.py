"""Every registered destination conforms, and a new file is found without being named anywhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from crm_attribution import destinations as registry
from crm_attribution import mapping
from crm_attribution.configuration import load
from crm_attribution.destinations import destinations
from crm_attribution.destinations.accounts import not_configured, values
from crm_attribution.destinations.base import Answer, Destination
from crm_attribution.errors import ConfigurationError
from crm_attribution_tests.destinations import conformance
from crm_attribution_tests.laws import TIMES

ALL = list(destinations().values())
each = pytest.mark.parametrize("destination", ALL, ids=lambda destination: destination.name)

STATUSES = [200, 201, 202, 204, 301, 400, 401, 403, 404, 408, 409, 413, 422, 426, 429, 500, 502, 503, 504, 599]


@each
def test_declaration(destination: Destination):
    conformance.check_declaration(destination)


@each
def test_build(destination: Destination):
    conformance.check_build(destination)


@each
def test_accepts(destination: Destination):
    conformance.check_accepts(destination)


@each
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("status", STATUSES)
def test_read_of_nothing_and_of_garbage(destination: Destination, status: int, size: int):
    rows = conformance.batch(destination, size)
    for body, readable in ((None, True), ("<html>", False), ([], True), ({}, True), ({"error": {}}, True)):
        outcomes = conformance.check_read(destination, Answer(status, {}, body, readable), rows)
        if body is not None or status not in destination.taken:
            assert not any(outcome.verdict == "accepted" for outcome in outcomes), body
        if status == 400:
            assert not any(outcome.verdict in ("rejected", "refused") for outcome in outcomes), "a proxy's refusal"


@pytest.mark.slow
@each
@bounds(max_examples=150 * TIMES)
@given(
    status=st.one_of(st.sampled_from(STATUSES), st.integers(100, 599)),
    body=conformance.json_values,
    size=st.integers(1, 4),
    wait=st.one_of(st.none(), st.text(max_size=12), st.integers().map(str)),
)
def test_read_of_anything(destination: Destination, status: int, body: object, size: int, wait: str | None):
    headers = {} if wait is None else {"Retry-After": wait}
    conformance.check_read(destination, Answer(status, headers, body), conformance.batch(destination, size))


@each
@bounds(max_examples=60 * TIMES)
@given(
    email=st.one_of(st.none(), st.text(max_size=30)),
    phone=st.one_of(st.none(), st.text(max_size=30)),
    click=st.one_of(st.none(), st.text(min_size=1, max_size=30)),
    value=st.one_of(st.none(), st.integers(-(10**17), 10**17)),
    currency=st.one_of(st.none(), st.sampled_from(["EUR", "JPY", "KWD", "usd"])),
)
def test_whatever_is_accepted_can_be_built(destination: Destination, email, phone, click, value, currency):
    row = conformance.ready(
        destination, email=email, phone=phone, click_id=click, value=value, currency=currency, action="104012"
    )
    reason = destination.accepts(row)
    if reason is None:
        request = destination.build([row], conformance.settings(destination), conformance.OPTIONS)
        json.dumps(request.json, allow_nan=False).encode()
    else:
        assert reason.replace("_", "").isalpha()


@each
def test_it_says_what_is_missing_and_keeps_to_its_own_settings(destination: Destination):
    nothing = load({})
    missing = not_configured(destination, nothing)
    assert missing is not None
    assert all(f"{one.name} ({one.where})" in missing for one in destination.required)
    assert values(destination, nothing) == {}
    full = load({**conformance.settings(destination), "HUBSPOT_ACCESS_TOKEN": "other"})
    assert not_configured(destination, full) is None
    assert values(destination, full) == conformance.settings(destination)


def test_the_mapping_names_destinations_that_exist():
    assert set(mapping.load().destinations) <= set(destinations())


def test_a_file_in_the_folder_is_all_a_destination_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = (
        "from crm_attribution.destinations.meta import Meta\nclass New(Meta):\n    name = 'new'\nDESTINATION = New()\n"
    )
    _folder(tmp_path, monkeypatch, brand_new=source)
    assert sorted(destinations.__wrapped__()) == sorted([*destinations(), "new"])


def test_two_files_with_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _folder(tmp_path, monkeypatch, twin="from crm_attribution.destinations.meta import Meta\nDESTINATION = Meta()\n")
    with pytest.raises(ConfigurationError, match=r"destinations/twin\.py: the name meta is taken"):
        destinations.__wrapped__()


def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    for name, source in modules.items():
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.setitem(sys.modules, f"{registry.__name__}.{name}", ModuleType(name))
        del sys.modules[f"{registry.__name__}.{name}"]
    monkeypatch.setattr(registry, "__path__", [*registry.__path__, str(tmp_path)])
