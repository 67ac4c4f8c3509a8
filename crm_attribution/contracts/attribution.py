"""`attribution.*`: touches, and the credit each gets for an outcome."""

from __future__ import annotations

from datetime import date

from crm_attribution.contracts.base import Model, Strings, Timestamp, field, hubspot_id, table
from crm_attribution.contracts.topics import CREDIT, JOURNEY, TOUCH, TOUCH_ACCOUNT, TOUCH_MONTH, TOUCH_PERSON, Journal

MEASURES = ["count", "amount", "mrr", "arr", "tcv"]

TOLD_KINDS = ["ad_click", "latest_source", "original_source"]
ACTIVITY_KINDS = ["meeting", "call", "marketing_event"]
KINDS = ["link_click", "email_click", "form_submission", "offline_touch", *ACTIVITY_KINDS, *TOLD_KINDS]
_KINDS = (
    "link_click, email_click, form_submission, offline_touch (from a file), meeting, call, marketing_event, or what a"
    " contact's properties tell: ad_click (of a click id), latest_source (a visit), original_source (the first visit)"
)


_TOUCHED: Journal = {TOUCH: "touch_id", TOUCH_ACCOUNT: "account_id", TOUCH_PERSON: "person_id"}


@table(
    "attribution.touch",
    key=("touch_id",),
    journal={**_TOUCHED, TOUCH_MONTH: "date_trunc('month', touched_at)::DATE"},
    near=("account_id", "touched_at"),
)
class Touch(Model):
    """A marketing touch of a known person, or of an account where a shared mailbox names no person."""

    touch_id: str = field(
        "click:ID, email:CREATED:ID, form:FORM:SUBMISSION, offline:ID, KIND:ID:CONTACT (meetings, calls,"
        " events), ad:CONTACT:PROPERTY:RECORDED, latest:CONTACT:RECORDED or original:CONTACT; moments in epoch"
        " milliseconds"
    )
    touched_at: Timestamp = field("when it happened, UTC")
    kind: str = field(_KINDS, isin=KINDS)
    person_id: str = field("person; null where only the account is known: person scope leaves it out", nullable=True)
    contact_id: int = hubspot_id("contact the touch resolved to", nullable=True)
    account_id: str = field(
        "identity.account the person belonged to then, company:ID or domain:NAME; without a person, that"
        " of all who have the mailbox, else of its domain",
        nullable=True,
    )
    channel: str = field("channel by the mapping's rules")
    channel_rule: int = field(
        "place of the rule in touches.channels that says so, from 1; null where none does: the other channel",
        nullable=True,
        ge=1,
    )
    source: str = field(
        "utm_source by the name touches.sources gives it, lower case; hubspot for e-mail clicks without one; of"
        " HubSpot's sources the network or site",
        nullable=True,
    )
    medium: str = field(
        "utm_medium, lower case; email for e-mail clicks without one; of HubSpot's sources the category (paid_search)",
        nullable=True,
    )
    campaign: str = field(
        "utm_campaign; the send (emailCampaignId) for e-mail clicks without one; of HubSpot's sources the drill-down",
        nullable=True,
    )
    click_id_kinds: Strings = field("which platforms' click ids it carries (gclid, fbclid, li_fat_id, …)")
    origin: str = field("table and key of the source row")


TOLD_RULES = [
    "not_held",
    "gone",
    "same_click_id",
    "same_visit",
    "repeated",
    "bot_click",
    "not_a_click_id",
    "url_encoded",
    "offline",
]


@table("attribution.telling", key=("telling_id",))
class Telling(Model):
    """What is told and is no touch of its own: another word about one, or about none."""

    telling_id: str = field("as touch_id of attribution.touch")
    told_at: Timestamp = field("when the act was, as it is told, UTC")
    kind: str = field(_KINDS, isin=KINDS)
    person_id: str = field("person")
    contact_id: int = hubspot_id("contact it is told of", nullable=True)
    touch_id: str = field("the touch it is another word about; null where it is about none", nullable=True)
    rule: str = field(
        "not_held (a meeting or call that did not take place), gone (one that HubSpot does not have any more),"
        " same_click_id (one click id is one click; a submission with it, where it is near), same_visit (a stronger"
        " telling of the person is near), repeated (the same is told again at once), bot_click (only bots followed the"
        " link with this click id), not_a_click_id (a placeholder, a cut one), url_encoded, offline (an import, an"
        " integration or a user made the contact)",
        isin=TOLD_RULES,
    )
    origin: str = field("table and key of the source row")


@table(
    "attribution.self_reported",
    key=("touch_id",),
    # an answer may be why any outcome of its people has none
    journal={**_TOUCHED, TOUCH_MONTH: "DATE '0001-01-01'"},
)
class SelfReported(Model):
    """What people say brought them. No touch: the model self_reported alone shares outcomes among these."""

    touch_id: str = field("said:CONTACT")
    touched_at: Timestamp = field("when the contact first answered, UTC; without a history when it was created")
    person_id: str = field("person")
    contact_id: int = hubspot_id("contact whose property has the answer")
    account_id: str = field("identity.account the person belonged to then: company:ID or domain:NAME", nullable=True)
    channel: str = field("what the mapping says the answer means (touches.self_reported.channels)")
    answer: str = field("the present answer, as it was given")


