"""What an erasure looks for, kept from its first step to its last: one that is cut off goes on with it.

The rows that say which e-mails and clicks are theirs go first; without this file a second try would not know what to
look for in the inbox and in the files. It is deleted with the end of the erasure.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from crm_attribution.errors import ConfigurationError
from crm_attribution.privacy.rules import Trace

FILE = "erasing.json"


def keep(directory: Path, found: Trace) -> Trace:
    """What was found now, and what a try that was cut off had found; it is on the disk when this returns.

    Raises:
        ConfigurationError: when the file of that try cannot be read.
    """
    path = directory / FILE
    whole = found
    if path.exists():
        try:
            before = json.loads(path.read_bytes())
            whole = Trace(*(getattr(found, name) | frozenset(before[name]) for name in asdict(found)))
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(
                f"{path} cannot be read: an erasure was cut off and what it looked for is lost. Look for the person's"
                " e-mails in the data directory by hand, then delete the file"
            ) from None
    partial = path.with_suffix(".part")
    with open(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({name: sorted(values) for name, values in asdict(whole).items()}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return whole


def ended(directory: Path) -> None:
    """The erasure is done."""
    (directory / FILE).unlink(missing_ok=True)
