"""Memberships: which account a person belongs to from when to when, by each of its contacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from crm_attribution.identity.rules.accounts import first_companies
from crm_attribution.identity.rules.domains import of_emails
from crm_attribution.mapping import Accounts as Rules
from crm_attribution.raw.rules.merges import survivors

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

TIMESTAMP = pl.Datetime("us", "UTC")


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
    rows = _by_company(contacts, history, first_companies(associations, ignored_labels), companies)
    if domains is not None:
        homeless = contacts.join(rows.drop_nulls("account_id"), left_on="id", right_on="contact_id", how="anti")
        rows = pl.concat([rows, _by_domain(homeless, history, domains)])
    return (
        _until_merged(_ended(rows), merges)
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


def _by_company(
    contacts: pl.DataFrame, history: pl.DataFrame, first: pl.DataFrame, companies: dict[int, int]
) -> pl.DataFrame:
    """Starts of spans by companies: those of the history, else the current company from the beginning; null for none.

    Args:
        contacts: raw.contact rows.
        history: raw.property_history rows of these contacts.
        first: as `first_companies` returns it.
        companies: company id -> the company that is its account now.
    """
    employer = history.filter(pl.col("property") == "associatedcompanyid")
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
    company = survivors(pl.col("value").cast(pl.Int64, strict=False), companies)
    return pl.concat([current, _spans(employer, pl.format("company:{}", company), "history")])


def _ended(starts: pl.DataFrame) -> pl.DataFrame:
    """Add `valid_to`: a span ends where the contact's next one with another account begins."""
    return (
        starts.sort("contact_id", "valid_from", maintain_order=True)
        .with_columns(_last=pl.col("account_id").shift(1).over("contact_id"))
        .filter((pl.col("account_id").ne_missing(pl.col("_last"))) | (pl.col("valid_from") == BEGINNING))
        .with_columns(valid_to=pl.col("valid_from").shift(-1).over("contact_id"))
        .drop_nulls("account_id")
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
    """Spans of contacts that never had a company, by the domains of their e-mails."""
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
    """What names the account of an e-mail.

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
