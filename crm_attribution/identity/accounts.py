"""Accounts, and who belongs to them when: what follows from changed companies, deals and persons."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from crm_attribution.contracts import topics
from crm_attribution.identifiers import DEAL_ACCOUNT
from crm_attribution.identity.rules import accounts as rules_of_accounts
from crm_attribution.identity.rules import memberships as rules_of_memberships
from crm_attribution.identity.rules.company_domains import company_domains
from crm_attribution.identity.rules.domains import of_emails
from crm_attribution.identity.rules.memberships import Domains
from crm_attribution.mapping import Rules
from crm_attribution.raw.merges import survivors_of
from crm_attribution.raw.rules.merges import survivors
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.session import Session

ACCOUNT, ALIAS, MEMBERSHIP = "identity.account", "identity.account_alias", "identity.membership"
DOMAIN = "identity.account_domain"


def update(session: Session, changes: Changes, rules: Rules) -> set[str]:
    """Accounts, their aliases and the deals' accounts. Returns persons whose memberships must be looked at again."""
    companies = _companies(session, changes, rules)
    survivor = survivors_of(session, "companies", companies)
    records = session.read_keys("raw.company", records_frame("id", companies))
    frame = rules_of_accounts.accounts(
        records, set(survivor), rules.values.target_account_property, rules.accounts
    ).with_columns(parent_account_id=_parent(session, records, survivor, rules))
    keys = ids_frame("account_id", [f"company:{company}" for company in companies])
    domains = _domains(session, companies, survivor, keys, rules)
    found_rows, keys = _with_sharing(session, frame, domains, keys)
    session[ACCOUNT].replace(found_rows, keys)
    changed_alias = _company_aliases(session, companies, survivor, rules)
    changed_alias |= _domain_aliases(session, domains, rules)
    if changes.everything:
        changed_alias |= _drop_stale_aliases(session, companies, domains)
    held = ids_frame("account_id", {*keys["account_id"], *changed_alias})
    deals = {*_changed_deals(session, changes), *session.read_keys("identity.deal_account", held)["deal_id"]}
    _deal_accounts(session, deals, rules)
    return set(session.read_keys(MEMBERSHIP, held)["person_id"])


def homes_of(session: Session, companies: Iterable[int], rules: Rules) -> dict[int, int]:
    """company id -> the company that is its account, for those of some companies that are not their own.

    Merges are followed, and with `accounts.rollup: parent` the parents.
    """
    asked = set(companies)
    survivor = survivors_of(session, "companies", asked)
    if rules.accounts.rollup == "none":
        return survivor
    live = asked - survivor.keys() | set(survivor.values())
    parent: dict[int, int] = {}
    look = set(live)
    while look:
        known = session.read_keys(ACCOUNT, records_frame("company_id", look)).drop_nulls("parent_account_id")
        above = dict(known.select("company_id", company_of(pl.col("parent_account_id"))).iter_rows())
        parent |= above
        look = set(above.values()) - parent.keys()
    top = rules_of_accounts.tops(parent)
    absorbed = {company: top.get(home, home) for company, home in survivor.items()}
    return absorbed | {company: top[company] for company in live if company in top}


def company_of(account_id: pl.Expr) -> pl.Expr:
    """The company id in `company:<id>`; null for another kind of account."""
    return account_id.str.extract(r"^company:(\d+)$").cast(pl.Int64)


def live_accounts(session: Session, account_ids: Iterable[str]) -> dict[str, str]:
    """Each account id ever published -> the account that holds it now: itself, or where its alias leads."""
    asked = set(account_ids)
    rows = session.read_keys(ALIAS, ids_frame("alias_id", asked))
    leads = dict(rows.select("alias_id", "account_id").iter_rows())
    return {account: leads.get(account, account) for account in asked}


def domains_of(session: Session, emails: pl.Series, rules: Rules) -> Domains:
    """What names the account of each of some e-mails: the one company that has its domain."""
    names = of_emails(emails, rules.accounts).drop_nulls()
    rows = session.read_keys(ALIAS, ids_frame("alias_id", [f"domain:{name}" for name in names]))
    held = {alias.removeprefix("domain:"): account for alias, account in rows.select("alias_id", "account_id").rows()}
    return Domains(held, rules.accounts)


def memberships(session: Session, changes: Changes, persons: set[str], rules: Rules) -> set[str]:
    """Memberships of some persons and of the changed contacts'. Returns the persons whose memberships changed."""
    if changes.everything:
        persons = set(session.query("SELECT person_id FROM identity.person")["person_id"])
    contacts = ids_frame("identifier", changes.of(topics.CONTACTS)).with_columns(identifier_type=pl.lit("contact"))
    scope = ids_frame("person_id", {*persons, *session.read_keys("identity.alias", contacts)["person_id"]})
    if scope.is_empty():
        return set()
    alias = session.read_keys("identity.alias", scope).filter(pl.col("identifier_type") == "contact")
    alias = alias.select("person_id", contact_id=pl.col("identifier").cast(pl.Int64, strict=False)).drop_nulls()
    frame = _memberships(session, alias, rules)
    before = session.read_keys(MEMBERSHIP, scope)["account_id"]
    changed = session[MEMBERSHIP].replace(frame, scope)
    _domain_accounts(session, {*before, *frame["account_id"]}, changes.everything)
    return set(changed["person_id"])


