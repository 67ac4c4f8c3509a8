"""What people did: form submissions, clicks, meetings, offline touches."""

from __future__ import annotations

from crm_attribution.contracts.base import Model, RecordIds, Strings, Timestamp, field, hubspot_id, table
from crm_attribution.contracts.raw.fields import COMPARED, EMAIL, TOLD_AT
from crm_attribution.contracts.topics import ACTIVITY, EMAIL_CLICK, FORM_SUBMISSION, IDENTIFY, LINK_CLICK, OFFLINE_TOUCH


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
    email: str = field("e-mail as typed", nullable=True, str_matches=EMAIL)
    email_normalised: str = field(COMPARED, nullable=True, email_of="email")
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
    link_title: str = field("title of the tracked link", nullable=True)
    short_url: str = field("the tracked link itself, as it is shared", nullable=True)
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


@table("raw.offline_touch", key=("touch_id",), journal={OFFLINE_TOUCH: "touch_id"})
class OfflineTouch(Model):
    """What happened away from the web, as files tell it: fairs, dinners, calls. A touch told again is replaced by the
    one told later, whichever file is read first. Holds personal data."""

    touch_id: str = field("id of it in the file", str_length={"min_value": 1})
    touched_at: Timestamp = field("when it happened, UTC")
    act: str = field("what it was, lower case, words joined by _: fair, dinner", str_length={"min_value": 1})
    contact_id: int = hubspot_id("HubSpot contact id; one of this and `email` is needed", nullable=True)
    email: str = field("e-mail of who took part, where no contact is named", nullable=True, str_matches=EMAIL)
    email_normalised: str = field(COMPARED, nullable=True, email_of="email")
    source: str = field("who brought it about: the fair, the partner", nullable=True)
    medium: str = field("medium, for the channel; `act` where it is empty", nullable=True)
    campaign: str = field("campaign", nullable=True)
    told_at: Timestamp = field(TOLD_AT)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


@table("raw.identify", key=("message_id",), journal={IDENTIFY: "message_id"})
class Identify(Model):
    """What other systems say of people and companies, for HubSpot (`write_back.identify` of the mapping). A row told
    again is replaced by the one told later. Holds personal data."""

    message_id: str = field("id of the row in the file", str_length={"min_value": 1})
    kind: str = field(
        "identify: properties of a person; group: of a company; track: what a person did",
        isin=["identify", "group", "track"],
    )
    happened_at: Timestamp = field("when it was so, or was done, UTC: of two values of a property the later one holds")
    contact_id: int = hubspot_id("HubSpot contact id; of a person one of this and `email` is needed", nullable=True)
    email: str = field("e-mail of the person", nullable=True, str_matches=EMAIL)
    email_normalised: str = field(COMPARED, nullable=True, email_of="email")
    website: str = field("website of the company, as told", nullable=True)
    domain: str = field("its host name, lower case, without www., in IDNA form", nullable=True)
    event: str = field("what was done, lower case, words joined by _; of track", nullable=True)
    properties: str = field(
        "JSON object of texts: keys in lower case, words joined by _; what is empty is left out",
        nullable=True,
        json=True,
    )
    told_at: Timestamp = field(TOLD_AT)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


@table("raw.activity", key=("kind", "id"), journal={ACTIVITY: ("kind", "id")})
class Activity(Model):
    """Meetings, calls and the people of marketing events, where `streams` reads them. What HubSpot does not return any
    more stays as it was read last, and is no touch.

    https://developers.hubspot.com/docs/api-reference/crm-meetings-v3/guide
    """

    kind: str = field("meeting, call or marketing_event", isin=["meeting", "call", "marketing_event"])
    id: str = field("HubSpot id of the meeting or call, or of the participation in the event")
    occurred_at: Timestamp = field("when it happened or will, UTC")
    outcome: str = field(
        "hs_meeting_outcome, hs_call_status or attendanceState, lower case, words joined by _", nullable=True
    )
    name: str = field("name of the marketing event", nullable=True)
    event_id: str = field("HubSpot id (objectId) of the marketing event", nullable=True)
    contact_ids: RecordIds = field("HubSpot contacts who took part")
    gone: str = field(
        "archived (HubSpot has it in its archive) or missing (HubSpot does not return it, or not as one of the event's"
        " people); null while it is there",
        nullable=True,
        isin=["archived", "missing"],
    )
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
    recipient_normalised: str = field(COMPARED.replace("email", "recipient", 1), nullable=True, email_of="recipient")
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
