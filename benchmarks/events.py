"""An hour with 2,000 changed records on a small and on a large history: cost follows the change, not the history.

    python -m benchmarks.events [--small 100000] [--large 10000000] [--changed 2000]

Writes the warehouse's rows with SQL (no HTTP, no Dagster), then times events and milestones of an hour in which each
changed record got one more stage. Goal: the large history takes at most 1.3 times the small one's time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from crm_attribution.layers import EVENTS, MILESTONES, run
from crm_attribution.mapping import load
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session

PER_RECORD = 10
"""History rows per record: half of the records are contacts, half are deals."""

CONTACT_STAGES = ["lead", "marketingqualifiedlead", "salesqualifiedlead"]
DEAL_STAGES = ["appointmentscheduled", "qualifiedtobuy", "presentationscheduled"]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
BEGAN = "TIMESTAMPTZ '2024-01-01 00:00:00Z' + to_minutes(CAST(n % 700000 AS INTEGER))"


def fill(session: Session, rows: int) -> int:
    """A portal of `rows` history rows in raw, identity and events. Returns how many contacts, and as many deals."""
    run = session.connection.execute
    half = rows // PER_RECORD // 2
    run("SET preserve_insertion_order = false")
    run(
        "INSERT INTO raw.account BY NAME SELECT '1' AS portal_id, 'Europe/Berlin' AS time_zone, 'EUR' AS"
        " company_currency"
    )
    for place, stage in enumerate([*DEAL_STAGES, "closedwon", "closedlost"]):
        run(
            "INSERT INTO raw.pipeline_stage BY NAME SELECT 'deals' AS object_type, 'default' AS pipeline_id,"
            " 'Sales' AS"
            " pipeline_label, ? AS stage_id, ? AS stage_label, ? AS display_order, ?::DOUBLE AS probability,"
            " ? AS is_closed, false AS archived",
            [stage, stage, place, {"closedwon": 1.0, "closedlost": 0.0}.get(stage, 0.5), stage.startswith("closed")],
        )
    _records(session, half)
    _history(session, half)
    _identity(session, half)
    _derived(session, half)
    run("CHECKPOINT")
    return half


def _records(session: Session, half: int) -> None:
    run = session.connection.execute
    common = (
        f"'{{}}' AS properties, {BEGAN} AS created_at, {BEGAN} AS modified_at, false AS archived,"
        f" {BEGAN} AS extracted_at"
    )
    run(
        f"INSERT INTO raw.contact BY NAME SELECT (5000000 + n) AS id, 'c' || n || '@buyer' || n % 1000"
        f" || '.example' AS email, {common} FROM range({half}) t(n)"
    )
    run(
        f"INSERT INTO raw.deal BY NAME SELECT (9000000 + n) AS id, 'D' || n AS dealname, 'EUR' AS currency,"
        f" 100000 AS amount, {common} FROM range({half}) t(n)"
    )
    run(
        "INSERT INTO raw.association BY NAME SELECT 'deals' AS from_type, (9000000 + n) AS from_id,"
        " 'contacts'"
        " AS to_type, (5000000 + n) AS to_id, ['3'] AS type_ids, []::VARCHAR[] AS labels, false AS"
        " is_primary,"
        f" 0 AS position, TIMESTAMPTZ '1970-01-01 00:00:00Z' AS valid_from FROM range({half}) t(n)"
    )


def _history(session: Session, half: int) -> None:
    """In the order of time, as readings leave it: a record's rows are far apart."""
    contact = [("lifecyclestage", stage) for stage in CONTACT_STAGES] + [("email", "x"), ("hubspot_owner_id", "7")]
    contact += [("hs_lead_status", value) for value in ("NEW", "OPEN", "IN_PROGRESS", "OPEN", "CONNECTED")]
    deal = [("dealstage", stage) for stage in DEAL_STAGES] + [("amount", str(n)) for n in range(1, 6)]
    deal += [("hubspot_owner_id", "7"), ("closedate", "2026-06-01")]
    for place in range(PER_RECORD):
        for object_type, base, (name, value) in (
            ("contacts", 5_000_000, contact[place]),
            ("deals", 9_000_000, deal[place]),
        ):
            session.connection.execute(
                "INSERT INTO raw.property_history BY NAME SELECT ? AS object_type, (? + n) AS object_id,"
                f" ? AS property, {BEGAN} + to_days(?) AS timestamp, ? AS value, 0 AS ordinal, 'CRM_UI' AS"
                f" source_type,"
                f" false AS history_truncated, {BEGAN} AS extracted_at FROM range({half}) t(n)",
                [object_type, base, name, place, value],
            )