def _memberships(session: Session, alias: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    ids, contacts = alias.select(id="contact_id"), pl.lit("contacts").alias("object_type")
    properties = pl.DataFrame({"property": ["associatedcompanyid", "email"]})
    history = session.read_keys(
        "raw.property_history", ids.select(contacts, object_id="id").join(properties, how="cross")
    )
    associations = session.read_keys(
        "raw.association", ids.select(pl.lit("contacts").alias("from_type"), from_id="id", to_type=pl.lit("companies"))
    )
    records = session.read_keys("raw.contact", ids)
    employer = pl.col("property") == "associatedcompanyid"
    companies = pl.concat(
        [
            history.filter(employer)["value"].cast(pl.Int64, strict=False),
            associations["to_id"],
            records["associatedcompanyid"],
        ]
    ).drop_nulls()
    emails = pl.concat([history.filter(~employer)["value"], records["email"]])
    return rules_of_memberships.memberships(
        records,
        history,
        associations,
        dict(alias.select("contact_id", "person_id").iter_rows()),
        homes_of(session, companies, rules),
        domains_of(session, emails, rules),
        rules.accounts.ignored_labels,
        session.read_keys("raw.merge", ids.select(contacts, absorbed_id="id")),
    )


# --- companies


def _companies(session: Session, changes: Changes, rules: Rules) -> list[int]:
    """The changed companies, those they were merged into, and where accounts roll up, everything below them."""
    if changes.everything:
        return session.query("SELECT id FROM raw.company ORDER BY id")["id"].to_list()
    found = set(changes.ids(topics.COMPANIES))
    family = records_frame("from_id", found).with_columns(from_type=pl.lit("companies"), to_type=pl.lit("companies"))
    found |= set(session.read_keys("raw.association", family)["to_id"])
    found |= set(survivors_of(session, "companies", found).values())
    below = set(found) if rules.accounts.rollup == "parent" else set()
    while below:
        parents = ids_frame("parent_account_id", [f"company:{company}" for company in below])
        below = set(session.read_keys(ACCOUNT, parents)["company_id"].drop_nulls()) - found
        found |= below
    return sorted(found)


def _parents(session: Session, records: pl.DataFrame, rules: Rules) -> dict[int, int]:
    if records.is_empty():
        return {}
    both = {"from_type": pl.lit("companies"), "to_type": pl.lit("companies")}
    links = pl.concat(
        [
            session.read_keys("raw.association", records.select(**both, from_id="id")),
            session.read_keys("raw.association", records.select(**both, to_id="id")),
        ]
    ).unique(maintain_order=True)
    named = rules_of_accounts.parents(records, links, {}, rules.accounts)
    survivor = survivors_of(session, "companies", {*named, *named.values()})
    found = rules_of_accounts.parents(records, links, survivor, rules.accounts)
    return {child: parent for child, parent in found.items() if child in set(records["id"])}


def _parent(session: Session, records: pl.DataFrame, survivor: dict[int, int], rules: Rules) -> pl.Series:
    live = records.filter(~pl.col("id").is_in(list(survivor)))
    above = {child: f"company:{parent}" for child, parent in _parents(session, live, rules).items()}
    return live["id"].replace_strict(above, default=None, return_dtype=pl.String).alias("parent_account_id")


def _domains(
    session: Session, companies: list[int], survivor: dict[int, int], keys: pl.DataFrame, rules: Rules
) -> set[str]:
    """Bring identity.account_domain up to date for some companies. Returns the domains they had and have."""
    live = records_frame("survivor_id", set(companies) - survivor.keys()).with_columns(object_type=pl.lit("companies"))
    absorbed = dict(session.read_keys("raw.merge", live).select("absorbed_id", "survivor_id").iter_rows())
    records = session.read_keys("raw.company", records_frame("id", {*live["survivor_id"], *absorbed}))
    before = session.read_keys(DOMAIN, keys)["business_domain"]
    frame = company_domains(records, absorbed, rules.accounts)
    session[DOMAIN].replace(frame, keys)
    return {*before, *frame["business_domain"]}


def _with_sharing(
    session: Session, frame: pl.DataFrame, domains: set[str], keys: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The accounts with those that have one of these domains too, each marked where it shares any; and their ids."""
    held = session.read_keys(DOMAIN, ids_frame("business_domain", domains)).select("account_id").unique()
    others = session.read_keys(ACCOUNT, held).join(keys, on="account_id", how="anti")
    rows = pl.concat([frame, others], how="diagonal_relaxed")
    theirs = session.read_keys(DOMAIN, rows.select("account_id")).select("business_domain").unique()
    holders = session.read_keys(DOMAIN, theirs).with_columns(_shared=pl.len().over("business_domain") > 1)
    sharing = holders.filter("_shared")["account_id"].unique()
    shown = rows.with_columns(shares_domain=pl.col("account_id").is_in(sharing.implode()))
    return shown, pl.concat([keys, others.select("account_id")])


def _domain_aliases(session: Session, domains: set[str], rules: Rules) -> set[str]:
    """A domain that exactly one live company has leads to it. Returns both ends of the aliases that changed."""
    holders = session.read_keys(DOMAIN, ids_frame("business_domain", domains))
    alone = holders.filter(pl.len().over("business_domain") == 1).with_columns(
        company_id=company_of(pl.col("account_id"))
    )
    homes = homes_of(session, alone["company_id"], rules)
    rows = alone.select(
        alias_id=pl.lit("domain:") + pl.col("business_domain"),
        account_id=pl.format("company:{}", survivors(pl.col("company_id"), homes)),
        rule=pl.lit("company_domain"),
    )
    changed = session[ALIAS].replace(rows, ids_frame("alias_id", [f"domain:{domain}" for domain in domains]))
    return {*changed["alias_id"], *changed["account_id"]}


def _company_aliases(session: Session, companies: list[int], survivor: dict[int, int], rules: Rules) -> set[str]:
    """Absorbed and rolled-up companies lead to their account. Returns both ends of the aliases that changed."""
    homes = homes_of(session, companies, rules)
    rows = [
        {"alias_id": f"company:{company}", "account_id": f"company:{homes[company]}",
         "rule": "company_merge" if company in survivor else "parent"}
        for company in companies if company in homes
    ]  # fmt: skip
    schema = {"alias_id": pl.String, "account_id": pl.String, "rule": pl.String}
    scope = ids_frame("alias_id", [f"company:{company}" for company in companies])
    changed = session[ALIAS].replace(pl.DataFrame(rows, schema=schema), scope)
    return {*changed["alias_id"], *changed["account_id"]}


def _drop_stale_aliases(session: Session, companies: list[int], domains: set[str]) -> set[str]:
    """Remove aliases of accounts that are gone. Returns both ends of those that went."""
    known = ids_frame("alias_id", [*(f"company:{one}" for one in companies), *(f"domain:{one}" for one in domains)])
    stale = session.read(ALIAS).join(known, on="alias_id", how="anti")
    session[ALIAS].delete(stale.select("alias_id"))
    return {*stale["alias_id"], *stale["account_id"]}


def _domain_accounts(session: Session, accounts: set[str], everything: bool) -> None:
    """Accounts of business domains that have members."""
    names = ids_frame("account_id", [account for account in accounts if account.startswith("domain:")])
    used = session.read_keys(MEMBERSHIP, names).select("account_id").unique().sort("account_id")
    domain = pl.col("account_id").str.strip_prefix("domain:")
    rows = used.select("account_id", domain=domain, business_domain=domain)
    if everything:
        stale = session.query("SELECT account_id FROM identity.account WHERE starts_with(account_id, 'domain:')")
        names = pl.concat([names, stale]).unique()
    session[ACCOUNT].replace(rows, names)


# --- deals


def _changed_deals(session: Session, changes: Changes) -> list[int]:
    return session.query("SELECT id FROM raw.deal")["id"].to_list() if changes.everything else changes.ids(topics.DEALS)


def _deal_accounts(session: Session, deals: set[int], rules: Rules) -> None:
    """identity.deal_account of some deals, and an account for each that has no company."""
    gone = survivors_of(session, "deals", deals)
    live = records_frame("id", deals - gone.keys() | set(gone.values()))
    rows = session.read_keys("raw.deal", live)
    kind = pl.lit("deals")
    associations = session.read_keys(
        "raw.association", live.select(kind.alias("from_type"), from_id="id", to_type=pl.lit("companies"))
    )
    history = session.read_keys(
        "raw.property_history",
        live.select(kind.alias("object_type"), object_id="id", property=pl.lit("hs_primary_associated_company")),
    )
    companies = pl.concat([associations["to_id"], history["value"].cast(pl.Int64, strict=False)]).drop_nulls()
    frame = rules_of_accounts.deal_accounts(
        rows, associations, homes_of(session, companies, rules), history, rules.accounts.ignored_labels
    )
    scope = records_frame("deal_id", {*deals, *live["id"]})
    session["identity.deal_account"].replace(frame, scope)
    own = frame.filter(pl.col("basis") == "own").join(rows, left_on="deal_id", right_on="id")
    solitary = own.select("account_id", name="dealname", owner_id="hubspot_owner_id")
    session[ACCOUNT].replace(solitary, scope.select(account_id=pl.format(DEAL_ACCOUNT + "{}", "deal_id")))
