"""What holds of a record by all that was said of it: against an oracle, in any order and any parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_attribution.conversions.identify_rules import Known, Said, changed, folded, stage_of, typed

STAGES = ("subscriber", "lead", "marketingqualifiedlead", "customer", "97431")
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
Row = tuple[int, dict[str, str]]

ROWS = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.dictionaries(st.sampled_from(["plan", "seats", "city"]), st.sampled_from(["a", "b", "c"]), max_size=3),
    ),
    max_size=8,
)


def said(number: int, row: Row) -> Said:
    return Said(BEGIN + timedelta(hours=row[0]), f"r{number:02d}", row[1])


def oracle(rows: list[Row]) -> dict[str, str]:
    """Play the rows in the order of their time; of one moment in that of their ids."""
    state: dict[str, str] = {}
    for _, _, values in sorted((row[0], number, list(row[1].items())) for number, row in enumerate(rows)):
        state.update(values)
    return state


@given(rows=ROWS, data=st.data())
def test_in_any_order_and_any_parts_the_newest_of_each_value_is_told_and_only_on_change(rows: list[Row], data: Any):
    order = data.draw(st.permutations(range(len(rows))))
    known: list[Said] = []
    portal: dict[str, str] = {}
    while order:
        size = data.draw(st.integers(1, len(order)))
        known += [said(number, rows[number]) for number in order[:size]]
        order = order[size:]
        wanted = folded(known)
        news = changed(wanted.texts, portal, None, STAGES)
        assert all(portal.get(name) != text for name, text in news.items())
        portal |= news
        again = changed(folded([*known, *known]).texts, portal, None, STAGES)
        assert again == {}
    assert portal == oracle(rows)


@given(rows=ROWS)
def test_a_value_that_comes_back_has_another_key_and_one_that_is_read_again_has_not(rows: list[Row]):
    known = [said(number, row) for number, row in enumerate(rows)]
    wanted = folded(known)
    assert folded(reversed(known)).key("contacts:1", wanted.texts, 0) == wanted.key("contacts:1", wanted.texts, 0)
    later = folded([*known, Said(BEGIN + timedelta(days=1), "later", wanted.texts)])
    assert later.texts == wanted.texts
    if wanted.texts:
        assert later.key("contacts:1", wanted.texts, 0) != wanted.key("contacts:1", wanted.texts, 0)
        assert wanted.key("contacts:1", wanted.texts, 1) != wanted.key("contacts:1", wanted.texts, 0)


@given(now=st.sampled_from([None, *STAGES, "own"]), to=st.sampled_from(STAGES))
def test_a_lifecycle_stage_goes_forward_only(now: str | None, to: str):
    news = changed({"lifecyclestage": to}, {}, now, STAGES)
    forward = now is None or (now in STAGES and STAGES.index(to) > STAGES.index(now))
    assert news == ({"lifecyclestage": to} if forward else {})


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("2026-04-01T22:30:00-05:00", "date", "2026-04-02"),
        ("1775082600000", "date", "2026-04-01"),
        ("2026-04-01", "datetime", "2026-04-01T00:00:00Z"),
        ("2026-04-01T10:00:00+02:00", "datetime", "2026-04-01T08:00:00Z"),
        ("12 500.5", "number", "12500.5"),
        ("YES", "bool", "true"),
        ("0", "bool", "false"),
        ("a;b", "enumeration", "a;b"),
    ],
)
def test_texts_become_hubspots_types(text: str, kind: str, value: str):
    assert typed(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("soon", "date", "not_a_date"),
        ("2026-13-01", "datetime", "not_a_time"),
        ("many", "number", "not_a_number"),
        ("perhaps", "bool", "not_true_or_false"),
    ],
)
def test_what_is_no_value_of_a_type_has_a_reason(text: str, kind: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        typed(text, kind)


def test_stages_are_known_by_id_and_label():
    assert stage_of("Marketing Qualified Lead", STAGES) == "marketingqualifiedlead"
    assert stage_of("97431", STAGES) == "97431"
    with pytest.raises(ValueError, match="no_such_stage"):
        stage_of("won", STAGES)


@pytest.mark.parametrize(
    ("text", "found"), [("gold", "gold"), ("gold;silver", "gold;silver"), ("Gold", None), ("gold; lead", None)]
)
def test_an_enumeration_is_given_its_options_only(text: str, found: str | None):
    known = Known({}, {"tier": "enumeration"}, frozenset(), STAGES, {"tier": {"gold", "silver"}})
    good, wrong = known.read({"tier": text})
    assert good.get("tier") == found
    assert wrong == ({} if found else {"tier": "no_such_option"})


def test_keys_become_properties_and_what_cannot_be_written_is_told():
    known = Known({"title": "jobtitle", "secret": None}, {"jobtitle": "string", "plan": "string", "ad_consent": "bool"},
                  frozenset({"ad_consent"}), STAGES)  # fmt: skip
    good, wrong = known.read({"title": "x", "jobtitle": "y", "secret": "s", "plan": "p", "ad_consent": "1", "z": "1"})
    assert good == {"jobtitle": "y", "plan": "p"}
    assert wrong == {"ad_consent": "not_to_be_written", "z": "no_such_property", "jobtitle": "named_twice"}
    assert known.read({"title": "x", "jobtitle": "x"}) == ({"jobtitle": "x"}, {})
