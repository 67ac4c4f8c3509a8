"""What lies near some persons, accounts and deals: a few lookups by key, and no key twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

from crm_attribution.identity.lookups import persons_of
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.session import Session

_LINKS = (
    "SELECT from_id AS deal_id, to_id AS contact_id FROM raw.association SEMI JOIN asked ON {end} = asked.{key}"
    " WHERE from_type = 'deals' AND to_type = 'contacts' AND valid_to IS NULL"
)


_RECORDS = ("contact_id", "deal_id")


class _Rows:
    """Rows found by one key column. Of each call only the keys that none asked for before are looked up."""

    def __init__(self, key: str, read: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        self._key, self._read = key, read
        self._frame: Callable[[str, Iterable[Any]], pl.DataFrame] = records_frame if key in _RECORDS else ids_frame
        self._asked: set[Any] = set()
        self._found: list[pl.DataFrame] = []

    def of(self, keys: Iterable[Any]) -> pl.DataFrame:
        wanted = set(keys)
        unknown = wanted - self._asked
        if unknown or not self._found:
            self._found.append(self._read(self._frame(self._key, unknown)))
            self._asked |= unknown
        return pl.concat(self._found).join(self._frame(self._key, wanted), on=self._key, how="semi")


class Near:
    """Persons, contacts, accounts and deals as they are now, remembered: not to be kept over a change of theirs.

    Attributes:
        contacts: by person_id: person_id, contact_id of every contact id ever seen.
        persons: by contact_id: the same.
        memberships: by person_id: identity.membership rows.
        members: by account_id: account_id, person_id, at any time.
        deals_in: by account_id: account_id, deal_id.
        accounts_of_deals: by deal_id: the same.
        contacts_on: by deal_id: deal_id, contact_id that are associated now.
        deals_with: by contact_id: the same.
    """

    def __init__(self, session: Session) -> None:
        def aliases(asked: pl.DataFrame) -> pl.DataFrame:
            return session.query(
                "SELECT person_id, TRY_CAST(identifier AS BIGINT) AS contact_id FROM identity.alias"
                " SEMI JOIN asked USING (person_id) WHERE identifier_type = 'contact'",
                asked=asked,
            )

        def table(name: str, *columns: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
            return lambda asked: session.read_keys(name, asked, columns)

        def links(end: str, key: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
            return lambda asked: session.query(_LINKS.format(end=end, key=key), asked=asked)

        self.contacts = _Rows("person_id", aliases)
        self.persons = _Rows("contact_id", lambda asked: persons_of(session, asked["contact_id"]))
        self.memberships = _Rows("person_id", table("identity.membership"))
        self.members = _Rows("account_id", table("identity.membership", "account_id", "person_id"))
        self.deals_in = _Rows("account_id", table("identity.deal_account", "account_id", "deal_id"))
        self.accounts_of_deals = _Rows("deal_id", table("identity.deal_account", "account_id", "deal_id"))
        self.contacts_on = _Rows("deal_id", links("from_id", "deal_id"))
        self.deals_with = _Rows("contact_id", links("to_id", "contact_id"))

    def persons_on(self, deals: Iterable[int]) -> pl.DataFrame:
        """deal_id, person_id of the deals' contacts."""
        links = self.contacts_on.of(deals)
        persons = self.persons.of(links["contact_id"])
        return links.join(persons, on="contact_id").select("deal_id", "person_id").unique().sort("deal_id", "person_id")

    def deals_of(self, persons: Iterable[str]) -> set[int]:
        """The deals that these persons' contacts are on."""
        return set(self.deals_with.of(self.contacts.of(persons)["contact_id"])["deal_id"])
