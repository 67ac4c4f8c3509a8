"""Take a person out of the files of the inbox, waiting and archived ones: they are personal data too."""

from __future__ import annotations

import base64
import codecs
import csv
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from crm_attribution.clicks.drop_folder import NDJSON, NoTable, csv_lines, read_parquet
from crm_attribution.privacy.rules import Trace, names, without

_OURS = re.compile(r"\..+\.\d+\.part")


@dataclass
class Forgotten:
    """What became of the files.

    Attributes:
        looked_at: files read.
        rewritten: files that lost rows.
        deleted: files of which nothing was left, or that name the person and cannot be read.
        rows: rows, lines and documents taken out.
    """

    looked_at: int = 0
    rewritten: int = 0
    deleted: int = 0
    rows: int = 0


def forget(inbox: Path, of: Trace) -> Forgotten:
    """Rewrite or delete what names the person; every file is old or new, never half."""
    done = Forgotten()
    for path in _files(inbox):
        done.looked_at += 1
        fresh, gone = _without(path, of)
        if not gone:
            continue
        done.rows += gone
        if fresh is None:
            path.unlink()
            done.deleted += 1
        else:
            _replace(path, fresh)
            done.rewritten += 1
    return done


def _files(inbox: Path) -> Iterator[Path]:
    for folder, _, found in os.walk(inbox):
        for name in sorted(found):
            path = Path(folder) / name
            if _OURS.fullmatch(name):
                path.unlink()  # left by an erasure that died
            elif not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def _without(path: Path, of: Trace) -> tuple[bytes | None, int]:
    """The file's bytes without the person, and what was taken out; None where the file is to go."""
    suffix = path.suffix.lower()
    if suffix in NDJSON:
        return _lines(path.read_bytes(), of)
    try:
        if suffix == ".json":
            return _document(json.loads(path.read_bytes()), of)
        if suffix == ".csv":
            return _csv(path, of)
        if suffix == ".parquet":
            return _parquet(path, of)
    except (ValueError, RecursionError, pl.exceptions.PolarsError):
        pass  # what cannot be read is looked through as bytes
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return None, int(of.mentioned_in(content.decode("utf-16" if wide else "utf-8", "replace")))


def _document(document: Any, of: Trace) -> tuple[bytes | None, int]:
    """A JSON file, such as a delivery to the webhook receiver; a body that was no text is kept in Base64."""
    rest, gone = without(document, of)
    if isinstance(rest, dict):
        encoded = rest.get("body_base64")
        if isinstance(encoded, str) and of.mentioned_in(base64.b64decode(encoded).decode("utf-8", "replace")):
            return None, gone + 1
    return (None if rest is None or rest == [] else json.dumps(rest, ensure_ascii=False).encode()), gone


def _lines(content: bytes, of: Trace) -> tuple[bytes | None, int]:
    lines = content.splitlines(keepends=True)
    kept = [line for line in lines if not _line_names(line, of)]
    return (b"".join(kept) if any(line.strip() for line in kept) else None), len(lines) - len(kept)


def _line_names(line: bytes, of: Trace) -> bool:
    text = line.decode("utf-8-sig", "replace").strip()
    try:
        return names(json.loads(text), of) if text else False
    except (ValueError, RecursionError):
        return of.on_line(text)


def _csv(path: Path, of: Trace) -> tuple[bytes | None, int]:
    """Rows that do not fit the header are looked through as text."""
    lines = csv_lines(path)
    header = next(lines, None)
    if header is None:
        return None, 0
    kept, gone = [header.fields], 0
    for line in lines:
        if line.problem is not None:
            raise NoTable(line.problem)
        fits = len(line.fields) == len(header.fields)
        row = dict(zip(map(str.strip, header.fields), line.fields, strict=True)) if fits else None
        if names(row, of) if row is not None else of.on_line(",".join(line.fields)):
            gone += 1
        else:
            kept.append(line.fields)
    if not gone or len(kept) == 1:
        return None, gone
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(kept)
    return text.getvalue().encode(), gone


def _parquet(path: Path, of: Trace) -> tuple[bytes | None, int]:
    frame = read_parquet(path)
    keep = [not names(row, of) for row in frame.iter_rows(named=True)]
    kept = frame.filter(pl.Series(keep, dtype=pl.Boolean))
    gone = frame.height - kept.height
    if not gone or kept.is_empty():
        return None, gone
    temporary = _temporary(path)
    kept.write_parquet(temporary)
    content = temporary.read_bytes()
    temporary.unlink()
    return content, gone


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _replace(path: Path, content: bytes) -> None:
    temporary = _temporary(path)
    with temporary.open("wb") as file:
        os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
