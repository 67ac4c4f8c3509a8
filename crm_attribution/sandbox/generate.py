"""Portal logs of an invented company, for the sandbox, tests and benchmarks.

    python -m crm_attribution.sandbox.generate --seed 1 --contacts 5000 --days 90 --out portal.jsonl
    python -m crm_attribution.sandbox.generate --sample --out data/sample_portal.jsonl

The same arguments give the same bytes. The second form writes the committed sample: bulk of a fixed seed, a busy
Friday, and the scenarios listed in `generator/scenarios/__init__.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from crm_attribution.sandbox.generator.account import Setting
from crm_attribution.sandbox.generator.bulk import bulk
from crm_attribution.sandbox.generator.lines import DAY, HOUR, instant
from crm_attribution.sandbox.generator.sample import sample
from crm_attribution.sandbox.generator.spool import write_sorted

DEFAULT_END = "2026-03-13T20:00:00Z"


def span(end: int, days: int) -> Setting:
    """From 07:00Z of the day `days` before the end."""
    return Setting(start=end // DAY * DAY - days * DAY + 7 * HOUR, end=end)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="generate", description="write a portal log")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--contacts", type=int, default=1000, help="contacts to create")
    parser.add_argument("--days", type=int, default=14, help="length of the log")
    parser.add_argument("--end", type=instant, default=DEFAULT_END, help="last instant, ISO 8601 (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sample", action="store_true", help="write the committed sample; the other options are fixed")
    args = parser.parse_args(argv)
    if args.contacts < 1 or args.days < 1:
        parser.error("--contacts and --days must be at least 1")
    if not args.out.parent.is_dir():
        parser.error(f"--out: there is no directory {args.out.parent}")
    accounts = sample() if args.sample else bulk(args.seed, args.contacts, span(args.end, args.days))
    count = write_sorted(accounts, args.out)
    print(f"{args.out}: {count} lines", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
