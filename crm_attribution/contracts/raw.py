"""`raw.*`: what the sources said, typed, one row per key, never derived."""

from __future__ import annotations

import polars as pl

from crm_attribution.contracts.base import Model, RecordIds, Strings, Timestamp, field, hubspot_id, table
from crm_attribution.contracts.topics import (
    ACCOUNT_DETAILS,
    ACTIVITY,
    COMPANIES,
    CONTACTS,
    DEALS,
    EMAIL_CLICK,
    EXCHANGE_RATE,
    FORM_SUBMISSION,
    LINK_CLICK,
    OFFLINE_TOUCH,
    PIPELINE_STAGE,
    RECORDS,
    By,
)
from crm_attribution.hubspot import objects
from crm_attribution.money import CURRENCY

OBJECT_TYPES = list(objects.OBJECT_TYPES)
_ID = r"^[0-9]+$"
_EMAIL = r"^[^@\s]+\s*@\s*[^@\s]+\.[^@\s]+$"
"""An address as people type it; what it means, `identifiers.normalise_email` says."""


_COMPARED = "email as it is compared: lower case, no invisible characters or outer spaces, domain in IDNA form"


class _Record(Model):
    id: int = hubspot_id("HubSpot record id, unique within its object type")
    properties: str = field(
        "all copied properties as HubSpot gave them, JSON object of strings", nullable=True, json=True
    )
    created_at: Timestamp = field("when HubSpot created the record, UTC")
    modified_at: Timestamp = field(
        "HubSpot's modified stamp (lastmodifieddate, hs_lastmodifieddate) at extraction, UTC"
    )
    archived: bool = field("whether HubSpot has archived the record")
    merged_ids: RecordIds = field("ids absorbed into this record (hs_merged_object_ids)", nullable=True)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


@table("raw.contact", key=("id",), journal={CONTACTS: "id"})
class Contact(_Record):
    """Current record of each HubSpot contact. Holds personal data."""

    email: str = field("primary e-mail as HubSpot stores it", nullable=True, str_matches=_EMAIL)
    email_normalised: str = field(_COMPARED, nullable=True, email_of="email")
    additional_emails: Strings = field("further e-mails (hs_additional_emails)", nullable=True)
    additional_emails_normalised: Strings = field(
        _COMPARED.replace("email", "additional_emails", 1), nullable=True, email_of="additional_emails"
    )
    lifecyclestage: str = field("current lifecycle stage, HubSpot's internal value", nullable=True)
    associatedcompanyid: int = hubspot_id("primary associated company", nullable=True)
    hubspot_owner_id: str = field("owner id", nullable=True)


@table("raw.company", key=("id",), journal={COMPANIES: "id"})
class Company(_Record):
    """Current record of each HubSpot company."""

    name: str = field("company name", nullable=True)
    domain: str = field("primary web domain; HubSpot does not enforce uniqueness", nullable=True)
    lifecyclestage: str = field("current lifecycle stage, HubSpot's internal value", nullable=True)
    hubspot_owner_id: str = field("owner id", nullable=True)


@table("raw.deal", key=("id",), journal={DEALS: "id"})
class Deal(_Record):
    """Current record of each HubSpot deal."""

    dealname: str = field("deal name", nullable=True)
    pipeline: str = field("pipeline id", nullable=True)
    dealstage: str = field("stage id", nullable=True)
    dealtype: str = field("newbusiness, existingbusiness or the portal's own", nullable=True)
    currency: str = field(
        "ISO 4217 code of the deal (deal_currency_code, else the account's currency)",
        nullable=True,
        str_matches=CURRENCY,
    )
    amount: int = field("amount in minor units of `currency`", nullable=True)
    closedate: Timestamp = field("close date, UTC; an estimate while the deal is open", nullable=True)
    hubspot_owner_id: str = field("owner id", nullable=True)


