"""Nothing that runs leave beside the warehouse carries a secret or a person: output, event logs, captured logs; nor, of
an erased one, what the job `privacy_deletion` leaves.
"""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import dagster as dg
import pytest

from crm_attribution.errors import ConfigurationError, Retryable
from crm_attribution.orchestration.assets import common
from crm_attribution.orchestration.assets.common import acting_on_errors
from crm_attribution_tests.orchestration import commands
from crm_attribution_tests.orchestration.commands import FIRST, LATER
from crm_attribution_tests.sandbox.lines import COMPANY, FORM, Line, click, create, day, join, submit, update

pytestmark = pytest.mark.pipeline

EMAIL = "zephyrine.canary@canary-mail.example"
PHONE = "+491719990042"
NAME = "Zephyrine"
PERSON: list[Line] = [
    create(day(8), "contacts", 51, "FORM", email=EMAIL, firstname=NAME, phone=PHONE, lifecyclestage="lead"),
    create(day(8), "contacts", 52, email=f"{EMAIL} and {EMAIL}", lifecyclestage=EMAIL),
    create(day(8), "deals", 61, dealname=f"Deal of {NAME}", dealstage="closedwon", amount=EMAIL, closedate=PHONE),
    join(day(8), ("deals", 61), ("contacts", 51)),
    submit(day(8), FORM, email=EMAIL, page_url=f"https://v.example/?email={EMAIL}", gclid="CjCanary"),
    click(day(8), "k51", contact_id="51", destination_url=f"https://v.example/?to={EMAIL}", clicked_at=EMAIL),
    click(day(8), "k52", contact_id=EMAIL, user_agent=f"agent of {NAME}", clicked_at=day(8)),
    update(day(9, "00:30:00"), "contacts", 51, lifecyclestage="opportunity"),
]
PRIVATE = [EMAIL, EMAIL.replace("@", "%40"), PHONE, NAME, "canary-mail.example", "ann@quelle.example", "ufer.example"]


def left_beside_the_warehouse(folder: Path) -> dict[str, str]:
    """Everything in a data directory but the database files, their copies and the report, which name accounts:
    Dagster's home, notes, lock files."""
    published = (folder / "finance", folder / "reports")
    files = (
        path
        for path in folder.rglob("*")
        if path.is_file() and ".duckdb" not in path.name and not any(path.is_relative_to(one) for one in published)
    )
    return {str(path.relative_to(folder)): path.read_bytes().decode("utf-8", "replace") for path in files}


DEALS = "SELECT deal_id, amount_current_minor FROM marts.milestone WHERE milestone = 'customer_won'"


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """Output and files of a good run of the whole chain and of two failed ones; the secrets they had; and what a person
    does who then names an erased contact."""
    lines = sorted([*COMPANY, *PERSON], key=lambda line: str(line["at"]))
    with commands.sandbox(lines) as sandbox:
        project = commands.project(tmp_path_factory.mktemp("private"), sandbox)
        good = project.command("backfill", *FIRST)
        sandbox.faults([{"route": "POST /crm/objects/contacts/*", "kind": "403", "scope": "crm.objects.contacts.read"}])
        failed = project.command("backfill", *LATER, "--select", 'key:"raw/contact"')
        sandbox.faults([])
        status = project.command("status")
        quarantined = project.warehouse("SELECT count(*) FROM quarantine.link_click")[0][0]
        known = project.warehouse("SELECT email FROM raw.contact WHERE id = '51'")[0][0]
        texts = left_beside_the_warehouse(project.data_dir)
        before = project.finance(DEALS)
        done = project.run("privacy-deletion", "--contact", "11", "--yes")
    assert [good.returncode, failed.returncode, status.returncode] == [0, 1, 0], good.stderr + failed.stderr
    assert quarantined
    assert known == EMAIL, "the canary must have come through"
    for name, told in {"good": good, "failed": failed, "status": status}.items():
        texts |= {f"{name} stdout": told.stdout, f"{name} stderr": told.stderr}
    secrets = [value for name, value in project.env.items() if name.endswith("_TOKEN")]
    return texts, secrets, (project, before, done)


def test_the_search_looks_where_runs_are_recorded(left):
    texts, secrets, _ = left
    logs = [text for name, text in texts.items() if re.search(r"history/runs/[0-9a-f-]+\.db$", name)]
    assert len(logs) >= 2
    assert any("raw__contact" in text for text in texts.values())
    assert any("missing scope crm.objects.contacts.read" in text for text in texts.values())
    assert "missing scope crm.objects.contacts.read" in texts["failed stderr"]
    assert len(secrets) >= 4


def test_no_person_is_in_what_runs_leave_behind(left):
    texts, _, _ = left
    assert {(name, word) for name, text in texts.items() for word in PRIVATE if word.lower() in text.lower()} == set()


def test_no_secret_is_in_what_runs_leave_behind(left):
    texts, secrets, _ = left
    assert {name for name, text in texts.items() for secret in secrets if secret in text} == set()


def test_a_person_names_an_erased_contact(left):
    _, _, (project, before, done) = left
    assert (done["contacts erased"], done["rows: raw.contact"]) == (1, 1)
    assert project.warehouse("SELECT object_id, source FROM raw.deletion WHERE erased_at IS NOT NULL") == [
        (11, "person")
    ]
    assert before
    assert project.finance(DEALS) == before
    written = [path for path in project.data_dir.rglob("*") if path.is_file() and path.suffix != ".duckdb"]
    assert [path.name for path in written if b"ann@quelle.example" in path.read_bytes()] == []


# --- a defect, whose text may quote anything


def test_a_defect_keeps_its_place_and_loses_what_it_quotes(monkeypatch, tmp_path):
    """DuckDB and Polars name the value they could not convert; Dagster stores messages and tracebacks for good."""
    token = "pat-na1-0canary0-0000-4000-8000-00000canary0"
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", token)
    monkeypatch.setattr(common, "_FIRST_WAIT", 0)

    @dg.asset
    def clumsy() -> None:
        with acting_on_errors():
            try:
                raise KeyError(f"the cause quotes {EMAIL} too")
            except KeyError as error:
                raise ValueError(f"could not convert '{EMAIL}' of {PHONE} ({token})") from error

    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as instance:
        outcome = dg.materialize(
            [clumsy],
            instance=instance,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    assert not outcome.success
    texts = left_beside_the_warehouse(tmp_path)
    stored = "".join(texts.values())
    assert re.search(r"UnexpectedError: ValueError: could not convert '?\*\*\*'? of \*\*\* \(\*\*\*\)", stored)
    assert "in clumsy" in stored, "where it happened is still there"
    assert [word for word in (EMAIL, PHONE, token) if word in stored] == []


def test_errors_of_ours_are_passed_on_as_what_they_ask_for():
    with pytest.raises(dg.Failure, match="set it") as failure, acting_on_errors():
        raise ConfigurationError("set it")
    assert failure.value.allow_retries is False
    with pytest.raises(dg.RetryRequested) as again, acting_on_errors():
        raise Retryable("later", retry_after=7)
    assert again.value.max_retries == 2


def test_a_redacted_defect_shows_the_line_that_raised_it():
    with pytest.raises(dg.RetryRequested) as caught, acting_on_errors():
        1 / 0  # noqa: B018
    assert "ZeroDivisionError: division by zero" in str(caught.value.__cause__)
    assert "1 / 0" in "".join(traceback.format_exception(caught.value))
