"""What a destination is: limits as data, and pure functions over values.

A destination is one file of this folder that defines `DESTINATION`. It knows one platform's fields and answers and
nothing else: no HTTP, no tables, no clock. When and whether a conversion is sent, and its next state, is decided
in `delivery/` and `ledger/`, alike for all.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Literal

from crm_attribution.findings import ApiVersion, Finding
from crm_attribution.http.answers import Answer
from crm_attribution.settings import Group, Setting, text

__all__ = [
    "Answer",
    "ApiVersion",
    "Consent",
    "Destination",
    "Finding",
    "Grant",
    "Limits",
    "Outcome",
    "Piece",
    "Processed",
    "ProcessesLater",
    "Question",
    "Ready",
    "Request",
    "Resolved",
    "Verdict",
]

Json = dict[str, Any]
Source = Literal["milestones", "touches", "records", "thresholds", "inputs", "news"]
"""What a destination's rows are planned from: business facts (ad platforms); touches, the state of records by their
touches, how often was clicked, or what other systems and computed traits say of records (what HubSpot is told); or news
(alerts)."""

Consent = Literal["granted", "denied", "absent"]

Verdict = Literal["accepted", "rejected", "transient", "uncertain", "refused", "throttled", "stopped", "unsent"]
"""What an answer means for one row.

accepted: applied, or known already under this key.
rejected: this row will never be accepted as it is.
transient: this row was not applied; it may be later.
uncertain: it may have been applied.
refused: not applied because the request was refused as a whole; split the batch and send again immediately.
throttled: not applied; the whole account pauses.
stopped: not applied; nothing of this account can work until a person acts.
unsent: nothing of the request left us (no connection); said by the engine, not by a destination.
"""

LONGEST_WAIT = timedelta(days=1)

LAST_ASKED = timedelta(days=14)
"""A platform that has not said by then what became of a request is not asked again."""


@dataclass(frozen=True)
class Limits:
    """What a platform allows.

    Attributes:
        batch: events in one request.
        max_age: how old an event may be when it is sent.
        dedupe: how long the platform recognises our key between two server events. None: not at all, or not known.
        actions: different actions in one request; None where the platform states no limit.
        future: how far ahead of the platform's clock an event may lie.
        calls_per_minute: None where the platform states none.
        adjust_age: how long after a conversion it takes a restatement or retraction of it; None: as long as `max_age`.
        one_kind: whether one request takes conversions or corrections of them, not both.
        once: what it may have taken is never replayed, though its key is known: it would undo what a person did since.
    """

    batch: int
    max_age: timedelta
    dedupe: timedelta | None
    actions: int | None = None
    future: timedelta = timedelta(minutes=1)
    calls_per_minute: int | None = None
    adjust_age: timedelta | None = None
    one_kind: bool = False
    once: bool = False


@dataclass(frozen=True)
class Resolved:
    """Whose conversion it is and how the platform may recognise the person; read when a request is built.

    For a row that was claimed before (`payload_hash` is set), `person_id`, `contact_id` and `touch_id` must be those
    of the row, and the identifiers those of that contact and touch: another choice would be another event under the
    same key, which is never sent.

    Attributes:
        consent: to advertising, by the mapping's property.
        suppressed: why nothing of this person may be sent (erased, own domain, …); None where it may.
        held: why it must wait (its record cannot be read, is archived); None where it need not.
        person_id: durable person.
        contact_id: the contact whose identifiers these are.
        touch_id: the click `click_id` comes from.
        email: as HubSpot has it; normalised and hashed per platform.
        click_id: the platform's own, case as it came.
        click_kind: which of the platform's it is; None: `Destination.click_id`.
        clicked_at: when that click was first seen.
        lead_id: Meta's lead id, where the contact has one.
        details: what else is sent, by the platform's own names; of write-backs only.
        browser_event_id: what the pixel or tag called the same event, by the property that the rule names.
    """

    consent: Consent
    suppressed: str | None = None
    held: str | None = None
    person_id: str | None = None
    contact_id: int | None = None
    touch_id: str | None = None
    email: str | None = field(default=None, repr=False)
    click_id: str | None = field(default=None, repr=False)
    click_kind: str | None = None
    clicked_at: datetime | None = None
    phone: str | None = field(default=None, repr=False)
    first_name: str | None = field(default=None, repr=False)
    last_name: str | None = field(default=None, repr=False)
    country: str | None = field(default=None, repr=False)
    lead_id: str | None = field(default=None, repr=False)
    details: Mapping[str, str] = field(default_factory=dict, repr=False)
    browser_event_id: str | None = None


@dataclass(frozen=True)
class Ready:
    """A conversion with everything a request needs; exists only between claim and send.

    Attributes:
        adjusts: of a restatement or retraction, the conversion_id under which the platform has the conversion.
        adjusted_at: of those, when they are from, after the conversion.
        browser_event_id: the key to send in place of conversion_id, so that the platform finds the browser's event.
    """

    conversion_id: str
    action: str
    kind: str
    occurred_at: datetime
    value: int | None
    currency: str | None
    consent: Consent = "granted"
    adjusts: str | None = None
    adjusted_at: datetime | None = None
    person_id: str | None = None
    contact_id: int | None = None
    email: str | None = field(default=None, repr=False)
    click_id: str | None = field(default=None, repr=False)
    click_kind: str | None = None
    clicked_at: datetime | None = None
    phone: str | None = field(default=None, repr=False)
    first_name: str | None = field(default=None, repr=False)
    last_name: str | None = field(default=None, repr=False)
    country: str | None = field(default=None, repr=False)
    lead_id: str | None = field(default=None, repr=False)
    details: Mapping[str, str] = field(default_factory=dict, repr=False)
    browser_event_id: str | None = None

    @property
    def key(self) -> str:
        """What the platform deduplicates by."""
        return self.browser_event_id or self.conversion_id


@dataclass(frozen=True)
class Request:
    """One request, complete but for the host, and for the access token of a destination with a `grant`."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    json: Json = field(repr=False)
    params: Mapping[str, str] = field(default_factory=dict)

    def shown(self, secrets: Iterable[str]) -> Json:
        """The request for a person to read: secrets masked. Personal data in it is hashed already."""
        text = json.dumps({"method": self.method, "path": self.path, "headers": dict(self.headers), "json": self.json})
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(json.dumps(secret)[1:-1], "***")
        shown: Json = json.loads(text)
        return shown