@table(
    "raw.property_history",
    key=("object_type", "object_id", "property", "timestamp", "ordinal"),
    journal={By("object_type", RECORDS): "object_id"},
)
class PropertyHistory(Model):
    """Every value a tracked property has had. Append-only: HubSpot caps what it still shows.

    https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/basic
    """

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    object_id: int = hubspot_id("id of the record HubSpot gave it for")
    property: str = field("internal property name")
    timestamp: Timestamp = field("when HubSpot recorded the value, UTC")
    value: str = field("the value; null where it was cleared", nullable=True)
    ordinal: int = field("place among values of one timestamp, 0 is the oldest", ge=0)
    source_type: str = field("HubSpot's sourceType (FORM, CRM_UI, IMPORT, …)", nullable=True)
    source_id: str = field("HubSpot's sourceId", nullable=True)
    history_truncated: bool = field("HubSpot's cap was reached: older values may be missing")
    extracted_at: Timestamp = field("when we first read it, UTC", log=True)


@table(
    "raw.association",
    key=("from_type", "from_id", "to_type", "to_id", "valid_from"),
    journal={By("from_type", RECORDS): "from_id"},
)
class Association(Model):
    """Associations with labels and primary flag. The dates are when we learned of it, not HubSpot's."""

    from_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    from_id: int = hubspot_id("record id")
    to_type: str = field("contacts or companies", isin=OBJECT_TYPES)
    to_id: int = hubspot_id("record id")
    type_ids: Strings = field("HubSpot association type ids")
    labels: Strings = field("labels, without the unlabeled type")
    is_primary: bool = field("whether one of the types is HubSpot's primary type")
    position: int = field("place in HubSpot's answer, 0 first", ge=0)
    valid_from: Timestamp = field("when we first saw it, UTC; 1970 where it came with the record's first read")
    valid_to: Timestamp = field("when it was gone, UTC; null while it holds", nullable=True)


@table(
    "raw.merge",
    key=("object_type", "absorbed_id"),
    journal={By("object_type", RECORDS): ["absorbed_id", "survivor_id"]},
)
class Merge(Model):
    """Which record absorbed which, as far as HubSpot's records show."""

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    absorbed_id: int = hubspot_id("the id that is no longer a record")
    survivor_id: int = hubspot_id("the record that holds it now")
    merged_at: Timestamp = field("when HubSpot merged them, UTC; null where unknown", nullable=True)
    source: str = field("where we learned of it: hs_merged_object_ids, hs_calculated_merged_vids, webhook, lookup")


@table("raw.owner", key=("id",))
class Owner(Model):
    """HubSpot owners, archived ones included."""

    id: str = field("owner id, as in hubspot_owner_id", str_matches=_ID)
    email: str = field("the user's e-mail", nullable=True)
    first_name: str = field("first name", nullable=True)
    last_name: str = field("last name", nullable=True)
    archived: bool = field("whether the owner is deactivated")


@table("raw.pipeline_stage", key=("object_type", "stage_id"), journal={PIPELINE_STAGE: "stage_id"})
class PipelineStage(Model):
    """Stages of all pipelines. Stage ids are unique in an account.

    https://developers.hubspot.com/docs/api/crm/pipelines
    """

    object_type: str = field("deals", isin=OBJECT_TYPES)
    pipeline_id: str = field("pipeline id; HubSpot's first deal pipeline is `default`")
    pipeline_label: str = field("pipeline label")
    stage_id: str = field("stage id, as in dealstage")
    stage_label: str = field("stage label")
    display_order: int = field("position in the pipeline")
    probability: float = field("win probability, 0.0 to 1.0", nullable=True, ge=0, le=1)
    is_closed: bool = field("whether deals in this stage are closed")
    archived: bool = field("whether the pipeline or stage is archived")


@table("raw.stage_meaning", key=("object_type", "stage_id", "known_from"), journal={PIPELINE_STAGE: "stage_id"})
class StageMeaning(Model):
    """What a stage meant from when on: HubSpot tells only how it is set now, and does not date a change. Journal:
    memory, never rebuilt."""

    object_type: str = field("deals", isin=OBJECT_TYPES)
    stage_id: str = field("stage id, as in dealstage")
    known_from: Timestamp = field("when we first saw it set so, UTC; 1970 for how it was first seen")
    is_closed: bool = field("whether deals in this stage were closed")
    is_won: bool = field("whether they were won: closed with probability 1")


