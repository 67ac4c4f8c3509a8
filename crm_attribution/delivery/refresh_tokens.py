"""Refresh tokens that a platform renewed: kept in the data directory, and used in place of those of the settings.

A platform may give a new one with each access token, and let the old end after a while (Microsoft: 90 days). The file
is replaced whole, under a lock, and only its owner reads it. Each token stands beside the fingerprint of the one in the
settings that it came from: who sets another one there begins anew with that.
https://www.rfc-editor.org/rfc/rfc6749#section-6
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from crm_attribution.identifiers import sha256

FILE = "refresh_tokens.json"


@dataclass(frozen=True)
class RefreshTokens:
    """The file of a data directory."""

    directory: Path

    @property
    def path(self) -> Path:
        return self.directory / FILE

    def latest(self, given: str) -> str:
        """The token that has become of one of the settings; itself where none has, or the file cannot be read."""
        found = self._read().get(sha256(given))
        return found if isinstance(found, str) and found else given

    def keep(self, given: str, renewed: str) -> None:
        """Remember what has become of a token. Without a data directory there is nowhere to: the old one stays good.

        Raises:
            OSError: when it cannot be written.
        """
        if not self.directory.is_dir() or renewed == self.latest(given):
            return
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._write({**self._read(), sha256(given): renewed})
        finally:
            os.close(lock)

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, tokens: dict[str, str]) -> None:
        half = self.path.with_name(f".{FILE}.{os.getpid()}")
        half.unlink(missing_ok=True)
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(tokens, file)
            file.flush()
            os.fsync(file.fileno())
        half.replace(self.path)
        folder = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
