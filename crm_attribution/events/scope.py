"""Whose milestones an hour derives again, and the facts that decide them: SQL steps in their order.

Each step is a temporary table of distinct ids, built from those above it (see `warehouse.steps`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from crm_attribution.contracts import topics
from crm_attribution.identifiers import DEAL_EVENT
from crm_attribution.identity.lookups import CONTACT_ID
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.steps import steps

LIFECYCLE = ("opportunity_created", "customer_won", "customer_expanded")
"""Milestones that a lifecycle change of a contact or company can be linked to."""

_CONTACT_OF = "identifier_type = 'contact'"
_ON_DEAL = "from_type = 'deals' AND to_type = 'contacts'"
"""Contacts that were taken off a deal included: a lifecycle change is asked whom the deal had then."""

_BY_LIFECYCLE = f"milestone IN {LIFECYCLE}"

TOUCHED = {
    # milestones of the changed deals, as they were derived last
    "former_milestone": """
        SELECT milestone, milestone_id, account_id FROM events.milestone SEMI JOIN changed_deal USING (deal_id)
    """,
    "former_event": f"""
        SELECT DISTINCT event_id FROM events.milestone_event SEMI JOIN former_milestone USING (milestone, milestone_id)
            WHERE {_BY_LIFECYCLE}
    """,
    # contacts with changed events, contacts on a changed deal, and those whose lifecycle changes its milestones had
    "touched_contact": f"""
        SELECT contact_id FROM changed_contact
        UNION SELECT to_id FROM raw.association SEMI JOIN changed_deal ON from_id = deal_id WHERE {_ON_DEAL}
        UNION SELECT contact_id FROM events.event
            SEMI JOIN (FROM former_event WHERE NOT starts_with(event_id, '{DEAL_EVENT}')) USING (event_id)
            WHERE contact_id IS NOT NULL
    """,
    "touched_person": f"""
        SELECT person_id FROM changed_person
        UNION SELECT person_id FROM identity.alias SEMI JOIN touched_contact ON identifier = contact_id::VARCHAR
            WHERE {_CONTACT_OF}
    """,
    # lifecycle events of every contact of a changed person, which may be counted under an account it has left
    "moved_event": f"""
        SELECT event_id FROM events.event SEMI JOIN
            (SELECT {CONTACT_ID} AS contact_id FROM identity.alias SEMI JOIN changed_person USING (person_id)
             WHERE {_CONTACT_OF}) USING (contact_id)
    """,
    # accounts of all these now, and those they were counted under
    "touched_account": f"""
        SELECT account_id FROM changed_account
        UNION SELECT 'company:' || company_id FROM changed_company
        UNION SELECT account_id FROM identity.account_alias
            SEMI JOIN changed_company ON alias_id = 'company:' || company_id
        UNION SELECT account_id FROM identity.deal_account SEMI JOIN changed_deal USING (deal_id)
        UNION SELECT account_id FROM identity.membership SEMI JOIN touched_person USING (person_id)
        UNION SELECT account_id FROM former_milestone WHERE account_id IS NOT NULL
        UNION SELECT account_id FROM events.milestone SEMI JOIN changed_person USING (person_id)
            WHERE account_id IS NOT NULL
        UNION SELECT account_id FROM events.milestone SEMI JOIN
            (SELECT milestone, milestone_id FROM events.milestone_event SEMI JOIN moved_event USING (event_id)
             WHERE {_BY_LIFECYCLE}) USING (milestone, milestone_id) WHERE account_id IS NOT NULL
    """,
}
"""Persons and accounts with a change, from `changed_*` frames: contact, company, deal, person, account."""

EVERYTHING = {
    "touched_person": "SELECT person_id FROM identity.person",
    "touched_account": """
        SELECT account_id FROM identity.account
        UNION SELECT account_id FROM identity.deal_account
        UNION SELECT account_id FROM identity.membership
    """,
}

DERIVED = {
    "reached_person": """
        SELECT person_id FROM touched_person
        UNION SELECT person_id FROM identity.membership SEMI JOIN touched_account USING (account_id)
    """,
    "reached_deal": f"""
        SELECT DISTINCT from_id AS deal_id FROM raw.association SEMI JOIN
            (SELECT {CONTACT_ID} AS to_id FROM identity.alias SEMI JOIN reached_person USING (person_id)
             WHERE {_CONTACT_OF}) USING (to_id) WHERE {_ON_DEAL}
    """,
    # a lifecycle change may repeat a deal of another account, or be adopted by it
    "scope_account": """
        SELECT account_id FROM touched_account
        UNION SELECT account_id FROM identity.deal_account SEMI JOIN reached_deal USING (deal_id)
    """,
    "scope_group": """
        SELECT 'person:' || person_id AS group_key FROM touched_person
        UNION ALL SELECT 'account:' || account_id FROM scope_account
    """,
}
"""Groups of milestones that are derived again: of the touched persons, and of the accounts their deals reach."""

DECIDING = {
    # lifecycle events reach an account's deals from its members and from the contacts of its deals
    "account_contact": f"""
        SELECT DISTINCT to_id AS contact_id FROM raw.association
            SEMI JOIN (SELECT deal_id FROM identity.deal_account SEMI JOIN scope_account USING (account_id))
            ON from_id = deal_id WHERE {_ON_DEAL}
    """,
    "near_person": f"""
        SELECT person_id FROM touched_person
        UNION SELECT person_id FROM identity.membership SEMI JOIN scope_account USING (account_id)
        UNION SELECT person_id FROM identity.alias SEMI JOIN account_contact ON identifier = contact_id::VARCHAR
            WHERE {_CONTACT_OF}
    """,
    # whether such an event is the first of its own account, and what deals are nearer, only that account tells
    "fact_account": """
        SELECT account_id FROM scope_account
        UNION SELECT account_id FROM identity.membership SEMI JOIN near_person USING (person_id)
    """,
    "fact_person": """
        SELECT person_id FROM near_person
        UNION SELECT person_id FROM identity.membership SEMI JOIN fact_account USING (account_id)
    """,
    "fact_contact": f"""
        SELECT {CONTACT_ID} AS contact_id, person_id FROM identity.alias SEMI JOIN fact_person USING (person_id)
            WHERE {_CONTACT_OF}
    """,
    "fact_deal": f"""
        SELECT deal_id FROM identity.deal_account SEMI JOIN fact_account USING (account_id)
        UNION SELECT from_id FROM raw.association SEMI JOIN fact_contact ON to_id = contact_id WHERE {_ON_DEAL}
    """,
    "fact_live_deal": """
        SELECT deal.id AS deal_id FROM raw.deal AS deal SEMI JOIN fact_deal ON fact_deal.deal_id = deal.id
        ANTI JOIN raw.merge AS merged ON merged.object_type = 'deals' AND merged.absorbed_id = deal.id
    """,
    "fact_deal_contact": f"""
        SELECT deal_id, to_id AS contact_id, valid_to FROM raw.association JOIN fact_live_deal ON from_id = deal_id
            WHERE {_ON_DEAL}
    """,
    "fact_company": """
        SELECT TRY_CAST(substr(id, 9) AS BIGINT) AS company_id FROM
            (SELECT account_id AS id FROM fact_account
             UNION SELECT alias_id FROM identity.account_alias SEMI JOIN fact_account USING (account_id))
            WHERE starts_with(id, 'company:')
    """,
}
"""All whose events and deals decide those milestones."""


@contextmanager
def scope(session: Session, changes: Changes, *, of_companies: bool) -> Iterator[None]:
    """The tables of every step, for the changes of an hour or for everything.

    Args:
        session: where they are made.
        changes: what is not yet seen.
        of_companies: whether a company's record decides movements of revenue, not its lifecycle alone.
    """
    companies = (topics.EVENT_COMPANIES, topics.COMPANIES) if of_companies else (topics.EVENT_COMPANIES,)
    given = {
        "changed_person": ids_frame("person_id", changes.of(topics.PERSON)),
        "changed_account": ids_frame("account_id", changes.of(topics.ACCOUNT)),
        "changed_contact": records_frame("contact_id", changes.ids(topics.EVENT_CONTACTS)),
        "changed_company": records_frame("company_id", changes.ids(*companies)),
        "changed_deal": records_frame("deal_id", changes.ids(topics.EVENT_DEALS, topics.DEALS, topics.DEAL_ACCOUNT)),
    }
    settings = changes.of("account_details", "pipeline_stage")  # days, and what a stage means, of every milestone
    first = EVERYTHING if changes.everything or settings else TOUCHED
    with steps(session, first | DERIVED | DECIDING, **given):
        yield
