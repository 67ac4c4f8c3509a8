"""Ids that other systems know us by, and normalising that never raises."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crm_attribution import identifiers
from crm_attribution.clock import FixedClock, from_millis, iso, parse_instant, to_millis

MOMENT = datetime(2026, 4, 23, 11, 4, 19, tzinfo=UTC)


def test_the_documented_event_ids():
    text = b"102948:marketingqualifiedlead:2026-04-23T11:04:19Z"
    given_ = ("contacts", 102948, "marketingqualifiedlead", MOMENT)
    assert identifiers.lifecycle_event_id(*given_) == hashlib.sha256(text).hexdigest()
    company = b"company:3029911:customer:2026-04-23T11:04:19Z"
    assert (
        identifiers.lifecycle_event_id("companies", 3029911, "customer", MOMENT) == hashlib.sha256(company).hexdigest()
    )
    assert identifiers.deal_event_id(84721, "contractsent", MOMENT) == "deal_84721_contractsent_2026-04-23T11:04:19Z"


@pytest.mark.parametrize(("micros", "text"), [(0, ""), (7_000, ".007"), (120_000, ".120"), (999, "")])
def test_milliseconds_only_where_they_are_not_zero(micros: int, text: str):
    moment = MOMENT + timedelta(microseconds=micros)
    assert identifiers.deal_event_id(1, "s", moment) == f"deal_1_s_2026-04-23T11:04:19{text}Z"


def test_an_id_names_the_instant_whatever_its_zone():
    elsewhere = parse_instant("2026-04-23T13:04:19+02:00")
    assert identifiers.deal_event_id(1, "s", elsewhere) == identifiers.deal_event_id(1, "s", MOMENT)


def test_the_delivery_key_is_hashed_part_by_part():
    parts = "1:14:meta2:ds4:Lead2:ü1:0"
    assert identifiers.delivery_key("meta", "ds", "Lead", "ü", 0) == hashlib.sha256(parts.encode()).hexdigest()


def test_no_two_tuples_share_a_delivery_key():
    tricky = ["", "a", "a:", "1:a", "a1:", ":", "0:", "11", "1", "é", "e\u0301"]
    keys = [
        identifiers.delivery_key(one, two, three, four, number)
        for one, two, three, four in product(tricky, repeat=4)
        for number in (0, 1, 11)
    ]
    assert len(set(keys)) == len(keys) == 3 * len(tricky) ** 4


def test_persons_of_one_contact_differ_by_generation():
    assert len({identifiers.person_id(contact, generation) for contact in (1, 11) for generation in range(12)}) == 24


@pytest.mark.parametrize(
    ("text", "email"),
    [
        (" Ann@Example.COM ", "ann@example.com"),
        ("a n n@example.com", None),
        (" kim @ example.com", "kim@example.com"),
        ("kim\u200b@example.com\ufeff", "kim@example.com"),
        ("k\x00im@example.com\x07", "kim@example.com"),
        ("k\u00adim@exam\u2060ple.com", "kim@example.com"),
        ("ki\u3164m@example.com", "kim@example.com"),
        ("Jose\u0301@example.com", "jos\u00e9@example.com"),
        ("anna@B\u00fccher.example", "anna@xn--bcher-kva.example"),
        ("anna@xn--bcher-kva.example", "anna@xn--bcher-kva.example"),
        ("anna@a_b.example", "anna@a_b.example"),
        ("anna@\u200d\u2764.\u0000\u00e9", None),
        ("ann@example..", None),
        ("ann@example", None),
        ("ann", None),
        ("a@b@c.example", None),
        ("", None),
        (None, None),
    ],
)
def test_emails(text: str | None, email: str | None):
    assert identifiers.normalise_email(text) == email


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("https://www.Example.com:8080/a?b#c", "example.com"),
        ("example.com.", "example.com"),
        ("http://ann:pw@example.com/", "example.com"),
        ("www.com", "www.com"),
        ("https://B\u00fccher.example/", "xn--bcher-kva.example"),
        ("exam\u200bple.com", "example.com"),
        ("localhost", None),
        ("  ", None),
        (None, None),
    ],
)
def test_domains(text: str | None, domain: str | None):
    assert identifiers.normalise_domain(text) == domain


@pytest.mark.parametrize(
    ("text", "click_id"),
    [
        (" IwAR0_a-B.c~ ", "IwAR0_a-B.c~"),
        ("fb.1.1554763741205.IwAR0", "IwAR0"),
        ("fb.1.1554763741205.fb.1", None),
        ("fb.1.155", None),
        ("fb.1.1554763741205.", None),
        ("IwAR%2Da", "IwAR-a"),
        ("IwAR%252Da", "IwAR-a"),
        ("fbclid=IwAR0&utm_source=x", "IwAR0"),
        ("https://v.example/?a=1&gclid=Cj0", "Cj0"),
        ("Cj0\u200bKC", "Cj0KC"),
        *((text, None) for text in ("{{gclid}}", "{gclid}", "%7Bgclid%7D", "${ID}", "%%CLICK%%", "__CLICKID__")),
        *((text, None) for text in ("null", "Undefined", "(not set)", "gclid", "-", "", "  ", "N/A")),
        *((text, None) for text in ("Cj0KC...", "Cj0KC\u2026", "Cj0KC%2", "Cj0 KC", "Cj\u04300")),
        (None, None),
    ],
)
def test_click_ids(text: str | None, click_id: str | None):
    assert identifiers.normalise_click_id(text) == click_id


@given(st.one_of(st.text(), st.from_regex(r"(fb\.1\.|%|gclid=|[a-c0-9.]){0,12}")))
def test_a_click_id_of_a_click_id_is_itself(text: str):
    once = identifiers.normalise_click_id(text)
    assert once is None or identifiers.normalise_click_id(once) == once


@given(st.one_of(st.text(), st.from_regex(r"(www\.|https?://|\.|@|[a-c])*")))
@example("www.www.example.com")
@example("www..example.com")
@example("a@.www.b.c")
def test_normalising_twice_is_normalising_once(text: str):
    for normalise in (identifiers.normalise_email, identifiers.normalise_domain):
        once = normalise(text)
        assert once is None or normalise(once) == once


@given(st.text())
@example("http://[::1")
@example("https://v.example/?gclid=%ff&a")
def test_an_address_of_any_kind_has_parameters(url: str):
    assert all(isinstance(value, str) for value in identifiers.url_parameters(url).values())


def test_parameters_of_an_address():
    found = identifiers.url_parameters("https://v.example/?a=1&a=2&b=x%20y&c=#d=3")
    assert found == {"a": "1", "b": "x y"}


# --- the clock


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_milliseconds_there_and_back(millis: int):
    moment = from_millis(millis)
    assert to_millis(moment) == millis
    assert parse_instant(iso(moment)) == moment


@pytest.mark.parametrize("stamp", [10**20, -(10**20), "x", 10**40])
def test_no_instant_is_a_value_error(stamp: int | str):
    with pytest.raises(ValueError, match=r"not a timestamp|invalid literal"):
        from_millis(stamp)


@pytest.mark.parametrize("text", ["", "noon", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_no_iso_text_is_a_value_error(text: str):
    with pytest.raises(ValueError, match=r"timestamp|isoformat"):
        parse_instant(text)


def test_a_bare_date_is_midnight_utc_and_a_fixed_clock_stands_still():
    assert parse_instant("2026-04-23") == datetime(2026, 4, 23, tzinfo=UTC)
    assert FixedClock(MOMENT).now() == MOMENT
