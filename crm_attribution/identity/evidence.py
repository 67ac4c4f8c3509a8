"""Changed raw rows that the identity graph reads again, and the edges that follow from them.

Edges have owners: a contact, the contact id of a link, the e-mail of a form. Those of a changed contact or link are
derived again from all its rows; a new submission is added to what its e-mail already shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from crm_attribution.contracts import topics
from crm_attribution.contracts.topics import FORM_SUBMISSION
from crm_attribution.identity.rules import edges as rules_of_edges
from crm_attribution.mapping import Identity, Rules
from crm_attribution.raw.merges import survivors_of
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.session import Session


@dataclass(frozen=True)
class Evidence:
    """Edges of what changed.

    Attributes:
        fresh: the edges that hold now.
        old: the edges that held before, of the same owners or pairs.
        erased: contacts whose raw row has gone.
        contacts: contacts that changed, those they were merged into included.
    """

    fresh: pl.DataFrame
    old: pl.DataFrame
    erased: set[int]
    contacts: set[int]


def everything(session: Session, rules: Rules) -> Evidence:
    """All edges, from all of raw."""
    ids = session.query("SELECT id FROM raw.contact")
    named = session.query("SELECT DISTINCT link_click_id FROM raw.form_submission WHERE link_click_id IS NOT NULL")
    clicks = session.read("raw.link_click", "contact_id IS NOT NULL AND NOT is_bot")
    fresh = rules_of_edges.combined(
        pl.concat(
            [
                _of_contacts(session, ids, rules.identity),
                rules_of_edges.link_edges(clicks, named["link_click_id"]),
                rules_of_edges.form_edges(session.read("raw.form_submission")),
                rules_of_edges.manual_edges(rules.identity),
            ]
        )
    )
    erased = session.query(
        "SELECT TRY_CAST(identifier AS BIGINT) AS id FROM identity.alias WHERE identifier_type = 'contact'"
        " AND identifier NOT IN (SELECT id::VARCHAR FROM raw.contact"
        " UNION SELECT absorbed_id::VARCHAR FROM raw.merge WHERE object_type = 'contacts')"
    )["id"]
    return Evidence(fresh, session.read("identity.edge", "false"), set(erased.drop_nulls()), set(ids["id"]))


def of_changes(session: Session, changes: Changes, rules: Rules) -> Evidence:
    """Edges of the changed contacts, links and submissions."""
    dirty = set(changes.ids(topics.CONTACTS))
    dirty |= set(survivors_of(session, "contacts", dirty).values())
    ids = records_frame("id", dirty)
    held = session.read_keys("raw.contact", ids)["id"]
    before = session.read_keys(
        "identity.edge", ids.select(node_type=pl.lit("contact"), node=pl.col("id").cast(pl.String))
    )
    erased = (dirty - set(held)) & set(before.filter(pl.col("rule") == "self")["contact_id"])
    theirs = pl.col("node").is_in(list(map(str, erased)))
    lost = before.filter(theirs & (pl.col("identifier_type") == "email"))["identifier"]

    submissions = session.read_keys("raw.form_submission", changes.frame(FORM_SUBMISSION))
    clicks = {*changes.of(topics.LINK_CLICK), *submissions["link_click_id"].drop_nulls()}
    links, old_links = _of_links(session, clicks, dirty - set(held))  # of an erased contact no click may be left
    forms, old_forms = _of_forms(session, submissions, lost)
    fresh = pl.concat([_of_contacts(session, ids, rules.identity), links, forms])
    old = pl.concat([before, old_links, old_forms])
    included = _included(rules, pl.concat([fresh, old.select(rules_of_edges.COLUMNS)]))
    return Evidence(rules_of_edges.combined(pl.concat([fresh, included])), old, erased, dirty)


def _of_contacts(session: Session, ids: pl.DataFrame, rules: Identity) -> pl.DataFrame:
    contacts = pl.lit("contacts").alias("object_type")
    tracked = pl.DataFrame({"property": ["email", *rules.click_id_properties]})
    history = session.read_keys("raw.property_history", ids.select(contacts, object_id="id").join(tracked, how="cross"))
    merges = session.read_keys("raw.merge", ids.select(contacts, survivor_id="id"))
    return rules_of_edges.contact_edges(session.read_keys("raw.contact", ids), history, merges, rules)


def _of_links(session: Session, clicks: set[str], contacts: set[int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Edges of links to the contacts these clicks name, and to some more: those they imply now, those stored."""
    changed = session.read_keys("raw.link_click", ids_frame("click_id", clicks))["contact_id"].drop_nulls()
    owners = records_frame("contact_id", {*changed, *contacts})
    rows = session.read_keys("raw.link_click", owners).filter(~pl.col("is_bot"))
    named = session.query(
        "SELECT DISTINCT link_click_id FROM raw.form_submission SEMI JOIN ids USING (link_click_id)",
        ids=rows.select(link_click_id="click_id"),
    )["link_click_id"]
    old = session.read_keys(
        "identity.edge", owners.select(node_type=pl.lit("link_contact"), node=pl.col("contact_id").cast(pl.String))
    )
    return rules_of_edges.link_edges(rows, named), old


def _of_forms(session: Session, submissions: pl.DataFrame, lost: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    new = rules_of_edges.form_edges(submissions)
    same = session.read_keys("identity.edge", new.select(rules_of_edges.KEY))
    if not len(lost):
        return rules_of_edges.combined(pl.concat([new, same.select(rules_of_edges.COLUMNS)])), same
    owned = session.read_keys("identity.edge", ids_frame("node", lost).with_columns(node_type=pl.lit("email")))
    left = session.query(
        "SELECT * FROM raw.form_submission WHERE email_normalised IN (SELECT address FROM lost)",
        lost=ids_frame("address", lost),
    )
    kept = same.join(owned, on=rules_of_edges.KEY, how="anti")
    derived = [new, rules_of_edges.form_edges(left), kept.select(rules_of_edges.COLUMNS)]
    return rules_of_edges.combined(pl.concat(derived)), pl.concat([kept, owned])


def _included(rules: Rules, touched: pl.DataFrame) -> pl.DataFrame:
    """Manual edges between pairs that are also edges of what changed: they stay the stronger of the two."""
    manual = rules_of_edges.manual_edges(rules.identity)
    return manual.join(touched.select(rules_of_edges.KEY), on=rules_of_edges.KEY, how="semi")
