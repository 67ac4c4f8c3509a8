"""Scanners told from people, and HubSpot's e-mail clicks from those a tracked link has told: against a plain reading of
the rules, click by click."""

from __future__ import annotations

from datetime import timedelta
from itertools import combinations
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.contracts import CONTRACTS
from crm_attribution.identity.rules.email_clicks import settle
from crm_attribution.raw.rules.bot_clicks import bursts, email_bot_clicks, link_bot_clicks, mark_bots
from crm_attribution_tests.events.rules.histories import RULES, frame
from crm_attribution_tests.helpers import at
from crm_attribution_tests.laws import TIMES

CLICKED = at("03-20T12:00:00")
CLICKS = RULES.clicks
Row = dict[str, Any]
Decided = dict[str, tuple[str | None, str | None]]


def click(**more: Any) -> Row:
    return {"click_id": "k", "clicked_at": CLICKED, "received_at": CLICKED, "link_tags": [], "is_bot": False,
            "destination_url": "https://v.example/a", "extracted_at": CLICKED, **more}  # fmt: skip


def mail(**more: Any) -> Row:
    return {"id": "e", "created_at": CLICKED, "url": "https://v.example/a", "is_bot": False, "extracted_at": CLICKED,
            **more}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "agent", "reason"),
    [
        ("head", "Mozilla/5.0", "method_head"),
        ("GET", "Mozilla/5.0 (compatible; Googlebot/2.1)", "known_agent"),
        ("GET", "python-requests/2.34", "known_agent"),
        ("GET", "Mozilla/5.0 Barracuda Sentinel (EE)", "known_agent"),
        ("GET", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/17.0 Safari/605.1.15", None),
        ("GET", "Mozilla/5.0 (Linux; Android 12; CUBOT X50) AppleWebKit/537.36", None),
        ("GET", "YouBot (+http://www.you.com)", "known_agent"),
        (None, None, None),
    ],
)  # fmt: skip
def test_suspects_by_one_click(method: str | None, agent: str | None, reason: str | None):
    (row,) = mark_bots(frame("raw.link_click", [click(method=method, user_agent=agent)])).rows(named=True)
    assert (row["bot_reason"], row["is_bot"]) == (reason, reason is not None)


def burst(*clicks: tuple[float, str, str | None]) -> list[int]:
    rows = [{"key": n, "who": who, "at": CLICKED + timedelta(seconds=after), "link": link}
            for n, (after, link, who) in enumerate(clicks)]  # fmt: skip
    return sorted(bursts(pl.DataFrame(rows, schema_overrides={"who": pl.String}), CLICKS))


def test_three_links_in_ten_seconds_are_a_scanner():
    assert burst((0, "a", "1"), (5, "b", "1"), (10, "c", "1")) == [0, 1, 2]
    assert burst((0, "a", "1"), (5, "b", "1"), (10.001, "c", "1")) == []
    assert burst((0, "a", "1"), (1, "a", "1"), (2, "b", "1")) == [], "two links, one of them twice"
    assert burst((0, "a", "1"), (1, "b", "2"), (2, "c", "1")) == [], "two people"
    assert burst((0, "a", None), (1, "b", None), (2, "c", None)) == [], "nobody known"
    chained = burst((0, "a", "1"), (6, "b", "1"), (9, "c", "1"), (14, "d", "1"), (30, "e", "1"))
    assert chained == [0, 1, 2, 3]


# --- both sources together, against an oracle

PAGES = [
    "https://www.V.example/a/?utm_source=x",
    "https://v.example/b",
    "https://v.example/c?eid=1",
    "https://go.example/s",
]
"""The last one is the tracked link itself, whose slug is `s`."""
people = st.sampled_from(["ann", "ann", "ann", "bob", None])
seconds = st.sampled_from([0, 2, 5, 10, 11, 15, 20, 21])
link_clicks = st.lists(
    st.tuples(seconds, people, st.integers(0, 2), st.sampled_from(["GET", "GET", "GET", "HEAD"])), max_size=7
)
mail_clicks = st.lists(
    st.tuples(seconds, people, st.integers(0, 3), st.sampled_from([None, None, "hubspot_filter", "obsoleted"]),
              st.sampled_from([None, 60, 60, 3])), max_size=7)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=300 * TIMES)
