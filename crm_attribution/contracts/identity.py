"""`identity.*`: who is who, and which account a person belonged to when."""

from __future__ import annotations

from crm_attribution.contracts.base import Model, Timestamp, field, table


@table("identity.edge", key=("contact_id", "identifier_type", "identifier"))
class Edge(Model):
    """Identifiers seen together in one record: a contact and an identifier that names it."""

    contact_id: str = field("the contact the source row belongs to")
    identifier_type: str = field("contact, merged_contact or email", isin=["contact", "merged_contact", "email"])
    identifier: str = field("normalised value")
    rule: str = field("why they belong together: self, merge, primary_email, additional_email, email_history")
    source: str = field("table and key of the source row")
    first_seen: Timestamp = field("earliest business time the source gives, UTC")


@table("identity.edge_rejected", key=("contact_id", "identifier_type", "identifier"))
class EdgeRejected(Model):
    """Edges that join nobody, with the rule that disabled them."""

    contact_id: str = field("the contact the source row belongs to")
    identifier_type: str = field("type of the identifier")
    identifier: str = field("normalised value")
    rule: str = field("blocked_value, role_mailbox or shared_identifier")
    source: str = field("table and key of the source row")


@table("identity.person", key=("person_id",))
class Person(Model):
    """One durable person. Ids are memory: minted once, never rebuilt."""

    person_id: str = field("durable id; the oldest survives a merge")
    first_seen: Timestamp = field("earliest first_seen of the person's identifiers, UTC")
    root_contact_id: str = field("contact whose record minted the id")
    contact_id: str = field("the live contact that speaks for the person (oldest)")
    contacts: int = field("live contacts in the person", ge=0)
    merged_into: str = field("the person this one became, null while it lives", nullable=True)


@table("identity.alias", key=("identifier_type", "identifier"))
class Alias(Model):
    """The current answer for every identifier ever seen, absorbed ids included."""

    identifier_type: str = field("contact, merged_contact or email")
    identifier: str = field("normalised value")
    person_id: str = field("the live person")


@table("identity.person_change", key=("person_id", "other_person_id", "kind", "cause"))
class PersonChange(Model):
    """Merges and splits of persons: memory, append-only."""

    person_id: str = field("the person that went on")
    other_person_id: str = field("the person merged into it, or split from it")
    kind: str = field("merge or split", isin=["merge", "split"])
    cause: str = field("the identifier or contact that caused it, by type and hash for personal values")
    recorded_at: Timestamp = field("end of the window that found it, UTC", log=True)


@table("identity.account", key=("account_id",))
class Account(Model):
    """A buying organisation: a company, or a deal that has none."""

    account_id: str = field("company:<id of the surviving company> or deal:<id>")
    company_id: str = field("HubSpot company id", nullable=True)
    name: str = field("company name", nullable=True)
    domain: str = field("normalised domain", nullable=True)
    owner_id: str = field("HubSpot owner id", nullable=True)
    target_account: bool = field("configured target-account flag", nullable=True)


@table("identity.membership", key=("person_id", "account_id", "valid_from"))
class Membership(Model):
    """Which account a person belonged to when."""

    person_id: str = field("person")
    account_id: str = field("account")
    contact_id: str = field("the contact whose association says so")
    valid_from: Timestamp = field("start, UTC, inclusive; 1970 reaches back to the beginning")
    valid_to: Timestamp = field("end, UTC, exclusive; null while it holds", nullable=True)
    basis: str = field("history (associatedcompanyid), association or current", isin=["history", "current"])


@table("identity.deal_account", key=("deal_id",))
class DealAccount(Model):
    """The account of each deal."""

    deal_id: str = field("HubSpot deal id, the survivor's after a merge")
    account_id: str = field("account")
    basis: str = field("primary, first_association or own", isin=["primary", "first_association", "own"])


@table("identity.click", key=("click_id",))
class Click(Model):
    """Whose click it was: each link click resolved, pending or unresolved with its reason."""

    click_id: str = field("raw.link_click")
    clicked_at: Timestamp = field("when the link was followed, UTC")
    status: str = field(
        "resolved, pending, unresolved or suspect", isin=["resolved", "pending", "unresolved", "suspect"]
    )
    reason: str = field("rule that resolved it, or why it is not", nullable=True)
    contact_id: str = field("contact as named by the source", nullable=True)
    person_id: str = field("live person", nullable=True)
    form_id: str = field("form of the submission that resolved it", nullable=True)
    conversion_id: str = field("submission that resolved it", nullable=True)
