"""What every destination must hold, known or new: `check(destination, account)` for one more file is all it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from hypothesis import strategies as st

from crm_attribution.destinations.base import Answer, Destination, Outcome, Ready, Verdict
from crm_attribution.identifiers import sha256

WHEN = datetime(2026, 3, 10, 11, 22, 33, 456000, UTC)
PRIVATE = ("Jane.Roe@Example.com", "jane.roe@example.com", "+1 650 555 1212", "16505551212", "Jane-First", "Roe-Last")
OPTIONS = {"crm_name": "HubSpot"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
"""Anything a server may answer."""


def settings(destination: Destination) -> dict[str, str]:
    """A value for each required setting, recognisable."""
    given = {setting.name: f"secret-{setting.name.lower()}" for setting in destination.required}
    if destination.address_is_credential:
        given[destination.credential] = f"https://hooks.example/{given[destination.credential]}"
    return given


def ready(destination: Destination, number: int = 0, **changes: Any) -> Ready:
    """A conversion with everything a platform may ask for."""
    known = Ready(
        conversion_id=sha256(f"conversion {number}"),
        action=destination.example_action,
        kind="conversion",
        occurred_at=WHEN,
        value=123456,
        currency="EUR",
        person_id=f"person_{number}",
        contact_id=number,
        email=PRIVATE[0],
        click_id="IwAR0-CaseSensitive",
        clicked_at=WHEN - timedelta(days=2),
        phone=PRIVATE[2],
        first_name=PRIVATE[4],
        last_name=PRIVATE[5],
        country="DE",
    )
    return replace(known, **changes)


def batch(destination: Destination, size: int) -> list[Ready]:
    return [ready(destination, number) for number in range(size)]


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *strings(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def keys_in(destination: Destination, value: Any) -> list[str]:
    """What stands in the platform's field for our key, in the order of the events."""
    if destination.key_field is None:
        return []
    if isinstance(value, dict):
        own = [value[destination.key_field]] if destination.key_field in value else []
        return own + [key for inner in value.values() for key in keys_in(destination, inner)]
    return [key for inner in value for key in keys_in(destination, inner)] if isinstance(value, list) else []


def check_declaration(destination: Destination) -> None:
    """Limits, settings and names are all there."""
    limits = destination.limits
    assert destination.wrong_action(destination.example_action, "arr") is None
    assert limits.batch >= 1
    assert limits.max_age > timedelta(0)
    assert limits.dedupe is None or timedelta(hours=2) < limits.dedupe
    assert limits.future >= timedelta(0)
    for setting in destination.settings:
        assert setting.name.isupper(), setting.name
        assert setting.description
        assert len(setting.where) > 10, f"{setting.name}: say where to get it"
    assert destination.credential in {setting.name for setting in destination.required if setting.secret}
    assert destination.base_url_setting.endswith("_BASE_URL")
    assert destination.base_url.startswith("https://")
    assert destination.documentation.startswith("https://")
    assert "conversion" in destination.kinds <= {"conversion", "restatement", "retraction"}


def check_build(destination: Destination) -> None:
    """Deterministic JSON, one event per row, our key in the platform's field, nothing private, no token in the URL."""
    rows, given = batch(destination, 3), settings(destination)
    request = destination.build(rows, given, OPTIONS)
    text = json.dumps(request.json, allow_nan=False)
    again = destination.build(batch(destination, 3), dict(given), dict(OPTIONS))
    assert (json.dumps(again.json), again.path, dict(again.headers)) == (text, request.path, dict(request.headers))
    if destination.key_field is None:
        assert destination.limits.dedupe is None, "without a key it recognises none"
        assert [len(events) for events in request.json.values() if isinstance(events, list)] == [len(rows)]
    else:
        assert keys_in(destination, request.json) == [row.conversion_id for row in rows]
    everything = [request.path, *request.headers.values(), *strings(request.json)]
    for private in PRIVATE:
        assert not any(private in one for one in everything), f"{private} leaves in plain text"
    secret = given[destination.credential]
    assert secret not in request.path
    grant = destination.grant(given)
    if destination.address_is_credential:
        assert not any(secret in one for one in everything), "the address leaves with the request"
        assert destination.address(given) is not None
    elif grant is None:
        assert any(secret in one for one in everything), "the credential is not in the request"
    else:
        assert secret in grant.form(WHEN).values(), "the credential gives no access token"
        assert secret not in repr(grant)
        assert not any(secret in one for one in everything), "what gives tokens leaves with the events"
    assert secret not in json.dumps(request.shown([secret]))
    assert secret not in repr(request)
    for row in rows:
        assert PRIVATE[0] not in repr(row)
    assert request.path.startswith("/")
    assert destination.account(given) == destination.account(dict(given)) != ""


def check_accepts(destination: Destination) -> None:
    """Whole rows pass; a row without any identifier does not; what is accepted can be built."""
    assert destination.accepts(ready(destination)) is None
    if destination.plans_from == "news":  # about no person
        return
    nobody: dict[str, Any] = {"email": None, "click_id": None, "clicked_at": None, "phone": None, "person_id": None}
    names: dict[str, Any] = {"first_name": None, "last_name": None, "country": None, "contact_id": None}
    assert destination.accepts(ready(destination, **nobody, **names)) == "no_identifier"
    assert (
        destination.accepts(ready(destination, email="nonsense", click_id=None, phone="12", contact_id=None))
        == "no_identifier"
    )
    for changes in ({"email": None}, {"click_id": None}, {"value": 0}, {"currency": "JPY"}, {"currency": "KWD"}):
        row = ready(destination, **changes)
        if destination.accepts(row) is None:
            destination.build([row], settings(destination), OPTIONS)


def check_read(destination: Destination, answer: Answer, rows: Sequence[Ready]) -> list[Outcome]:
    """Every row gets exactly one outcome, of a known kind, with a code that quotes nothing."""
    outcomes = destination.read(answer, rows)
    assert [outcome.conversion_id for outcome in outcomes] == [row.conversion_id for row in rows]
    verdicts = {outcome.verdict for outcome in outcomes}
    assert verdicts <= set(get_args(Verdict)) - {"unsent"}
    for outcome in outcomes:
        assert outcome.code is None or (len(outcome.code) <= 80 and outcome.code.isascii())
        assert outcome.retry_after is None or timedelta(0) < outcome.retry_after <= timedelta(days=1)
    if len(rows) == 1:
        assert "refused" not in verdicts, "one row cannot be parted"
    if answer.status >= 300:
        assert "accepted" not in verdicts
    if answer.status >= 500 and not isinstance(answer.body, dict):
        assert verdicts == {"uncertain"}
    if answer.status in (401, 403):
        assert verdicts <= {"stopped", "throttled", "uncertain"}
        assert answer.body or verdicts == {"stopped"}
    if answer.status == 429:
        assert answer.body or verdicts == {"throttled"}
    return outcomes
