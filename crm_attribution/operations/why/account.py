"""Why an account is what it is: its companies and domains, who belongs to it, its deals and milestones."""

from __future__ import annotations

from typing import Any

import polars as pl

from crm_attribution import identifiers
from crm_attribution.errors import NotKnown
from crm_attribution.identity.accounts import live_accounts
from crm_attribution.operations.why.brief import merged_into, milestone_line, since_when
from crm_attribution.operations.why.tree import Context, Node
from crm_attribution.raw.merges import survivors_of
from crm_attribution.warehouse.frames import ids_frame, records_frame

Row = dict[str, Any]

_OBJECTS = {"deal": "deals", "company": "companies"}
_WHY = {
    "company_merge": "HubSpot merged it into the company",
    "company_domain": "the company alone has this domain",
    "parent": "accounts.rollup counts it to its parent",
}


def explain(context: Context, asked: str) -> Node | None:
    """The tree of an account, found by its id or by one that leads to it."""
    account_id, path = _followed(context, asked)
    known = context.session.read_keys("identity.account", ids_frame("account_id", [account_id]))
    deals = context.session.read_keys("identity.deal_account", ids_frame("account_id", [account_id]))
    if known.is_empty() and deals.is_empty():
        kind, _, value = account_id.partition(":")
        record = identifiers.record_id(value) if kind in _OBJECTS else None
        if record is not None and (waits := since_when(context, _OBJECTS[kind], record)):
            raise NotKnown(f"{account_id} is in quarantine since {waits}; no version of it is stored")
        return None
    row: Row = known.row(0, named=True) if known.height else {}
    facts = {
        "account_id": account_id,
        "asked_for": asked if asked != account_id else None,
        "leads_here_by": path or None,
        "name": row.get("name"),
        "domain": row.get("domain"),
        "business_domain": row.get("business_domain"),
        "shares_domain": row.get("shares_domain"),
        "parent": row.get("parent_account_id"),
        "owner": row.get("owner_id"),
        "target_account": row.get("target_account"),
        "tier": row.get("tier"),
    }
    children = [
        *_companies(context, account_id),
        *_domains(context, account_id),
        *_neighbours(context, account_id, row.get("business_domain")),
        *_children(context, account_id),
        *_members(context, account_id),
        *_deals(context, deals),
        *_milestones(context, account_id),
    ]
    return context.node(f"account {account_id}", facts, children)


def _followed(context: Context, asked: str) -> tuple[str, list[str]]:
    """The account an id leads to, and the rules that lead there."""
    kind, _, value = asked.partition(":")
    if kind == "domain":
        asked = f"domain:{identifiers.normalise_domain(value) or value.lower()}"
    path: list[str] = []
    objects = _OBJECTS.get(kind)
    record = identifiers.record_id(value) if objects else None
    live = record
    if objects and record is not None:
        live = survivors_of(context.session, objects, [record]).get(record, record)
    if live != record:
        path.append(f"raw.merge:{objects}:{value}")
        asked = f"{kind}:{live}"
    if kind == "deal" and live is not None:
        held = context.session.read_keys("identity.deal_account", records_frame("deal_id", [live]))
        if held.height:
            account, basis = held.select("account_id", "basis").row(0)
            return account, [*path, *([f"identity.deal_account:{live}: {basis}"] if account != asked else [])]
    seen = {asked}
    while (home := live_accounts(context.session, [asked])[asked]) not in seen:
        alias = context.session.read_keys("identity.account_alias", ids_frame("alias_id", [asked]))
        path.append(f"identity.account_alias:{asked}: {alias['rule'][0]}")
        seen.add(home)
        asked = home
    return asked, path


def _aliases(context: Context, account_id: str) -> pl.DataFrame:
    rows = context.session.read_keys("identity.account_alias", ids_frame("account_id", [account_id]))
    return rows.sort("rule", "alias_id")


