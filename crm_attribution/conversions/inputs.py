"""Which inputs are about which record: rows of raw.identify with the contact or company that HubSpot has for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from crm_attribution.contracts.topics import COMPANIES, CONTACTS, IDENTIFY
from crm_attribution.identity.rules import domains as domain_rules
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.session import Session

_ROWS = """
SELECT i.message_id, i.kind, i.happened_at, i.email_normalised AS email, i.domain, i.properties,
    coalesce(m.survivor_id, i.contact_id) AS contact_id
FROM raw.identify i LEFT JOIN raw.merge m ON m.object_type = 'contacts' AND m.absorbed_id = i.contact_id
WHERE i.kind <> 'track'
"""


@dataclass(frozen=True)
class Inputs:
    """Inputs of some records, all of each record.

    Attributes:
        people: rows that name a person, with `record_id` (null: HubSpot has none) and `business_domain`.
        companies: rows that name a company, with `business_domain`.
        contacts: id, email, lifecyclestage, associatedcompanyid of their live contacts, one row for each of their
            e-mails.
        owners: business_domain, company_id of every live company that has one of the domains.
        nameless: ids of rows about a company whose domain is nobody's own: of free mail or hosting.
    """

    people: pl.DataFrame
    companies: pl.DataFrame
    contacts: pl.DataFrame
    owners: pl.DataFrame
    nameless: list[str]


def read(session: Session, changes: Changes, more: Iterable[int], rules: Rules) -> Inputs:
    """The inputs of every record that may be wanted otherwise than before.

    Args:
        more: contacts that are looked at in any case.
    """
    asked = _asked(session, changes)
    emails = ids_frame("email", asked["email"].drop_nulls())
    named = records_frame("id", [*asked["contact_id"].drop_nulls(), *more])
    changed = named if changes.everything else records_frame("id", [*named["id"], *changes.ids(CONTACTS)])
    contacts = session.query(
        "SELECT id, unnest(list_concat([email_normalised], coalesce(additional_emails_normalised, []))) AS email,"
        " lifecyclestage, associatedcompanyid FROM raw.contact WHERE NOT archived AND (id IN (SELECT id FROM changed)"
        " OR email_normalised IN (SELECT email FROM emails)"
        " OR list_has_any(additional_emails_normalised, (SELECT list(email) FROM emails))) ORDER BY id",
        changed=changed,
        emails=emails,
    )
    everyone = ids_frame("email", [*emails["email"], *contacts["email"].drop_nulls()])
    ids = records_frame("id", [*changed["id"], *contacts["id"]])
    people = session.query(
        f"SELECT * FROM ({_ROWS}) WHERE email IN (SELECT email FROM everyone) OR contact_id IN (SELECT id FROM ids)"
        " ORDER BY message_id",
        everyone=everyone,
        ids=ids,
    )
    people = _placed(people, contacts, rules)
    asked = asked.with_columns(business_domain=_business(asked["domain"], rules))
    wanted = [*people["business_domain"].drop_nulls(), *asked["business_domain"].drop_nulls()]
    business = ids_frame("business_domain", wanted)
    companies = session.query(
        f"SELECT DISTINCT r.* FROM ({_ROWS}) r JOIN business b"
        " ON r.domain = b.business_domain OR ends_with(r.domain, '.' || b.business_domain) ORDER BY message_id",
        business=business,
    )
    owners = session.query(
        "SELECT DISTINCT d.business_domain, a.company_id FROM identity.account_domain d JOIN identity.account a"
        " USING (account_id) JOIN raw.company c ON c.id = a.company_id AND NOT c.archived"
        " SEMI JOIN business b ON d.business_domain = b.business_domain ORDER BY ALL",
        business=business,
    )
    companies = companies.with_columns(business_domain=_business(companies["domain"], rules))
    nameless = asked.filter(pl.col("business_domain").is_null(), kind="group")["message_id"].to_list()
    return Inputs(people, companies.drop_nulls("business_domain"), contacts, owners, nameless)


def _asked(session: Session, changes: Changes) -> pl.DataFrame:
    """Rows that are new, say something else, or name a company that is another than before; and those that wait for a
    property that HubSpot has now."""
    if changes.everything:
        return session.query(_ROWS)
    companies = ids_frame("account_id", [f"company:{one}" for one in changes.ids(COMPANIES)])
    return session.query(
        f"SELECT * FROM ({_ROWS}) r WHERE message_id IN (SELECT message_id FROM changed)"
        " OR message_id IN (SELECT q.told.message_id FROM (SELECT regexp_extract(key,"
        " '^(.*):told:([a-z]+):([a-z0-9_]+)$', ['message_id', 'object_type', 'name']) AS told"
        " FROM quarantine.identify WHERE NOT resolved AND contains(key, ':told:')) q JOIN raw.property p"
        " ON p.object_type = q.told.object_type AND p.name = q.told.name AND NOT p.archived)"
        " OR EXISTS (SELECT 1 FROM identity.account_domain d SEMI JOIN companies USING (account_id)"
        " WHERE r.domain = d.business_domain OR ends_with(r.domain, '.' || d.business_domain))",
        changed=changes.frame(IDENTIFY),
        companies=companies,
    )


def _placed(rows: pl.DataFrame, contacts: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Rows of people with the contact that they name, else the oldest that has the e-mail."""
    owner = contacts.drop_nulls("email").sort("id").unique("email", keep="first").select("email", _owner="id")
    placed = rows.filter(pl.col("email").is_not_null() | pl.col("contact_id").is_not_null()).join(
        owner, on="email", how="left", maintain_order="left"
    )
    return placed.with_columns(
        record_id=pl.coalesce("contact_id", "_owner"), business_domain=_business(placed["domain"], rules)
    ).drop("_owner", "contact_id")


def _business(hosts: pl.Series, rules: Rules) -> pl.Series:
    return domain_rules.business(hosts, rules.accounts)
