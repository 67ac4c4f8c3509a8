"""`identity.*`: who is who, and which account a person belonged to when."""

from __future__ import annotations

from crm_attribution.contracts.base import Model, Timestamp, field, hubspot_id, table
from crm_attribution.contracts.topics import (
    ACCOUNT,
    CLICK,
    CLICK_FORM,
    CLICK_PERSON,
    DEAL_ACCOUNT,
    EMAIL,
    PERSON,
    PERSON_CHANGE,
)

CLICK_TYPES = ["gclid", "fbclid", "li_fat_id", "msclkid", "ttclid", "link_click"]
NODE_TYPES = ["contact", "link_contact", "email", *CLICK_TYPES]
_KINDS = "contact, link_contact (the contact id a link carried), email, or the kind of click id"


@table("identity.node", key=("node_id",))
class Node(Model):
    """The dictionary of the graph: each identifier ever seen has one permanent number. Append-only, except for privacy:
    an erased identifier leaves `erased` behind. Holds personal data."""

    node_id: int = field("number of the identifier; memory, never rebuilt", ge=0)
    node_type: str = field(_KINDS, isin=[*NODE_TYPES, "erased"])
    identifier: str = field("normalised value")
    component: int = field("smallest node reachable over edges that their identifiers allow", ge=0)
    hash_one: int = field("hash by which it is found; null once erased", nullable=True, log=True)
    hash_two: int = field("another, which distinguishes two texts of one hash", nullable=True, log=True)


@table(
    "identity.edge",
    key=("node_type", "node", "identifier_type", "identifier"),
    journal={EMAIL: "CASE WHEN identifier_type = 'email' THEN identifier_id END"},
)
class Edge(Model):
    """Identifiers seen together in one record. The owner (node) is a contact, the contact id of a link, or the e-mail
    typed into a form."""

    node_type: str = field("type of the owner: contact, link_contact or email", isin=NODE_TYPES)
    node: str = field("the owner, normalised")
    identifier_type: str = field(_KINDS, isin=NODE_TYPES)
    identifier: str = field("normalised value")
    contact_id: int = hubspot_id("contact that the source row names; null for forms and manual rules", nullable=True)
    rule: str = field(
        "why they belong together, strongest first: include, merge, self, link_contact, primary_email,"
        " additional_email, email_history, link_click, contact_click_id, click_id_history, form_submission"
    )
    source: str = field("table and key of the source row; of several the strongest rule's oldest")
    first_seen: Timestamp = field("earliest business time the sources give, UTC; null for manual rules", nullable=True)
    last_seen: Timestamp = field("latest business time the sources give, UTC; null for manual rules", nullable=True)
    node_id: int = field("identity.node of the owner", nullable=True, log=True)
    identifier_id: int = field("identity.node of the identifier", nullable=True, log=True)


@table("identity.edge_rejected", key=("node_type", "node", "identifier_type", "identifier"))
class EdgeRejected(Model):
    """Disabled edges, with the rule that disabled them."""

    node_type: str = field("type of the owner")
    node: str = field("the owner")
    identifier_type: str = field("type of the identifier")
    identifier: str = field("normalised value")
    contact_id: int = hubspot_id("contact that the source row names", nullable=True)
    rule: str = field(
        "blocked_value, role_mailbox, shared_identifier, manual_exclude, two_live_contacts, person_emails, person_size"
    )
    edge_rule: str = field("rule of the edge itself", nullable=True)
    source: str = field("table and key of the source row")
    node_id: int = field("identity.node of the owner", nullable=True, log=True)
    identifier_id: int = field("identity.node of the identifier", nullable=True, log=True)


@table("identity.person", key=("person_id",))
class Person(Model):
    """One durable person. Ids are memory: minted once, never rebuilt."""

    person_id: str = field("durable id; the oldest survives a merge")
    first_seen: Timestamp = field("earliest first_seen of the person's identifiers, UTC")
    root_contact_id: int = hubspot_id("contact whose record minted the id; null where it was erased", nullable=True)
    contact_id: int = hubspot_id(
        "the contact that speaks for the person (oldest live one); null where all were erased", nullable=True
    )
    contacts: int = field("contacts in the person, those that others absorbed not counted", ge=0)
    identifiers: int = field("identifiers of the person, absorbed ids included", nullable=True)
    merged_into: str = field("the person this one became, null while it lives", nullable=True)


@table(
    "identity.alias",
    key=("identifier_type", "identifier"),
    journal={EMAIL: "CASE WHEN identifier_type = 'email' THEN node_id END"},
)
class Alias(Model):
    """The current answer for every identifier ever seen, absorbed ids included."""

    identifier_type: str = field(_KINDS)
    identifier: str = field("normalised value")
    person_id: str = field("the live person")
    node_id: int = field("identity.node", nullable=True)


@table(
    "identity.person_change",
    key=("person_id", "other_person_id", "kind", "cause"),
    journal={PERSON_CHANGE: ("person_id", "other_person_id")},
)
class PersonChange(Model):
    """Merges and splits of persons: memory, append-only."""

    person_id: str = field("the person that remained")
    other_person_id: str = field("the person merged into it, or split from it")
    kind: str = field("merge or split", isin=["merge", "split"])
    cause: str = field("the identifier or contact that caused it, by type and hash for personal values")
    recorded_at: Timestamp = field("end of the window that found it, UTC", log=True)