def _companies(context: Context, account_id: str) -> list[Node]:
    """The company itself, and those that were merged or rolled up into it."""
    if not account_id.startswith("company:"):
        return []
    alias = _aliases(context, account_id).filter(pl.col("rule") != "company_domain")
    rules = {int(a.removeprefix("company:")): rule for a, rule in alias.select("alias_id", "rule").iter_rows()}
    own = identifiers.record_id(account_id.removeprefix("company:"))
    if own is None:
        return []
    absorbed = {
        row["absorbed_id"]: row for row in merged_into(context, "companies", {own, *rules}).iter_rows(named=True)
    }
    rules |= dict.fromkeys(absorbed, "company_merge")
    ids = [own, *sorted(rules)]
    records = context.session.read_keys("raw.company", records_frame("id", ids))
    known = {row["id"]: row for row in records.iter_rows(named=True)}

    def line(company: int) -> Node:
        record, merge = known.get(company, {}), absorbed.get(company)
        facts: Row = {
            "name": record.get("name"),
            "domain": record.get("domain"),
            "created": record.get("created_at"),
            "archived": True if record.get("archived") and merge is None else None,
            "in_quarantine_since": since_when(context, "companies", company),
            "source": f"raw.company:{company}" if record else None,
        }
        if company in rules:
            facts |= {"rule": rules[company], "why": _WHY[rules[company]]}
        if merge is not None:
            facts |= {
                "into": f"company:{merge['survivor_id']}",
                "at": merge["merged_at"],
                "learned_from": merge["source"],
                "source": f"raw.merge:companies:{company}",
            }
        return context.node(f"company:{company}", facts)

    return context.several("companies", ids, line)


def _domains(context: Context, account_id: str) -> list[Node]:
    alias = _aliases(context, account_id).filter(pl.col("rule") == "company_domain")
    return context.several(
        "domains that lead to it",
        alias["alias_id"].to_list(),
        lambda domain: context.node(domain, {"rule": "company_domain", "why": _WHY["company_domain"]}),
    )


def _neighbours(context: Context, account_id: str, domain: str | None) -> list[Node]:
    """Other companies with the same domain: reported, never joined."""
    if domain is None or not account_id.startswith("company:"):
        return []
    rows = context.session.read_keys("identity.account", ids_frame("business_domain", [domain]))
    others = rows.filter((pl.col("account_id") != account_id) & pl.col("company_id").is_not_null()).sort("account_id")
    return context.several(
        "companies with the same domain: not joined",
        others.rows(named=True),
        lambda row: context.node(row["account_id"], {"name": row["name"], "domain": row["domain"]}),
    )


def _children(context: Context, account_id: str) -> list[Node]:
    rows = context.session.read_keys("identity.account", ids_frame("parent_account_id", [account_id])).sort(
        "account_id"
    )
    return context.several(
        "child companies", rows.rows(named=True), lambda row: context.node(row["account_id"], {"name": row["name"]})
    )


def _members(context: Context, account_id: str) -> list[Node]:
    rows = context.session.read_keys("identity.membership", ids_frame("account_id", [account_id]))
    rows = rows.sort(pl.col("valid_to").is_not_null(), "valid_from", "person_id")
    return context.several(
        "memberships",
        rows.rows(named=True),
        lambda row: context.node(
            row["person_id"],
            {
                "by": f"contact:{row['contact_id']}",
                "from": row["valid_from"],
                "to": row["valid_to"],
                "basis": row["basis"],
            },
        ),
        persons=rows["person_id"].n_unique(),
        now=rows["valid_to"].null_count(),
    )


def _deals(context: Context, deals: pl.DataFrame) -> list[Node]:
    ids = deals.sort("deal_id").rows(named=True)
    records = context.session.read_keys("raw.deal", deals.select(id="deal_id"))
    known = {row["id"]: row for row in records.iter_rows(named=True)}

    def line(row: Row) -> Node:
        record = known.get(row["deal_id"], {})
        facts = {
            "name": record.get("dealname"),
            "basis": row["basis"],
            "stage": record.get("dealstage"),
            "pipeline": record.get("pipeline"),
            "amount": record.get("amount"),
            "currency": record.get("currency"),
            "archived": record.get("archived") or None,
            "in_quarantine_since": since_when(context, "deals", row["deal_id"]),
            "source": f"raw.deal:{row['deal_id']}",
        }
        return context.node(f"deal:{row['deal_id']}", facts)

    return context.several("deals", ids, line)


def _milestones(context: Context, account_id: str) -> list[Node]:
    rows = context.session.read_keys("events.milestone", ids_frame("account_id", [account_id]))
    return context.several(
        "milestones",
        rows.sort("occurred_at", "milestone", "milestone_id").rows(named=True),
        lambda row: milestone_line(context, row, person=row["person_id"]),
    )
