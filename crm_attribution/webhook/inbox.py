"""One file per delivery: complete and on disk, or not there at all.

The body is kept as it came; who loads it decides what it means. Files hold personal data: owner only.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crm_attribution.clock import iso
from crm_attribution.errors import ConfigurationError

UNFINISHED = ".part"
_ABANDONED_SECONDS = 3600


@dataclass(frozen=True)
class Inbox:
    """The folder that deliveries are written to, `inbox/webhooks` of the data directory."""

    folder: Path

    def prepare(self) -> None:
        """Make the folder, try it, and delete what a killed receiver left half written an hour or more ago: it was
        never acknowledged, so it has been sent again.

        Raises:
            ConfigurationError: when nothing can be written there.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self.folder / f".probe-{secrets.token_hex(8)}{UNFINISHED}"
            _write(probe, b"")
            now = probe.stat().st_mtime
            probe.unlink()
            for left in self.folder.glob(f".*{UNFINISHED}"):
                if now - left.stat().st_mtime > _ABANDONED_SECONDS:
                    left.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"the inbox {self.folder} cannot be written ({error.strerror}): check CRM_ATTRIBUTION_DATA_DIR, its"
                " owner and the space on its disk"
            ) from error

    def put(self, kind: str, body: bytes, received_at: datetime) -> Path:
        """Write a delivery; it is safe on disk when this returns.

        Args:
            kind: `hubspot` or `ingest`.
            body: the raw body.
            received_at: when it came; part of the file's name, so that names sort by it.

        Raises:
            OSError: when it could not be written; nothing is left of it.
        """
        name = f"{received_at.astimezone(UTC):%Y%m%dT%H%M%S%f}Z-{kind}-{secrets.token_hex(8)}.json"
        half, whole = self.folder / f".{name}{UNFINISHED}", self.folder / name
        try:
            _write(half, envelope(kind, body, received_at))
            half.rename(whole)
            _sync_folder(self.folder)
        except OSError:
            for path in (half, whole):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            raise
        return whole


def envelope(kind: str, body: bytes, received_at: datetime) -> bytes:
    """A delivery's file: JSON with `kind`, `received_at`, and the body as `body` (text) or, where it is not UTF-8,
    `body_base64`. No checksum: a privacy deletion rewrites bodies."""
    content = {"kind": kind, "received_at": iso(received_at)}
    try:
        content["body"] = body.decode("utf-8")
    except UnicodeDecodeError:
        content["body_base64"] = base64.b64encode(body).decode()
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """The name of a renamed file is the folder's content: without this a power cut may take it back."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
