"""`conversions.*` and `delivery.*`: the outbox and what became of it. Memory: never rebuilt."""

from __future__ import annotations

from crm_attribution.contracts.base import Model, Strings, Timestamp, field, hubspot_id, table
from crm_attribution.contracts.topics import AUDIENCE, TRAIT

STATES = [
    "pending",
    "held",
    "in_flight",
    "retry",
    "unknown",
    "accepted",
    "processed",
    "rejected",
    "not_adjustable",
    "suppressed",
    "expired",
]


@table("conversions.conversion", key=("conversion_id",))
class Conversion(Model):
    """The outbox: one row per destination, action and business fact."""

    conversion_id: str = field("delivery key: SHA-256 over destination, account, action, milestone, revision")
    destination: str = field("platform")
    account: str = field("ad account or dataset; the platform's name where the settings name none")
    action: str = field("the platform's event name or conversion rule")
    milestone: str = field("milestone")
    milestone_id: str = field("milestone at the time of planning")
    event_id: str = field("carrier event")
    kind: str = field("conversion, restatement or retraction", isin=["conversion", "restatement", "retraction"])
    revision: int = field("0 for the conversion itself", ge=0)
    adjusts: str = field("the conversion that a restatement or retraction is about", nullable=True)
    cause: str = field(
        "why there is one: amount, currency, merged, gone, reopened, or the reason for which the win no longer stands",
        nullable=True,
    )
    occurred_at: Timestamp = field("business time sent to the platform, UTC")
    ready_at: Timestamp = field("not to be sent before, UTC")
    expires_at: Timestamp = field("the platform's window for it ends, UTC")
    value: int = field("value in minor units, null where the rule sends none", nullable=True)
    currency: str = field("ISO 4217 code", nullable=True)
    person_id: str = field("person whose identifiers are sent, fixed at claim", nullable=True)
    contact_id: int = hubspot_id("that person's contact", nullable=True)
    touch_id: str = field("the click that is sent, fixed at claim", nullable=True)
    state: str = field("where it stands; the ways between them: ledger/transitions.py", isin=STATES)
    reason: str = field("why it is in that state", nullable=True)
    attempts: int = field("sends so far, without those that throttling or a refused token undid", ge=0)
    next_attempt_at: Timestamp = field("not to be retried before, UTC", nullable=True)
    batch_id: str = field("the batch that last claimed it", nullable=True)
    first_sent_at: Timestamp = field(
        "first send that may have been applied, UTC: the platform's duplicate window starts here", nullable=True
    )
    payload_hash: str = field("SHA-256 of what, when, how much and whose, fixed at the first claim", nullable=True)
    browser_event_id: str = field(
        "id of the same event as the browser told it, sent in place of conversion_id, fixed at the first claim",
        nullable=True,
    )
    released_at: Timestamp = field("when a person lifted a hold: the volume guard lets it pass, UTC", nullable=True)
    replayed_from: str = field("state it is replayed from, while the replay is under way", nullable=True)
    planned_at: Timestamp = field("when it was planned, UTC", log=True)
    updated_at: Timestamp = field("last change of state, UTC", log=True)


@table("conversions.told_record", key=("subject",))
class ToldRecord(Model):
    """What HubSpot is to have of each record, and what it was told last: by inputs and computed traits. Holds personal
    data."""

    subject: str = field("contacts:ID or companies:ID; where HubSpot has no record yet, a digest of e-mail or domain")
    object_type: str = field("contacts or companies", isin=["contacts", "companies"])
    record_id: int = hubspot_id("HubSpot record id; null where HubSpot has none yet", nullable=True)
    name: str = field(
        "e-mail, normalised, or domain by which a record is made; null where its id is known", nullable=True
    )
    wanted: str = field("property -> text that it is to have, JSON object", json=True)
    wanted_key: str = field("milestone_id of the row of conversions.conversion that tells it", nullable=True)
    told: str = field("property -> text that HubSpot took last, JSON object", json=True)
    tellings: int = field("how often it took something", ge=0)
    stages_told: Strings = field("every lifecycle stage that it took: told back, they are no events", nullable=True)
    planned_at: Timestamp = field("when it was planned last, UTC", log=True)


