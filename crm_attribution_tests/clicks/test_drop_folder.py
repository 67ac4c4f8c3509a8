from __future__ import annotations

import errno
import gzip
import json
import os
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from crm_attribution.clicks import drop_folder
from crm_attribution.clicks.drop_folder import DropFile, Unreadable, archive, read_file, read_folder

CLICKS = [
    {"click_id": "a", "clicked_at": "2026-04-23T11:04:19Z", "country": "DE", "link_tags": None},
    {"click_id": "b", "clicked_at": "2026-04-23T11:05:00Z", "country": None, "link_tags": "x,y"},
]


def loaded(path: Path) -> DropFile:
    file = read_file(path)
    assert isinstance(file, DropFile)
    return file


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_three_kinds_give_the_same_rows(tmp_path):
    write(tmp_path / "a.ndjson", "".join(json.dumps(c) + "\n" for c in CLICKS))
    pl.DataFrame(CLICKS).write_csv(tmp_path / "b.csv")
    pl.DataFrame(CLICKS).write_parquet(tmp_path / "c.parquet")
    files = list(read_folder(tmp_path))
    assert [f.path.name for f in files] == ["a.ndjson", "b.csv", "c.parquet"]
    for file in files:
        assert isinstance(file, DropFile)
        assert [row.values for row in file.rows] == CLICKS
        assert [(row.file, row.number) for row in file.rows] == [(file.path.name, 1), (file.path.name, 2)]


def test_values_stay_as_they_were_written(tmp_path):
    csv = loaded(write(tmp_path / "a.csv", "\ufeffclick_id,n,day\n007,1e3,2026-01-01\n,,\n"))
    assert [row.values for row in csv.rows] == [
        {"click_id": "007", "n": "1e3", "day": "2026-01-01"},
        {"click_id": None, "n": None, "day": None},
    ]
    line = '{"n": 12345678901234567890, "f": 1.5, "yes": true, "tags": ["a", {"b": 1}], "none": null}'
    ndjson = loaded(write(tmp_path / "a.jsonl", "\ufeff" + line))
    assert ndjson.rows[0].values == {
        "n": "12345678901234567890",
        "f": "1.5",
        "yes": "true",
        "tags": '["a", {"b": 1}]',
        "none": None,
    }
    typed = {"d": [date(2026, 1, 2)], "t": [datetime(2026, 1, 2, 3, tzinfo=UTC)], "l": [["a"]], "i": [7]}
    pl.DataFrame(typed).write_parquet(tmp_path / "a.parquet")
    assert loaded(tmp_path / "a.parquet").rows[0].values == {
        "d": "2026-01-02",
        "t": "2026-01-02T03:00:00+00:00",
        "l": '["a"]',
        "i": "7",
    }


