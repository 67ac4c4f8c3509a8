"""Files dropped into a folder: NDJSON, CSV or Parquet, read as rows of strings.

The contracts type and validate; here every value becomes a string, so that one bad value costs
one row and not the file.
"""

from __future__ import annotations

import codecs
import csv
import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

NDJSON = (".ndjson", ".jsonl")
LARGEST_FILE = 100 * 2**20
"""Bytes of a text file; of a Parquet file, what it holds uncompressed."""
LARGEST_LINE = 2**20
"""Bytes of a line of NDJSON."""
MOST_ROWS = 1_000_000
"""Of a Parquet file: a few bytes can stand for any number of equal rows."""
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x9c", b"\x78\xda")
"""How gzip, zstd and zlib begin: Polars would unpack them, to any size."""
UNFINISHED = (".tmp", ".part", ".partial", ".crdownload")


@dataclass(frozen=True)
class Row:
    """One row. `number` is the line in NDJSON, else the place among the data rows, from 1.

    `problem` says why `values` could not be read; then they are empty and `raw` holds the line.
    """

    file: str
    number: int
    values: dict[str, str | None] = field(repr=False)
    problem: str | None = None
    raw: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class DropFile:
    """A file that was read, and what it looked like then.

    Attributes:
        header: names of its columns, where it is CSV.
    """

    path: Path
    rows: list[Row] = field(repr=False)
    size: int
    modified_ns: int
    header: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be read, as a value: the others go on."""

    path: Path
    reason: str


def read_folder(folder: Path) -> Iterator[DropFile | Unreadable]:
    """The folder's files by name. Hidden files and those still being written (`.tmp`, `.part`, …) wait."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() in UNFINISHED or path.is_dir():
            continue
        yield read_file(path)


def read_file(path: Path) -> DropFile | Unreadable:
    """One file. Reasons name the kind of failure only: a parser's own text may quote a row."""
    suffix, header = path.suffix.lower(), tuple[str, ...]()
    if path.is_symlink():
        return Unreadable(path, "a link, not a file; copy the file into the folder")
    try:
        seen = path.stat()
        if not stat.S_ISREG(seen.st_mode):  # reading a pipe would wait for its writer for ever, and hold the run
            return Unreadable(path, "no regular file; copy the data into one")
        if (too_large := _too_large(path, suffix, seen.st_size)) is not None:
            return Unreadable(path, too_large)
        if suffix in NDJSON:
            rows = list(_ndjson(path))
        elif suffix == ".csv":
            if not _is_utf8(path):
                return Unreadable(path, "not text in UTF-8; save it as CSV in UTF-8")
            header, rows = _csv(path)
        elif suffix == ".parquet":
            rows = _tabular(path, read_parquet(path))
        else:
            packed = suffix in (".gz", ".zip", ".zst", ".bz2")
            fix = "unpack it" if packed else "expected .ndjson, .jsonl, .csv or .parquet"
            return Unreadable(path, f"unknown kind; {fix}")
    except NoTable as error:
        return Unreadable(path, str(error))
    except (OSError, pl.exceptions.PolarsError, pa.ArrowException) as error:
        return Unreadable(path, _unreadable(suffix, error))
    return DropFile(path, rows, seen.st_size, seen.st_mtime_ns, header)


def _unreadable(suffix: str, error: Exception) -> str:
    """Why a file could not be read, without its content."""
    if isinstance(error, OSError) and error.strerror:
        return f"not readable: {error.strerror}"
    return f"not a {suffix[1:].capitalize()} file; write it again"


def _no_header(names: Sequence[str]) -> str | None:
    """Why the first line of a CSV file names no columns; None where it does."""
    if len(names) == 1 and (other := next((one for one in ";\t|" if one in names[0]), None)) is not None:
        return f"columns are separated by {other!r}; save it with commas"
    twice = next((place for place, name in enumerate(names, 1) if name and name in names[: place - 1]), None)
    if twice is not None:
        return f"the column in place {twice} has the name of one before it; remove one of them"
    return None