SCOPES = ["account", "deal_contacts"]
UNATTRIBUTED = [
    "no_account",
    "no_contact_on_deal",
    "contact_created_later",
    "before_previous_win",
    "only_bot_clicks",
    "outside_window",
    "after_outcome",
    "no_touch",
    "no_weight",
]
_WHY = (
    "why no touch gets it: no_account (neither an account nor a person is known), no_contact_on_deal (scope"
    " deal_contacts), contact_created_later (only touches of contacts created after the outcome), before_previous_win"
    " (touches in the window, all before the account's previous win), only_bot_clicks (nothing else in the window),"
    " outside_window (only touches before it), after_outcome (only later ones), no_touch (none at all), no_weight (the"
    " model gives its touches nothing); null where touches get it"
)


@table(
    "attribution.credit",
    key=("milestone", "milestone_id", "model", "scope", "measure", "touch_id", "recorded_at"),
    journal={CREDIT: ("milestone", "milestone_id")},
)
class Credit(Model):
    """Credit of an outcome to touches. Bitemporal: superseded rows are closed, never changed."""

    milestone: str = field("outcome")
    milestone_id: str = field("outcome id, events.milestone")
    model: str = field("attribution model, or variant of one (mapping, attribution.variants)")
    scope: str = field("whose touches count: those of the account, or of the deal's contacts", isin=SCOPES)
    measure: str = field("count in millionths of an outcome, others in minor units", isin=MEASURES)
    currency: str = field("ISO 4217 code, empty for count")
    touch_id: str = field("touch; empty is the unattributed row")
    credit: int = field("share of the outcome, in the measure's unit")
    home_currency: str = field("home currency of the account, ISO 4217; null where credit_home is", nullable=True)
    credit_home: int = field(
        "share of what the outcome is worth in the home currency (events.home_value), minor units of home_currency;"
        " null for count, and where no rate is known",
        nullable=True,
    )
    unattributed_reason: str = field(_WHY, nullable=True, isin=UNATTRIBUTED)
    recorded_at: Timestamp = field("known from: the end of the window that computed it, UTC")
    superseded_at: Timestamp = field("known until, UTC; null is current", nullable=True)


@table(
    "attribution.journey",
    key=("milestone", "milestone_id", "scope"),
    journal={JOURNEY: ("milestone", "milestone_id")},
)
class Journey(Model):
    """What led to an outcome: the channels of the touches that every model shares it among."""

    milestone: str = field("outcome")
    milestone_id: str = field("outcome id, events.milestone")
    scope: str = field("whose touches count: those of the account, or of the deal's contacts", isin=SCOPES)
    touches: int = field("touches in the window, repeats collapsed", ge=0)
    channels: Strings = field("their channels, in the order of time")
    unattributed_reason: str = field(_WHY, nullable=True, isin=UNATTRIBUTED)


@table("attribution.channel_effect", key=("model", "milestone", "month", "channel"))
class ChannelEffect(Model):
    """What a model that learns knew of each channel when a month began. Outcomes of the month are shared by it."""

    model: str = field("attribution model, or variant of one")
    milestone: str = field("kind of outcome")
    month: date = field("first day of the month in which the outcomes happened, UTC")
    channel: str = field("channel; empty: nothing was known, then every touch gets the same")
    effect: int = field("its weight; for markov the removal effect in 2^-30", ge=0)
    basis: str = field("fingerprint of the journeys it was learned from")


@table("attribution.parameter", key=("name", "subject"))
class Parameter(Model):
    """What of the mapping the marts need to know."""

    name: str = field(
        "lookback_days (attribution.lookback_days of the outcome `subject`), gross_margin_percent"
        " (spend.gross_margin_percent)",
        isin=["lookback_days", "gross_margin_percent"],
    )
    subject: str = field("the outcome it holds for; empty: for everything")
    value: int = field("days, or percent", ge=0)


@table("attribution.spend_campaign", key=("platform", "ad_account", "campaign_id", "campaign_name"))
class SpendCampaign(Model):
    """What the touches of each campaign in raw.ad_spend and raw.campaign may be called, in the spelling of touches.
    marts.spend takes the first of the three that some touch has: by rule, by id, by name."""

    platform: str = field("raw.ad_spend")
    ad_account: str = field("raw.ad_spend")
    campaign_id: str = field("the platform's id of the campaign; empty where it tells none")
    campaign_name: str = field("its name at the platform; empty where it tells none")
    rule: int = field("place in spend.utm_rules of the first that holds, from 1", nullable=True, ge=1)
    campaign_of_rule: str = field("the utm_campaign it tells", nullable=True)
    campaign_of_id: str = field(
        "the id, of HubSpot's own campaigns their utm_campaign, spelled as a campaign", nullable=True
    )
    campaign_of_name: str = field("the name, spelled as a campaign (mapping, touches.campaigns)", nullable=True)