@table("raw.account", key=("portal_id",), journal={ACCOUNT_DETAILS: "portal_id"})
class Account(Model):
    """The HubSpot account itself: one row."""

    portal_id: str = field("HubSpot portal (account) id")
    time_zone: str = field("the account's time zone, IANA name: decides finance months")
    company_currency: str = field("home currency, ISO 4217", nullable=True)
    company_currency_since: Timestamp = field(
        "when we saw the home currency change to this one, UTC; null where it was this one at the first reading",
        nullable=True,
    )
    additional_currencies: Strings = field("further currencies", nullable=True)


@table("raw.form", key=("id",))
class Form(Model):
    """HubSpot forms."""

    id: str = field("form guid")
    name: str = field("form name", nullable=True)
    archived: bool = field("whether the form is archived")


@table("raw.form_submission", key=("form_id", "conversion_id"), journal={FORM_SUBMISSION: ("form_id", "conversion_id")})
class FormSubmission(Model):
    """Form submissions. HubSpot gives no contact id: the e-mail names the contact. Holds personal data."""

    form_id: str = field("form guid")
    conversion_id: str = field("HubSpot's id of the submission")
    submitted_at: Timestamp = field("when it was submitted, UTC")
    email: str = field("e-mail as typed", nullable=True, str_matches=_EMAIL)
    email_normalised: str = field(_COMPARED, nullable=True, email_of="email")
    page_url: str = field("page of the form", nullable=True)
    link_click_id: str = field("our own click id from a hidden field or the page's URL", nullable=True)
    gclid: str = field("Google click id from a hidden field or the page's URL", nullable=True)
    gbraid: str = field("Google app-to-web id, likewise; several clicks may share one", nullable=True)
    wbraid: str = field("Google web-to-app id, likewise; several clicks may share one", nullable=True)
    fbclid: str = field("Meta click id, likewise", nullable=True)
    li_fat_id: str = field("LinkedIn click id, likewise", nullable=True)
    msclkid: str = field("Microsoft click id, likewise", nullable=True)
    ttclid: str = field("TikTok click id, likewise", nullable=True)
    utm_source: str = field("utm_source of the page's URL, else of a hidden field", nullable=True)
    utm_medium: str = field("utm_medium, likewise", nullable=True)
    utm_campaign: str = field("utm_campaign, likewise", nullable=True)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


@table("raw.link_click", key=("click_id",), journal={LINK_CLICK: "click_id"})
class LinkClick(Model):
    """Clicks on tracked links. Suspects stay as rows and count nowhere."""

    click_id: str = field("the link service's id of the click", str_length={"min_value": 1})
    clicked_at: Timestamp = field("when the link was followed, UTC")
    received_at: Timestamp = field("when the link service recorded it, UTC")
    link_slug: str = field("slug of the tracked link", nullable=True)
    link_tags: Strings = field("tags of the tracked link", nullable=True)
    destination_url: str = field("where the link leads")
    contact_id: int = hubspot_id("HubSpot contact id carried by the link (eid)", nullable=True)
    utm_source: str = field("utm_source", nullable=True)
    utm_medium: str = field("utm_medium", nullable=True)
    utm_campaign: str = field("utm_campaign", nullable=True)
    utm_term: str = field("utm_term", nullable=True)
    utm_content: str = field("utm_content", nullable=True)
    gclid: str = field("Google click id, case-sensitive", nullable=True)
    gbraid: str = field("Google app-to-web id", nullable=True)
    wbraid: str = field("Google web-to-app id", nullable=True)
    fbclid: str = field("Meta click id, case-sensitive", nullable=True)
    li_fat_id: str = field("LinkedIn click id", nullable=True)
    msclkid: str = field("Microsoft click id", nullable=True)
    ttclid: str = field("TikTok click id", nullable=True)
    country: str = field("ISO 3166 alpha-2", nullable=True)
    device: str = field("device class", nullable=True)
    referrer: str = field("HTTP referrer", nullable=True)
    user_agent: str = field("HTTP user agent", nullable=True)
    method: str = field("HTTP method", nullable=True)
    ip_hash: str = field("hashed address, where the source gives one", nullable=True)
    is_bot: bool = field("a scanner or bot judged by this click alone; identity.click decides")
    bot_reason: str = field("method_head, known_agent; null where nothing speaks against it", nullable=True)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


