"""The mapping file: merged deeply, and wrong in a place one can find."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from crm_attribution.clock import parse_instant
from crm_attribution.errors import ConfigurationError
from crm_attribution.events.rules.deal_milestones import DEAL_STAGES
from crm_attribution.events.rules.milestones import PERSON_MILESTONES
from crm_attribution.mapping import SHIPPED, Carrier, Milestone, Rules, load, send_from

Load = Callable[[str], Rules]


@pytest.fixture
def override(tmp_path: Path) -> Load:
    def write(text: str) -> Rules:
        path = tmp_path / "own.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return write


def problems(override: Load, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        override(text)
    head, *lines = str(caught.value).splitlines()
    assert head == "the mapping is wrong:"
    return [line.strip().removeprefix(str(SHIPPED.parent)) for line in lines]


def test_the_shipped_rules_stand_alone_and_an_empty_override_changes_nothing(override: Load):
    assert load() == override("") == override("# nothing yet\n")


def test_an_override_reaches_deep_and_leaves_the_rest(override: Load):
    mine = override("attribution: {lookback_days: {customer_won: 30}}\ndestinations: {meta: {click_days: 7}}\n")
    assert mine.attribution.lookback_days == {"default": 90, "customer_won": 30, "customer_expanded": 365}
    assert mine.destinations["meta"].click_days == 7
    assert mine.destinations["meta"].conversions == load().destinations["meta"].conversions
    assert mine.identity == load().identity


def test_lists_are_replaced_whole(override: Load):
    assert override("attribution: {models: [linear]}").attribution.models == ["linear"]


def test_names_are_compared_in_any_case(override: Load):
    mine = override(
        "values: {billing_months: {Half-Yearly: 6}}\n"
        "lifecycle: {stages: {PartnerLead: lead_captured}, order: [PartnerLead, Customer]}\n"
        "identity: {role_mailboxes: [Vertrieb], blocked_values: [UNKNOWN]}\n"
    )
    assert mine.values.billing_months["half-yearly"] == 6
    assert mine.lifecycle.stages["partnerlead"] == "lead_captured"
    assert mine.lifecycle.order == ["partnerlead", "customer"]
    assert (mine.identity.role_mailboxes, mine.identity.blocked_values) == (["vertrieb"], ["unknown"])


def test_every_wrong_entry_is_named_with_file_line_and_path(override: Load, tmp_path: Path):
    text = """version: "2"
deals:
  pipelines:
    default: new
    renewals: renwal
attribution:
  models: [first_touch, lineer]
touches:
  chanels: []
consent:
  granted: [yes]
destinations:
  meta:
    conversions:
      - {milestone: lead_captured, action: Lead}
      - {milestone: customer_won, action: "", value: revenue}
    send_from: tomorrow
