"""README and docs/ as data: their tables, links and the commands they show with the output beside them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
OPEN_END = "…"
"""A line of shown output that stands for any lines."""


@dataclass
class Shown:
    """A command as a page shows it, and the lines of output below it."""

    page: str
    text: str
    output: list[str] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)

    def missing(self, real: str) -> str | None:
        """The first shown line that the real output does not have after those before it; spaces at line ends aside."""
        lines = iter([line.rstrip() for line in real.splitlines()])
        shown = [line.rstrip() for line in self.output if line.strip() != OPEN_END]
        return next((line for line in shown if not any(line in found for found in lines)), None)


def blocks(page: str, kind: str) -> list[str]:
    """The texts of a page's fenced blocks of one kind, indented ones included."""
    found = re.findall(rf"^( *)```{kind}\n(.*?)^\1```$", PAGES[page], re.MULTILINE | re.DOTALL)
    return [dedent(text) for _, text in found]


def commands() -> Iterator[Shown]:
    """Every command of every page, in the order of the pages."""
    for page in PAGES:
        for block in blocks(page, "console"):
            shown: Shown | None = None
            for line in block.splitlines():
                if line.startswith("$ "):
                    if shown:
                        yield shown
                    shown = Shown(page, line[2:])
                elif shown and line.startswith("> "):
                    shown.text += f"\n{line[2:]}"
                elif shown:
                    shown.output.append(line)
            if shown:
                yield shown
