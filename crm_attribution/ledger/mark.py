"""How far the ledger had come when bytes last left; kept outside of it, so that one that is lost or old is noticed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from crm_attribution.errors import Terminal

SIZE = 256
"""Bytes of the file: one sector, so that it is written whole or not at all."""


@dataclass(frozen=True)
class Stand:
    """A moment of a ledger: its id, and how many transactions had written to it."""

    ledger: str
    serial: int


class MarkDamaged(Terminal):
    """The mark cannot be read."""


class Mark:
    """The file `ledger.mark`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Stand | None:
        """What it says; None where there is none.

        Raises:
            MarkDamaged: when it is not what was written.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        return self._stand(content) if content else None

    def raise_to(self, stand: Stand) -> None:
        """Write a later moment, on disk when this returns. An earlier one of the same ledger changes nothing.

        Raises:
            OSError: when it cannot be written.
            MarkDamaged: when what stands there cannot be read.
        """
        self._write(stand, lower=False)

    def begin(self, stand: Stand) -> None:
        """Write a moment whatever stands there: for a new ledger, and by a person's decision."""
        self._write(stand, lower=True)

    def _write(self, stand: Stand, *, lower: bool) -> None:
        new = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            content = os.pread(descriptor, SIZE, 0)
            known = None if lower or not content else self._stand(content)
            if known is not None and known.ledger == stand.ledger and known.serial >= stand.serial:
                return
            text = json.dumps({"ledger": stand.ledger, "serial": stand.serial})
            line = f"{text} {_digest(text)}\n".ljust(SIZE)
            os.pwrite(descriptor, line.encode("ascii"), 0)
            os.fsync(descriptor)
            if new:
                _sync(self.path.parent)
        finally:
            os.close(descriptor)

    def _stand(self, content: bytes) -> Stand:
        text, _, digest = content.decode("ascii", "replace").strip().rpartition(" ")
        if _digest(text) != digest:
            raise MarkDamaged(f"{self.path}: not what was written there")
        found = json.loads(text)
        return Stand(found["ledger"], found["serial"])


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
