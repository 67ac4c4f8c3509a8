"""Whom a lifecycle event is about: the person, and the account of that moment."""

from __future__ import annotations

import polars as pl

from crm_attribution.identity.rules.memberships import account_at


def of_persons(rows: pl.DataFrame, persons: pl.DataFrame, memberships: pl.DataFrame) -> pl.DataFrame:
    """Add `person_id` and `account_id` to events of contacts; null where there is none.

    Args:
        rows: events.event rows.
        persons: contact_id, person_id of their contacts (`object_id`).
        memberships: identity.membership rows of these persons.
    """
    rows = rows.join(persons, left_on="object_id", right_on="contact_id", how="left", maintain_order="left")
    return account_at(rows, "occurred_at", memberships)


def of_companies(rows: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """Add `person_id`, always null, and `account_id` to events of companies.

    Args:
        rows: events.event rows.
        accounts: company_id, account_id that holds the company (`record_id`) now.
    """
    rows = rows.with_columns(person_id=pl.lit(None, pl.String))
    return rows.join(accounts, left_on="record_id", right_on="company_id", how="left", maintain_order="left")
