"""Touches: channels, whose they are, and a click and its submission being one."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from crm_attribution.attribution.rules.tellings import NOTHING
from crm_attribution.attribution.rules.touches import of_mailboxes, of_persons, placed
from crm_attribution.contracts import CONTRACTS
from crm_attribution_tests.events.rules.histories import RULES, frame
from crm_attribution_tests.helpers import at

WHEN = "03-05T09:00:00"


def clicks(*rows: dict[str, Any]) -> pl.DataFrame:
    base = {"clicked_at": at(WHEN), "received_at": at(WHEN), "link_tags": [], "destination_url": "https://v.example",
            "is_bot": False, "extracted_at": at(WHEN)}  # fmt: skip
    raw = frame("raw.link_click", [base | {"click_id": f"k{n}"} | {k: v for k, v in row.items() if k not in EXTRA}
                                   for n, row in enumerate(rows)])  # fmt: skip
    more = [{name: row.get(name) for name in EXTRA} for row in rows]
    schema = {**dict.fromkeys(EXTRA, pl.String), "resolved_contact_id": pl.Int64}
    return pl.concat([raw, pl.DataFrame(more, schema=schema)], how="horizontal")


EXTRA = ["person_id", "resolved_contact_id", "form_id", "conversion_id"]


def forms(*rows: dict[str, Any]) -> pl.DataFrame:
    base = {"form_id": "f", "submitted_at": at(WHEN), "extracted_at": at(WHEN)}
    raw = frame("raw.form_submission", [base | {k: v for k, v in row.items() if k not in ("person_id", "contact_id")}
                                        for row in rows])  # fmt: skip
    more = [{"person_id": row.get("person_id", "p"), "contact_id": 1} for row in rows]
    schema = {"person_id": pl.String, "contact_id": pl.Int64}
    return pl.concat([raw, pl.DataFrame(more, schema=schema)], how="horizontal")


def emails(*rows: dict[str, Any]) -> pl.DataFrame:
    base = {"created_at": at(WHEN), "is_bot": False, "extracted_at": at(WHEN)}
    raw = frame("raw.email_click", [base | {"id": f"e{n}"} | row for n, row in enumerate(rows)])
    return raw.with_columns(person_id=pl.lit("p"), contact_id=pl.lit(1, pl.Int64))


NO_MAILS = emails()
NO_ACTIVITIES = frame("raw.activity", []).with_columns(
    person_id=pl.lit(None, pl.String), contact_id=pl.lit(1, pl.Int64)
)
NO_FILES = frame("raw.offline_touch", []).with_columns(
    person_id=pl.lit(None, pl.String), resolved_contact_id=pl.lit(None, pl.Int64)
)


def member(account: str, start: str, end: str | None = None) -> dict[str, Any]:
    return {"person_id": "p", "account_id": account, "contact_id": 1, "valid_from": at(start),
            "valid_to": None if end is None else at(end), "basis": "history"}  # fmt: skip


def rows_of(
    click: pl.DataFrame, form: pl.DataFrame, *members: dict[str, Any], mails: pl.DataFrame = NO_MAILS
) -> list[dict[str, Any]]:
    acts = of_persons(click, mails, form, NO_FILES, NO_ACTIVITIES, NOTHING, (), RULES.touches)
    rows = placed(acts.touches, frame("identity.membership", members), RULES.touches)
    return CONTRACTS["attribution.touch"].validate(CONTRACTS["attribution.touch"].conform(rows)).rows(named=True)


@pytest.mark.parametrize(
    ("channel", "given"),
    [
        ("Paid Search", {"utm_source": "google", "utm_medium": "CPC"}),
        ("Paid Search", {"gclid": "Cj0K"}),
        ("Paid Social", {"utm_medium": " paid_social "}),
        ("Paid Social", {"li_fat_id": "1"}),
        ("E-mail", {"utm_medium": "email", "gclid": "Cj0K"}),
        ("Direct", {"utm_source": "direct"}),
        ("Organic Search", {"utm_source": "google", "utm_medium": "organic"}),
        ("Other", {"utm_source": "billboard"}),
        ("Other", {}),
    ],
)
def test_channels_of_the_shipped_rules(channel: str, given: dict[str, str]):
    (row,) = rows_of(clicks({"person_id": "p", **given}), forms())
    assert row["channel"] == channel


def test_a_submission_that_named_a_click_is_that_click():
    click = clicks({"person_id": "p", "form_id": "f", "conversion_id": "1"}, {"person_id": "p"})
    rows = rows_of(click, forms({"conversion_id": "1"}, {"conversion_id": "2"}))
    assert [row["touch_id"] for row in rows] == ["click:k0", "click:k1", "form:f:2"]


def test_a_touch_belongs_to_the_account_of_its_moment():
    given = clicks({"person_id": "p", "clicked_at": at("03-05T08:59:59")}, {"person_id": "p"})
    rows = rows_of(given, forms(), member("company:1", "1970-01-01", WHEN), member("company:2", WHEN))
    assert [row["account_id"] for row in rows] == ["company:1", "company:2"]
    assert [row["account_id"] for row in rows_of(given, forms())] == [None, None]


def test_a_click_in_a_marketing_mail_is_named_by_its_link_else_by_its_send():
    link = "https://v.example/?utm_source=Newsletter&utm_campaign=May"
    rows = rows_of(clicks(), forms(), mails=emails({"url": link, "email_campaign_id": "7"}, {"email_campaign_id": "7"}))
    assert [(row["channel"], row["source"], row["medium"], row["campaign"]) for row in rows] == [
        ("E-mail", "newsletter", "email", "may"),
        ("E-mail", "hubspot", "email", "7"),
    ]
    assert rows[0]["touch_id"] == f"email:{int(at(WHEN).timestamp()) * 1000}:e0"


def test_a_mailboxs_touch_belongs_to_the_account_all_its_owners_had_at_that_moment():
    """A membership counts from its first moment, and no more at its last; without one account, the domain's."""
    moments = ["03-01T00:00:00", "03-04T23:59:59", "03-05T00:00:00", "03-09T23:59:59", "03-10T00:00:00"]
    form = forms(*({"conversion_id": f"{n}", "submitted_at": at(when), "person_id": "box"}
                   for n, when in enumerate(moments)),
                 {"conversion_id": "nobody", "person_id": "nobody's"})  # fmt: skip
    spans = pl.DataFrame(
        [("box", "company:1", at("2026-03-01"), at("2026-03-05")), ("box", "company:1", at("2026-03-02"), None),
         ("box", "company:2", at("2026-03-05"), at("2026-03-10"))],
        schema={"mailbox": pl.String, "account_id": pl.String, "valid_from": pl.Datetime("us", "UTC"),
                "valid_to": pl.Datetime("us", "UTC")}, orient="row",
    )  # fmt: skip
    by_domain = pl.DataFrame({"mailbox": ["box"], "account_id": ["domain:b.example"]})
    rows = of_mailboxes(clicks(), NO_MAILS, form, NO_FILES, spans, by_domain, RULES.touches).sort("touched_at")
    assert rows["person_id"].null_count() == rows.height
    assert dict(rows.select("touch_id", "account_id").iter_rows()) == {
        "form:f:0": "company:1",
        "form:f:1": "company:1",
        "form:f:2": "domain:b.example",
        "form:f:3": "domain:b.example",
        "form:f:4": "company:1",
    }