def _is_utf8(path: Path) -> bool:
    """Whether a whole file is text in UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            for part in iter(lambda: file.read(LARGEST_LINE), b""):
                decoder.decode(part)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _too_large(path: Path, suffix: str, size: int) -> str | None:
    """Why a file is not read at all, told before it is in memory."""
    limit = f"{LARGEST_FILE // 2**20} MB"
    if size > LARGEST_FILE:
        return f"larger than {limit}; split it"
    if suffix == ".parquet":
        about = pq.read_metadata(path)
        groups = (about.row_group(number).total_byte_size for number in range(about.num_row_groups))
        if about.num_rows > MOST_ROWS:
            return f"more than {MOST_ROWS} rows; split it"
        if sum(groups) > LARGEST_FILE:
            return f"larger than {limit} when it is unpacked; split it"
    elif suffix == ".csv":
        with path.open("rb") as file:
            if file.read(4).startswith(_COMPRESSED):
                return "compressed; unpack it first"
    return None


class NoTable(ValueError):
    """Why a CSV file cannot be read from some line on."""


@dataclass(frozen=True)
class CsvLine:
    """The fields of a row, or why it has none; `number` is the line of the file at which it ends."""

    number: int
    fields: list[str] = field(repr=False)
    problem: str | None = None


def csv_lines(path: Path) -> Iterator[CsvLine]:
    """The header and the rows of a CSV file; empty lines are none.

    Raises:
        NoTable: where nobody can tell how the rest of the file is meant.
    """
    csv.field_size_limit(LARGEST_LINE)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "expected after" not in str(error):
                    large = "limit" in str(error)
                    kind = f"a field of more than {LARGEST_LINE // 2**20} MB" if large else "a quote that is not closed"
                    raise NoTable(f"line {reader.line_num}: {kind}") from None
                yield CsvLine(reader.line_num, [], "a quote stands inside a field; double it")
                continue
            if fields:
                yield CsvLine(reader.line_num, fields)


def read_parquet(path: Path) -> pl.DataFrame:
    """All rows, with the file's own types. The name is a name: `clicks[2].parquet` is that file and no pattern."""
    return pl.read_parquet(path, glob=False)


def archive(file: DropFile | Unreadable, archive_dir: Path) -> Path | None:
    """Move a file away once its rows are committed; where it went.

    None when it changed since it was read: it stays and is read again, so nothing appended meanwhile is lost.
    Never overwrites: a second file of that name gets a number.
    """
    if isinstance(file, DropFile):
        now = file.path.stat()
        if (now.st_size, now.st_mtime_ns) != (file.size, file.modified_ns):
            return None
    return move_away(file.path, archive_dir)


def move_away(path: Path, archive_dir: Path) -> Path:
    """Move a file into the archive; where it went. Never overwrites."""
    archive_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = _free_name(archive_dir, path.name)
    try:
        path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_across(path, target)
    return target


def _ndjson(path: Path) -> Iterator[Row]:
    with path.open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(LARGEST_LINE + 1), b""), start=1):
            if len(line) > LARGEST_LINE:
                _skip_line(lines, line)
                yield Row(path.name, number, {}, f"a line of more than {LARGEST_LINE // 2**20} MB")
                continue
            if not line.strip():
                continue
            text = line.decode("utf-8", "replace").strip()
            try:
                text_of_line = line.decode("utf-8-sig" if number == 1 else "utf-8")
                record = json.loads(text_of_line, object_pairs_hook=_named_once)
            except _NamedTwice:
                yield Row(path.name, number, {}, "a name stands in it twice", text)
                continue
            except (ValueError, RecursionError):
                yield Row(path.name, number, {}, "not valid JSON in UTF-8", text)
                continue
            if not isinstance(record, dict):
                yield Row(path.name, number, {}, "not a JSON object", text)
                continue
            yield Row(path.name, number, {str(name): _text(value) for name, value in record.items()})


def _csv(path: Path) -> tuple[tuple[str, ...], list[Row]]:
    lines = csv_lines(path)
    header = next(lines, None)
    if header is None:
        return (), []
    names = tuple(name.strip() for name in header.fields)
    if (why := header.problem or _no_header(names)) is not None:
        raise NoTable(why)
    return names, [_csv_row(path, number, names, line) for number, line in enumerate(lines, start=1)]


def _csv_row(path: Path, number: int, names: tuple[str, ...], line: CsvLine) -> Row:
    problem = line.problem
    if problem is None and len(line.fields) != len(names):
        problem = f"{len(line.fields)} fields, the header has {len(names)}"
    if problem is not None:
        return Row(path.name, number, {}, f"line {line.number}: {problem}", ",".join(line.fields) or None)
    return Row(path.name, number, {n: text or None for n, text in zip(names, line.fields, strict=True) if n})


class _NamedTwice(ValueError):
    """A JSON object has a name twice: which value is meant, nobody can tell."""


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(record := dict(pairs)) < len(pairs):
        raise _NamedTwice
    return record


def _skip_line(lines: BinaryIO, part: bytes) -> None:
    while part and not part.endswith(b"\n"):
        part = lines.readline(LARGEST_LINE)


def _tabular(path: Path, frame: pl.DataFrame) -> list[Row]:
    return [
        Row(path.name, number, {name: _text(value) for name, value in record.items()})
        for number, record in enumerate(frame.iter_rows(named=True), start=1)
    ]


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    isoformat = getattr(value, "isoformat", None)
    return str(isoformat()) if isoformat else str(value)


def _free_name(folder: Path, name: str) -> Path:
    target, number = folder / name, 1
    while target.exists():
        target = folder / f"{Path(name).stem}.{number}{Path(name).suffix}"
        number += 1
    return target


def _move_across(source: Path, target: Path) -> None:
    """To another file system: complete under a temporary name first, then renamed."""
    partial = target.with_name(f".{target.name}.part")
    shutil.copy2(source, partial)
    with partial.open("rb") as copied:
        os.fsync(copied.fileno())
    partial.replace(target)
    source.unlink()
