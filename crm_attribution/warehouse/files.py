"""Files put in place in one step."""

from __future__ import annotations

import os
from pathlib import Path


def put_in_place(temporary: Path, target: Path) -> None:
    """Rename, and make the rename itself durable."""
    os.replace(temporary, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