@dataclass(frozen=True)
class Outcome:
    """What an answer means for one conversion.

    Attributes:
        code: the platform's code or our own word; never its free text, which may quote what we sent.
        retry_after: how long the platform asks us to wait.
        receipt: the platform's id of the request, where it tells later what became of it.
    """

    conversion_id: str
    verdict: Verdict
    code: str | None = None
    retry_after: timedelta | None = None
    receipt: str | None = None


@dataclass(frozen=True)
class Grant:
    """How access tokens are got: a form, posted. https://www.rfc-editor.org/rfc/rfc6749#section-6

    Attributes:
        base_url, path: the token endpoint.
        form: client, secret and what proves the right to a token, as of the real time of asking, UTC. Raises
            ConfigurationError where the settings prove none.
    """

    base_url: str
    path: str
    form: Callable[[datetime], Mapping[str, str]] = field(repr=False)


@dataclass(frozen=True)
class Ended:
    """What became of one accepted conversion.

    Attributes:
        state: processed; partly: of its action some failed, and the platform does not say which; rejected; retry: not
            applied, it may be later.
        code: the platform's reason.
    """

    conversion_id: str
    state: Literal["processed", "partly", "rejected", "retry"]
    code: str | None = None


@dataclass(frozen=True)
class Processed:
    """What a platform says became of a request.

    Attributes:
        rows: of its conversions; None where it is not done with them.
        errors, warnings: conversions by the platform's reason.
    """

    rows: Sequence[Ended] | None = None
    errors: Mapping[str, int] = field(default_factory=dict)
    warnings: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Quality:
    """A figure of a platform's about the events of an account.

    Attributes:
        action: the event name it is about.
        measure: the platform's name of it.
        hundredths: of its unit.
    """

    action: str
    measure: str
    hundredths: int


