"""What commands say at their edges: flags in suggestions, hours to come, hours that broke off, unknown ids, texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from crm_attribution.cli import main
from crm_attribution.delivery.replay import Answer
from crm_attribution.operations import ledger
from crm_attribution.operations.console import with_flags
from crm_attribution.operations.preview import _note
from crm_attribution.operations.status import _unfinished
from crm_attribution_tests.helpers import at


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ({"on_demo": True, "env_file": None}, " --demo"),
        ({"on_demo": False, "env_file": Path("a b/.env")}, " --env-file 'a b/.env'"),
        ({"on_demo": False, "env_file": None}, ""),
    ],
)
def test_a_suggested_command_has_the_flags_of_the_one_that_runs(given: dict[str, Any], flags: str) -> None:
    told = "put it back: crm-attribution restore, then crm-attribution backfill --from 2026-03-01; crm-attribution demo"
    with click.Context(main) as context:
        context.params = given
        assert with_flags(told) == told.replace("n restore", f"n{flags} restore").replace("n backf", f"n{flags} backf")
    assert with_flags(told) == told, "outside a command"


def test_a_preview_of_an_hour_to_come_says_so() -> None:
    newest = at("2026-03-12T10:00:00Z")
    assert _note(None, newest) is None
    assert _note(at("2026-03-12T09:00:00Z"), newest) is None
    assert "2026-03-13T09:00:00Z has not run" in str(_note(at("2026-03-13T09:00:00Z"), newest))


def test_an_hour_that_broke_off_is_not_shown_as_run() -> None:
    end = at("2026-03-12T10:00:00Z")
    assert _unfinished("2026-03-12T10:00:00Z", end) is None
    assert _unfinished(None, None) is None
    broken = "hours since 2026-03-12T09:00:00Z up to 2026-03-12T10:00:00Z were begun and are not published"
    assert broken in str(_unfinished("2026-03-12T09:00:00Z", end))
    assert "hours so far up to 2026-03-12T10:00:00Z" in str(_unfinished(None, end))


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_replay_of_an_unknown_id_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, more: list[str]) -> None:
    refused = {"meta": "no such event, milestone, touch or conversion"}
    known = Answer("m1", ok=True, canonical_event={"event_id": "m1"}, replayed_destinations=["meta"])
    answers = [known.document(), Answer("nobody", refused=refused).document()]
    monkeypatch.setattr(ledger, "replay", lambda _given, _wish: answers)
    asked = ["--event-id", "m1", "--event-id", "nobody", "--destination", "meta", "--reason", "lost"]
    env = {"CRM_ATTRIBUTION_DATA_DIR": str(tmp_path), "CRM_ATTRIBUTION_START": "2026-01-01T00:00:00Z"}
    done = CliRunner().invoke(main, ["replay", *asked, *more], env=env)
    assert done.exit_code == 1
    assert "1 of 2 ids are not known, nothing was queued for them: nobody" in done.stderr
    assert "no such event" in done.stdout


REPLAY = ["replay", "--event-id", "m", "--destination", "meta"]
RESOLVE = ["resolve", "--destination", "meta", "--as", "retry", "--all"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*REPLAY, "--reason", "a\tb"], "--reason holds a control character (U+0009 in place 2)"),
        ([*RESOLVE, "--because", "a\u202eb"], "--because holds a control character"),
        ([*RESOLVE, "--because", " "], "--because is empty: say why"),
    ],
)
def test_a_reason_is_a_line_of_text(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert message in done.stderr