_TOLD_AT = "when this was told, UTC: the file's own time, else when the file was last modified; the later telling stays"


@table("raw.ad_spend", key=("date", "platform", "ad_account", "currency", "campaign_id", "campaign_name"))
class AdSpend(Model):
    """What ads cost by day and campaign, as the platforms show it. A file tells a day of an ad account whole: a day
    told again is replaced by what was told later, whichever file is read first. Several rows of a campaign in one file
    add up; a line that is there twice, equal in every field, is refused."""

    date: pl.Date = field("day in the ad account's time zone")
    platform: str = field("ad platform, lower case, words joined by _: google_ads", str_length={"min_value": 1})
    ad_account: str = field("id of the ad account at the platform, without - between digits")
    currency: str = field("ISO 4217 code of `amount`", str_matches=CURRENCY)
    campaign_id: str = field("the platform's id of the campaign; empty where it tells none")
    campaign_name: str = field("name of the campaign at the platform; empty where it tells none")
    amount: int = field("what was spent, in minor units of `currency`; below zero where the platform gave back")
    clicks: int = field("clicks the platform counts", nullable=True, ge=0)
    impressions: int = field("impressions the platform counts", nullable=True, ge=0)
    told_at: Timestamp = field(_TOLD_AT)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


@table("raw.cost", key=("month", "kind", "currency"))
class Cost(Model):
    """What sales and marketing cost besides ads, by month and kind (salaries, tools, fairs). A file tells a month and
    kind whole: told again it is replaced by what was told later, whichever file is read first. Several rows of it in
    one file add up; a line that is there twice, equal in every field, is refused."""

    month: pl.Date = field("first day of the month the cost belongs to")
    kind: str = field("kind of cost, lower case, words joined by _", str_length={"min_value": 1})
    currency: str = field("ISO 4217 code of `amount`", str_matches=CURRENCY)
    amount: int = field("cost in minor units of `currency`; below zero for a refund")
    told_at: Timestamp = field(_TOLD_AT)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


@table(
    "raw.exchange_rate",
    key=("date", "from_currency", "to_currency"),
    journal={EXCHANGE_RATE: ("from_currency", "to_currency", "date")},
)
class ExchangeRate(Model):
    """Exchange rates by day. A day's rate told again is replaced by the one told later, whichever file is read first;
    of several in one file the last stays."""

    date: pl.Date = field("day the rate holds for")
    from_currency: str = field("ISO 4217 code of what is converted", str_matches=CURRENCY)
    to_currency: str = field("ISO 4217 code of what it becomes", str_matches=CURRENCY)
    rate: str = field("units of to_currency for one of from_currency: decimal number as text, exact, above zero")
    told_at: Timestamp = field(_TOLD_AT)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


@table("raw.offline_touch", key=("touch_id",), journal={OFFLINE_TOUCH: "touch_id"})
class OfflineTouch(Model):
    """What happened away from the web, as files tell it: fairs, dinners, calls. A touch told again is replaced by the
    one told later, whichever file is read first. Holds personal data."""

    touch_id: str = field("id of it in the file", str_length={"min_value": 1})
    touched_at: Timestamp = field("when it happened, UTC")
    act: str = field("what it was, lower case, words joined by _: fair, dinner", str_length={"min_value": 1})
    contact_id: int = hubspot_id("HubSpot contact id; one of this and `email` is needed", nullable=True)
    email: str = field("e-mail of who took part, where no contact is named", nullable=True, str_matches=_EMAIL)
    email_normalised: str = field(_COMPARED, nullable=True, email_of="email")
    source: str = field("who brought it about: the fair, the partner", nullable=True)
    medium: str = field("medium, for the channel; `act` where it is empty", nullable=True)
    campaign: str = field("campaign", nullable=True)
    told_at: Timestamp = field(_TOLD_AT)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


