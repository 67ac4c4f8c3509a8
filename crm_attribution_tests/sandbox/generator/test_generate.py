"""The command: same arguments, same bytes; ordered; valid; of any size."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from crm_attribution.sandbox.generate import main
from crm_attribution.sandbox.generator import lines, spool
from crm_attribution.sandbox.generator.account import Ids
from crm_attribution.sandbox.generator.rhythm import EUROPE, at_work, local, visit
from crm_attribution_tests.sandbox.generator.validator import Reader, instant, read


def generate(path: Path, *more: str) -> str:
    assert main(["--seed", "7", "--contacts", "400", "--days", "30", "--out", str(path), *more]) == 0
    return path.read_text(encoding="utf-8")


def test_same_arguments_give_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    here = generate(tmp_path / "here.jsonl")
    there = tmp_path / "there.jsonl"
    arguments = ["--seed", "7", "--contacts", "400", "--days", "30", "--out", str(there)]
    command = [sys.executable, "-m", "crm_attribution.sandbox.generate", *arguments]
    subprocess.run(
        command, check=True, capture_output=True, env={"PYTHONHASHSEED": "4711"}, cwd=Path(__file__).parents[3]
    )
    assert there.read_bytes() == here.encode()


def test_another_seed_gives_another_company(tmp_path: Path) -> None:
    assert generate(tmp_path / "a.jsonl") != generate(tmp_path / "b.jsonl", "--seed", "8")


@pytest.mark.parametrize(
    ("seed", "contacts", "days", "end"),
    [
        (1, 1, 1, "2026-03-13T20:00:00Z"),
        (2, 300, 3, "2026-01-05T09:30:00Z"),
        (3, 900, 400, "2027-06-30T00:00:00+02:00"),
    ],
)
def test_every_log_is_valid_and_has_the_contacts_asked_for(
    tmp_path: Path, seed: int, contacts: int, days: int, end: str
) -> None:
    text = generate(
        tmp_path / "log.jsonl", "--seed", str(seed), "--contacts", str(contacts), "--days", str(days), "--end", end
    )
    log = read(text)
    assert Reader().read(log).problems == []
    assert sum(1 for line in log if line["op"] == "create" and line["object"] == "contacts") == contacts
    assert max(instant(line["at"]) for line in log) <= instant(end)


def test_ids_and_domains_belong_to_one_object(tmp_path: Path) -> None:
    log = read(generate(tmp_path / "log.jsonl", "--contacts", "3000"))
    created = [line["properties"] for line in log if line["op"] == "create"]
    for name in ("email", "domain"):
        values = Counter(properties[name] for properties in created if name in properties)
        assert [value for value, times in values.items() if times > 1] == []
    clicks = Counter(line["click"]["click_id"] for line in log if line["op"] == "click")
    assert max(clicks.values()) == 1


def test_sorting_on_disk_gives_the_bytes_of_sorting_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generate(tmp_path / "whole.jsonl")
    monkeypatch.setattr(spool, "_RUN", 100)
    assert generate(tmp_path / "runs.jsonl") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs.jsonl", "whole.jsonl"]


def test_a_second_comes_before_its_milliseconds_and_equal_instants_keep_their_order(tmp_path: Path) -> None:
    stamps = ["10:00:00.250Z", "10:00:00Z", "09:59:59.999Z", "10:00:00Z"]
    lists = [[(0, {"at": f"2026-03-12T{stamp}", "n": n})] for n, stamp in enumerate(stamps)]
    assert spool.write_sorted(lists, tmp_path / "out.jsonl") == 4
    assert [line["n"] for line in read((tmp_path / "out.jsonl").read_text())] == [2, 1, 3, 0]


def test_a_failure_leaves_neither_a_file_nor_scraps(tmp_path: Path) -> None:
    def broken():
        yield [(0, {"at": "2026-03-12T10:00:00Z"})]
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        spool.write_sorted(broken(), tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [("--contacts", "0"), ("--days", "0"), ("--end", "yesterday"), ("--out", "/nowhere/log.jsonl")]
)
def test_wrong_arguments_are_refused(
    tmp_path: Path, wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        generate(tmp_path / "log.jsonl", *wrong)
    assert stopped.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_more_contacts_leave_the_accounts_before_them_alone(tmp_path: Path) -> None:
    few = generate(tmp_path / "few.jsonl", "--contacts", "50")
    many = generate(tmp_path / "many.jsonl", "--contacts", "80")
    first = [line for line in few.splitlines() if '"id":"100001"' in line]
    assert first
    assert set(first) <= set(many.splitlines())


def test_offices_work_on_weekdays_by_day_and_websites_mostly_then() -> None:
    import random

    rng = random.Random(1)
    monday = lines.instant("2026-03-02T00:00:00Z")
    for hours in range(0, 24 * 14, 5):
        weekday, hour = local(at_work(rng, monday + hours * lines.HOUR, EUROPE), EUROPE)
        assert weekday < 5
        assert 8 <= hour < 18
    visits = [local(visit(rng, monday, monday + 14 * lines.DAY, EUROPE), EUROPE) for _ in range(2000)]
    assert 0.8 < sum(weekday < 5 and 8 <= hour < 18 for weekday, hour in visits) / 2000 < 0.97


def test_ids_count_on_past_their_width() -> None:
    ids = Ids(width=2, after=98)
    assert [ids.next("contacts") for _ in range(3)] == ["199", "1100", "1101"]
    assert ids.next("deals") == "599"


def test_instants_are_exact_both_ways() -> None:
    for text in ("1970-01-01T00:00:00Z", "2026-03-12T10:00:00.007Z", "2025-11-04T09:12:44.318Z"):
        assert lines.iso(lines.instant(text)) == text
    assert lines.instant("2026-03-12T10:00:00") == lines.instant("2026-03-12T11:00:00+01:00")
