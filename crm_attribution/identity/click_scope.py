"""Which clicks an hour settles again: SQL steps in their order.

An answer depends on clicks of the same contact or person at most three rules away: an e-mail click is a duplicate of a
link click that counts, unless its nearest e-mail click belongs to a burst. So answers within three times the longest
rule of a change are written, and as much again around them is read. Each step is a temporary table built from those
above it (see `warehouse.steps`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from crm_attribution.contracts import topics
from crm_attribution.identity.lookups import CONTACT_ID
from crm_attribution.identity.rules.clicks import FORM_CLICK_IDS
from crm_attribution.mapping import Clicks
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.steps import steps

_NAMED_LINKS = "".join(
    f" UNION SELECT click_id FROM raw.link_click SEMI JOIN touched_form USING ({name})" for name in FORM_CLICK_IDS
)

TOUCHED = {
    "person_contact": f"""
        SELECT {CONTACT_ID} AS contact_id FROM identity.alias SEMI JOIN changed_person USING (person_id)
            WHERE identifier_type = 'contact'
    """,
    # e-mails of changed persons, and those whose contact or person is another
    "person_email": """
        SELECT identifier AS email FROM identity.edge SEMI JOIN person_contact USING (contact_id)
            WHERE identifier_type = 'email'
        UNION SELECT identifier FROM identity.node SEMI JOIN changed_node USING (node_id) WHERE node_type = 'email'
    """,
    "touched_form": f"""
        SELECT link_click_id AS click_id, {", ".join(FORM_CLICK_IDS)} FROM raw.form_submission AS form
            WHERE (form_id, conversion_id) IN (SELECT (form_id, conversion_id) FROM changed_form)
            OR form.email_normalised IN (SELECT email FROM person_email)
    """,
    # new link clicks, clicks of changed persons, and those a submission names
    "touched_click": f"""
        SELECT click_id FROM changed_link
        UNION SELECT click_id FROM identity.click SEMI JOIN changed_person USING (person_id)
        UNION SELECT click_id FROM raw.link_click SEMI JOIN person_contact USING (contact_id)
        UNION SELECT click_id FROM raw.link_click SEMI JOIN touched_form USING (click_id)
        {_NAMED_LINKS}
    """,
    "touched_link": """
        SELECT click_id, clicked_at FROM raw.link_click SEMI JOIN touched_click USING (click_id)
        UNION SELECT click_id, clicked_at FROM identity.click SEMI JOIN touched_click USING (click_id)
    """,
    # new e-mail clicks, and those whose recipient is or was a changed person
    "touched_mail": """
        SELECT created_at, id FROM raw.email_click SEMI JOIN changed_mail USING (id)
        UNION SELECT created_at, id FROM identity.email_click SEMI JOIN changed_mail USING (id)
        UNION SELECT created_at, id FROM identity.email_click SEMI JOIN changed_person USING (person_id)
        UNION SELECT created_at, id FROM raw.email_click AS mail WHERE mail.recipient_normalised IN
            (SELECT email FROM person_email UNION SELECT identifier FROM identity.alias
             SEMI JOIN changed_person USING (person_id) WHERE identifier_type = 'email')
    """,
    "moment": "SELECT clicked_at AS instant FROM touched_link UNION SELECT created_at FROM touched_mail",
}
"""Clicks with a change, gone ones included, from `changed_*` frames: link, mail, form, person, node."""

SETTLED = {
    "pending_link": "SELECT click_id FROM identity.click WHERE status = 'pending'",
    "written_link": """
        SELECT click_id FROM touched_link UNION SELECT click_id FROM near_link UNION SELECT click_id FROM pending_link
    """,
    "written_mail": "SELECT created_at, id FROM touched_mail UNION SELECT created_at, id FROM near_mail",
    "read_link": "SELECT click_id FROM far_link UNION SELECT click_id FROM pending_link",
    "read_mail": "SELECT created_at, id FROM far_mail",
}
"""Clicks whose answer is written, gone ones included, and those the answers depend on."""

EVERYTHING = {
    "read_link": "SELECT click_id FROM raw.link_click",
    "read_mail": "SELECT created_at, id FROM raw.email_click",
    "written_link": "FROM read_link",
    "written_mail": "FROM read_mail",
}


def _within(name: str, seconds: int) -> dict[str, str]:
    """`name`_link and `name`_mail: keys of clicks at most so many seconds from a moment."""
    span = f"(SELECT instant - to_seconds({seconds}) AS starts, instant + to_seconds({seconds}) AS ends FROM moment)"
    return {
        f"{name}_link": f"SELECT click_id FROM raw.link_click ASOF JOIN {span} ON clicked_at >= starts"
        " WHERE clicked_at <= ends",
        f"{name}_mail": f"SELECT created_at, id FROM raw.email_click ASOF JOIN {span} ON created_at >= starts"
        " WHERE created_at <= ends",
    }


@contextmanager
def scope(session: Session, changes: Changes, rules: Clicks) -> Iterator[None]:
    """The tables of every step, for the changes of an hour or for everything."""
    nodes = [int(key) for key in changes.of(topics.EMAIL)]
    given = {
        "changed_link": ids_frame("click_id", changes.of(topics.LINK_CLICK)),
        "changed_mail": ids_frame("id", changes.of(topics.EMAIL_CLICK)),
        "changed_form": changes.frame(topics.FORM_SUBMISSION),
        "changed_person": ids_frame("person_id", changes.of(topics.PERSON)),
        "changed_node": pl.DataFrame({"node_id": nodes}, schema={"node_id": pl.Int64}),
    }
    reach = 3 * max(rules.burst_seconds, rules.same_click_seconds)
    queue = TOUCHED | _within("near", reach) | _within("far", 2 * reach) | SETTLED
    with steps(session, EVERYTHING if changes.everything else queue, **given):
        yield