@table("identity.account", key=("account_id",), journal={ACCOUNT: "account_id"})
class Account(Model):
    """A buying organisation: a company, a business domain that no company has, or a deal that has none."""

    account_id: str = field("company:ID of the surviving company, domain:NAME or deal:ID")
    company_id: int = hubspot_id("HubSpot company id; null for domain:NAME and deal:ID", nullable=True)
    name: str = field("company name; of deal:ID the deal's name; null for domain:NAME", nullable=True)
    domain: str = field("normalised domain", nullable=True)
    business_domain: str = field("its registrable part; null for free-mail providers", nullable=True)
    shares_domain: bool = field("another live company has the same business domain: they are not joined", nullable=True)
    parent_account_id: str = field("account of the parent company", nullable=True)
    owner_id: str = field("HubSpot owner id", nullable=True)
    target_account: bool = field("configured target-account flag", nullable=True)
    tier: str = field("configured tier", nullable=True)


@table("identity.account_domain", key=("account_id", "business_domain"))
class AccountDomain(Model):
    """The business domains of each company that is not archived: its own, further ones, and those of companies it
    absorbed."""

    account_id: str = field("company:ID of the surviving company")
    business_domain: str = field("registrable domain in its IDNA form; no free-mail provider's")


@table("identity.account_alias", key=("alias_id",), journal={ACCOUNT: ["alias_id", "account_id"]})
class AccountAlias(Model):
    """Account ids that lead to another account: an id once published stays reachable."""

    alias_id: str = field(
        "company:ID of an absorbed or rolled-up company, or domain:NAME that exactly one live company has"
    )
    account_id: str = field("the account that holds it now: company:ID")
    rule: str = field("company_merge, company_domain or parent", isin=["company_merge", "company_domain", "parent"])


@table("identity.membership", key=("contact_id", "valid_from"), journal={PERSON: "person_id"})
class Membership(Model):
    """Which account each contact of a person belonged to when. One person may have contacts in several at once."""

    person_id: str = field("person")
    account_id: str = field("identity.account: company:ID or domain:NAME")
    contact_id: int = hubspot_id("the contact whose association or e-mail it is; an absorbed one until then")
    valid_from: Timestamp = field("start, UTC, inclusive; 1970 reaches back to the beginning")
    valid_to: Timestamp = field("end, UTC, exclusive; null while it holds", nullable=True)
    basis: str = field(
        "history (of associatedcompanyid), current (association without a history) or domain (of the e-mail)",
        isin=["history", "current", "domain"],
    )


@table("identity.deal_account", key=("deal_id",), journal={DEAL_ACCOUNT: "deal_id", ACCOUNT: "account_id"})
class DealAccount(Model):
    """The account of each deal."""

    deal_id: int = hubspot_id("HubSpot deal id, the survivor's after a merge")
    account_id: str = field("identity.account: company:ID, or deal:ID for a deal without company")
    basis: str = field(
        "primary (association), history (of hs_primary_associated_company), first_association or own",
        isin=["primary", "history", "first_association", "own"],
    )


@table(
    "identity.click",
    key=("click_id",),
    journal={CLICK: "click_id", CLICK_FORM: ("form_id", "conversion_id"), CLICK_PERSON: "person_id"},
)
class Click(Model):
    """Whose click it was: each link click resolved, pending or unresolved with its reason."""

    click_id: str = field("raw.link_click")
    clicked_at: Timestamp = field("when the link was followed, UTC")
    status: str = field(
        "resolved, pending, unresolved or suspect", isin=["resolved", "pending", "unresolved", "suspect"]
    )
    reason: str = field("rule that resolved it, why it is not resolved, or why it is a bot click", nullable=True)
    contact_id: int = hubspot_id("contact as named by the source", nullable=True)
    person_id: str = field("live person", nullable=True)
    form_id: str = field("form of its submission; where not resolved, one whose e-mail names no contact", nullable=True)
    conversion_id: str = field("that submission: the same touch", nullable=True)
    forwarded: bool = field(
        "its submission names another person than its link: a forwarded mail; it stays with the link's", nullable=True
    )


@table("identity.email_click", key=("created_at", "id"), journal={CLICK_PERSON: "person_id"})
class EmailClick(Model):
    """Whose click in a marketing e-mail it was, and whether it counts."""

    created_at: Timestamp = field("when the link was followed, UTC; raw.email_click")
    id: str = field("HubSpot's event id; raw.email_click")
    status: str = field(
        "resolved, unresolved, suspect, or duplicate of a tracked link's click",
        isin=["resolved", "unresolved", "suspect", "duplicate"],
    )
    reason: str = field("recipient, link_click, why it is not resolved, or why it is a bot click")
    contact_id: int = hubspot_id("the contact that speaks for the person", nullable=True)
    person_id: str = field("live person of the recipient; null for bot clicks", nullable=True)
    link_click_id: str = field("duplicate: the click that is kept, raw.link_click", nullable=True)