@table("raw.activity", key=("kind", "id"), journal={ACTIVITY: ("kind", "id")})
class Activity(Model):
    """Meetings, calls and the people of marketing events, where `streams` reads them. HubSpot's search knows no
    archived ones: what was read stays as it was read last.

    https://developers.hubspot.com/docs/api-reference/crm-meetings-v3/guide
    """

    kind: str = field("meeting, call or marketing_event", isin=["meeting", "call", "marketing_event"])
    id: str = field("HubSpot id of the meeting or call, or of the participation in the event")
    occurred_at: Timestamp = field("when it happened or will, UTC")
    outcome: str = field(
        "hs_meeting_outcome, hs_call_status or attendanceState, lower case, words joined by _", nullable=True
    )
    name: str = field("name of the marketing event", nullable=True)
    contact_ids: RecordIds = field("HubSpot contacts who took part")
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


OBSOLETED = "obsoleted"
"""bot_reason of an e-mail event that HubSpot has replaced by another: it is not a separate click."""


@table("raw.email_click", key=("created_at", "id"), journal={EMAIL_CLICK: "id"})
class EmailClick(Model):
    """Clicks in HubSpot's marketing e-mails. Filtered and obsoleted ones stay as rows and count nowhere. Holds
    personal data.

    https://developers.hubspot.com/docs/api-reference/legacy/email-analytics-v1/events/get-email-public-v1-events
    """

    id: str = field("HubSpot's event id, unique with created_at only", str_length={"min_value": 1})
    created_at: Timestamp = field("when the link was followed, UTC")
    recipient: str = field("e-mail of the recipient: HubSpot names no contact", nullable=True)
    recipient_normalised: str = field(_COMPARED.replace("email", "recipient", 1), nullable=True, email_of="recipient")
    email_campaign_id: str = field("the send (emailCampaignId)", nullable=True)
    app_name: str = field("HubSpot's name of the sending tool", nullable=True)
    url: str = field("the link that was followed", nullable=True)
    link_id: str = field("HubSpot's id of the link in the e-mail", nullable=True)
    sent_at: Timestamp = field("when the e-mail was sent (sentBy.created), UTC", nullable=True)
    user_agent: str = field("HTTP user agent", nullable=True)
    device: str = field("HubSpot's deviceType", nullable=True)
    country: str = field("country of the click, as HubSpot reports it", nullable=True)
    ip_hash: str = field("SHA-256 of the address HubSpot reports (ipAddress)", nullable=True)
    is_bot: bool = field("a bot or not a separate click, judged by this one alone; identity.email_click decides")
    bot_reason: str = field(
        "obsoleted, hubspot_filter, known_agent; null where nothing speaks against it", nullable=True
    )
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


@table("raw.webhook_event", key=("event_key",))
class WebhookEvent(Model):
    """Events from HubSpot's webhooks and `/ingest/crm`, each once. May hold personal data.

    https://developers.hubspot.com/docs/api/webhooks
    """

    event_key: str = field("SHA-256 of what makes two deliveries the same event, attempts left out")
    source: str = field("hubspot or ingest", isin=["hubspot", "ingest"])
    hubspot_event_id: str = field("HubSpot's eventId: not unique by itself", nullable=True)
    subscription_id: str = field("HubSpot's subscriptionId", nullable=True)
    subscription_type: str = field("contact.propertyChange, deal.merge, …; ingest: the workflow's event name")
    object_type: str = field("contacts, companies or deals; null where it is none of them", nullable=True)
    object_id: str = field("record id, as it came; also of types that are not read here", nullable=True)
    property_name: str = field("changed property", nullable=True)
    property_value: str = field("its new value", nullable=True)
    change_source: str = field("HubSpot's changeSource, in the vocabulary of sourceType", nullable=True)
    portal_id: str = field("HubSpot portal id", nullable=True)
    app_id: str = field("HubSpot app id", nullable=True)
    attempt_number: int = field("attempt of the delivery we kept, 0 is the first", nullable=True, log=True)
    occurred_at: Timestamp = field("when it happened according to HubSpot, UTC")
    received_at: Timestamp = field("when we took it in, UTC", log=True)
    details: str = field(
        "the remaining fields (merges, associations, ingested records), JSON", nullable=True, json=True
    )


