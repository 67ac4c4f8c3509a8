"""Planning for several accounts of one platform: which rule goes where is a line of the mapping."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_attribution import configuration
from crm_attribution.conversions.plan import accounts_of, why_not
from crm_attribution.destinations import destinations
from crm_attribution.errors import ConfigurationError
from crm_attribution.identifiers import delivery_key
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.conversions.test_conversions import META, Desk, lead, win
from crm_attribution_tests.flow.chain import rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.marts import sample_rows

TWO = """
destinations:
  meta:
    conversions:
      - {milestone: lead_captured, action: Lead}
      - {milestone: lead_captured, action: Lead, account: eu}
      - {milestone: customer_won, action: Purchase, value: arr, account: eu}
"""
SECOND = {"META_DATASET_ID__EU": "second"}


@pytest.fixture
def desk(session: Session, tmp_path: Path) -> Desk:
    session.state.watermark = at("2026-03-20")
    made = Desk(session, tmp_path)
    made.text, made.environment = TWO, META | SECOND
    return made


def placed(desk: Desk) -> set[tuple[str, str, str, str | None]]:
    return {(row["account"], row["milestone_id"], row["state"], row["reason"]) for row in desk.rows()}


@pytest.mark.warehouse
def test_each_account_has_rows_of_its_own(desk: Desk):
    desk.tell(lead("a"), win("w"))
    assert desk.plan() == 3
    assert placed(desk) == {
        ("dataset", "a", "pending", None), ("second", "a", "pending", None), ("second", "w", "pending", None),
    }  # fmt: skip
    assert {row["conversion_id"] for row in desk.rows()} == {
        delivery_key("meta", "dataset", "Lead", "a", 0),
        delivery_key("meta", "second", "Lead", "a", 0),
        delivery_key("meta", "second", "Purchase", "w", 0),
    }
    assert desk.plan() == 0
    desk.tell(win("w", arr=9000))
    assert desk.plan() == 1, "each follows its facts"


@pytest.mark.warehouse
def test_an_account_that_is_added_or_renumbered_uploads_no_history_and_an_incomplete_one_waits(desk: Desk):
    desk.environment = dict(META)
    desk.tell(lead("before"))
    assert desk.plan() == 1, "the first account does not wait for the second"
    desk.environment = META | SECOND
    desk.tell(lead("after", "2026-03-20T00:00:00Z"))
    desk.plan()
    assert placed(desk) == {
        ("dataset", "before", "pending", None), ("second", "before", "suppressed", "before_activation"),
        ("dataset", "after", "pending", None), ("second", "after", "pending", None),
    }  # fmt: skip
    desk.session.state.watermark = at("2026-03-22")
    desk.environment = META | {"META_DATASET_ID__EU": "third"}
    desk.tell(lead("later", "2026-03-22T00:00:00Z"))
    desk.plan()
    third = {row[1:] for row in placed(desk) if row[0] == "third"}
    assert third == {
        ("before", "suppressed", "before_activation"), ("after", "suppressed", "before_activation"),
        ("later", "pending", None),
    }  # fmt: skip
    assert {row[2] for row in placed(desk) if row[:2] == ("dataset", "after")} == {"pending"}, "no duplicate of another"


@pytest.mark.warehouse
def test_a_rule_that_moves_to_another_account_sends_what_happens_from_then_on(desk: Desk):
    desk.text = TWO.replace(", account: eu", "")
    desk.text = desk.text.replace("      - {milestone: lead_captured, action: Lead}\n", "", 1)
    desk.tell(lead("a"), win("w"))
    desk.plan()
    desk.text = desk.text.replace("value: arr", "value: arr, account: eu")
    new = sample_rows.milestone(
        "customer_won", "n", "2026-03-20T00:00:00Z", account="company:2", deal="2", subtype="new",
        money=("EUR", None, None, 1),
    )  # fmt: skip
    desk.tell(new)
    desk.plan()
    assert placed(desk) == {
        ("dataset", "a", "pending", None), ("dataset", "w", "pending", None),
        ("second", "w", "suppressed", "before_activation"), ("second", "n", "pending", None),
    }  # fmt: skip


ADS = [one for one in destinations().values() if one.plans_from == "milestones"]


@pytest.mark.parametrize("name", [one.name for one in ADS if one.account_setting])
def test_what_says_which_account_it_is_must_be_given_for_each(name: str, tmp_path: Path):
    destination = destinations()[name]
    rule = f"{{milestone: customer_won, action: '{destination.example_action}', value: arr"
    mapped = rules(
        tmp_path, f"destinations:\n  {name}:\n    conversions:\n      - {rule}}}\n      - {rule}, account: eu}}\n"
    )
    needed = [setting for setting in destination.settings if setting in destination.required]
    environment = {setting.name: "1" for setting in needed} | {destination.account_setting: "1"}
    of_eu = f"{destination.account_setting}__EU"

    def found(**more: str) -> list[tuple[str, str | None]]:
        given = configuration.load(environment | more)
        assert why_not(destination, mapped, given) is None, "the first is in use whatever becomes of the second"
        return [(one.id, one.missing) for one in accounts_of(destination, mapped, given)]

    first, second = found()
    assert first == ("1", None)
    assert second[0] == ""
    assert str(second[1]).startswith(f"not configured: {of_eu} (")
    same = f"not configured: {destination.account_setting} and {of_eu} name the same account"
    assert found(**{of_eu: "1"}) == [("1", None), ("1", same)]
    assert found(**{of_eu: "2"}) == [("1", None), ("2", None)]
    token = next(setting for setting in needed if setting.secret)
    given = configuration.load(environment | {of_eu: "2", f"{token.name}__EU": "another secret"})
    assert "another secret" in given.secrets()
    first_, second_ = accounts_of(destination, mapped, given)
    assert (first_.settings[token.name], second_.settings[token.name]) == ("1", "another secret")
    assert not given.unknown


def test_a_name_that_is_none_is_refused_where_it_is_written(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"conversions\[?.?1.*account|account"):
        rules(tmp_path, TWO.replace("account: eu", "account: EU West"))
