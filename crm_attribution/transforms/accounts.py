"""Accounts: companies, and which of them a person or a deal belongs to when."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from crm_attribution import identifiers
from crm_attribution.transforms.merges import survivors

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

TIMESTAMP = pl.Datetime("us", "UTC")


def accounts(companies: pl.DataFrame, absorbed: set[str], target_property: str) -> pl.DataFrame:
    """identity.account rows of live companies.

    Args:
        companies: raw.company rows.
        absorbed: company ids that another record absorbed.
        target_property: the property that flags target accounts (`true` where it is one).
    """
    target = pl.col("properties").str.json_path_match(f"$.{target_property}").str.to_lowercase()
    live = companies.filter(~pl.col("id").is_in(list(absorbed)))
    domains = {text: identifiers.normalise_domain(text) for text in live["domain"].unique().drop_nulls()}
    return live.select(
        account_id=pl.lit("company:") + pl.col("id"),
        company_id="id",
        name="name",
        domain=pl.col("domain").replace_strict(domains, default=None, return_dtype=pl.String),
        owner_id="hubspot_owner_id",
        target_account=pl.when(target.is_not_null()).then(target.is_in(["true", "yes", "1"])),
    )


def memberships(
    contacts: pl.DataFrame,
    history: pl.DataFrame,
    associations: pl.DataFrame,
    persons: dict[str, str],
    companies: dict[str, str],
) -> pl.DataFrame:
    """identity.membership rows: person, account, from when to when.

    The history of `associatedcompanyid` decides, its earliest value reaching back to the beginning. A contact without
    that history belongs to its current company (the primary association, else the first) from the beginning. Of
    several contacts that put a person there at once, the one that stays longest says until when.

    Args:
        contacts: raw.contact rows of live contacts.
        history: raw.property_history of `associatedcompanyid` for these contacts.
        associations: open raw.association rows contacts -> companies.
        persons: contact id -> person id.
        companies: absorbed company id -> live company id.
    """
    first = (
        associations.filter(pl.col("valid_to").is_null())
        .sort(pl.col("is_primary").not_(), "position", "to_id")
        .group_by("from_id", maintain_order=True)
        .agg(pl.col("to_id").first())
    )
    current = (
        contacts.join(history.select(pl.col("object_id").alias("id")).unique(), on="id", how="anti")
        .join(first, left_on="id", right_on="from_id", how="left")
        .select(
            contact_id="id",
            company_id=pl.coalesce("associatedcompanyid", "to_id"),
            valid_from=pl.lit(BEGINNING, TIMESTAMP),
            basis=pl.lit("current"),
        )
    )
    told = history.sort("object_id", "timestamp", "ordinal").select(
        contact_id="object_id",
        company_id=pl.when(pl.col("value") != "").then(pl.col("value")),
        valid_from=pl.when(pl.int_range(pl.len()).over("object_id") == 0)
        .then(pl.lit(BEGINNING, TIMESTAMP))
        .otherwise("timestamp"),
        basis=pl.lit("history"),
    )
    age = contacts.select(contact_id="id", created_at="created_at")
    spans = (
        pl.concat([current, told])
        .with_columns(company_id=survivors(pl.col("company_id"), companies))
        .with_columns(_last=pl.col("company_id").shift(1).over("contact_id"))
        .filter((pl.col("company_id").ne_missing(pl.col("_last"))) | (pl.col("valid_from") == BEGINNING))
        .with_columns(valid_to=pl.col("valid_from").shift(-1).over("contact_id"))
        .drop_nulls("company_id")
        .filter(pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("valid_from")))
        .join(age, on="contact_id")
    )
    return (
        spans.sort(pl.col("valid_to").is_not_null(), -pl.col("valid_to").dt.epoch("us"), "created_at", "contact_id")
        .select(
            person_id=pl.col("contact_id").replace_strict(persons, return_dtype=pl.String),
            account_id=pl.lit("company:") + pl.col("company_id"),
            contact_id="contact_id",
            valid_from="valid_from",
            valid_to="valid_to",
            basis="basis",
        )
        .unique(["person_id", "account_id", "valid_from"], keep="first", maintain_order=True)
    )


def deal_accounts(deals: pl.DataFrame, associations: pl.DataFrame, companies: dict[str, str]) -> pl.DataFrame:
    """identity.deal_account rows: the primary company, else the first associated one, else the deal itself.

    Args:
        deals: raw.deal rows of live deals.
        associations: open raw.association rows deals -> companies.
        companies: absorbed company id -> live company id.
    """
    first = (
        associations.filter(pl.col("valid_to").is_null())
        .sort(pl.col("is_primary").not_(), "position", "to_id")
        .group_by("from_id", maintain_order=True)
        .agg(to_id=pl.col("to_id").first(), is_primary=pl.col("is_primary").first())
    )
    company = survivors(pl.col("to_id"), companies)
    return deals.join(first, left_on="id", right_on="from_id", how="left").select(
        deal_id="id",
        account_id=pl.when(pl.col("to_id").is_not_null())
        .then(pl.lit("company:") + company)
        .otherwise(pl.lit("deal:") + pl.col("id")),
        basis=pl.when(pl.col("to_id").is_null())
        .then(pl.lit("own"))
        .when("is_primary")
        .then(pl.lit("primary"))
        .otherwise(pl.lit("first_association")),
    )


def account_at(rows: pl.DataFrame, moment: str, membership: pl.DataFrame) -> pl.DataFrame:
    """Add the account each row's person belonged to at `moment`; null where none.

    Of several accounts at once, the one that began last counts, then the smallest id.

    Args:
        rows: has `person_id`, the column named by `moment`, and no `account_id`.
        moment: name of a timestamp column.
        membership: identity.membership rows of these persons.
    """
    numbered = rows.with_row_index("_row")
    spans = membership.select("person_id", "account_id", "valid_from", "valid_to")
    hits = (
        numbered.select("_row", "person_id", moment)
        .join(spans, on="person_id")
        .filter(
            (pl.col("valid_from") <= pl.col(moment))
            & (pl.col("valid_to").is_null() | (pl.col(moment) < pl.col("valid_to")))
        )
        .sort("_row", pl.col("valid_from"), "account_id", descending=[False, True, False])
        .unique("_row", keep="first", maintain_order=True)
    )
    return numbered.join(hits.select("_row", "account_id"), on="_row", how="left", maintain_order="left").drop("_row")
