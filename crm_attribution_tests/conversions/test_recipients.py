"""Whose identifiers a due conversion carries, and what keeps them here: consent of several values, archived contacts,
records that cannot be read."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from crm_attribution import configuration
from crm_attribution.conversions import plan as conversions
from crm_attribution.conversions.recipients import resolver
from crm_attribution.destinations import destinations
from crm_attribution.destinations.base import Resolved
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import Chain
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import create, day, join, update
from crm_attribution_tests.sandbox_process import Line

pytestmark = pytest.mark.sandbox

ENVIRONMENT = {
    "META_ACCESS_TOKEN": "token",
    "META_DATASET_ID": "dataset",
    "CRM_ATTRIBUTION_START": "2026-03-01T00:00:00Z",
}
CONSENTS = {
    1: "granted",
    2: "newsletter; Granted",
    3: "granted;denied",
    4: "newsletter",
    5: "",
}


def won(number: int, *contacts: int) -> list[Line]:
    made = create(day(2), "deals", number, dealname=f"D{number}", dealstage="closedwon", amount="10",
                  billing_period="annual")  # fmt: skip
    return [made, *(join(day(2), ("deals", number), ("contacts", contact)) for contact in contacts)]


def contact(number: int, when: str = day(1), **properties: str) -> Line:
    return create(when, "contacts", number, email=f"c{number}@buyer.example", **properties)


def resolved(chain: Chain, session: Session) -> dict[str, Resolved]:
    """Deal -> whom its win is about, at the claim."""
    conversions.update(session, chain.mapping, configuration.load(ENVIRONMENT), at(day(9)))
    rows = session.read("conversions.conversion", "action = 'Purchase'")
    found = resolver(destinations()["meta"], chain.mapping)(session, rows)
    told = rows.join(session.read("events.milestone"), on=["milestone", "milestone_id"])
    names = told.select("conversion_id", pl.col("deal_id").cast(pl.String)).iter_rows()
    return {deal: found[conversion] for conversion, deal in names}


def test_who_is_sent_and_who_is_not(tmp_path: Path):
    gone = {"at": day(3), "op": "archive", "object": "contacts", "id": "7"}
    lines = [
        *(contact(number, ad_consent=text) for number, text in CONSENTS.items()),
        *(contact(number, ad_consent="granted") for number in (7, 8, 9)),
        *(line for number in CONSENTS for line in won(number, number)),
        *won(20, 7, 8),
        *won(21, 9),
        gone,
        update(day(4), "contacts", 9, email="nobody at all", ad_consent="denied"),
    ]
    with Chain.start(tmp_path, lines, day(3, "10:00:00")) as chain:
        chain.run()
        chain.advance(day(5), since=at(day(4)))
        with chain.warehouse.session() as session:
            found = resolved(chain, session)
            assert [found[str(number)].consent for number in CONSENTS] == [
                "granted", "granted", "denied", "absent", "absent",
            ]  # fmt: skip
            assert str(found["20"].contact_id) == "8", "the other one is archived"
            assert (found["21"].consent, found["21"].email) == ("denied", None), (
                "told beside an address nobody can read"
            )
            whole = pl.DataFrame({"key": ["1"], "reasons": ["properties:missing"], "row": ["{}"], "source": ["x"]})
            session.quarantine("raw.contact", whole, observed_at=at(day(6)))
            session.quarantine("raw.deal", whole.with_columns(key=pl.lit("2")), observed_at=at(day(6)))
            found = resolved(chain, session)
            assert [found[deal].held for deal in ("1", "2", "3", "20")] == ["record_unreadable"] * 2 + [None] * 2
