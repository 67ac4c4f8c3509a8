"""Accounts: companies, their parents, and the account of each deal."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from crm_attribution import identifiers
from crm_attribution.identity.rules.domains import business
from crm_attribution.mapping import Accounts as Rules
from crm_attribution.raw.rules.merges import survivors

PARENT_TO_CHILD, CHILD_TO_PARENT = "13", "14"
"""Association types between companies: https://developers.hubspot.com/docs/api/crm/associations"""


def accounts(companies: pl.DataFrame, absorbed: set[int], target_property: str, rules: Rules) -> pl.DataFrame:
    """identity.account rows of live companies, without parents and without what depends on several companies.

    Args:
        companies: raw.company rows.
        absorbed: company ids that another record absorbed.
        target_property: the property that flags target accounts (`true` where it is one).
        rules: owner, tier and free-mail domains.
    """
    target = _property(target_property).str.to_lowercase()
    live = companies.filter(~pl.col("id").is_in(list(absorbed)))
    domains = {text: identifiers.normalise_domain(text) for text in live["domain"].unique().drop_nulls()}
    owner = (
        pl.col("hubspot_owner_id") if rules.owner_property == "hubspot_owner_id" else _property(rules.owner_property)
    )
    rows = live.select(
        account_id=pl.format("company:{}", "id"),
        company_id="id",
        name="name",
        domain=pl.col("domain").replace_strict(domains, default=None, return_dtype=pl.String),
        owner_id=owner,
        target_account=pl.when(target.is_not_null()).then(target.is_in(["true", "yes", "1"])),
        tier=_property(rules.tier_property),
    )
    return rows.with_columns(business_domain=business(rows["domain"], rules))


def parents(companies: pl.DataFrame, links: pl.DataFrame, survivor: dict[int, int], rules: Rules) -> dict[int, int]:
    """company id -> parent company id, of live companies; the association counts before the property.

    Args:
        companies: raw.company rows.
        links: open raw.association rows between companies.
        survivor: absorbed company id -> live company id.
        rules: names the property.
    """
    by_property = companies.select(
        child="id", parent=_property(rules.parent_property).cast(pl.Int64, strict=False)
    ).drop_nulls()
    held = links.filter(pl.col("valid_to").is_null())
    up = held.filter(pl.col("type_ids").list.contains(CHILD_TO_PARENT)).select(child="from_id", parent="to_id")
    down = held.filter(pl.col("type_ids").list.contains(PARENT_TO_CHILD)).select(child="to_id", parent="from_id")
    rows = pl.concat([by_property, down.sort("child", "parent"), up.sort("child", "parent")])
    found = dict(
        rows.with_columns(child=survivors(pl.col("child"), survivor), parent=survivors(pl.col("parent"), survivor))
        .filter(pl.col("child") != pl.col("parent"))
        .iter_rows()
    )
    return found


def tops(parent: dict[int, int]) -> dict[int, int]:
    """company id -> its topmost ancestor; a circle of parents ends at its smallest id."""
    found: dict[int, int] = {}
    for start in parent:
        path, at = [start], start
        while at in parent and parent[at] not in path:
            at = parent[at]
            path.append(at)
        top = at if at not in parent else min(path[path.index(parent[at]) :])
        if top != start:
            found[start] = top
    return found


def _property(name: str | None) -> pl.Expr:
    if name is None:
        return pl.lit(None, pl.String)
    value = pl.col("properties").str.json_path_match(f"$.{name}")
    return pl.when(value != "").then(value)


def first_companies(associations: pl.DataFrame, ignored_labels: Sequence[str]) -> pl.DataFrame:
    """from_id, to_id, is_primary: the primary company of each record, else its first."""
    counts = pl.col("labels").list.len() == 0
    if ignored_labels:
        named = pl.col("labels").list.eval(pl.element().str.to_lowercase().is_in(list(ignored_labels)))
        counts = counts | ~named.list.all()
    else:
        counts = pl.lit(True)
    return (
        associations.filter(pl.col("valid_to").is_null() & (counts | pl.col("is_primary")))
        .sort(pl.col("is_primary").not_(), "position", "to_id")
        .group_by("from_id", maintain_order=True)
        .agg(to_id=pl.col("to_id").first(), is_primary=pl.col("is_primary").first())
    )


def deal_accounts(
    deals: pl.DataFrame,
    associations: pl.DataFrame,
    companies: dict[int, int],
    history: pl.DataFrame | None = None,
    ignored_labels: Sequence[str] = (),
) -> pl.DataFrame:
    """identity.deal_account rows: the primary company, else the newest of the primary company's history, else the
    first associated one, else the deal itself.

    Args:
        deals: raw.deal rows of live deals.
        associations: open raw.association rows deals -> companies.
        companies: company id -> the company that is its account now (absorbed and rolled-up ones only).
        history: raw.property_history of `hs_primary_associated_company` for these deals, where HubSpot returns it.
        ignored_labels: associations with these labels only make no account.
    """
    first = first_companies(associations, ignored_labels)
    newest = pl.DataFrame(schema={"id": pl.Int64, "_newest": pl.Int64})
    if history is not None and history.height:
        newest = (
            history.sort("object_id", "timestamp", "ordinal")
            .group_by("object_id", maintain_order=True)
            .agg(_newest=pl.col("value").last())
            .select(id="object_id", _newest=pl.col("_newest").cast(pl.Int64, strict=False))
        )
    rows = deals.join(first, left_on="id", right_on="from_id", how="left").join(newest, on="id", how="left")
    by_history = pl.col("_newest").is_not_null() & ~pl.col("is_primary").fill_null(False)
    company = pl.when(by_history).then("_newest").otherwise("to_id")
    return rows.select(
        deal_id="id",
        account_id=pl.when(company.is_not_null())
        .then(pl.format("company:{}", survivors(company, companies)))
        .otherwise(pl.format(identifiers.DEAL_ACCOUNT + "{}", "id")),
        basis=pl.when(pl.col("is_primary").fill_null(False))
        .then(pl.lit("primary"))
        .when(by_history)
        .then(pl.lit("history"))
        .when(pl.col("to_id").is_not_null())
        .then(pl.lit("first_association"))
        .otherwise(pl.lit("own")),
    )