def test_a_bad_line_costs_one_row_and_is_named(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"click_id": "a"}\n\n{oops\n[1]\n{"x": "\xff"}\n' + b"[" * 100_000 + b'\n{"click_id": "b"}')
    rows = loaded(path).rows
    assert [(row.number, row.problem) for row in rows] == [
        (1, None),
        (3, "not valid JSON in UTF-8"),
        (4, "not a JSON object"),
        (5, "not valid JSON in UTF-8"),
        (6, "not valid JSON in UTF-8"),
        (7, None),
    ]
    assert rows[1].raw == "{oops"
    assert "oops" not in repr(rows[1])


def test_a_bad_line_of_a_csv_file_costs_one_row_and_is_named(tmp_path):
    text = 'click_id, country\n1,DE\n\n2,DE,jane@acme.test\n3\n"4"4,DE\n"5\n5","D""E"\n6,\n'
    rows = loaded(write(tmp_path / "a.csv", text)).rows
    assert [(row.number, row.problem, row.values) for row in rows] == [
        (1, None, {"click_id": "1", "country": "DE"}),
        (2, "line 4: 3 fields, the header has 2", {}),
        (3, "line 5: 1 fields, the header has 2", {}),
        (4, "line 6: a quote stands inside a field; double it", {}),
        (5, None, {"click_id": "5\n5", "country": 'D"E'}),
        (6, None, {"click_id": "6", "country": None}),
    ]
    assert rows[1].raw == "2,DE,jane@acme.test"


def test_an_unreadable_file_does_not_stop_the_others(tmp_path):
    write(tmp_path / "a.csv", 'click_id,country\n1,DE\n2,"jane@acme.test\n3,FR\n')
    write(tmp_path / "s.csv", "click_id;country\n1;DE\n")
    write(tmp_path / "b.parquet", "not parquet, jane@acme.test")
    write(tmp_path / "c.xlsx", "?")
    write(tmp_path / "d.csv", "")
    (tmp_path / "u.csv").write_bytes("click_id,country\n1,DE\n".encode("utf-16"))
    (tmp_path / "v.csv").write_bytes("click_id,country\n1,M\u00fcnchen\n".encode("latin-1"))
    (tmp_path / "x.csv").write_bytes(b"click_id,country\n" + b"1,DE\n" * 2**18 + "2,M\u00fcnchen\n".encode("latin-1"))
    write(tmp_path / "w.csv.gz", "?")
    write(tmp_path / "e.ndjson", '{"click_id": "a"}')
    (tmp_path / "f.ndjson").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe.ndjson")  # opening it would wait for ever
    for waiting in (".hidden.csv", "g.csv.part", "h.ndjson.tmp"):
        write(tmp_path / waiting, "half")
    (tmp_path / "done").mkdir()
    found = list(read_folder(tmp_path))
    bad = {f.path.name: f.reason for f in found if isinstance(f, Unreadable)}
    assert set(bad) == {
        "a.csv",
        "b.parquet",
        "c.xlsx",
        "f.ndjson",
        "pipe.ndjson",
        "s.csv",
        "u.csv",
        "v.csv",
        "w.csv.gz",
        "x.csv",
    }
    assert bad["a.csv"] == "line 4: a quote that is not closed"
    assert bad["s.csv"] == "columns are separated by ';'; save it with commas"
    assert bad["u.csv"] == bad["v.csv"] == bad["x.csv"] == "not text in UTF-8; save it as CSV in UTF-8"
    assert bad["b.parquet"] == "not a Parquet file; write it again"
    assert bad["w.csv.gz"] == "unknown kind; unpack it"
    assert not any("jane" in reason for reason in bad.values())
    assert [(f.path.name, len(f.rows)) for f in found if isinstance(f, DropFile)] == [("d.csv", 0), ("e.ndjson", 1)]


def test_a_missing_folder_is_empty(tmp_path):
    assert list(read_folder(tmp_path / "nowhere")) == []


def test_archive_moves_and_never_overwrites(tmp_path):
    done = tmp_path / "archive" / "clicks"
    for expected in ("a.csv", "a.1.csv", "a.2.csv"):
        file = read_file(write(tmp_path / "a.csv", f"x\n{expected}\n"))
        target = archive(file, done)
        assert target == done / expected
        assert (done / expected).read_text() == f"x\n{expected}\n"
    assert list(tmp_path.glob("*.csv")) == []


def test_a_file_that_grew_meanwhile_stays(tmp_path):
    path = write(tmp_path / "a.ndjson", '{"click_id": "a"}\n')
    file = read_file(path)
    path.write_text('{"click_id": "a"}\n{"click_id": "b"}\n')
    assert archive(file, tmp_path / "archive") is None
    assert path.exists()


def test_archive_across_file_systems(tmp_path, monkeypatch):
    def across(*_: object) -> None:
        raise OSError(errno.EXDEV, "cross-device")

    file = read_file(write(tmp_path / "a.csv", "x\n1\n"))
    monkeypatch.setattr(Path, "rename", across)
    target = archive(file, tmp_path / "archive")
    assert target is not None
    assert [p.name for p in target.parent.iterdir()] == ["a.csv"]
    assert not file.path.exists()


def test_an_unreadable_file_can_be_put_aside(tmp_path):
    file = read_file(write(tmp_path / "a.parquet", "?"))
    assert archive(file, tmp_path / "rejected") == tmp_path / "rejected" / "a.parquet"


@pytest.mark.parametrize("name", ["A.CSV", "b.NDJSON"])
def test_suffixes_in_any_case(tmp_path, name):
    assert isinstance(read_file(write(tmp_path / name, '{"x": 1}\n')), DropFile)


# --- names are names, and sizes are bounded


@pytest.mark.parametrize("name", ["clicks[2]", "[ab]", "a*", "what?"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".ndjson"])
def test_a_name_is_a_name_and_no_pattern(tmp_path: Path, name: str, suffix: str):
    def put(path: Path, value: str) -> None:
        frame = pl.DataFrame({"click_id": [value]})
        getattr(frame, f"write_{suffix[1:]}")(path)

    for other in ("clicks2", "a", "b", "ab", "whats"):
        put(tmp_path / f"{other}{suffix}", "another")
    put(tmp_path / "plain", "mine")
    (tmp_path / "plain").rename(tmp_path / f"{name}{suffix}")  # Polars would expand the name when writing too
    file = drop_folder.read_file(tmp_path / f"{name}{suffix}")
    assert isinstance(file, DropFile)
    assert [row.values["click_id"] for row in file.rows] == ["mine"]


def test_what_is_too_large_is_told_before_it_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drop_folder, "LARGEST_FILE", 200_000)
    monkeypatch.setattr(drop_folder, "LARGEST_LINE", 1_000)
    monkeypatch.setattr(drop_folder, "MOST_ROWS", 50_000)
    (tmp_path / "large.csv").write_bytes(b"click_id\n" + b"x\n" * 200_000)
    (tmp_path / "packed.csv").write_bytes(gzip.compress(b"click_id\n" + b"x\n" * 1_000_000))
    pl.DataFrame({"click_id": ["x" * 100 + str(n) for n in range(40_000)]}).write_parquet(tmp_path / "bomb.parquet")
    pl.DataFrame({"click_id": ["x"] * 60_000}).write_parquet(tmp_path / "rows.parquet")
    lines = [b'{"click_id": "a"}', b'{"click_id": "' + b"y" * 5_000 + b'"}', b'{"click_id": "c"}']
    (tmp_path / "line.ndjson").write_bytes(b"\n".join(lines))
    found = {file.path.name: file for file in drop_folder.read_folder(tmp_path)}
    reasons = {name: file.reason for name, file in found.items() if isinstance(file, Unreadable)}
    assert reasons.keys() == {"large.csv", "packed.csv", "bomb.parquet", "rows.parquet"}
    assert "compressed" in reasons["packed.csv"]
    assert "rows" in reasons["rows.parquet"]
    line = found["line.ndjson"]
    assert isinstance(line, DropFile)
    assert [(row.number, row.values.get("click_id"), row.problem is None) for row in line.rows] == [
        (1, "a", True),
        (2, None, False),
        (3, "c", True),
    ]
    assert line.rows[1].raw is None  # not carried on to the quarantine either


def test_a_csv_file_that_names_a_column_twice_is_refused(tmp_path: Path):
    (tmp_path / "a.csv").write_text("month,amount, amount\n2026-03,1,2\n", encoding="utf-8-sig")
    (tmp_path / "b.csv").write_text('month,"a,b",amount,,\n2026-03,x,2,,\n', encoding="utf-8")
    found = read_file(tmp_path / "a.csv")
    assert isinstance(found, Unreadable)
    assert found.reason == "the column in place 3 has the name of one before it; remove one of them"
    assert isinstance(read_file(tmp_path / "b.csv"), DropFile), "columns without a name are none"


def test_a_json_line_that_names_a_field_twice_is_refused_alone(tmp_path: Path):
    lines = '{"amount": 1, "amount": 2}\n{"amount": 1, "of": {"x": 1, "x": 1}}\n{"amount": 3}\n'
    (tmp_path / "a.ndjson").write_text(lines, encoding="utf-8")
    found = read_file(tmp_path / "a.ndjson")
    assert isinstance(found, DropFile)
    assert [row.problem for row in found.rows] == ["a name stands in it twice"] * 2 + [None]
