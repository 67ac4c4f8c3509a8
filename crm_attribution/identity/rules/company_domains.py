"""Business domains of companies: the primary one, further ones, and those of the companies they absorbed."""

from __future__ import annotations

import polars as pl

from crm_attribution import identifiers
from crm_attribution.identity.rules.domains import business
from crm_attribution.mapping import Accounts as Rules
from crm_attribution.raw.rules.merges import survivors

ADDITIONAL = "hs_additional_domains"
"""HubSpot's property of a company's further domains, `;` between."""


def company_domains(companies: pl.DataFrame, survivor: dict[int, int], rules: Rules) -> pl.DataFrame:
    """identity.account_domain rows (account_id, business_domain) of live companies; an archived one has none.

    Args:
        companies: raw.company rows of live companies and of all that they absorbed.
        survivor: absorbed company id -> live company id.
        rules: free-mail providers, whose domains belong to no company.
    """
    further = pl.col("properties").str.json_path_match(f"$.{ADDITIONAL}").fill_null("").str.split(";")
    rows = companies.select(
        "archived",
        id="id",
        live=survivors(pl.col("id"), survivor),
        text=pl.concat_list(pl.col("domain").fill_null(""), further),
    )
    archived = rows.filter(pl.col("archived") & (pl.col("id") == pl.col("live")))["live"]
    listed = rows.filter(~pl.col("live").is_in(archived.implode())).explode("text")
    hosts = {text: identifiers.normalise_domain(text) for text in listed["text"].unique().drop_nulls()}
    named = listed.with_columns(host=pl.col("text").replace_strict(hosts, default=None, return_dtype=pl.String))
    return (
        named.select(account_id=pl.format("company:{}", "live"), business_domain=business(named["host"], rules))
        .drop_nulls()
        .unique()
        .sort("account_id", "business_domain")
    )
