"""Wishes that came to the receiver's `/v1/replay`: taken up between planning and sending, and answered by file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from crm_attribution.clicks.drop_folder import move_away
from crm_attribution.clock import Clock
from crm_attribution.delivery.replay import Wish, queue
from crm_attribution.errors import CrmAttributionError
from crm_attribution.hubspot.wire import moment
from crm_attribution.ledger.store import Ledger
from crm_attribution.warehouse.session import Session
from crm_attribution.webhook.replay import answers

FOLDER = "replay"


def waiting(inbox: Path) -> list[Path]:
    """Whole wishes, the oldest first."""
    return sorted(path for path in (inbox / FOLDER).glob("[!.]*.json") if path.is_file())


def take(session: Session, ledger: Ledger, inbox: Path, clock: Clock) -> int:
    """Queue what the waiting wishes name, and write their answers; how many wishes there were.

    A wish that is taken up twice, since a run died before its file was moved, finds its conversions on their way.
    """
    wishes = waiting(inbox)
    for path in wishes:
        try:
            given = json.loads(json.loads(path.read_text(encoding="utf-8"))["body"])
            told: dict[str, Any] = {
                "answers": [a.document() for a in queue(session, ledger, _wish(given), clock.now())]
            }
        except CrmAttributionError as error:
            told = {"error": str(error)}
        except (ValueError, KeyError, TypeError):
            told = {"error": "the wish cannot be read"}
        _write(answers(inbox / FOLDER) / path.name, {"status": "done", **told})
        move_away(path, inbox / "archive" / FOLDER)
    return len(wishes)


def _wish(given: dict[str, Any]) -> Wish:
    return Wish(
        ids=list(given.get("event_ids", [])),
        to=list(given["destinations"]),
        why=str(given["reason"]),
        source="api",
        hour=moment(given.get("hour")),
        milestone=given.get("milestone"),
        state=given.get("state"),
    )


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.part")
    half.write_text(json.dumps(content), encoding="utf-8")
    os.replace(half, path)
