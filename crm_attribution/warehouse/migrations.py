"""Forward steps from each earlier schema version: `MIGRATIONS[n]` brings a warehouse of version n to n + 1.

A step is written against the tables as they were, never against today's contracts. Each runs in a transaction of its
own, which also records its name and moment in `meta.migration`. A column that a contract gains as nullable needs no
step: missing columns are added as null.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from crm_attribution.identifiers import normalised_emails

Migration = Callable[[duckdb.DuckDBPyConnection], None]


def credit_new_recurring_revenue(connection: duckdb.DuckDBPyConnection) -> None:
    """mrr_new and arr_new stand at every milestone and are what is credited: milestones and credit are recomputed."""
    connection.execute("DELETE FROM meta.cursor WHERE consumer IN ('milestones', 'credits')")


def number_columns(connection: duckdb.DuckDBPyConnection) -> None:
    """Version 3 kept the numbers of ids in columns of their own; `record_ids_as_bigint` drops them: nothing to do."""


def no_indexes(connection: duckdb.DuckDBPyConnection) -> None:
    """Keys of the bookkeeping tables go: DuckDB's indexes are where its files broke. Commits get their marker."""
    for name, columns in _KEYLESS.items():
        connection.execute(f"CREATE TABLE meta.{name}_new ({columns})")
        connection.execute(f"INSERT INTO meta.{name}_new SELECT * FROM meta.{name}")
        connection.execute(f"DROP TABLE meta.{name}")
        connection.execute(f"ALTER TABLE meta.{name}_new RENAME TO {name}")
    create_marker(connection)


_KEYLESS = {
    "cursor": "consumer VARCHAR NOT NULL, seq BIGINT NOT NULL, signature VARCHAR NOT NULL",
    "fact": "name VARCHAR NOT NULL, value VARCHAR NOT NULL",
}


def create_marker(connection: duckdb.DuckDBPyConnection) -> None:
    """The one row by which a transaction proves that its commit was kept."""
    connection.execute("CREATE OR REPLACE TABLE meta.commit_marker AS SELECT 0::BIGINT AS marker")


_RECORD_IDS = {
    "raw.contact": ("id", "associatedcompanyid"),
    "raw.company": ("id",),
    "raw.deal": ("id",),
    "raw.property_history": ("object_id",),
    "raw.association": ("from_id", "to_id"),
    "raw.merge": ("absorbed_id", "survivor_id"),
    "raw.link_click": ("contact_id",),
    "raw.deletion": ("object_id",),
    "raw.missing": ("object_id",),
    "raw.reread": ("object_id",),
    "identity.edge": ("contact_id",),
    "identity.edge_rejected": ("contact_id",),
    "identity.person": ("root_contact_id", "contact_id"),
    "identity.account": ("company_id",),
    "identity.membership": ("contact_id",),
    "identity.deal_account": ("deal_id",),
    "identity.click": ("contact_id",),
    "identity.email_click": ("contact_id",),
    "events.event": ("object_id", "record_id", "contact_id", "deal_id", "company_id"),
    "events.milestone": ("deal_id",),
    "attribution.touch": ("contact_id",),
    "conversions.conversion": ("contact_id",),
}
_NUMBERS = {
    "raw.property_history": ("object_id_number",),
    "events.event": ("object_id_number", "record_id_number"),
    "events.milestone": ("deal_id_number",),
    "identity.deal_account": ("deal_id_number",),
}


def record_ids_as_bigint(connection: duckdb.DuckDBPyConnection) -> None:
    """HubSpot's record ids become BIGINT. Ids that no record can have (a link with `eid=00x`) become null."""
    for table, columns in _NUMBERS.items():
        for column in columns:
            connection.execute(f"ALTER TABLE {table} DROP COLUMN IF EXISTS {column}")
    for table, columns in _RECORD_IDS.items():
        for column in columns:
            number = f"CASE WHEN regexp_full_match({column}::VARCHAR, '0|[1-9][0-9]{{0,17}}') THEN {column}::BIGINT END"
            connection.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE BIGINT USING {number}")
    for table in ("raw.contact", "raw.company", "raw.deal"):
        connection.execute(f"ALTER TABLE {table} ALTER COLUMN merged_ids TYPE BIGINT[] USING merged_ids::BIGINT[]")


def journal_keys_as_lists(connection: duckdb.DuckDBPyConnection) -> None:
    """Keys of the journal are lists: those of several values were packed texts. Nobody read the topic `conversion`."""
    connection.execute("CREATE TEMP TABLE _change AS SELECT * FROM meta.change WHERE topic <> 'conversion'")
    connection.execute("DROP TABLE meta.change")
    connection.execute("CREATE TABLE meta.change (seq BIGINT NOT NULL, topic VARCHAR NOT NULL, key VARCHAR[] NOT NULL)")
    connection.execute(
        "INSERT INTO meta.change SELECT seq, topic, CASE topic"
        " WHEN 'milestone' THEN [split_part(key, '|', 1), key[strpos(key, '|') + 1:]]"
        " WHEN 'form_submission' THEN [split_part(key, ':', 1), key[strpos(key, ':') + 1:]]"
        " WHEN 'click_form' THEN [split_part(key, ':', 1), key[strpos(key, ':') + 1:]] ELSE [key] END FROM _change"
    )
    connection.execute("DROP TABLE _change")