@given(links=link_clicks, mails=mail_clicks, shuffle=st.randoms(use_true_random=False))
def test_what_counts_follows_the_rules_in_any_order(links: list[Any], mails: list[Any], shuffle: Any):
    link_rows = [
        click(click_id=f"k{n}", clicked_at=CLICKED + timedelta(seconds=s), contact_id={"ann": "1", "bob": "2"}.get(who),
              destination_url=PAGES[page], link_slug="s" if page == 0 else None, method=method, person_id=who)
        for n, (s, who, page, method) in enumerate(links)
    ]  # fmt: skip
    mail_rows = [
        mail(id=f"e{n}", created_at=CLICKED + timedelta(seconds=s), recipient=who, url=PAGES[page], bot_reason=reason,
             is_bot=reason is not None, person_id=who,
             sent_at=None if sent is None else CLICKED + timedelta(seconds=s - sent))
        for n, (s, who, page, reason, sent) in enumerate(mails)
    ]  # fmt: skip
    expected = oracle(link_rows, mail_rows)
    shuffle.shuffle(link_rows)
    shuffle.shuffle(mail_rows)
    assert decided(link_rows, mail_rows) == expected


def decided(link_rows: list[Row], mail_rows: list[Row]) -> Decided:
    """Key -> why it is a suspect, and the click it is a duplicate of."""
    persons = {"person_id": pl.String}
    raw = mark_bots(frame("raw.link_click", [{k: v for k, v in row.items() if k != "person_id"} for row in link_rows]))
    links = link_bot_clicks(raw, CLICKS).with_columns(
        pl.Series("person_id", [r["person_id"] for r in link_rows], pl.String)
    )
    mails = frame("raw.email_click", [{k: v for k, v in row.items() if k != "person_id"} for row in mail_rows])
    known = pl.DataFrame([{"person_id": row["person_id"]} for row in mail_rows], schema=persons)
    mails = pl.concat([mails, known], how="horizontal").with_columns(
        address="recipient", representative=pl.lit(1, pl.Int64)
    )
    bad_links, answers = settle(links, email_bot_clicks(mails, CLICKS), CLICKS)
    contract = CONTRACTS["identity.email_click"]
    answers = contract.validate(contract.conform(answers))
    why = dict(bad_links.iter_rows())
    found: Decided = {row["click_id"]: (why.get(row["click_id"]), None) for row in link_rows}
    for row in answers.iter_rows(named=True):
        assert (row["status"] == "unresolved") == (row["reason"] in ("no_recipient", "recipient_names_no_person"))
        found[row["id"]] = (row["reason"] if row["status"] == "suspect" else None, row["link_click_id"])
    return found


def oracle(link_rows: list[Row], mail_rows: list[Row]) -> Decided:
    links: list[Row] = [
        {"key": r["click_id"], "at": r["clicked_at"], "who": r["person_id"], "page": r["destination_url"]}
        for r in link_rows
    ]
    mails: list[Row] = [
        {"key": r["id"], "at": r["created_at"], "who": r["person_id"], "page": r["url"]} for r in mail_rows
    ]
    own: dict[str, str | None] = {}
    for row in link_rows:
        own[row["click_id"]] = "method_head" if row["method"] == "HEAD" else None
    for row in mail_rows:
        early = row["sent_at"] is not None and row["created_at"] - row["sent_at"] <= timedelta(seconds=5)
        own[row["id"]] = row["bot_reason"] or ("after_send" if early else None)
    gone = {row["id"] for row in mail_rows if row["bot_reason"] == "obsoleted"}
    for group in (links, [m for m in mails if m["key"] not in gone]):
        for three in combinations([c for c in group if c["who"]], 3):
            times = [c["at"] for c in three]
            one = len({c["who"] for c in three}) == 1 and len({c["page"] for c in three}) == 3
            if one and max(times) - min(times) <= timedelta(seconds=10):
                first, last = min(times), max(times)
                for c in group:  # everything else of that contact in any ten seconds around the three
                    inside = max(last, c["at"]) - min(first, c["at"]) <= timedelta(seconds=10)
                    if c["who"] == three[0]["who"] and inside:
                        own[c["key"]] = own[c["key"]] or "burst"

    def partners(one: Row, others: list[Row]) -> list[Row]:
        same = []
        for other in others:
            known = one["who"] is not None and one["who"] == other["who"] and not {one["key"], other["key"]} & gone
            page = one["page"] == other["page"] or {one["page"], other["page"]} == {PAGES[0], PAGES[3]}
            if known and page and abs(other["at"] - one["at"]) <= timedelta(seconds=10):
                same.append(other)
        return sorted(same, key=lambda other: (abs(other["at"] - one["at"]), other["at"], other["key"]))

    def told(one: Row, near: list[Row]) -> str | None:
        return own[one["key"]] or (own[near[0]["key"]] if near else None)

    final = {link["key"]: told(link, partners(link, mails)) for link in links}
    found: Decided = {key: (why, None) for key, why in final.items()}
    for event in mails:
        near = partners(event, links)
        why = told(event, near)
        counted = [other["key"] for other in near if final[other["key"]] is None]
        found[event["key"]] = (why, counted[0] if why is None and counted else None)
    return found