def _identity(session: Session, half: int) -> None:
    run = session.connection.execute
    run(
        "INSERT INTO identity.person BY NAME SELECT 'person_' || n AS person_id, TIMESTAMPTZ '2024-01-01"
        " 00:00:00Z' AS first_seen,"
        f" (5000000 + n) AS root_contact_id, (5000000 + n) AS contact_id, 1 AS contacts"
        f" FROM range({half}) t(n)"
    )
    run(
        "INSERT INTO identity.alias BY NAME SELECT 'contact' AS identifier_type, (5000000 + n)::VARCHAR AS"
        " identifier,"
        f" 'person_' || n AS person_id, n AS node_id FROM range({half}) t(n)"
    )
    run(
        "INSERT INTO identity.account BY NAME SELECT 'company:' || n AS account_id, n::VARCHAR AS company_id,"
        f" 'buyer' || n || '.example' AS domain FROM range({half} // 5 + 1) t(n)"
    )
    run(
        "INSERT INTO identity.membership BY NAME SELECT 'person_' || n AS person_id, 'company:' || n // 5 AS"
        " account_id,"
        " (5000000 + n) AS contact_id, TIMESTAMPTZ '1970-01-01 00:00:00Z' AS valid_from, 'current' AS basis"
        f" FROM range({half}) t(n)"
    )
    run(
        "INSERT INTO identity.deal_account BY NAME SELECT (9000000 + n) AS deal_id,"
        " 'company:' || n // 5 AS"
        f" account_id, 'primary' AS basis FROM range({half}) t(n)"
    )


def _derived(session: Session, half: int) -> None:
    """Events and milestones as they lie there: as many rows, of the same width."""
    run = session.connection.execute
    named = zip(CONTACT_STAGES, ["lead_captured", "qualified_lead", "sales_qualified_lead"], strict=True)
    for place, (stage, event) in enumerate(named):
        run(
            "INSERT INTO events.event BY NAME SELECT sha256(n || ?) AS event_id, ? AS event, moment AS"
            " occurred_at, moment AS"
            " observed_at, 'history' AS time_basis, 'contacts' AS object_type, id AS object_id, id AS"
            " record_id, id AS"
            " contact_id, ? AS to_stage, false AS undone, '1' AS mapping_version FROM (SELECT n, (5000000 +"
            " n)::VARCHAR"
            f" AS id, {BEGAN} + to_days({place}) AS moment FROM range({half}) t(n))",
            [stage, event, stage],
        )
        run(
            "INSERT INTO events.milestone BY NAME SELECT ? AS milestone, sha256(n || ?) AS milestone_id, 'person' AS"
            " subject, 'person:person_' || n AS group_key, milestone_id AS event_id,"
            " 'first_entry_of_person' AS rule, moment AS occurred_at, moment AS observed_at, moment AS"
            " ready_from, moment::DATE AS"
            " booked_on, false AS imported, 'person_' || n AS person_id, 'company:' || n // 5 AS account_id,"
            " 'live' AS"
            f" state FROM (SELECT n, {BEGAN} + to_days({place}) AS moment FROM range({half}) t(n))",
            [event, stage],
        )
    named = zip(DEAL_STAGES, ["meeting_scheduled", "opportunity_qualified", "demo_completed"], strict=True)
    for place, (stage, event) in enumerate(named):
        run(
            "INSERT INTO events.event BY NAME SELECT 'deal_' || id || ? || moment AS event_id, ? AS event,"
            " moment AS occurred_at,"
            " moment AS observed_at, 'history' AS time_basis, 'deals' AS object_type, id AS object_id, id AS"
            " record_id, id AS"
            " deal_id, ? AS to_stage, false AS undone, 'default' AS pipeline, '1' AS mapping_version FROM (SELECT n,"
            f" (9000000 + n) AS id, {BEGAN} + to_days({place}) AS moment FROM range({half}) t(n))",
            [stage, event, stage],
        )
        run(
            "INSERT INTO events.milestone BY NAME SELECT ? AS milestone, 'deal_' || id || ? || moment AS"
            " milestone_id, 'deal'"
            " AS subject, 'account:company:' || n // 5 AS group_key, milestone_id AS event_id,"
            " 'first_entry_of_deal' AS rule, moment AS occurred_at, moment AS observed_at,"
            " moment AS ready_from,"
            " moment::DATE AS booked_on, false AS imported, 'company:' || n // 5 AS account_id, id AS deal_id,"
            " 'live' AS"
            f" state FROM (SELECT n, (9000000 + n) AS id, {BEGAN} + to_days({place}) AS moment"
            f" FROM range({half}) t(n))",
            [event, stage],
        )