@dataclass(frozen=True)
class Asked:
    """What `questions` may know.

    Attributes:
        actions: those of the mapping, each once.
        settings, options: as for `build`.
        now: for requests that name a time.
    """

    actions: Sequence[str]
    settings: Mapping[str, str] = field(repr=False)
    options: Mapping[str, str]
    now: datetime


@dataclass(frozen=True)
class Question:
    """What a platform is asked about an installation before anything is sent. It counts nothing by it.

    Attributes:
        about: what is looked at: `account`, `action 104012`.
        read: what any answer to it means.
    """

    about: str
    request: Request
    read: Callable[[Answer], Finding]


@dataclass(frozen=True)
class Piece:
    """Something that must exist on the platform before rows are sent.

    Attributes:
        about: what it is: `event tracked_link_clicked`.
        look: asks whether it is there.
        lacking: from any answer to it, the requests that make what is missing, each with its name; or what is wrong.
    """

    about: str
    look: Request
    lacking: Callable[[Answer], list[tuple[str, Request]] | Finding]


class Destination(ABC):
    """One platform.

    Attributes:
        name: as in the mapping, the ledger and the asset.
        settings: its own settings: which it needs, where to get each, and which are secret.
        account_setting: the setting that says which ad account, dataset or customer it is; empty where there is one.
        base_url_setting: overrides `base_url`, for the sandbox or a proxy.
        credential: the setting a 401 message names.
        click_id: the click id column it wants; None where it takes none.
        other_click_ids: further ones, of which it takes one where a click has no `click_id`.
        key_field: the platform's own field for our key; None where it has none.
        browser_events: within what the browser's id of an event, sent in place of our key, must be of one conversion
            only: an account, or an action of it; None where the platform does not deduplicate browser and server.
        kinds: which of conversion, restatement and retraction it can take.
        documentation: where the platform describes the call.
        example_action: an action as the mapping may name it.
        option_names: the `options` of its section of the mapping that `build` reads.
        version: of the API, as the requests name it.
        plans_from: what its rows are planned from. From all but milestones and news: it is HubSpot, told by
            `write_back` of the mapping, may know persons by their record id, and gets nothing without
            CRM_ATTRIBUTION_WRITE_BACK=on.
        told_as: of those, which `write_back.events.told_as` of the mapping puts it in use.
        stuck_after: how long a row may be due before the check of its asset says so.
        taken: statuses that say without a body that a whole request is taken.
        address_is_credential: the credential is the whole address that requests are sent to; what they show in its
            place is a mask. Its answers may be plain text.
    """

    name: ClassVar[str]
    settings: ClassVar[Sequence[Setting[str]]]
    account_setting: ClassVar[str] = ""
    base_url: ClassVar[str]
    base_url_setting: ClassVar[str]
    credential: ClassVar[str]
    click_id: ClassVar[str | None]
    other_click_ids: ClassVar[Sequence[str]] = ()
    key_field: ClassVar[str | None]
    browser_events: ClassVar[Literal["account", "action"] | None] = None
    kinds: ClassVar[frozenset[str]] = frozenset({"conversion"})
    limits: ClassVar[Limits]
    documentation: ClassVar[str]
    example_action: ClassVar[str]
    option_names: ClassVar[Sequence[str]] = ()
    version: ClassVar[ApiVersion | None] = None
    plans_from: ClassVar[Source] = "milestones"
    told_as: ClassVar[str | None] = None
    stuck_after: ClassVar[timedelta] = timedelta(hours=6)
    taken: ClassVar[frozenset[int]] = frozenset()
    address_is_credential: ClassVar[bool] = False

    @property
    def is_hubspot(self) -> bool:
        """Whether it is a part of HubSpot, told by `write_back`."""
        return self.plans_from not in ("milestones", "news")

    @property
    def required(self) -> list[Setting[str]]:
        """The settings without which it sends nothing."""
        return [setting for setting in self.settings if setting.required]

    def lacking(self, settings: Mapping[str, str]) -> list[Setting[str]]:
        """The settings that are missing; overridden where one stands in for others."""
        return [setting for setting in self.required if setting.name not in settings]

    def proof(self, settings: Mapping[str, str]) -> str:
        """The setting that a message about a refused token names."""
        del settings
        return self.credential

    @property
    def group(self) -> Group:
        """All its settings, as the table of settings shows them."""
        address = text(self.base_url_setting, "another address, for a proxy or the sandbox", self.base_url)
        return Group(f"Destination {self.name}", (*self.settings, address), self.settings, self.account_setting)

    @property
    def is_account_required(self) -> bool:
        """Whether nothing is sent where the settings do not say which account it is."""
        return any(setting.name == self.account_setting for setting in self.required)

    def account(self, settings: Mapping[str, str]) -> str:
        """The ad account or dataset that counts; part of the delivery key."""
        return settings[self.account_setting]

    def address(self, settings: Mapping[str, str]) -> tuple[str, str] | None:
        """Host and path of an account whose address is its credential; None for all others."""
        del settings
        return None

    def wrong_action(self, action: str, value: str | None) -> str | None:
        """What an action of the mapping must be for the platform to take it; None where it is that.

        Args:
            action: as the mapping names it.
            value: the measure that is sent with it; None where none is.
        """
        del action, value
        return None

    def action_of(self, name: str, portal: str) -> str:
        """The platform's name of an action that a rule of `write_back` names, in a HubSpot account."""
        del portal
        return name

    @abstractmethod
    def accepts(self, ready: Ready) -> str | None:
        """Why this conversion cannot be sent yet (`no_identifier`, `no_value`, …); None where it can."""

    def grant(self, settings: Mapping[str, str]) -> Grant | None:
        """How access tokens are got, where the requests need one that does not last; None where they do not."""
        del settings
        return None

    def left_out(self, ready: Ready) -> list[str]:
        """Names of the identifiers this conversion has that are not sent, since it is not certain what they mean."""
        del ready
        return []

    @abstractmethod
    def build(self, batch: Sequence[Ready], settings: Mapping[str, str], options: Mapping[str, str]) -> Request:
        """The request for a batch within `limits`. The same batch always gives the same request."""

    def validate_only(self, request: Request) -> Request | None:
        """A request that the platform checks and does not count; None where it has no such call."""
        del request
        return None

    @abstractmethod
    def read(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        """One outcome for every row, for any answer."""

    def quality(self, settings: Mapping[str, str]) -> Request | None:
        """The question, once a day, what the platform says about the events of an account; None where it has none."""
        del settings
        return None

    def read_quality(self, answer: Answer) -> list[Quality] | None:
        """The figures of an answer; None where the token may not read them."""
        del answer
        return None

    def questions(self, asked: Asked) -> list[Question]:
        """What `preflight` asks the platform: whether account and actions exist, are enabled and of the right type."""
        del asked
        return []

    def pieces(
        self, wanted: Mapping[str, Mapping[str, str]], settings: Mapping[str, str], options: Mapping[str, str]
    ) -> list[Piece]:
        """What must exist there, for `crm-attribution provision`. `wanted`: name -> its properties with their types."""
        del wanted, settings, options
        return []

    def not_checked(self, asked: Asked) -> list[Finding]:
        """What `questions` leave open, with the reason."""
        del asked
        return []

    def is_own_refusal(self, answer: Answer) -> bool:
        """Whether an answer of 4xx has the shape of the platform's own refusals, which proves that nothing was applied.

        Asked where the platform does not recognise our key: what a proxy refuses may have been applied behind it.
        """
        return isinstance(answer.body, dict)


class ProcessesLater(Destination):
    """A platform whose answer says that a request is taken, and that is asked later what became of it.

    Attributes:
        first_asked: how long after the answer; then again after twice the time before, for `LAST_ASKED` at most.
    """

    first_asked: ClassVar[timedelta]

    def warned(self, answer: Answer) -> Mapping[str, int]:
        """Conversions by the reason of what an answer that takes a request warns about at once."""
        del answer
        return {}

    @abstractmethod
    def ask(self, receipt: str) -> Request:
        """The question about a request, by its receipt."""

    @abstractmethod
    def read_processed(self, answer: Answer, rows: Sequence[tuple[str, str]]) -> Processed:
        """What became of its rows, (conversion_id, action) each, for any answer."""


def all_rows(
    batch: Sequence[Ready], verdict: Verdict, code: str | None = None, retry_after: timedelta | None = None
) -> list[Outcome]:
    """The same outcome for every row."""
    return [Outcome(row.conversion_id, verdict, code, retry_after) for row in batch]


def refused(batch: Sequence[Ready], code: str) -> list[Outcome]:
    """A request refused as a whole for its content: with one row it is that row's fault, else search for the row."""
    return all_rows(batch, "rejected" if len(batch) == 1 else "refused", code)


def plain_http(answer: Answer, batch: Sequence[Ready]) -> list[Outcome] | None:
    """The outcome by HTTP status; None for answers that only the platform's own rules can read (2xx, 400, 422)."""
    status = answer.status
    if status == 429:
        return all_rows(batch, "throttled", "http_429", retry_after(answer))
    if status in (401, 403, 404, 405, 410, 426) or 300 <= status < 400:
        return all_rows(batch, "stopped", f"http_{status}")
    if status == 413:
        return refused(batch, "http_413")
    if status in (408, 425) or status >= 500 or status < 200:
        return all_rows(batch, "uncertain", f"http_{status}")
    return None


def without_error(answer: Answer, batch: Sequence[Ready]) -> list[Outcome] | None:
    """The outcome of an answer that holds no error of the platform's own; None for success. What refuses without one is
    not the platform, a proxy perhaps: nobody's row is at fault."""
    settled = plain_http(answer, batch)
    if settled is None and answer.status >= 400:
        return all_rows(batch, "transient", f"http_{answer.status}")
    return settled


def told_by_status(about: str, answer: Answer, credential: str) -> Finding | None:
    """What the HTTP status alone says to a question; None where the platform's own rules must read the answer."""
    status = answer.status
    if status == 401:
        return Finding(about, "failed", "401: the access token is not accepted", f"renew it and set {credential}")
    if status == 426:
        return Finding(about, "failed", "426: the version of the API has ended", "update crm_attribution")
    if status in (408, 429) or status >= 500 or status < 200 or not answer.readable:
        return Finding(about, "cannot be checked", f"the platform answers {status}", "run preflight again later")
    return None


def date_of(answer: Answer) -> datetime | None:
    """The answer's `Date`, UTC; None where it has none that can be read."""
    found = next((value for name, value in answer.headers.items() if name.lower() == "date"), "")
    try:
        return parsedate_to_datetime(found).astimezone(UTC)
    except (TypeError, ValueError):
        return None


def retry_after(answer: Answer) -> timedelta | None:
    """`Retry-After` as a wait between a second and a day; None where it says nothing readable.

    A date counts from the answer's own `Date`, not from our clock: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    headers = {name.lower(): value for name, value in answer.headers.items()}
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        wait = timedelta(seconds=float(text))
    else:
        try:
            wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))
        except (TypeError, ValueError):
            return None
    return min(max(wait, timedelta(seconds=1)), LONGEST_WAIT)