"""
    file = tmp_path / "own.yaml"
    found = sorted(problems(override, text), key=lambda line: int(line.split("line ")[1].split(":")[0]))
    assert [line.partition(": ")[0] for line in found] == [f"{file}, line {number}" for number in (5, 7, 9, 16, 16, 17)]
    assert [line.split(": ")[1] for line in found] == [
        "deals.pipelines.renewals",
        "attribution.models.1",
        "touches.chanels",
        "destinations.meta.conversions.1.action",
        "destinations.meta.conversions.1.value",
        "destinations.meta.send_from",
    ]
    assert "'new', 'expansion', 'renewal', 'churn' or 'ignore'" in found[0]


def test_properties_are_listed_for_object_types_that_are_read(override: Load):
    (line,) = problems(override, "history:\n  contact: [jobtitle]\n")
    assert ", line 1: history: " in line
    assert "contact is no object type; there are contacts, companies, deals" in line


def test_a_pair_is_joined_or_kept_apart_and_not_both(override: Load):
    pairs = "identity:\n  include: [[contact:1, contact:2], [contact:1, 'email:A@b.example']]\n  exclude: [%s]\n"
    mine = override(pairs % "[contact:1, contact:3]").identity
    assert (mine.include, mine.exclude) == (
        [("contact:1", "contact:2"), ("contact:1", "email:a@b.example")],
        [("contact:1", "contact:3")],
    )
    for same in ("[contact:2, contact:1]", "['email:a@B.example', contact:1]"):
        (line,) = problems(override, pairs % same)
        assert ", line 3: identity.exclude: " in line
        assert "1 pair(s) are in include and in exclude: keep one of the two" in line


def test_parameters_are_those_of_the_model(override: Load):
    (line,) = problems(override, "attribution:\n  parameters:\n    linear: {half_life_days: 7}\n")
    assert ", line 2: attribution.parameters: " in line
    assert "linear has no parameter half_life_days; it has none" in line


def test_a_variant_is_a_model_under_another_name(override: Load):
    mine = override(
        "attribution:\n  variants: {ours: {of: custom, first: 40, rest: 60}}\n  models: [linear, ours, time_decay_30]\n"
        "  parameters: {time_decay: {half_life_days: 14}}\n"
    ).attribution
    assert [(one.name, one.model.name) for one in mine.chosen] == [
        ("linear", "linear"),
        ("ours", "custom"),
        ("time_decay_30", "time_decay"),
    ]
    assert mine.chosen[1].parameters == {"first": 40, "lead": 0, "deal": 0, "close": 0, "last": 0, "rest": 60}
    assert mine.chosen[2].parameters == {"half_life_days": 30}, "its own, not the model's"


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("variants: {ours: {of: costum}}", "variants.ours.of", "no such attribution model"),
        ("variants: {ours: {of: custom, frist: 1}}", "variants.ours", "custom has no parameter frist; it has first, "),
        ("variants: {ours: {of: custom, first: -1}}", "variants.ours.first", "greater than or equal to 0"),
        ("variants: {linear: {of: custom}}", "variants", "linear: a model has this name"),
        ("models: [ours]", "models.0", "no such attribution model"),
        ("models: []", "models", "at least 1 item"),
        ("scopes: [deal]", "scopes.0", "'account' or 'deal_contacts'"),
    ],
)
def test_a_wrong_variant_model_or_scope_is_named(override: Load, text: str, path: str, said: str):
    (line,) = problems(override, f"attribution:\n  {text}\n")
    assert f", line 2: attribution.{path}: " in line
    assert said in line


def test_a_section_emptied_by_accident_is_named(override: Load):
    (line,) = problems(override, "identity:\n")
    assert ", line 1: identity: " in line


def test_a_look_back_without_a_default_or_below_zero_is_refused(override: Load):
    (line,) = problems(override, "attribution:\n  lookback_days: {default: -1}\n")
    assert "line 2: attribution.lookback_days" in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deals: [unclosed", r"own\.yaml, line 1: not YAML"),
        ("version: '1'\nvalues:\n\tmrr: 1\n", r"own\.yaml, line 3: not YAML"),
        ("- a\n- b\n", r"own\.yaml, line 1: expected a mapping"),
        ("just text", r"own\.yaml, line 1: expected a mapping"),
        ("a: 1\n---\nb: 2\n", r"own\.yaml, line 2: not YAML"),
        ("a: \x00", r"own\.yaml, at character 3: not YAML"),
    ],
)
def test_what_is_no_mapping_is_refused_with_its_line(override: Load, text: str, message: str):
    with pytest.raises(ConfigurationError, match=message):
        override(text)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: no such mapping file \(CRM_ATTRIBUTION_MAPPING\)"):
        load(tmp_path / "nowhere.yaml")


def test_a_file_that_is_no_text_is_named(tmp_path: Path):
    (tmp_path / "own.yaml").write_bytes(b"version: \xff\xfe")
    with pytest.raises(ConfigurationError, match=r"own\.yaml, at byte 9: not UTF-8 text"):
        load(tmp_path / "own.yaml")


def test_a_signature_changes_with_its_own_sections_only(override: Load):
    before, after = load(), override("touches: {other_channel: Else}")
    assert before.signature("touches") != after.signature("touches")
    assert before.signature("attribution", "touches") != after.signature("attribution", "touches")
    others = [name for name in Rules.model_fields if name != "touches"]
    assert before.signature(*others) == after.signature(*others)
    assert len({before.signature(name) for name in Rules.model_fields}) == len(Rules.model_fields)


def test_send_from_means_the_start_or_an_instant():
    start = parse_instant("2026-01-01")
    assert send_from("start", start) == start
    assert send_from("2026-03-01", start) == parse_instant("2026-03-01")


# --- YAML as people mean it


def test_values_are_read_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "mapping.yaml"
    file.write_text(
        "consent: {granted: [010, 0x1F, 1.10, 1_000]}\nsuppression: {domains: [no]}\n"
        "milestones: {settle_minutes: 010}\n"
        "destinations: {meta: {send_from: 2026-03-12T09:00:00Z}}\n"
        "streams: {email_clicks: off}\n"
        "accounts: {parent_property: null}\n"
    )
    rules = load(file)
    assert rules.consent.granted == ["010", "0x1F", "1.10", "1_000"]
    assert rules.suppression.domains == ["no"]
    assert rules.milestones.settle_minutes == 10
    assert rules.destinations["meta"].send_from == "2026-03-12T09:00:00Z"
    assert rules.streams.email_clicks is False
    assert rules.accounts.parent_property is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("milestones: {settle_minutes: 1:30}", "line 1: milestones.settle_minutes"),
        ("suppression: {contact_ids: [abc]}", "digits only"),
        ("suppression: {deal_ids: [010]}", "digits only"),
        ("a: !!python/object/apply:os.system [ls]", "line 1"),
        ("? {a: b}\n: c", "line 1"),
        ("a: &x [*x]", "a"),
        ("a: " + "[" * 5_000, "deep"),
        ("a: [", "line 1: not YAML"),
        ("destinations: {meta: {send_from: 2026-02-31}}", "line 1: destinations.meta.send_from"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mapping.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load(file)
    assert said in str(refused.value)


def test_a_folder_is_no_mapping_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path)


# --- mistakes of people who have never seen the file


def test_the_milestones_a_rule_may_name_are_those_that_can_happen() -> None:
    assert set(get_args(Milestone)) == {*PERSON_MILESTONES, *DEAL_STAGES, *get_args(Carrier)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deal: {}", "deal: there is no such entry; did you mean deals?"),
        ("milestones: {echo_hour: 3}", "milestones.echo_hour: there is no such entry; did you mean echo_hours?"),
        ("milestones: {zzz: 3}", "there are settle_minutes, echo_hours"),
        ("deals:", "deals: must be a section"),
        ("values: {mrr: hs_mrr}", "values.mrr: must be a section"),
        ("consent: {denied: no}", "consent.denied: must be a list"),
        ("streams: {email_clicks: maybe}", "must be on or off"),
        ("milestones: {settle_minutes: 1.5}", "must be a whole number"),
        ("milestones: {settle_minutes: 99999999999999999999999}", "must be less than or equal to"),
        ("attribution: {lookback_days: {default: 999999}}", "must be less than or equal to 36500"),
        ("attribution: {lookback_days: {customer: 9}}", "not 'customer'"),
        ("attribution: {outcomes: [customer]}", "attribution.outcomes.0: must be 'lead_captured'"),
        ("destinations: {meta: {conversions: [{milestone: customer_wonn, action: P}]}}", "not 'customer_wonn'"),
        ("destinations: {linkdin: {click_days: 9}}", "linkdin.send_from: is missing; did you mean linkedin?"),
        ("destinations: {meta: {send_from: yesterday}}", "send_from: must be start, or a timestamp"),
        (
            "destinations:\n  linkedin:\n    conversions: [{milestone: customer_won, action: abc}]\n",
            "line 3: destinations.linkedin.conversions.0.action: must be the numeric id of a conversion rule",
        ),
        (
            "destinations:\n  meta:\n    conversions:\n      - {milestone: lead_captured, action: Lead}\n"
            "      - {milestone: customer_won, action: Purchase}\n",
            "line 5: destinations.meta.conversions.1.action: Meta takes Purchase with a value only: add `value`",
        ),
        (
            "destinations: {meta: {options: {crm_nmae: HubSpot}}}",
            "meta.options.crm_nmae: there is no such entry; did you mean crm_name?",
        ),
        (
            "destinations: {tiktok: {send_from: start, click_days: 9, options: {}, conversions: []}}",
            "destinations.tiktok: there is no such destination; there are google, linkedin, meta, microsoft",
        ),
        ("touches: {channels: [{channel: X, kind: [clicks]}]}", "not 'clicks'"),
        ("streams: {campaign_revenue: on}", "campaign_revenue is on and campaigns is off: switch both on"),
        ("spend: {utm_rules: [{utm_campaign: x}]}", "needs a condition: platform, ad_account"),
        ("spend: {utm_rules: [{campaign_name: ['a*'], utm_campaign: '{2}'}]}", "{2} is none of {campaign_id}"),
        ("spend: {utm_rules: [{platform: [x], utm_campaign: '{1}'}]}", "{1} is none of {campaign_id}"),
        ("spend: {utm_rules: [{platform: [x], utm_campaign: 'a{'}]}", "a brace is open in 'a{'"),
        ("deals:\n  pipelines:\n    7: renewal\n    7: new\n", "line 4: 7 is already named in line 3"),
        ("attribution: {parameters: {linear: {x: 1}}}", "parameters: linear has no parameter x"),
    ],
)
def test_a_mistake_is_told_in_words_of_the_file(override: Load, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        override(text)
    assert said in str(refused.value)
    assert not re.search(r"Input should|Value error|instance of|Extra inputs", str(refused.value))


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("batch: 501", "batch", "HubSpot takes at most 500 events in a request"),
        ("contact_by: matching_id", "events", "contact_by: matching_id needs `matching: {event_property: …"),
        ('rules: [{on: link_click, event: "*"}]', "rules.0.event", "must begin with a letter"),
        ("rules: [{on: link_click, event: pe4242_clicked}]", "rules.0.event", "leave pe…_ out"),
        ("rules: [{on: email_click}]", "rules.0.on", "must be 'link_click', 'offline_touch', 'track'"),
        ("rules: [{on: track}]", "rules.0", "on: track needs `event`"),
        ("rules: [{on: link_click, event: seen, skip: true}]", "rules.0", "skip: true makes no event"),
        ("rules: [{on: link_click, condition: {tags: []}}]", "condition", "an empty list never holds"),
        ('properties: {x: "{title}"}', "properties.x", "there is no {title}; there are channel, source"),
        ('properties: {X: "a"}', "properties.X", "must begin with a letter"),
        ('note: "{link_title"', "note", "a brace is not closed"),
    ],
)
def test_what_hubspot_cannot_be_told_is_refused_at_its_place(override: Load, text: str, where: str, what: str):
    (line,) = problems(override, f"write_back:\n  events:\n    {text}\n")
    assert re.search(r"line [23]: write_back\.events", line)
    assert where in line
    assert what in line


STAGE = "{name: r, tag: t, days: 1, count: 1, pipeline: p, from_stage: a, to_stage: b, least_amount: %s}"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("write_back: {identify: {traits: [hot, cold, hot]}}", "traits: hot stands in it twice"),
        ("write_back: {stages: {rules: [" + STAGE % "'5.000'" + "]}}", "5.000: three places behind the point"),
        (
            "alerts: {rules: [{name: a, on: event, to: 'https://hooks.example/T0/secret', template: new_deal}]}",
            "to: name the setting that holds the address, ALERT_WEBHOOK_URL or ALERT_WEBHOOK_URL__SALES",
        ),
    ],
)
def test_what_would_be_told_otherwise_than_meant_is_refused(override: Load, text: str, what: str):
    (line,) = problems(override, text)
    assert what in line
    assert "secret" not in line.replace("is a secret", "")


def test_hubspot_gets_no_conversions(override: Load):
    section = "{send_from: start, click_days: 1, options: {}, conversions: []}"
    (line,) = problems(override, f"destinations: {{hubspot_events: {section}}}\n")
    assert "what it is told stands under `write_back`" in line


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            'contacts: {hs_analytics_source: "{source}"}',
            "hs_analytics_source.[key]: is HubSpot's own",
        ),
        ('contacts: {hs_latest_source_data_1: "x"}', "hs_latest_source_data_1.[key]: is HubSpot's own"),
        ('contacts: {lifecyclestage: "lead"}', "lifecyclestage.[key]: is HubSpot's own"),
        ('contacts: {li_fat_id: "x"}', "li_fat_id: the pipeline reads this property"),
        ('contacts: {ad_consent: "granted"}', "ad_consent: the pipeline reads this property"),
        ('deals: {billing_period: "x"}', "billing_period: the pipeline reads this property"),
        ('contacts: {x: {text: "{nothing}"}}', "x.text: there is no {nothing}"),
        ("contacts: {x: {text: a, type: enumeration}}", "x: type: enumeration needs `options`"),
        ("days: 0", "properties.days: must be greater than or equal to 1"),
    ],
)
def test_what_hubspot_s_records_are_not_given_is_refused_at_its_place(override: Load, text: str, what: str):
    (line,) = problems(override, f"write_back:\n  properties:\n    {text}\n")
    assert what in line
    assert "line 3" in line
