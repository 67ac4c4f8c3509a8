"""identity.click and identity.email_click: whose click it was, and which of them count.

Each hour looks at new clicks, at those a new submission or person may name, at their neighbours in time, and at the
pending ones, which wait 72 hours at most."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.identity.click_scope import scope
from crm_attribution.identity.lookups import contacts_by_email, persons_of
from crm_attribution.identity.rules import clicks as rules_of_clicks
from crm_attribution.identity.rules.email_clicks import KEY, settle
from crm_attribution.mapping import Rules
from crm_attribution.raw.rules.bot_clicks import email_bot_clicks, link_bot_clicks
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session


def update(session: Session, changes: Changes, rules: Rules, as_of: datetime) -> Report:
    """Resolve what can be resolved by `as_of`, the end of the run's window, and separate people from bots."""
    with scope(session, changes, rules.clicks):
        written = _settle(session, rules, as_of)
    counted = session.query(
        "SELECT status || ': ' || reason AS name, status <> 'resolved' AS open, count(*) AS n FROM identity.click"
        " GROUP BY ALL UNION ALL SELECT 'e-mail ' || status || ': ' || reason, status <> 'resolved', count(*)"
        " FROM identity.email_click GROUP BY ALL ORDER BY name"
    )
    session.state.click_figures = {f"clicks {name}": n for name, still_open, n in counted.iter_rows() if still_open}
    figures = dict(counted.select("name", "n").iter_rows())
    return Report(rows=session.scalar("SELECT count(*) FROM identity.click"), changed=written, figures=figures)


def _settle(session: Session, rules: Rules, as_of: datetime) -> int:
    """Write the answers of the open scope. Returns how many rows came."""
    written_links, written_mails = session.query("FROM written_link"), session.query("FROM written_mail")
    if written_links.is_empty() and written_mails.is_empty():
        return 0
    links = link_bot_clicks(session.read_keys("raw.link_click", session.query("FROM read_link")), rules.clicks)
    answers = _resolve(session, links, rules, as_of)
    mails = session.read_keys("raw.email_click", session.query("FROM read_mail"))
    emails = email_bot_clicks(mails.rename({"recipient_normalised": "address"}), rules.clicks)
    emails = emails.join(_recipients(session, emails["address"]), on="address", how="left", maintain_order="left")
    named = links.join(answers.select("click_id", "person_id"), on="click_id", how="left", maintain_order="left")
    bots, email_answers = settle(named, emails, rules.clicks)
    links_written = rules_of_clicks.withheld(answers, bots).join(written_links, on="click_id", how="semi")
    by_link = session["identity.click"].replace(links_written, written_links)
    by_email = session["identity.email_click"].replace(
        email_answers.join(written_mails, on=KEY, how="semi"), written_mails
    )
    return by_link.filter("_came").height + by_email.filter("_came").height


def _resolve(session: Session, clicks: pl.DataFrame, rules: Rules, as_of: datetime) -> pl.DataFrame:
    shared = rules_of_clicks.FORM_CLICK_IDS
    ids = [clicks.select(k="click_id"), *(clicks.select(k=name) for name in shared)]
    submissions = session.query(
        "SELECT * FROM raw.form_submission WHERE link_click_id IN (SELECT k FROM ids) OR "
        + " OR ".join(f"{name} IN (SELECT k FROM ids)" for name in shared),
        ids=pl.concat(ids).drop_nulls().unique(),
    )
    by_email = contacts_by_email(session, submissions["email_normalised"])
    persons = persons_of(session, pl.concat([clicks["contact_id"], by_email["contact_id"]]))
    return rules_of_clicks.resolve(clicks, submissions, by_email, persons, rules.identity, as_of)


def _recipients(session: Session, addresses: pl.Series) -> pl.DataFrame:
    """address, person_id and representative of each address that names a person: by the contact that has it, as a form
    submission is read, a role mailbox of one contact included; else the person known by it, with the person's contact.
    """
    wanted = addresses.drop_nulls()
    named = contacts_by_email(session, wanted)
    persons = persons_of(session, named["contact_id"]).unique("contact_id")
    of_contact = named.join(persons, on="contact_id", how="inner", maintain_order="left").select(
        "person_id", address="email", representative="contact_id"
    )
    of_person = session.query(
        "SELECT a.identifier AS address, a.person_id, p.contact_id AS representative FROM identity.alias a"
        " SEMI JOIN addresses ON a.identifier = addresses.address JOIN identity.person p USING (person_id)"
        " WHERE a.identifier_type = 'email'",
        addresses=ids_frame("address", wanted),
    ).join(of_contact, on="address", how="anti")
    return pl.concat([of_contact, of_person], how="diagonal")
