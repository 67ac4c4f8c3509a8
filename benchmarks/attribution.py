"""Attribution against a bare sort, a peer, and its own full computation, in one run. Prints ratios; asserts nothing.

    python -m benchmarks.attribution [--touches 10000000] [--outcomes 1000000] [--paths 1000000] [--peers build/peers]

Paths: removal effects (Markov), and every converting journey shared by them and by Shapley, beside
`marketing-attribution-models`, which `make bench-peers` puts into an environment of its own; the best of three, of
both. Models: all rule models over touches and outcomes, one amount each, shared exactly; beside it `DataFrame.sort` of
the same touches by account, time and id. Rows: the same with count and amount as rows ready to be stored, 100,000
outcomes at a time. Hour: the credit step of the pipeline on a warehouse of that size, at first for everything, then for
two hours with 200 new touches and 20 new wins each, without and with `markov`, which learns in the first hour of a
month. Times are of the processor, all threads together, with those of the clock beside.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crm_attribution.attribution.models import models
from crm_attribution.attribution.models.markov import removal_effects
from crm_attribution.attribution.rules.credits import COUNT_UNIT, credits, weights
from crm_attribution.attribution.rules.journeys import Journeys, journeys, scoped
from crm_attribution.attribution.rules.split import Groups, split
from crm_attribution.contracts import CONTRACTS
from crm_attribution.events.rules.values import CREDITED
from crm_attribution.layers import CREDITS, run
from crm_attribution.mapping import Attribution, Rules, load
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session

CHANNELS = ["Direct", "E-mail", "Paid Search", "Paid Social", "Organic Search", "Referral", "Display", "Affiliate"]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
YEAR = 365 * 24 * 60 * 60 * 1_000_000
NO_EFFECTS = CONTRACTS["attribution.channel_effect"].empty()
NEW_TOUCHES, NEW_WINS = 200, 20
BEST_OF = 3
PEER = Path(__file__).with_name("attribution_peer.py")


def timed(name: str, act: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """Seconds of the processor, the least of so many times, and what the last one gave."""
    taken = clock = float("inf")
    for _ in range(times):
        gc.collect()
        began, started = time.process_time(), time.perf_counter()
        answer = act()
        taken, clock = min(taken, time.process_time() - began), min(clock, time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"  {name:<58} {taken:8.2f} s   clock {clock:8.2f} s   peak {peak:5.2f} GB", flush=True)
    return taken, answer


def tables(touches: int, outcomes: int, seed: int = 1) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Touches of as many accounts as there are outcomes, and a win of each, in a year."""
    chance = np.random.default_rng(seed)
    account = chance.integers(0, outcomes, touches)
    moment = (chance.random(touches) * YEAR).astype(np.int64)
    start = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)
    acts = pl.DataFrame({"n": np.arange(touches), "a": account, "p": chance.integers(0, 3, touches),
                         "c": chance.integers(0, len(CHANNELS), touches), "t": start + moment}).select(
        touch_id=pl.format("click:{}", "n"),
        touched_at=pl.col("t").cast(pl.Datetime("us", "UTC")),
        account_id=pl.format("company:{}", "a"),
        person_id=pl.format("person-{}-{}", "a", "p"),
        contact_id=pl.col("a") * 3 + pl.col("p"),
        channel=pl.Series(CHANNELS)[pl.Series("c", chance.integers(0, len(CHANNELS), touches))],
        campaign=pl.format("campaign {}", "c"),
    )  # fmt: skip
    ends = pl.DataFrame({"n": np.arange(outcomes), "t": start + YEAR // 2 + chance.integers(0, YEAR // 2, outcomes)})
    wins = ends.select(
        milestone=pl.lit("customer_won"),
        milestone_id=pl.format("deal_{}_closedwon", "n"),
        account_id=pl.format("company:{}", "n"),
        person_id=pl.lit(None, pl.String),
        deal_id=pl.col("n"),
        occurred_at=pl.col("t").cast(pl.Datetime("us", "UTC")),
        currency=pl.lit("EUR"),
        amount_current=pl.Series(chance.integers(1, 10**8, outcomes)),
        mrr_new=pl.lit(None, pl.Int64),
        arr_new=pl.lit(None, pl.Int64),
        tcv_current=pl.lit(None, pl.Int64),
        home_currency=pl.lit("EUR"),
    ).with_columns(**{f"{measure}_home": pl.col(column) for measure, column in CREDITED.items()})
    return acts, wins


def facts(wins: pl.DataFrame) -> pl.DataFrame:
    """A lead half a year and an opportunity a month before each win, besides the wins."""
    names = ["milestone", "account_id", "person_id", "deal_id", "occurred_at"]
    return pl.concat(
        wins.with_columns(milestone=pl.lit(name), occurred_at=pl.col("occurred_at") - pl.duration(days=days)).select(
            names
        )
        for name, days in (("lead_captured", 180), ("opportunity_created", 30), ("customer_won", 0))
    )


def all_rule_models(rules: Attribution, **changes: Any) -> Attribution:
    names = [name for name, model in models().items() if model.learn is None]
    return rules.model_copy(update={"models": names, **changes})


def shared(acts: pl.DataFrame, wins: pl.DataFrame, rules: Attribution) -> Journeys:
    """Journeys, and the amount shared by every model; what each gives is dropped at once."""
    births = pl.DataFrame(schema={"contact_id": pl.Int64, "created_at": pl.Datetime("us", "UTC")})
    members = pl.DataFrame(schema={"deal_id": pl.Int64, "person_id": pl.String})
    found = journeys(scoped(wins, facts(wins), rules), members, acts, births, rules)
    totals = found.outcomes["amount_current"].to_numpy()[found.numbers]
    for model in rules.chosen:
        given = split(totals, weights(found, model, NO_EFFECTS), found.groups)
        assert given.sum() == totals.sum()
    return found


def rows(found: Journeys, rules: Attribution, at_a_time: int = 100_000) -> int:
    """Rows of attribution.credit, made part by part."""
    reasons = pl.DataFrame(
        schema=dict.fromkeys(("milestone", "milestone_id", "scope", "unattributed_reason"), pl.String)
    )
    number, made = found.touches["journey"], 0
    for first in range(0, found.outcomes.height, at_a_time):
        low, high = (int(number.search_sorted(place)) for place in (first, first + at_a_time))
        part = Journeys(
            found.outcomes[first : first + at_a_time],
            found.touches[low:high].with_columns(pl.col("journey") - first),
        )
        made += credits(part, reasons, NO_EFFECTS, rules).height
    return made


def compare_with_sort(touches: int, outcomes: int) -> None:
    print(f"{touches:,} touches, {outcomes:,} outcomes")
    acts, wins = tables(touches, outcomes)
    rules = all_rule_models(load().attribution, collapse_minutes=0)
    sort, _ = timed("bare sort by account, time, id", lambda: acts.sort("account_id", "touched_at", "touch_id"))
    whole, found = timed(
        f"journeys and {len(rules.models)} rule models, one amount each", lambda: shared(acts, wins, rules)
    )
    made, count = timed("the same as rows of count and amount", lambda: rows(found, rules))
    again, _ = timed("journeys with repeats of 30 minutes collapsed, one model", lambda: shared(
        acts, wins, rules.model_copy(update={"models": ["linear"], "collapse_minutes": 30})))  # fmt: skip
    print(f"  {count:,} rows; pairs {found.touches.height:,}")
    print(f"  all rule models / bare sort         {whole / sort:6.2f}   goal <= 3")
    print(f"  with rows / bare sort               {(whole + made) / sort:6.2f}")
    print(f"  collapsing, linear / bare sort      {again / sort:6.2f}")


def compare_with_peer(count: int, peers: Path) -> None:
    """Paths of two to eight channels, a third of them converting."""
    print(f"{count:,} paths")
    chance = np.random.default_rng(2)
    lengths = chance.integers(1, 9, count)
    ends = np.cumsum(lengths)
    steps = pl.Series(CHANNELS)[pl.Series(chance.integers(0, len(CHANNELS), ends[-1]))]
    number = pl.Series(np.repeat(np.arange(count), lengths))
    paths = (
        pl.DataFrame({"n": number, "path": steps})
        .group_by("n", maintain_order=True)
        .agg("path")
        .with_columns(converted=pl.Series(chance.random(count) < 1 / 3), journeys=pl.lit(1, pl.Int64))
    )
    alone, effects = timed("removal effects", lambda: removal_effects(paths), BEST_OF)
    markov, _ = timed("Markov: every journey shared", lambda: shared_paths(paths, "markov"), BEST_OF)
    shapley, _ = timed("Shapley: every journey shared", lambda: shared_paths(paths, "shapley"), BEST_OF)
    python = peers / "attribution" / "bin" / "python"
    if not python.exists():
        print(f"  marketing-attribution-models is not in {peers}/attribution: skipped (`make bench-peers`)")
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "paths.csv"
        paths.select(pl.col("path").list.join(" > "), "converted").write_csv(file)
        done = subprocess.run([python, PEER, file, str(BEST_OF)], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"  the peer fails here: {done.stderr.strip().splitlines()[-1]}")
        return
    theirs = json.loads(done.stdout.splitlines()[-1])
    for name, ours in (("removal effects", alone), ("Markov, shared", markov), ("Shapley, shared", shapley)):
        print(f"  peer / ours, {name:<22} {theirs[name] / ours:6.1f}   goal >= 10   (peer {theirs[name]:.2f} s)")
    apart = max(abs(theirs["effects"][name] - effect) for name, effect in effects.iter_rows())
    print(f"  removal effects differ by at most   {apart:.1e}   goal < 1e-5")


def shared_paths(paths: pl.DataFrame, name: str) -> pl.DataFrame:
    """Credit by channel: every converting journey is shared among its touches, exactly, by a model of the product."""
    model, won = models()[name], paths.filter("converted")
    lengths = won["path"].list.len().to_numpy().astype(np.int64)
    groups = Groups(np.cumsum(lengths) - lengths, int(lengths.sum()))
    touches = pl.DataFrame({"journey": groups.spread(np.arange(won.height)), "channel": won["path"].explode()})
    if model.learn is not None:
        touches = touches.join(model.learn(paths, model.parameters), on="channel", how="left", maintain_order="left")
    weighed = touches.with_columns(weight=model.weights(touches, model.parameters))["weight"].to_numpy()
    given = split(won["journeys"].to_numpy() * COUNT_UNIT, weighed, groups)
    return touches.select("channel", credit=given).group_by("channel").agg(pl.col("credit").sum())


def stored_touches(acts: pl.DataFrame) -> pl.DataFrame:
    nothing = pl.lit([], pl.List(pl.String))
    return acts.with_columns(kind=pl.lit("link_click"), click_id_kinds=nothing, origin=pl.lit("raw.link_click:x"))


def stored_wins(wins: pl.DataFrame) -> pl.DataFrame:
    return wins.select(
        *("milestone", "milestone_id", "account_id", "deal_id", "occurred_at", "currency", "amount_current"),
        subject=pl.lit("deal"),
        group_key=pl.format("account:{}", "account_id"),
        event_id="milestone_id",
        rule=pl.lit("won_deal"),
        observed_at="occurred_at",
        ready_from="occurred_at",
        booked_on=pl.col("occurred_at").dt.date(),
        imported=pl.lit(value=False),
        state=pl.lit("live"),
    )


def fill(session: Session, touches: int, outcomes: int) -> None:
    acts, wins = tables(touches, outcomes)
    session["attribution.touch"].append_new(stored_touches(acts))
    session["events.milestone"].append_new(stored_wins(wins))
    session.connection.execute("CHECKPOINT")


def news(session: Session, outcomes: int, end: datetime) -> None:
    """An hour's touches and wins, of accounts all over."""
    acts, wins = tables(NEW_TOUCHES, outcomes, seed=2 + end.hour)
    acts = acts.with_columns(touch_id=f"{end:%H}-" + pl.col("touch_id"), touched_at=pl.lit(end - HOUR))
    wins = wins.sample(NEW_WINS, seed=2 + end.hour).with_columns(
        milestone=pl.lit("customer_expanded"),
        milestone_id=f"{end:%H}-" + pl.col("milestone_id"),
        occurred_at=pl.lit(end),
    )
    session["attribution.touch"].upsert(stored_touches(acts))
    session["events.milestone"].upsert(stored_wins(wins))


def compare_with_everything(touches: int, outcomes: int) -> None:
    rules = load()
    learning = rules.attribution.model_copy(update={"models": [*rules.attribution.models, "markov"]})
    for name, mine in (("as shipped", rules), ("with markov", rules.model_copy(update={"attribution": learning}))):
        print(f"one hour, {touches:,} touches, {outcomes:,} outcomes, models {name}")
        with tempfile.TemporaryDirectory() as folder, Warehouse(Path(folder)).session() as session:
            fill(session, touches, outcomes)
            full, _ = timed("everything", partial(hour, session, mine, NOW))
            for end in (NOW + HOUR, NOW + 2 * HOUR):
                news(session, outcomes, end)
                part, changed = timed(f"{NEW_TOUCHES} touches, {NEW_WINS} wins", partial(hour, session, mine, end))
                print(f"  {changed:,} rows changed; hour / everything {part / full:6.3f}   goal < 0.02")


def hour(session: Session, rules: Rules, now: datetime) -> int:
    return run(CREDITS, session, rules, now).changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--touches", type=int, default=10_000_000)
    parser.add_argument("--outcomes", type=int, default=1_000_000)
    parser.add_argument("--paths", type=int, default=1_000_000)
    parser.add_argument("--peers", type=Path, default=Path("build/peers"))
    given = parser.parse_args()
    compare_with_peer(given.paths, given.peers)
    compare_with_sort(given.touches, given.outcomes)
    compare_with_everything(given.touches, given.outcomes)


if __name__ == "__main__":
    main()
