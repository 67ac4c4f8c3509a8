"""Tables of the ledger: those of the contracts, and what planning and sending must remember besides.

Instants are microseconds since 1970 in UTC, so that every database compares and keeps them alike.
"""

from __future__ import annotations

import polars as pl
import sqlalchemy as sa

from crm_attribution.contracts import CONTRACTS

CONVERSION, ATTEMPT, RECEIPT = "conversions.conversion", "delivery.attempt", "delivery.receipt"
REPLAY, QUALITY = "delivery.replay", "delivery.quality"
MIRRORED = (CONVERSION, ATTEMPT, RECEIPT, REPLAY, QUALITY)
"""Tables that the warehouse has a copy of."""

VERSION = 2
"""Of the tables below. A ledger of a newer version is refused; one of an older gets the tables and columns it lacks."""

METADATA = sa.MetaData()


def _mirrored(name: str, *indexes: tuple[str, ...]) -> sa.Table:
    contract = CONTRACTS[name]
    types = {pl.String: sa.Text, pl.Int64: sa.BigInteger, pl.Datetime: sa.BigInteger, pl.Boolean: sa.Boolean}
    columns = [
        sa.Column(
            column.name,
            types[type(column.dtype)](),
            primary_key=column.name in contract.key,
            nullable=column.nullable,
            autoincrement=False,
        )
        for column in contract.columns
    ]
    changed = sa.Column("changed", sa.BigInteger(), nullable=False, index=True)
    found = [sa.Index(f"{contract.table}_{'_'.join(names)}", *names) for names in indexes]
    return sa.Table(contract.table, METADATA, *columns, changed, *found)


TABLES = {
    CONVERSION: _mirrored(
        CONVERSION, ("destination", "state"), ("batch_id",), ("adjusts",), ("milestone_id",), ("browser_event_id",)
    ),
    ATTEMPT: _mirrored(ATTEMPT, ("conversion_id",), ("destination", "left_at")),
    RECEIPT: _mirrored(RECEIPT, ("receipt",), ("destination", "next_ask_at")),
    REPLAY: _mirrored(REPLAY),
    QUALITY: _mirrored(QUALITY, ("destination", "account", "read_on")),
}
"""Contract -> table. `changed` is the serial number of the transaction that wrote the row last."""

LEDGER = sa.Table(
    "ledger",
    METADATA,
    sa.Column("id", sa.Text(), primary_key=True),
    sa.Column("serial", sa.BigInteger(), nullable=False),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.Column("lost_since", sa.BigInteger()),
    sa.Column("lost_until", sa.BigInteger()),
    sa.Column("instead_of", sa.Text()),
    sa.Column("instead_of_serial", sa.BigInteger()),
)
"""One row: whose ledger it is, how many transactions have written to it, and from when to when it does not know what
was sent, since it is a copy of an older one; and in place of which moment of a mark it was put in force."""

PAUSE = sa.Table(
    "pause",
    METADATA,
    sa.Column("destination", sa.Text(), primary_key=True),
    sa.Column("account", sa.Text(), primary_key=True),
    sa.Column("until", sa.BigInteger(), nullable=False),
)
"""Ends of pauses that platforms asked for."""

ACTIVATION = sa.Table(
    "activation",
    METADATA,
    sa.Column("destination", sa.Text(), primary_key=True),
    sa.Column("milestone", sa.Text(), primary_key=True),
    sa.Column("action", sa.Text(), primary_key=True),
    sa.Column("since", sa.Text(), nullable=False),
)
"""`send_from` of each conversion rule when it was first seen: `start`, or a time."""