@table("raw.deletion", key=("object_type", "object_id", "kind"))
class Deletion(Model):
    """Records HubSpot has archived or erased. A tombstone without personal data."""

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    object_id: int = hubspot_id("record id")
    kind: str = field("archived (can be restored for 90 days) or privacy (gone for good)", isin=["archived", "privacy"])
    deleted_at: Timestamp = field("when HubSpot archived or erased it (the latest time), UTC")
    restored_at: Timestamp = field("when we saw that it was restored, UTC; null while it is gone", nullable=True)
    source: str = field("where we learned of it", isin=["archived_list", "webhook", "person"])
    erased_at: Timestamp = field("privacy: when this warehouse erased it, UTC; null while it has to", nullable=True)
    noticed_at: Timestamp = field("when we learned of it, UTC", log=True)


@table("raw.missing", key=("object_type", "object_id"))
class Missing(Model):
    """Records HubSpot no longer answers for and nothing explains: no archive, no merge, no webhook. Nothing is erased
    because of it; a person confirms a privacy deletion with the job `privacy_deletion`."""

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    object_id: int = hubspot_id("record id")
    noticed_at: Timestamp = field("when it was first looked up in vain, UTC")
    found_at: Timestamp = field("when it answered again, UTC; null while it is missing", nullable=True)


@table("raw.reread", key=("object_type", "object_id"))
class Reread(Model):
    """Records to be read again by the next run regardless of their modified time; empty after it."""

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    object_id: int = hubspot_id("record id")
    reason: str = field("webhook, ingest, reconcile, …")
    requested_at: Timestamp = field("when it was asked for, UTC", log=True)


@table("raw.property", key=("object_type", "name"))
class Property(Model):
    """The portal's property definitions. https://developers.hubspot.com/docs/api/crm/properties"""

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    name: str = field("internal name")
    label: str = field("label in HubSpot's UI", nullable=True)
    type: str = field("string, number, date, datetime, enumeration, bool, …", nullable=True)
    field_type: str = field("HubSpot's fieldType", nullable=True)
    archived: bool = field("whether the property is archived, or has gone from the portal's list")


@table("raw.property_drift", key=("object_type", "name", "change", "noticed_at"))
class PropertyDrift(Model):
    """Changes of property definitions since the first reading: a journal for people."""

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    name: str = field("internal name")
    change: str = field("what changed", isin=["added", "removed", "renamed", "retyped", "returned"])
    before: str = field("label or type before", nullable=True)
    after: str = field("label or type now", nullable=True)
    noticed_at: Timestamp = field("when we saw it, UTC")


@table("raw.extraction", key=("stream", "window_start", "window_end", "started"))
class Extraction(Model):
    """One row per stream and window that was read."""

    stream: str = field("what was read, e.g. contacts, form_submissions")
    window_start: Timestamp = field("lower bound of the search, UTC")
    window_end: Timestamp = field("upper bound of the search (the run's now), UTC")
    calls: int = field("HTTP calls made")
    floor_calls: int = field("the least calls HubSpot's page sizes allow for what was found")
    found: int = field("records the source said had changed", nullable=True)
    source_total: int = field("unarchived records the source counts in all, where known", nullable=True)
    known_total: int = field("as many of them as the warehouse knows, refused ones included", nullable=True)
    rows: int = field("rows accepted")
    quarantined: int = field("rows refused")
    started: Timestamp = field("when it began, UTC")
    finished: Timestamp = field("when it ended, UTC")
