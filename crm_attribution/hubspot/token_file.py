"""The token file of an OAuth app: one pair of tokens, shared by several processes.

The file is replaced whole (written to a temporary file, synced, renamed), only under a lock, never by an older version.
`<name>.lock` holds the operating system's lock and the highest version ever seen here, so that a file restored from a
backup is recognised. The kernel frees the lock when its process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from crm_attribution.clock import iso, parse_instant
from crm_attribution.errors import ConfigurationError, Retryable

_POLL = 0.05


@dataclass(frozen=True)
class Tokens:
    """The content of the file. Its text never shows a token.

    Attributes:
        expires_at: when the access token ends, UTC, by the clock of the process that got it.
        lifetime: seconds the access token was given.
        version: goes up with every new pair.
        hub_id: the account the tokens are for.
        last_refresh_at: when a pair was last got; None for a file made by hand.
        last_attempt_at: when one was last asked for.
        last_error: the kind of error the last attempt ended with; None where it succeeded, `unfinished` where its
            process ended before it knew.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: datetime
    lifetime: float = 1800.0
    version: int = 1
    hub_id: str | None = None
    last_refresh_at: datetime | None = None
    last_attempt_at: datetime | None = None
    last_error: str | None = None

    @classmethod
    def of(cls, data: dict[str, Any]) -> Tokens:
        """Read the file's JSON.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: where it is not one.
        """
        if not all(isinstance(data[name], str) and data[name] for name in ("access_token", "refresh_token")):
            raise ValueError("an empty token")
        texts = {name: str(data[name]) for name in ("hub_id", "last_error") if data.get(name) is not None}
        refreshed, attempted = data.get("last_refresh_at"), data.get("last_attempt_at")
        return cls(
            data["access_token"],
            data["refresh_token"],
            expires_at=parse_instant(data["expires_at"]),
            lifetime=float(data.get("lifetime", cls.lifetime)),
            version=int(data.get("version", 1)),
            hub_id=texts.get("hub_id"),
            last_refresh_at=None if refreshed is None else parse_instant(refreshed),
            last_attempt_at=None if attempted is None else parse_instant(attempted),
            last_error=texts.get("last_error"),
        )

    def text(self) -> str:
        """As written to the file."""
        values = {name: iso(value) if isinstance(value, datetime) else value for name, value in vars(self).items()}
        return json.dumps(values, indent=2) + "\n"


class TokenFile:
    """The file at `path`; a link is followed once, so that it stays one."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock = self.path.with_name(self.path.name + ".lock")

    def read(self) -> Tokens:
        """Read the tokens.

        Raises:
            ConfigurationError: when there is no such file, others may read it, or it is not a token file.
        """
        try:
            with self.path.open(encoding="utf-8") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if mode & 0o077:
                    raise ConfigurationError(
                        f"{self.path} can be read by others (mode {mode:04o}), and it holds tokens: chmod 600 it;"
                        " if others have used this machine, authorize the app again"
                    )
                return Tokens.of(json.loads(file.read()))
        except FileNotFoundError:
            raise ConfigurationError(
                f"there is no token file {self.path} (HUBSPOT_TOKEN_FILE): make it with crm-attribution authorize"
            ) from None
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}") from None
        except (KeyError, TypeError, ValueError, AttributeError):
            # No cause: its text may quote the file.
            raise ConfigurationError(
                f"{self.path} is not a token file: make a new one with crm-attribution authorize"
            ) from None

    def version_seen(self) -> int:
        """The highest version ever written or used here; 0 where there was none."""
        try:
            return int(json.loads(self._lock.read_text(encoding="utf-8"))["version_seen"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    @contextmanager
    def locked(self, timeout: float = 90.0) -> Iterator[Held]:
        """Nobody else writes the file during the `with` block.

        Raises:
            Retryable: when another process still holds it after `timeout` seconds.
            ConfigurationError: when the folder cannot be written.
        """
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"{self._lock} cannot be written: {error.strerror}; the folder of HUBSPOT_TOKEN_FILE must be writable"
            ) from None
        try:
            until = time.monotonic() + timeout
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= until:
                        raise Retryable(
                            f"{self.path}: another process has been renewing the token for {timeout:g} s"
                        ) from None
                time.sleep(_POLL)
            yield Held(self, descriptor)
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class Held:
    """The file while its lock is held."""

    file: TokenFile
    descriptor: int

    def write(self, tokens: Tokens) -> None:
        """Replace the file in one step; a crash leaves the old or the new one, never half of one.

        Raises:
            ConfigurationError: when the file holds a newer version, or other tokens of this version.
        """
        path = self.file.path
        if path.exists():
            there = self.file.read()
            same = (there.access_token, there.refresh_token) == (tokens.access_token, tokens.refresh_token)
            if tokens.version < there.version or (tokens.version == there.version and not same):
                raise ConfigurationError(
                    f"{path} holds version {there.version}, version {tokens.version} does not replace it: something"
                    " wrote the file without its lock; use one HUBSPOT_TOKEN_FILE for one installed app"
                )
        half = path.with_name(f".{path.name}.{os.getpid()}")
        half.unlink(missing_ok=True)
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(tokens.text())
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self.see(tokens.version)

    def see(self, version: int) -> None:
        """Remember a version; a lower one than known changes nothing."""
        if version > self.file.version_seen():
            text = json.dumps({"version_seen": version}).encode()
            os.pwrite(self.descriptor, text, 0)
            os.ftruncate(self.descriptor, len(text))

    def note(self, tokens: Tokens, at: datetime, error: str) -> Tokens:
        """Write down that a new pair was asked for, and how that ended."""
        noted = replace(tokens, last_attempt_at=at, last_error=error)
        self.write(noted)
        return noted
