"""Accounts: companies, and which of them a person or a deal belongs to when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from crm_attribution import identifiers
from crm_attribution.identity.rules.domains import business, of_emails
from crm_attribution.mapping import Accounts as Rules
from crm_attribution.raw.rules.merges import survivors

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

TIMESTAMP = pl.Datetime("us", "UTC")

PARENT_TO_CHILD, CHILD_TO_PARENT = "13", "14"
"""Association types between companies: https://developers.hubspot.com/docs/api/crm/associations"""


def accounts(companies: pl.DataFrame, absorbed: set[int], target_property: str, rules: Rules) -> pl.DataFrame:
    """identity.account rows of live companies, without parents and what only several companies tell.

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
    told = companies.select(
        child="id", parent=_property(rules.parent_property).cast(pl.Int64, strict=False)
    ).drop_nulls()
    held = links.filter(pl.col("valid_to").is_null())
    up = held.filter(pl.col("type_ids").list.contains(CHILD_TO_PARENT)).select(child="from_id", parent="to_id")
    down = held.filter(pl.col("type_ids").list.contains(PARENT_TO_CHILD)).select(child="to_id", parent="from_id")
    rows = pl.concat([told, down.sort("child", "parent"), up.sort("child", "parent")])
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


def memberships(
    contacts: pl.DataFrame,
    history: pl.DataFrame,
    associations: pl.DataFrame,
    persons: dict[int, str],
    companies: dict[int, int],
    domains: Domains | None = None,
    ignored_labels: Sequence[str] = (),
    merges: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """identity.membership rows: contact, its person, account, from when to when.

    The history of `associatedcompanyid` decides, its earliest value reaching back to the beginning. A contact without
    that history belongs to its current company (the primary association, else the first) from the beginning. A
    contact that never had a company belongs to the account of its e-mail's business domain, by the e-mail's history.
    History that a merge copied from another contact is not the contact's own; a contact that was absorbed belonged to
    its own account until then.

    Args:
        contacts: raw.contact rows, those that were absorbed included.
        history: raw.property_history of `associatedcompanyid` and `email` for these contacts.
        associations: open raw.association rows contacts -> companies.
        persons: contact id -> person id.
        companies: company id -> the company that is its account now (absorbed and rolled-up ones only).
        domains: what names the account of an e-mail; None where e-mails shall name nothing.
        ignored_labels: associations with these labels only make no account.
        merges: raw.merge rows of these contacts, chains closed.
    """
    history = history if merges is None else own_rows(history, merges)
    employer = history.filter(pl.col("property") == "associatedcompanyid")
    first = _first(associations, ignored_labels)
    current = (
        contacts.join(employer.select(pl.col("object_id").alias("id")).unique(), on="id", how="anti")
        .join(first, left_on="id", right_on="from_id", how="left")
        .select(
            contact_id="id",
            account_id=pl.format("company:{}", survivors(pl.coalesce("associatedcompanyid", "to_id"), companies)),
            valid_from=pl.lit(BEGINNING, TIMESTAMP),
            basis=pl.lit("current"),
        )
    )
    told = _spans(
        employer,
        pl.format("company:{}", survivors(pl.col("value").cast(pl.Int64, strict=False), companies)),
        "history",
    )
    of_companies = pl.concat([current, told])
    homeless = contacts.join(of_companies.drop_nulls("account_id"), left_on="id", right_on="contact_id", how="anti")
    rows = of_companies if domains is None else pl.concat([of_companies, _by_domain(homeless, history, domains)])
    spans = (
        rows.sort("contact_id", "valid_from", maintain_order=True)
        .with_columns(_last=pl.col("account_id").shift(1).over("contact_id"))
        .filter((pl.col("account_id").ne_missing(pl.col("_last"))) | (pl.col("valid_from") == BEGINNING))
        .with_columns(valid_to=pl.col("valid_from").shift(-1).over("contact_id"))
        .drop_nulls("account_id")
    )
    return (
        _until_merged(spans, merges)
        .filter(pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("valid_from")))
        .select(
            person_id=pl.col("contact_id").replace_strict(persons, return_dtype=pl.String),
            account_id="account_id",
            contact_id="contact_id",
            valid_from="valid_from",
            valid_to="valid_to",
            basis="basis",
        )
        .unique(["contact_id", "valid_from"], keep="first", maintain_order=True)
    )


def own_rows(history: pl.DataFrame, merges: pl.DataFrame) -> pl.DataFrame:
    """History without what a merge copied: a value that a record of the same family had at the same moment, and that
    was read of that record before.

    Args:
        history: raw.property_history rows of one object type.
        merges: raw.merge rows of that type, chains closed.
    """
    head = dict(merges.select("absorbed_id", "survivor_id").iter_rows())
    fact = ["_head", "property", "timestamp", "value"]
    rows = history.with_columns(_head=survivors(pl.col("object_id"), head))
    first = pl.col("extracted_at").min().over(fact)
    return rows.filter(pl.col("extracted_at") == first).drop("_head")


def _until_merged(spans: pl.DataFrame, merges: pl.DataFrame | None) -> pl.DataFrame:
    """An absorbed contact's spans end when it was absorbed, where that is known."""
    if merges is None:
        return spans
    ends = merges.select(contact_id="absorbed_id", _merged="merged_at")
    until = pl.when(pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("_merged"))).then("_merged")
    return spans.join(ends, on="contact_id", how="left", maintain_order="left").with_columns(
        valid_to=pl.coalesce(until, "valid_to")
    )


