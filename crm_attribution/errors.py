"""Errors named by what the caller should do next.

Messages say what failed, on which row, file or setting, and what to try. They never carry a secret or raw
personal data: ids and field names only.
"""

from __future__ import annotations

import errno
import re


class CrmAttributionError(Exception):
    """Base of everything this package raises on purpose."""


class Retryable(CrmAttributionError):
    """The same call may succeed later.

    Attributes:
        retry_after: seconds the other side asked us to wait, or None.
        sent: whether the other side may have applied the request (body sent, answer not understood).
    """

    def __init__(self, message: str, *, retry_after: float | None = None, sent: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.sent = sent


class Rejected(CrmAttributionError):
    """This request or row will never be accepted as it is; others may.

    Attributes:
        status: the HTTP status, or None where there was none.
        body: the decoded answer, for the caller that must classify it. Never logged.
    """

    def __init__(self, message: str, *, status: int | None = None, body: object = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class Terminal(CrmAttributionError):
    """Nothing further can work until a person acts: stop."""


class Unauthorized(Terminal):
    """The token is missing, wrong, expired or revoked."""


class TokenExpired(Unauthorized):
    """The access token's time is over and it could not be renewed."""


class TokenInvalid(Unauthorized):
    """The access token was not accepted: wrong, revoked, or of another account or environment."""


class RefreshRefused(Unauthorized):
    """The refresh token is not valid any more: the app was uninstalled or its token revoked. Authorize again."""


class ClientRefused(Unauthorized):
    """The OAuth app's client id or secret is wrong."""


class CodeRefused(Unauthorized):
    """The authorization code or its redirect address is wrong, used or too old."""


class TokenFileRestored(Unauthorized):
    """The token file is older than one already used here, and HubSpot does not take its refresh token any more."""


class OtherAccount(Unauthorized):
    """The token belongs to another account than the one expected."""


class Forbidden(Terminal):
    """The token is valid but may not do this (a missing scope, a disabled account)."""


class QuotaExhausted(Terminal):
    """A daily quota is spent; the next run continues where this one stopped."""


class WarehouseBusy(Terminal):
    """Another process holds the warehouse; the message names it."""


class Stopped(Terminal):
    """A signal ended the run.

    Attributes:
        number: the signal; None where it is not known.
    """

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.number = number


class SessionOpen(Terminal):
    """A session of a warehouse was asked for inside another one: a defect."""


class WarehouseDamaged(Terminal):
    """DuckDB met damaged memory or a damaged file: the process must not write any more."""


class CommitLost(Terminal):
    """A transaction was committed without an error and its marker is not there."""


class ConfigurationError(Terminal):
    """A setting, a mapping file or a data directory is wrong; the message names the place and the fix."""


class NotKnown(Terminal):
    """What a person asked for is not in the warehouse."""


class ContractViolation(Terminal):
    """A table's columns differ from its contract: a defect, not a bad row."""


_TROUBLES = (
    (
        (errno.ENOSPC, errno.EDQUOT),
        r"no space left on device|disk is full|disk quota exceeded",
        "the disk is full: free some space where CRM_ATTRIBUTION_DATA_DIR is",
    ),
    (
        (errno.EROFS,),
        r"read-only file system|readonly database",
        "the disk is read-only: make it writable where CRM_ATTRIBUTION_DATA_DIR is",
    ),
    (
        (errno.EACCES, errno.EPERM),
        r"permission denied|unable to open database file",
        "the data directory cannot be written: check the owner and mode of CRM_ATTRIBUTION_DATA_DIR",
    ),
)
"""errno values, words of DuckDB and SQLite, and what to do."""


def machine_trouble(error: BaseException) -> str | None:
    """What a full or read-only disk means for a person; None for every other error. Looks at its causes too."""
    seen: BaseException | None = error
    while seen is not None:
        number = seen.errno if isinstance(seen, OSError) else None
        told = "" if isinstance(seen, ValueError | TypeError | KeyError) else str(seen)  # those may quote a row
        for numbers, words, advice in _TROUBLES:
            if number in numbers or (number is None and re.search(words, told, re.I)):
                return f"{advice}, then run the same command again. What was committed before is stored"
        seen = seen.__cause__ or seen.__context__
    return None