def hour(session: Session, half: int, changed: int, day: int) -> tuple[float, float]:
    """One more stage for `changed` records all over the history; seconds of events and of milestones."""
    step = max(1, half // (changed // 2))
    for object_type, base, name, value in (
        ("contacts", 5_000_000, "lifecyclestage", ["lead", "opportunity"][day % 2]),
        ("deals", 9_000_000, "dealstage", ["qualifiedtobuy", "closedwon"][day % 2]),
    ):
        ids = session.query(f"SELECT ({base} + n * {step}) AS id FROM range({changed // 2}) t(n)")
        session.connection.register("_ids", ids)
        session.connection.execute(
            "INSERT INTO raw.property_history BY NAME SELECT ? AS object_type, id AS object_id, ? AS property,"
            " ?::TIMESTAMPTZ + to_days(?) AS timestamp, ? AS value, 0 AS ordinal, 'CRM_UI' AS source_type,"
            " false AS history_truncated, ?::TIMESTAMPTZ + to_days(?) AS extracted_at FROM _ids",
            [object_type, name, NOW, day, value, NOW, day],
        )
        session.connection.unregister("_ids")
        session.journal.add(object_type, ids["id"])
    rules = load()
    began = time.perf_counter()
    written = run(EVENTS, session, rules, NOW).changed
    between = time.perf_counter()
    run(MILESTONES, session, rules, NOW)
    ended = time.perf_counter()
    assert written >= changed
    return between - began, ended - between


def measure(folder: Path, rows: int, changed: int, hours: int) -> tuple[float, float]:
    """The fastest of some hours, after one that makes the changed records' events what the rules make of them."""
    with Warehouse(folder).session() as session:
        began = time.perf_counter()
        half = fill(session, rows)
        rules = load()
        for layer in (EVENTS, MILESTONES):
            with session.following(layer.name, layer.topics, rules.signature(*layer.sections)):
                pass
        print(f"{rows:>12,} history rows written in {time.perf_counter() - began:.0f} s", flush=True)
        times = [hour(session, half, changed, day) for day in range(hours + 1)][1:]
    return min(times, key=sum)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=10_000_000)
    parser.add_argument("--changed", type=int, default=2_000)
    parser.add_argument("--hours", type=int, default=3)
    given = parser.parse_args()
    taken = {}
    for rows in (given.small, given.large):
        with tempfile.TemporaryDirectory() as folder:
            taken[rows] = measure(Path(folder), rows, given.changed, given.hours)
    (small_events, small_miles), (large_events, large_miles) = taken[given.small], taken[given.large]
    print(f"events      {small_events:.2f} s, {large_events:.2f} s: {large_events / small_events:.2f} times")
    print(f"milestones  {small_miles:.2f} s, {large_miles:.2f} s: {large_miles / small_miles:.2f} times")
    ratio = (large_events + large_miles) / (small_events + small_miles)
    print(f"together    {ratio:.2f} times (goal: 1.3)")


if __name__ == "__main__":
    main()
