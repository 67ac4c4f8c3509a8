"""Stress of the warehouse on the installed DuckDB: `python -m crm_attribution_tests.stress [--seconds N] [part …]`.

    rounds   tables emptied, filled and changed through `Session`, compared with a model in plain Python each round
    kills    a writer killed with SIGKILL at random moments; every acknowledged commit is there, whole
    spill    three processes that spill at the same time in one working directory and one data directory
    same-pid the same, each in a PID namespace of its own, so that all have one process number (Linux, root)

Each part prints one line of JSON; exit status 1 where one differs from its reference. A part that this machine does
not allow is skipped with the reason. Not part of the suite: it takes `--seconds` (default 60) a part.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.engine import open_engine
from crm_attribution.warehouse.session import Session

Result = dict[str, Any]
TABLE = "raw.owner"
KEYS, PARTS = 20_000, 8


def rows(owners: dict[str, str]) -> pl.DataFrame:
    given = {"id": list(owners), "email": list(owners.values()), "archived": [False] * len(owners)}
    return pl.DataFrame(given, schema={"id": pl.String, "email": pl.String, "archived": pl.Boolean})


def stored(session: Session) -> dict[str, str]:
    found: dict[str, str] = dict(session.query(f"SELECT id, email FROM {TABLE}").iter_rows())
    return found


def rounds(seconds: float, seed: int) -> Result:
    """Every way a session writes a table, at several sizes, with aborted transactions in between."""
    chance, model, done, commits = random.Random(seed), dict[str, str](), 0, 0
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < until:
            with Warehouse(Path(folder), memory_limit="200MB").session() as session:
                for step in range(8):
                    size = chance.choice([1, 40, 3_000, KEYS])
                    texts = ("", "ü", "日本", "x" * chance.choice([12, 13, 4_000]))
                    new = {
                        str(chance.randrange(KEYS)): f"{done}.{step}.{n % 997}{chance.choice(texts)}"
                        for n in range(size)
                    }
                    after = change(session, chance, model, new)
                    if after is not None:
                        model, commits = after, commits + 1
                if chance.random() < 0.3:
                    session.connection.execute("CHECKPOINT warehouse")
                if stored(session) != model:
                    return {"ok": False, "round": done, "rows": len(model), "failure": "the table differs"}
            done += 1
    return {"ok": True, "rounds": done, "commits": commits}


class Changed(Exception):
    """Raised to abort a transaction."""


def change(
    session: Session, chance: random.Random, model: dict[str, str], new: dict[str, str]
) -> dict[str, str] | None:
    """One transaction; what the table holds then, or None where it was aborted."""
    way = chance.choice(["upsert", "replace", "delete", "empty"])
    keys = pl.DataFrame({"id": list(new)})
    try:
        with session.transaction():
            if way == "empty":
                session.truncate([TABLE])
                session[TABLE].append_new(rows(new))
            elif way == "replace":
                session[TABLE].replace(rows(new), keys)
            elif way == "delete":
                session[TABLE].delete(keys)
            else:
                session[TABLE].upsert(rows(new))
            session.state.store("round", str(len(new)))
            if chance.random() < 0.15:
                raise Changed
    except Changed:
        return None
    if way == "empty":
        return new
    return {key: value for key, value in model.items() if key not in new} if way == "delete" else {**model, **new}


def writer(folder: Path, seed: int) -> None:
    """Commits whole generations of parts until it is killed, and says each once it is committed."""
    chance, warehouse = random.Random(seed), Warehouse(folder, memory_limit="200MB")
    print("ready", flush=True)
    while True:
        with warehouse.session() as session:
            for _ in range(chance.randrange(1, 5)):
                generation = int(session.state.text("generation") or 0) + 1
                part = chance.randrange(PARTS)
                with session.transaction():
                    session[TABLE].upsert(part_of(part, generation))
                    session.state.store(f"part:{part}", str(generation))
                    session.state.store("generation", str(generation))
                print(generation, flush=True)


def part_of(part: int, generation: int) -> pl.DataFrame:
    return rows({str(key): f"{generation}/{key}" for key in range(part, KEYS, PARTS)})


def kills(seconds: float, seed: int) -> Result:
    chance, killed, newest = random.Random(seed), 0, 0
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < until:
            child = begin("writer", folder, chance.randrange(10**6))
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(chance.uniform(0.05, 2.5))
            child.send_signal(signal.SIGKILL)
            acknowledged = [int(line) for line in child.stdout.read().split() if line.isdigit()]
            child.wait()
            killed += 1
            with Warehouse(Path(folder)).session() as session:
                known = int(session.state.text("generation") or 0)
                if known < max([newest, *acknowledged]):
                    return {"ok": False, "kills": killed, "failure": f"commit {known} < {max(acknowledged)}"}
                wanted: dict[str, str] = {}
                for part in range(PARTS):
                    generation = session.state.text(f"part:{part}")
                    if generation:
                        wanted |= dict(part_of(part, int(generation)).select("id", "email").iter_rows())
                if stored(session) != wanted:
                    return {"ok": False, "kills": killed, "failure": "a commit is there by halves"}
            newest = known
    return {"ok": True, "kills": killed, "commits": newest}


def spiller(folder: Path, seed: int, seconds: float) -> None:
    """Fills more than its memory holds, for as long as asked, and compares every row with what it must be."""
    engine, size, done = open_engine(folder, "40MB"), 400_000, 0
    engine.execute("SET threads = 1")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        engine.execute(
            f"CREATE OR REPLACE TABLE t AS SELECT range AS k, range * 10 + {seed} AS amount,"
            f" md5('{seed}' || range) AS h, repeat('{seed}', 40) || range AS s FROM range({size})"
        )
        right = f"amount = k * 10 + {seed} AND h = md5('{seed}' || k) AND s = repeat('{seed}', 40) || k"
        found = engine.execute(f"SELECT count(*), count(*) FILTER (WHERE {right}) FROM t").fetchall()[0]
        if found != (size, size):
            sys.exit(f"wrong rows: {found}")
        done += 1
    print(done)


def spill(seconds: float, seed: int, prefix: tuple[str, ...] = ()) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        children = [begin("spiller", folder, seed + n, seconds, prefix=prefix) for n in range(3)]
        ends = [(child.communicate(), child.returncode) for child in children]
        left = [path.name for path in Path(folder).iterdir() if path.name != "spill"]
    told = [out.strip() or err.strip()[-300:] for (out, err), _ in ends]
    ok = all(code == 0 for _, code in ends) and not left
    return {"ok": ok, "rounds": told, "exit": [code for _, code in ends], "left in the folder": left}


def same_pid(seconds: float, seed: int) -> Result:
    prefix = ("unshare", "--pid", "--fork")
    if shutil.which(prefix[0]) is None or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        return {"ok": True, "skipped": "this machine does not let us make PID namespaces (unshare --pid)"}
    return spill(seconds, seed, prefix)


def begin(part: str, folder: str, seed: int, seconds: float = 0, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, "-m", "crm_attribution_tests.stress", "--child", part, "--folder", folder]
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [*command, "--seed", str(seed), "--seconds", str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
    )


PARTS_TO_RUN: dict[str, Callable[[float, int], Result]] = {
    "rounds": rounds,
    "kills": kills,
    "spill": spill,
    "same-pid": same_pid,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS_TO_RUN))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", choices=["writer", "spiller"])
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.child == "writer":
        writer(asked.folder, asked.seed)
    elif asked.child == "spiller":
        spiller(asked.folder, asked.seed, asked.seconds)
    failed = False
    for name in asked.parts or ([] if asked.child else PARTS_TO_RUN):
        result = PARTS_TO_RUN[name](asked.seconds, asked.seed)
        print(json.dumps({"part": name, "duckdb": duckdb.__version__, "seed": asked.seed, **result}), flush=True)
        failed |= not result["ok"]
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