def test_a_meeting_that_took_place_is_a_touch_and_a_file_that_tells_it_too_is_not():
    """One that did not is a row with its rule. A file's dinner is another act, and so is its meeting of next day."""
    kinds = {"1": ("meeting", "completed"), "2": ("meeting", "no_show"), "3": ("call", None), "4": ("call", "busy"),
             "5": ("marketing_event", "attended"), "6": ("marketing_event", "registered"),
             "7": ("meeting", "completed")}  # fmt: skip
    told = frame("raw.activity", [
        {"kind": kind, "id": number, "occurred_at": at(WHEN), "outcome": outcome, "name": None, "contact_ids": [1],
         "gone": "archived" if number == "7" else None, "extracted_at": at(WHEN)}
        for number, (kind, outcome) in kinds.items()
    ]).with_columns(person_id=pl.lit("p"), contact_id=pl.lit(1, pl.Int64))  # fmt: skip
    moments = {"a": (at(WHEN), "meeting"), "b": (at("03-05T09:31:00"), "meeting"), "c": (at(WHEN), "dinner"),
               "d": (at("03-05T09:30:00"), "meeting")}  # fmt: skip
    files = frame("raw.offline_touch", [
        {"touch_id": name, "touched_at": moment, "act": act, "told_at": moment, "extracted_at": moment}
        for name, (moment, act) in moments.items()
    ]).with_columns(person_id=pl.lit("p"), resolved_contact_id=pl.lit(1, pl.Int64))  # fmt: skip
    found = of_persons(clicks(), NO_MAILS, forms(), files, told, NOTHING, (), RULES.touches)
    rows = placed(found.touches, frame("identity.membership", []), RULES.touches)
    assert dict(rows.select("touch_id", "channel").iter_rows()) == {
        "meeting:1:1": "Sales", "call:3:1": "Sales", "marketing_event:5:1": "Event", "offline:b": "Offline",
        "offline:c": "Offline",
    }  # fmt: skip
    assert sorted(found.folded.select("touch_id", "into", "rule").rows()) == [
        ("call:4:1", None, "not_held"),
        ("marketing_event:6:1", None, "not_held"),
        ("meeting:2:1", None, "not_held"),
        ("meeting:7:1", None, "gone"),
        ("offline:a", "meeting:1:1", "same_visit"),
        ("offline:d", "meeting:1:1", "same_visit"),
    ]
