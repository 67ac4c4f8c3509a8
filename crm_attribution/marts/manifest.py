"""The manifest of the published file, and how both are put in place."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from crm_attribution.warehouse.files import put_in_place


@dataclass(frozen=True)
class Manifest:
    """The content of `finance.manifest.json`, which describes `finance.duckdb`."""

    file: str
    snapshot_id: str
    as_of: str
    published_at: str
    bytes: int
    sha256: str
    storage_version: int
    modified_ns: int
    rows: dict[str, int]
    tables: dict[str, str]
    """table -> fingerprint of its columns, comments and rows."""


def manifest_path(target: Path) -> Path:
    """`finance.manifest.json` for `finance.duckdb`."""
    return target.with_suffix(".manifest.json")


def read_manifest(target: Path) -> Manifest | None:
    """The manifest of a published file; None when it is missing or unreadable."""
    try:
        return Manifest(**json.loads(manifest_path(target).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_manifest(target: Path, manifest: Manifest) -> None:
    path = manifest_path(target)
    temporary = temporary_path(path)
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(asdict(manifest), file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    put_in_place(temporary, path)


def temporary_path(target: Path) -> Path:
    """A name in the same folder with the number of this process, so that leftovers are recognised."""
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")
