"""Takes secrets and personal data out of text that is about to be logged or raised."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterable

MASK = "***"
_PATTERNS = (
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}"),
    re.compile(r"(?i)(\b(?:set-)?cookie[\"']?\s*[:=]\s*)[^\r\n]+"),
    re.compile(
        r"(?i)((?:access_token|refresh_token|id_token|client_secret|hapikey|api_key|apikey|appsecret_proof"
        r"|developer[-_]token|password|authorization|x-hubspot-signature(?:-v3)?)[\"']?\s*[:=]\s*[\"']?)"
        r"(?!(?:bearer|basic)\b)[^\s\"'&,;}]+"
    ),
    re.compile(r"()\bpat-[a-z]{2}\d-[0-9A-Za-z-]{8,}"),
    re.compile(r"()[A-Za-z0-9._%+'-]+(?:@|%40)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
    re.compile(r"()(?<![\w.:+-])\+\d[\d ().-]{6,}\d"),
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without known secrets, bearer values, tokens in queries, e-mail addresses and +phone numbers."""
    text = redact_secrets(text, secrets)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{MASK}", text)
    return text


def redact_secrets(text: str, secrets: Iterable[str]) -> str:
    """`text` without known secrets; for messages of our own, which carry nothing else that must not show."""
    for secret in sorted((s for s in secrets if len(s) >= 4), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


class RedactingFilter(logging.Filter):
    """Redacts a record's message and traceback.

    Put it on handlers: a logger's own filters do not see what its children log.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        record.msg, record.args = redact(message, self._secrets), ()
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
            record.exc_info = None
        if record.exc_text:
            record.exc_text = redact(record.exc_text, self._secrets)
        return True
