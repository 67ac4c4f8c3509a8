"""Which events are internal or test traffic, by the mapping's rules."""

from __future__ import annotations

import re

import polars as pl

from crm_attribution.identifiers import record_ids
from crm_attribution.mapping import Rules
from crm_attribution.raw.merges import survivors_of
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session

ANYTHING = re.escape("*")


def suppressed(session: Session, rows: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Mark internal and test traffic with the rule that matches it."""
    ours = rules.suppression
    own: pl.Expr
    people: pl.Expr
    if "deal_id" in rows.columns:
        own = pl.when(pl.col("record_id").is_in(record_ids(ours.deal_ids))).then(pl.lit("deal_ids"))
        rows = rows.join(_internal_deals(session, rows["record_id"], rules), on="record_id", how="left")
        people = pl.when(pl.col("_internal")).then(pl.lit("deal_contacts"))
    else:
        rows = rows.join(
            internal_contacts(session, rows["contact_id"].drop_nulls(), rules).rename({"rule": "_rule"}),
            on="contact_id",
            how="left",
            maintain_order="left",
        )
        own, people = pl.col("_rule"), pl.lit(None, pl.String)
    company = (
        pl.when(pl.col("company_id").is_in(record_ids(ours.company_ids)))
        .then(pl.lit("company_ids"))
        .when(pl.col("company_domain").is_in(ours.domains))
        .then(pl.lit("company_domain"))
    )
    return rows.with_columns(suppressed_by=pl.coalesce(own, company, people)).drop("_rule", "_internal", strict=False)


def internal_contacts(session: Session, contacts: pl.Series, rules: Rules) -> pl.DataFrame:
    """contact_id, rule of those contacts the suppression rules name, by id, domain or address."""
    ours = rules.suppression
    if not (ours.contact_ids or ours.domains or ours.addresses):
        return pl.DataFrame(schema={"contact_id": pl.Int64, "rule": pl.String})
    rows = session.query(
        "SELECT id AS contact_id, coalesce(email_normalised, lower(email)) AS _email FROM raw.contact"
        " SEMI JOIN ids ON raw.contact.id = ids.contact_id",
        ids=records_frame("contact_id", contacts),
    )
    patterns = [f"^{re.escape(address).replace(ANYTHING, '.*')}$" for address in ours.addresses]
    tested = pl.any_horizontal(pl.lit(False), *(pl.col("_email").str.contains(pattern) for pattern in patterns))
    rule = (
        pl.when(pl.col("contact_id").is_in(record_ids(ours.contact_ids)))
        .then(pl.lit("contact_ids"))
        .when(pl.col("_email").str.split("@").list.last().is_in(ours.domains))
        .then(pl.lit("email_domain"))
        .when(tested)
        .then(pl.lit("test_address"))
    )
    return rows.select("contact_id", rule=rule).drop_nulls("rule")


def _internal_deals(session: Session, deals: pl.Series, rules: Rules) -> pl.DataFrame:
    """record_id, _internal of the deals all of whose contacts are internal or test ones."""
    joined = session.query(
        "SELECT from_id AS record_id, to_id AS contact_id FROM raw.association SEMI JOIN ids ON from_id = ids.record_id"
        " WHERE from_type = 'deals' AND to_type = 'contacts' AND valid_to IS NULL",
        ids=records_frame("record_id", deals),
    )
    live = survivors_of(session, "contacts", joined["contact_id"])
    joined = joined.with_columns(contact_id=pl.col("contact_id").replace(live) if live else pl.col("contact_id"))
    internal = internal_contacts(session, joined["contact_id"], rules)["contact_id"]
    return joined.group_by("record_id").agg(_internal=pl.col("contact_id").is_in(internal.implode()).all())


def deals_to_look_at(session: Session, contacts: pl.DataFrame, rules: Rules) -> set[int]:
    """Deals that become internal, or no longer are, because these contacts changed.

    Args:
        contacts: one column `contact_id`.
    """
    ours = rules.suppression
    if not (ours.contact_ids or ours.domains or ours.addresses) or contacts.is_empty():
        return set()
    near = session.query(
        "SELECT DISTINCT from_id AS record_id FROM raw.association SEMI JOIN ids ON to_id = ids.contact_id"
        " WHERE from_type = 'deals' AND to_type = 'contacts'",
        ids=contacts,
    )
    events = session.read_keys("events.event", near.with_columns(object_type=pl.lit("deals")))
    marked = set(events.filter(pl.col("suppressed_by") == "deal_contacts")["record_id"])
    internal = set(_internal_deals(session, near["record_id"], rules).filter("_internal")["record_id"])
    return marked ^ internal