def _spans(history: pl.DataFrame, account: pl.Expr, basis: str) -> pl.DataFrame:
    return history.sort("object_id", "timestamp", "ordinal").select(
        contact_id="object_id",
        account_id=account,
        valid_from=pl.when(pl.int_range(pl.len()).over("object_id") == 0)
        .then(pl.lit(BEGINNING, TIMESTAMP))
        .otherwise("timestamp"),
        basis=pl.lit(basis),
    )


def _by_domain(contacts: pl.DataFrame, history: pl.DataFrame, domains: Domains) -> pl.DataFrame:
    """Spans of contacts that never had a company, by what their e-mails tell."""
    written = history.filter(pl.col("property") == "email").join(
        contacts, left_on="object_id", right_on="id", how="semi"
    )
    past = written.with_columns(account=domains.accounts_of(written["value"]))
    present = contacts.join(past, left_on="id", right_on="object_id", how="anti")
    return pl.concat(
        [
            _spans(past, pl.col("account"), "domain"),
            present.select(
                contact_id="id",
                account_id=domains.accounts_of(present["email"]),
                valid_from=pl.lit(BEGINNING, TIMESTAMP),
                basis=pl.lit("domain"),
            ),
        ]
    )


@dataclass(frozen=True)
class Domains:
    """What tells the account of an e-mail.

    Attributes:
        held: business domain -> account id of the one live company that has it.
        rules: free-mail providers.
    """

    held: dict[str, str]
    rules: Rules

    def accounts_of(self, emails: pl.Series) -> pl.Series:
        """The account of each e-mail: its domain's company, else the domain itself; null for free mail."""
        names = of_emails(emails, self.rules)
        known = {name: self.held.get(name, f"domain:{name}") for name in names.unique().drop_nulls()}
        return names.replace_strict(known, default=None, return_dtype=pl.String)


def _first(associations: pl.DataFrame, ignored_labels: Sequence[str]) -> pl.DataFrame:
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
    first = _first(associations, ignored_labels)
    newest = pl.DataFrame(schema={"id": pl.Int64, "_told": pl.Int64})
    if history is not None and history.height:
        newest = (
            history.sort("object_id", "timestamp", "ordinal")
            .group_by("object_id", maintain_order=True)
            .agg(_told=pl.col("value").last())
            .select(id="object_id", _told=pl.col("_told").cast(pl.Int64, strict=False))
        )
    rows = deals.join(first, left_on="id", right_on="from_id", how="left").join(newest, on="id", how="left")
    by_history = pl.col("_told").is_not_null() & ~pl.col("is_primary").fill_null(False)
    company = pl.when(by_history).then("_told").otherwise("to_id")
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


def account_at(rows: pl.DataFrame, moment: str, membership: pl.DataFrame) -> pl.DataFrame:
    """Add the account that each row's contact belonged to at `moment`. Where the contact had none then (a private
    address, a record absorbed by another), the one account that its person had; null where there is none or several.

    Args:
        rows: has `person_id`, `contact_id`, the column named by `moment`, and no `account_id`.
        moment: name of a timestamp column.
        membership: identity.membership rows of these persons.
    """
    numbered = rows.with_row_index("_row")
    spans = membership.select("person_id", "contact_id", "account_id", "valid_from", "valid_to")
    held = (pl.col("valid_from") <= pl.col(moment)) & (
        pl.col("valid_to").is_null() | (pl.col(moment) < pl.col("valid_to"))
    )
    asked = numbered.select("_row", "person_id", "contact_id", moment)
    own = (
        asked.join(spans.drop("person_id"), on="contact_id")
        .filter(held)
        .unique("_row", keep="first")
        .select("_row", _own="account_id")
    )
    persons = (
        asked.join(own, on="_row", how="anti")
        .join(spans.drop("contact_id"), on="person_id")
        .filter(held)
        .group_by("_row")
        .agg(_persons=pl.col("account_id").unique())
        .filter(pl.col("_persons").list.len() == 1)
        .select("_row", pl.col("_persons").list.first())
    )
    return (
        numbered.join(own, on="_row", how="left", maintain_order="left")
        .join(persons, on="_row", how="left", maintain_order="left")
        .with_columns(account_id=pl.coalesce("_own", "_persons"))
        .drop("_row", "_own", "_persons")
    )
