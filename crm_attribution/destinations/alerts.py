"""Alerts to webhooks: Slack's incoming webhooks and what is compatible with them, or any that takes JSON.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks. Slack takes one message in a request; each
alert is an attachment of it, which has a colour. Neither recognises a message that is sent again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar
from urllib.parse import urlsplit

from crm_attribution.clock import iso
from crm_attribution.destinations.base import (
    Answer,
    Destination,
    Json,
    Limits,
    Outcome,
    Ready,
    Request,
    Source,
    all_rows,
    plain_http,
    refused,
)
from crm_attribution.identifiers import sha256
from crm_attribution.settings import Setting

URL, FORMAT = "ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_FORMAT"
SLACK, PLAIN = "slack", "json"
HIDDEN = "/***"
"""In place of the path of an address, which is its password."""

LONGEST_TITLE, LONGEST_TEXT = 150, 3000
"""https://docs.slack.dev/reference/block-kit/blocks/header-block, …/section-block"""

_SLACK_CODE = re.compile(r"[a-z]+(_[a-z]+)+")
"""Slack's errors are plain words, as invalid_payload."""


def _address(given: str) -> str:
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or len(parts.path) < 2:
        raise ValueError("must be the whole address of a webhook, as https://hooks.slack.com/services/…")
    return given


def _format(given: str) -> str:
    if given not in (SLACK, PLAIN):
        raise ValueError(f"must be {SLACK} or {PLAIN}")
    return given


class Alerts(Destination):
    """One message for each batch; `action` is the rule. An account is a route: an address of its own."""

    name: ClassVar[str] = "alerts"
    settings: ClassVar[Sequence[Setting[str]]] = (
        Setting(
            URL,
            "address of the webhook that alerts are posted to; whoever knows it may post",
            _address,
            "",
            where="Slack: your app > Incoming Webhooks > Webhook URL; or the address that another service gives",
            secret=True,
            required=True,
        ),
        Setting(FORMAT, f"`{SLACK}` (also Mattermost, Discord's /slack) or `{PLAIN}`", _format, "", f"`{SLACK}`",
                where="by what listens at the address"),
    )  # fmt: skip
    account_setting: ClassVar[str] = URL
    base_url: ClassVar[str] = "https://hooks.slack.com"
    base_url_setting: ClassVar[str] = "ALERT_WEBHOOK_BASE_URL"
    credential: ClassVar[str] = URL
    address_is_credential: ClassVar[bool] = True
    click_id: ClassVar[str | None] = None
    key_field: ClassVar[str | None] = None
    example_action: ClassVar[str] = "new_deals"
    plans_from: ClassVar[Source] = "news"
    limits: ClassVar[Limits] = Limits(batch=20, max_age=timedelta(days=2), dedupe=None, calls_per_minute=60)
    documentation: ClassVar[str] = "https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"
    taken: ClassVar[frozenset[int]] = frozenset({200, 201, 202, 204})

    def account(self, settings: Mapping[str, str]) -> str:
        """Not the address itself, which is secret."""
        return sha256(settings[URL])[:16]

    def address(self, settings: Mapping[str, str]) -> tuple[str, str] | None:
        parts = urlsplit(settings[URL])
        return f"{parts.scheme}://{parts.netloc}", parts.path + (f"?{parts.query}" if parts.query else "")

    def accepts(self, ready: Ready) -> str | None:
        del ready
        return None

    def build(self, batch: Sequence[Ready], settings: Mapping[str, str], options: Mapping[str, str]) -> Request:
        del options
        if settings.get(FORMAT) == PLAIN:
            return Request("POST", HIDDEN, {}, {"alerts": [_alert(row) for row in batch]})
        told = "; ".join(_title(row) for row in batch)
        return Request("POST", HIDDEN, {}, {"text": _shown(told), "attachments": [_attachment(row) for row in batch]})

    def read(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        if 200 <= answer.status < 300 and _is_taken(answer):
            return all_rows(batch, "accepted")
        settled = plain_http(answer, batch)
        if settled is not None:
            return settled
        if answer.status < 300:
            return all_rows(batch, "uncertain", "results_do_not_match")
        if (code := _code(answer)) is not None:
            return refused(batch, code)
        return all_rows(batch, "transient", f"http_{answer.status}")

    def is_own_refusal(self, answer: Answer) -> bool:
        return _code(answer) is not None


def _is_taken(answer: Answer) -> bool:
    """Slack says `ok`; others nothing, or an object that says so."""
    body = answer.body
    if body is None:
        return answer.status in Alerts.taken
    if isinstance(body, str):
        return body.strip().lower() == "ok"
    said = [body.get(name) for name in ("ok", "success", "status", "result")] if isinstance(body, dict) else []
    return any(one is True or (isinstance(one, str) and one.lower() in ("ok", "success", "accepted")) for one in said)


def _code(answer: Answer) -> str | None:
    """The word of a refusal: Slack's, or that of an object with an error in words."""
    body = answer.body
    if isinstance(body, dict):
        body = body.get("error")
    text = body.strip() if isinstance(body, str) else ""
    return text if len(text) <= 60 and _SLACK_CODE.fullmatch(text) else None


def _title(row: Ready) -> str:
    return row.details.get("title") or row.action


def _shown(text: str, longest: int = LONGEST_TEXT) -> str:
    """https://docs.slack.dev/messaging/formatting-message-text#escaping; cut where no escape is broken."""
    escaped = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    found, size = [], 0
    for letter in text:
        one = escaped.get(letter, letter)
        size += len(one)
        if size > longest:
            break
        found.append(one)
    return "".join(found)


def _attachment(row: Ready) -> Json:
    title = {"type": "plain_text", "text": _title(row)[:LONGEST_TITLE], "emoji": False}
    blocks: list[Json] = [{"type": "header", "text": title}]
    if text := row.details.get("text"):
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": _shown(text)}})
    told = _shown(f"{row.action} · {iso(row.occurred_at)}")
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": told}]})
    return {"color": row.details.get("color", "#8c8c8c"), "fallback": _shown(_title(row)), "blocks": blocks}


def _alert(row: Ready) -> Json:
    return {
        "id": row.conversion_id,
        "rule": row.action,
        "occurred_at": iso(row.occurred_at),
        **{name: row.details[name] for name in ("title", "text", "color") if name in row.details},
    }


DESTINATION = Alerts()
