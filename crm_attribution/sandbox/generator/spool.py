"""Sorted output of any size: sorted runs on disk, merged at the end. Stable, as `sorted` is."""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from crm_attribution.sandbox.generator.lines import Line

_RUN = 200_000  # lines held in memory, about 150 MB
_AT = len('{"at":"')


def encode(line: Line) -> str:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"


def _key(text: str) -> str:
    """The instant without its Z: then `10:00:00` sorts before `10:00:00.250`."""
    return text[_AT : text.index("Z", _AT)]


def write_sorted(accounts: Iterable[list[tuple[int, Line]]], out: Path) -> int:
    """Write all lines in order of time and answer how many there are. The file appears only when complete."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=out.parent, prefix=".portal-")))
        runs: list[Iterator[str]] = []
        for number, texts in enumerate(_runs(accounts)):
            run = folder / f"{number}.run"
            run.write_text("".join(texts), encoding="utf-8", newline="\n")
            runs.append(stack.enter_context(run.open(encoding="utf-8", newline="\n")))
        part = folder / "whole"
        with part.open("w", encoding="utf-8", newline="\n") as handle:
            count = 0
            for text in heapq.merge(*runs, key=_key):
                handle.write(text)
                count += 1
        part.replace(out)
    return count


def _runs(accounts: Iterable[list[tuple[int, Line]]]) -> Iterator[list[str]]:
    """Sorted lists of at most about `_RUN` lines."""
    held: list[str] = []
    for lines in accounts:
        held.extend(encode(line) for _, line in lines)
        if len(held) >= _RUN:
            yield sorted(held, key=_key)
            held = []
    yield sorted(held, key=_key)