@table("conversions.trait", key=("trait", "subject_id"), journal={TRAIT: ("subject_type", "subject_id")})
class ComputedTrait(Model):
    """What computed traits say of people and accounts now; of an audience its members."""

    trait: str = field("name of the SQL file")
    subject_id: str = field("identity.person or identity.account")
    subject_type: str = field("person or account", isin=["person", "account"])
    told: str = field("property -> text, JSON object", json=True)


@table("conversions.audience_event", key=("event_id",), journal={AUDIENCE: "event_id"})
class AudienceEvent(Model):
    """Who entered or left an audience, once for each contact that is told. Journal: memory, never rebuilt."""

    event_id: str = field("audience:subject:number:contact")
    audience: str = field("name of the SQL file")
    change: str = field("entered or exited", isin=["entered", "exited"])
    subject_id: str = field("identity.person or identity.account")
    number: int = field("1 for the subject's first change, and so on", ge=1)
    contact_id: int = hubspot_id("contact that it is told of")
    happened_at: Timestamp = field("the hour that found it, UTC")
    noted_at: Timestamp = field("when it was found, UTC; null where an earlier release did", nullable=True)


@table("delivery.attempt", key=("batch_id", "conversion_id"))
class Attempt(Model):
    """Every send of every conversion: a row from before its first byte on, completed by the answer, never deleted."""

    batch_id: str = field("batch")
    conversion_id: str = field("conversion")
    destination: str = field("platform")
    attempt: int = field("1 for the first send; one that was not charged has the number of the next", ge=1)
    payload_hash: str = field("SHA-256 of what, when, how much and whose")
    started: Timestamp = field("claimed: content and recipient are fixed, UTC", log=True)
    left_at: Timestamp = field(
        "committed just before its first byte left, UTC; null: nothing of it left", nullable=True
    )
    finished: Timestamp = field("answer recorded, UTC; null while in flight", nullable=True, log=True)
    http_status: int = field("HTTP status, null where there was none", nullable=True)
    outcome: str = field("state the row went to, null while in flight", nullable=True)
    code: str = field("the platform's code or our reason", nullable=True)


@table("delivery.receipt", key=("destination", "receipt"))
class Receipt(Model):
    """A request that a platform took, and what it said later became of it. Of platforms that tell it later only."""

    destination: str = field("platform")
    receipt: str = field("the platform's id of the request")
    batch_id: str = field("batch, as in delivery.attempt")
    conversions: int = field("conversions in it", ge=1)
    accepted_at: Timestamp = field("answer recorded, UTC", log=True)
    asked: int = field("how often the platform was asked", ge=0)
    asked_at: Timestamp = field("when it was asked last, UTC", nullable=True, log=True)
    next_ask_at: Timestamp = field(
        "when to ask again, UTC; null when all is said, or given up", nullable=True, log=True
    )
    status: str = field(
        "waiting; processed: all; partly: some failed; failed: all; not_told: the platform did not say in 14 days",
        isin=["waiting", "processed", "partly", "failed", "not_told"],
    )
    errors: str = field(
        "conversions that failed by the platform's reason, JSON object of counts", nullable=True, json=True
    )
    warnings: str = field(
        "conversions with a warning by reason, likewise; of a field, as the answer named it at once: REASON (field)",
        nullable=True,
        json=True,
    )


@table("delivery.quality", key=("destination", "account", "read_on", "action", "measure"))
class Quality(Model):
    """What a platform says about the events of an account as a whole, read once a day, where it tells."""

    destination: str = field("platform")
    account: str = field("ad account or dataset")
    read_on: str = field("day it was read on, UTC: 2026-03-10")
    action: str = field("the platform's event name; empty where it is about all")
    measure: str = field("the platform's name of the figure; not_told: the token may not read it; no_events: none")
    hundredths: int = field("the figure in hundredths; null where it is not told", nullable=True)
    read_at: Timestamp = field("when, UTC", log=True)


@table("delivery.replay", key=("conversion_id", "asked_at"))
class Replay(Model):
    """Every wish to send a conversion again, with who had it, why, and what came of it."""

    conversion_id: str = field("conversion")
    asked_at: Timestamp = field("when, UTC")
    destination: str = field("platform")
    asked_id: str = field("the event, milestone or conversion that was named; itself where a filter was given")
    source: str = field("how it was asked: command, job or api", isin=["command", "job", "api"])
    why: str = field("the reason given")
    queued: bool = field("whether it is sent again")
    refused: str = field("why it is not", nullable=True)
