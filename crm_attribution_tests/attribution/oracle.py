"""Every credit once more, in plain Python with fractions: from the tables of touches and milestones, who is who, and
the mapping's rules. Imports nothing of the product, and shares no code with it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from fractions import Fraction as F
from itertools import product
from typing import Any

ROLES: dict[str, tuple[dict[str, F | int], int]] = {  # role -> share, and what the rest has together
    "first_touch": ({"first": 1}, 0), "last_touch": ({"last": 1}, 0), "linear": ({}, 1), "custom": ({}, 1),
    "u_first_last": ({"first": 40, "last": 40}, 20), "u_milestone": ({"first": 40, "lead": 40}, 20),
    "w_shaped": ({"first": 30, "lead": 30, "deal": 30}, 10), "j_shaped": ({"first": 20, "last": 60}, 20),
    "full_path": ({role: F(45, 2) for role in ("first", "lead", "deal", "close")}, 10),
    "inverse_j": ({"first": 60, "last": 20}, 20)}  # fmt: skip
MEASURES = {"amount": "amount_current", "mrr": "mrr_new", "arr": "arr_new", "tcv": "tcv_current"}
LEADS, WINS = ("lead_captured", "qualified_lead", "sales_qualified_lead"), ("customer_won", "customer_expanded")


def shares(model, given, path, at, effects):
    """The weight of each touch of a path; `at` has the places of the roles, `given` the parameters."""
    if model in ROLES:
        roles, rest = ({k: v for k, v in given.items() if k != "rest" and v}, given["rest"]) if given else ROLES[model]
        weights = [F(0)] * len(path)
        held = {at[role] for role in roles if at[role] is not None}
        for role, share in roles.items():
            if at[role] is not None:
                weights[at[role]] += share
        others = len(path) - len(held)
        return [weights[n] if n in held else F(rest, others) for n in range(len(path))]
    if model == "last_non_direct":
        indirect = [n for n, touch in enumerate(path) if touch["channel"] != "Direct"] or [len(path) - 1]
        return [F(n == indirect[-1]) for n in range(len(path))]
    if model == "time_decay":
        half, last = timedelta(days=given.get("half_life_days", 7)), path[-1]["touched_at"]
        ages = [(last - touch["touched_at"]) / half for touch in path]
        return [F(round(2**30 * 2**-age)) for age in ages]
    if model == "markov":
        found = [effects.get(touch["channel"]) for touch in path]
        known = [effect for effect in found if effect is not None]
        found = [round(sum(known) / len(known)) if effect is None and known else effect for effect in found]
        return [F(effect) for effect in found] if known and sum(found) else [F(1)] * len(path)
    key = {"shapley": "channel", "person_linear": "person_id"}[model]
    times = Counter(touch[key] for touch in path)
    return [F(1, times[touch[key]]) for touch in path]


def split(total, weights):
    """Floors, then the missing units to the largest remainders, of equal ones the earlier."""
    exact = [abs(total) * weight / sum(weights) for weight in weights]
    parts = [int(share) for share in exact]
    for n in sorted(range(len(exact)), key=lambda n: parts[n] - exact[n])[: abs(total) - sum(parts)]:
        parts[n] += 1
    return [part if total >= 0 else -part for part in parts]


def journey(touches, outcome, people, opens, minutes):
    """The touches that count for an outcome; `people` says whose: ("account_id", ids) or ("person_id", ids)."""
    column, ids = people
    path: list[Any] = []
    latest: dict[Any, datetime] = {}
    for touch in touches:  # by (touched_at, touch_id)
        when, born, end = touch["touched_at"], touch["born"], outcome["occurred_at"]
        if touch[column] in ids and opens <= when <= end and (born is None or born <= end):
            key = (touch["person_id"], touch["channel"], touch["campaign"], touch[column])
            near = key in latest and when - latest[key] <= timedelta(minutes=minutes)
            latest[key] = when
            path += [] if near and touch["person_id"] and minutes else [touch]
    return path


def credits(touches, milestones, deal_persons, effects, rules, movements=()):
    """(milestone, milestone_id, model, scope, measure, touch_id) -> credit. touches have also `born`; deal_persons:
    deal -> persons; effects: (model, milestone, month) -> channel -> weight; movements have their win's touches."""
    touches = sorted(touches, key=lambda touch: (touch["touched_at"], touch["touch_id"]))
    live = [row for row in milestones if row["state"] == "live"]
    found: dict[Any, int] = {}
    for outcome in milestones:
        name, end, account = outcome["milestone"], outcome["occurred_at"], outcome["account_id"]
        this = (name, outcome["milestone_id"])
        asked = [outcome] if outcome["state"] == "live" and outcome["suppressed_by"] is None else []
        asked += [row for row in movements if (row["of_milestone"], row["of_milestone_id"]) == this]
        asked = [row for row in asked if row["milestone"] in rules["outcomes"]]
        opens = end - timedelta(days=rules["lookback_days"].get(name, rules["lookback_days"]["default"]))
        who = "account_id" if account is not None else "person_id"
        own = [row for row in live if row[who] is not None and row[who] == outcome[who]]
        decided = end - timedelta(days=rules["same_decision_days"])
        wins = [row["occurred_at"] for row in own if row["milestone"] in WINS and row["occurred_at"] < decided]
        if name == "customer_expanded" and wins and account:
            opens = max(opens, max(wins) + timedelta(microseconds=1))
        turns = {"lead": [row["occurred_at"] for row in own if row["milestone"] in LEADS],
                 "deal": [row["occurred_at"] for row in live if row["milestone"] == "opportunity_created"
                          and row["deal_id"] is not None and row["deal_id"] == outcome["deal_id"]]}  # fmt: skip
        for scope in rules["scopes"]:
            of_deal = [outcome["person_id"]] if outcome["deal_id"] is None else deal_persons.get(outcome["deal_id"], ())
            whole = scope == "account" and not (account or "").startswith("deal:")
            people = (who, {outcome[who]} - {None}) if whole else ("person_id", set(of_deal) - {None})
            path = journey(touches, outcome, people, opens, rules["collapse_minutes"])
            at = {"first": 0, "last": len(path) - 1, "close": len(path) - 1 if name in WINS else None}
            for role, times in turns.items():
                before = [n for n, touch in enumerate(path) if times and touch["touched_at"] <= min(times)]
                at[role] = before[-1] if before else None
            for told, model in product(asked, rules["models"]):
                totals = {one: told.get(column, told.get(one)) for one, column in MEASURES.items()}
                given = dict(rules["variants"].get(model) or rules["parameters"].get(model) or {})
                kind = given.pop("of", model)
                known = effects.get((model, name, end.date().replace(day=1)), {})
                weights = shares(kind, given, path, at, known) if path else []
                kept = [(touch["touch_id"], weight) for touch, weight in zip(path, weights, strict=True) if weight > 0]
                for measure, total in {"count": 1_000_000, **totals}.items():
                    if total is not None:
                        key = (told["milestone"], told["milestone_id"], model, scope, measure)
                        parts = split(total, [weight for _, weight in kept]) if kept else [total]
                        names = [touch for touch, _ in kept] or [""]
                        found |= {(*key, touch): part for touch, part in zip(names, parts, strict=True)}
    return found
