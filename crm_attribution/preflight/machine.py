"""Looks at what needs no call: versions of APIs, the data directory, its disk, the ledger."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from crm_attribution.conversions import mirror
from crm_attribution.destinations import destinations
from crm_attribution.errors import CrmAttributionError, WarehouseBusy
from crm_attribution.findings import Finding
from crm_attribution.hubspot.access import API_VERSIONS
from crm_attribution.ledger.mark import Stand
from crm_attribution.ledger.safety import why_unsafe
from crm_attribution.ledger.store import Ledger
from crm_attribution.settings import Settings
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session

MEGABYTE = 1_000_000
LEAST, ROOM, COPIES = 500 * MEGABYTE, 2_000 * MEGABYTE, 3
"""Free disk: fewer bytes than the first fail; fewer than the second, or room for so many warehouses, are named."""


def look(given: Settings, now: datetime, ledger: Finding) -> list[Finding]:
    """All of it; `ledger` was looked at already."""
    return [*versions(now), *directory(given), disk(given), ledger, sending(given)]


def versions(now: datetime) -> list[Finding]:
    """The versions our requests name, and when they end."""
    found = [version.finding(now) for version in API_VERSIONS]
    for name, destination in destinations().items():
        version = destination.version
        found.append(
            Finding(f"{name}: version", "cannot be checked", "its file declares none")
            if version is None
            else version.finding(now)
        )
    return found


def directory(given: Settings) -> list[Finding]:
    """Whether the data directory can be written, and who else can read it."""
    path = given.data_dir
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    name, fix = "data directory", "check owner and mode of CRM_ATTRIBUTION_DATA_DIR"
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".preflight-"):
            pass
    except OSError as error:
        return [Finding(name, "failed", f"{there} cannot be written: {os.strerror(error.errno or 0)}", fix)]
    if there != path:
        return [Finding(name, "ok", f"{path} will be made")]
    mode = path.stat().st_mode & 0o777
    if mode & 0o066:
        found = f"{path} has mode {mode:04o}: others can read or write personal data"
        return [Finding(name, "warning", found, f"chmod 700 {path}")]
    return [Finding(name, "ok", f"{path} can be written, mode {mode:04o}")]


def disk(given: Settings) -> Finding:
    """Free room, beside what the warehouse takes."""
    path = given.data_dir
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    free, size = shutil.disk_usage(there).free, _size(path / "warehouse.duckdb")
    found = f"{free // MEGABYTE} MB are free, the warehouse has {size // MEGABYTE} MB"
    fix = f"have {ROOM // MEGABYTE} MB and {COPIES} times the warehouse free where CRM_ATTRIBUTION_DATA_DIR is"
    if free < max(LEAST, size):
        return Finding("disk", "failed", found, fix)
    return Finding("disk", "warning", found, fix) if free < max(ROOM, COPIES * size) else Finding("disk", "ok", found)


def sending(given: Settings) -> Finding:
    if given.send:
        return Finding("sending", "ok", "on: conversions leave with the next hour")
    return Finding("sending", "ok", "off: nothing is planned or sent (CRM_ATTRIBUTION_SEND)")


def kept(given: Settings, ledger: Ledger) -> tuple[str | None, Finding]:
    """The portal the data directory belongs to, and the ledger's state."""
    warehouse = Warehouse(given.data_dir, 0, given.memory)
    if not warehouse.path.exists():
        return None, ledger_finding(ledger, None)
    try:
        with warehouse.session() as session:
            return session.state.portal_id, ledger_of(session, ledger)
    except WarehouseBusy:
        fix = "run preflight again when the run has ended"
        return None, Finding("delivery ledger", "cannot be checked", "a run holds the warehouse", fix)
    except CrmAttributionError as error:
        return None, Finding("warehouse", "failed", str(error), "act as the message says")


def ledger_of(session: Session, ledger: Ledger) -> Finding:
    """The ledger beside its copy in the warehouse."""
    return ledger_finding(ledger, mirror.copied(session))


def ledger_finding(ledger: Ledger, copied: Stand | None) -> Finding:
    """Whether it may be sent from."""
    name = "delivery ledger"
    try:
        unsafe = why_unsafe(ledger, copied)
        there = ledger.exists()
    except CrmAttributionError as error:
        return Finding(name, "failed", str(error), "make the ledger's database answer (see docs/delivery.md)")
    if unsafe is not None:
        return Finding(name, "failed", unsafe, "crm-attribution ledger recover")
    return Finding(name, "ok", f"{ledger.name} may be sent from" if there else "nothing was planned yet")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
