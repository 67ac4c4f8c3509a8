"""What the touches of a platform's campaign may be called."""

from __future__ import annotations

from typing import Any

import polars as pl

from crm_attribution.attribution.rules.spend_campaigns import spend_campaigns
from crm_attribution.mapping.spend import FIELDS, Spend
from crm_attribution.mapping.touches import Touches
from crm_attribution_tests.flow.chain import LOADED


def called(
    name: str, *rules: dict[str, Any], utm: str | None = None, **told: str
) -> tuple[int | None, str | None, str | None, str | None]:
    """Place of the rule, and the campaign by rule, id and name."""
    row = {"platform": "google_ads", "ad_account": "12", "campaign_id": "DE_7", "campaign_name": name, **told}
    touches = LOADED.touches.model_dump() | {"campaigns": {"autumn": ["herbst*"]}}
    sections = {
        "spend": Spend.model_validate({"utm_rules": rules, "gross_margin_percent": None}),
        "touches": Touches.model_validate(touches),
    }
    frame = pl.DataFrame([row]).select(*FIELDS, utm_campaign=pl.lit(utm, pl.String))
    (found,) = spend_campaigns(frame, LOADED.model_copy(update=sections)).drop(FIELDS).rows()
    return found


def test_without_a_rule_it_is_called_as_touches_spell_its_id_and_name():
    assert called("Brand | DE ") == (None, None, "de-7", "brand-de")
    assert called("Herbst 26") == (None, None, "de-7", "autumn")
    assert called("(not set)", campaign_id="") == (None, None, None, None)


def test_hubspots_own_campaign_says_what_its_touches_are_called():
    assert called("Spring", utm="DE Spring 26")[2:] == ("de-spring-26", "spring")


def test_the_first_rule_whose_every_condition_holds_tells_it():
    other = {"platform": ["meta"], "utm_campaign": "x"}
    mine = {
        "platform": ["Meta", "google*"],
        "campaign_name": ["US|*", "de | * | *"],
        "utm_campaign": "{1} of {campaign_id}",
    }
    assert called("DE | Brand | 26", other, mine)[:2] == (2, "brand-of-de-7")
    assert called("US|Abm", other, mine)[:2] == (2, "abm-of-de-7")
    assert called("DE | Brand | 26 | x", other, mine)[1] == "brand-of-de-7", (
        "the first * stands for as little as it can"
    )
    assert called("FR | Brand | 26", other, mine)[:2] == (None, None)
    assert called("DE | Herbst | 26", {"campaign_name": ["DE | * |*"], "utm_campaign": "{1}"})[:2] == (1, "autumn")


def test_what_a_rule_tells_is_a_name_and_no_program():
    row = called("Brand {0", {"ad_account": ["12"], "utm_campaign": "{campaign_name}"})
    assert row[:2] == (1, "brand-0")
    assert called("**", {"campaign_name": ["***"], "utm_campaign": "{1}"})[:2] == (1, None)