_EMAILS = {
    "raw.contact": {"email_normalised": "email", "additional_emails_normalised": "additional_emails"},
    "raw.form_submission": {"email_normalised": "email"},
    "raw.email_click": {"recipient_normalised": "recipient"},
}


def emails_normalised(connection: duckdb.DuckDBPyConnection) -> None:
    """E-mails are stored as they are compared too, by the function that writes them from now on."""
    for table, columns in _EMAILS.items():
        for column, source in columns.items():
            kind = "VARCHAR[]" if source == "additional_emails" else "VARCHAR"
            connection.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column} {kind}")
            emails = connection.sql(f"SELECT DISTINCT {source} AS given FROM {table} WHERE {source} IS NOT NULL").pl()
            connection.register("_emails", emails.with_columns(normal=normalised_emails(emails["given"])))
            connection.execute(
                f"UPDATE {table} SET {column} = e.normal FROM _emails e WHERE {table}.{source} = e.given"
            )
            connection.unregister("_emails")


def moments_and_owners(connection: duckdb.DuckDBPyConnection) -> None:
    """Whose account an act belongs to, and which moment a fact is of, are derived again; records that were refused for
    one field are read again and stored without it."""
    derived = ("identity", "clicks", "events", "milestones", "touches", "credits")
    connection.execute("DELETE FROM meta.cursor WHERE consumer IN (SELECT unnest(?))", [list(derived)])
    for name, table in (("contacts", "contact"), ("companies", "company"), ("deals", "deal")):
        connection.execute(
            f"INSERT INTO raw.reread SELECT '{name}', key::BIGINT, 'migration', now() FROM"
            f" (SELECT DISTINCT key FROM quarantine.{table} WHERE NOT resolved"
            " AND regexp_full_match(key, '[1-9][0-9]{0,17}')) r"
            f" ANTI JOIN raw.reread t ON t.object_type = '{name}' AND t.object_id = r.key::BIGINT"
        )


def milestone_events(connection: duckdb.DuckDBPyConnection) -> None:
    """The list of linked events becomes rows with a role and a reason. The reasons are provisional, as the list had
    none: the next run derives all milestones again."""
    connection.execute(
        "CREATE TABLE events.milestone_event (milestone VARCHAR NOT NULL, milestone_id VARCHAR NOT NULL,"
        " event_id VARCHAR NOT NULL, role VARCHAR NOT NULL, reason VARCHAR NOT NULL)"
    )
    connection.execute(
        "INSERT INTO events.milestone_event SELECT milestone, milestone_id, linked,"
        " CASE WHEN linked = event_id THEN 'carrier' ELSE 'linked' END,"
        " CASE WHEN linked = event_id THEN 'first' WHEN subject = 'person' THEN 'later_entry_of_person'"
        " WHEN NOT starts_with(linked, 'deal_') THEN 'echo' ELSE 'later_entry_of_deal' END"
        " FROM (SELECT *, unnest(linked_event_ids) AS linked FROM events.milestone)"
    )
    connection.execute("ALTER TABLE events.milestone DROP COLUMN linked_event_ids")
    connection.execute("DELETE FROM meta.cursor WHERE consumer = 'milestones'")


def facts_of_every_pipeline(connection: duckdb.DuckDBPyConnection) -> None:
    """Wins again in other pipelines, echoes of deals without milestones, first entries after a reopening and what each
    stage means are derived anew."""
    derived = ["events", "milestones", "gaps"]
    connection.execute("DELETE FROM meta.cursor WHERE consumer IN (SELECT unnest(?))", [derived])


def unattributed_reasons(connection: duckdb.DuckDBPyConnection) -> None:
    """Unattributed credit has its reason: the next run computes credit again and keeps the journeys it comes from."""
    connection.execute("DELETE FROM meta.cursor WHERE consumer = 'credits'")


def home_currency(connection: duckdb.DuckDBPyConnection) -> None:
    """Values have their amount in the home currency, and credit its share of that: computed by the next run. Deals in
    another currency are read again, with the rate HubSpot keeps of them."""
    connection.execute("DELETE FROM meta.cursor WHERE consumer IN ('credits', 'gaps')")
    connection.execute(
        "INSERT INTO raw.reread SELECT 'deals', id, 'migration', now() FROM raw.deal d ANTI JOIN raw.reread t"
        " ON t.object_type = 'deals' AND t.object_id = d.id WHERE d.currency IS NOT NULL"
        " AND d.currency IS DISTINCT FROM (SELECT company_currency FROM raw.account)"
    )


def revenue_movements(connection: duckdb.DuckDBPyConnection) -> None:
    """What revenue gained and lost is derived by the next run, and credited."""
    connection.execute("DELETE FROM meta.cursor WHERE consumer IN ('milestones', 'home_values', 'credits')")


def versions_of_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Changes of tables are counted from now on (`warehouse/versions.py`): every model runs once."""
    connection.execute("DELETE FROM meta.model")


MIGRATIONS: dict[int, Migration] = {
    1: credit_new_recurring_revenue,
    2: number_columns,
    3: no_indexes,
    4: record_ids_as_bigint,
    5: journal_keys_as_lists,
    6: emails_normalised,
    7: moments_and_owners,
    8: milestone_events,
    9: facts_of_every_pipeline,
    10: unattributed_reasons,
    11: home_currency,
    12: revenue_movements,
    13: versions_of_tables,
}
