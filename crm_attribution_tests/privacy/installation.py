"""A portal with one contact who will be erased, a colleague who stays, and a warehouse that holds everything of both.

Anna is the record 13: 11 and 12 merged into a third id. Bob (21) is of the same company; Carla (31) shares one of
Anna's former e-mails. DuckDB stores the warehouse uncompressed here, so that a value is found by its bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from crm_attribution import configuration
from crm_attribution.clock import FixedClock
from crm_attribution.conversions import plan as conversions
from crm_attribution.conversions.identify_rules import digest
from crm_attribution.destinations.normalise import meta_hash
from crm_attribution.identifiers import sha256
from crm_attribution.ledger.store import Book
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.marts.models import materialize
from crm_attribution.marts.publish import publish
from crm_attribution.orchestration.assets.privacy import erase_waiting
from crm_attribution.orchestration.assets.sql import MODELS, TESTS
from crm_attribution.orchestration.resources import Pipeline
from crm_attribution.warehouse.schema import table_name
from crm_attribution.warehouse.session import Session
from crm_attribution.webhook.inbox import envelope
from crm_attribution_tests.flow.chain import Chain, rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import FORM, Line, click, create, day, join, merge, submit, update

EMAIL, FORMER, SECOND = "annabelle.petrowa@quelle.example", "a.petrowa+old@private.example", "anna2@quelle.example"
SHARED = "desk.shared@quelle.example"
PHONE, NAME = "+49 170 55501234", "Annabellina"
GCLID, FBCLID, CLICK = "Cj0KCQannabelle_gclid-42", "IwAR_annabelle-fbclid_77", "click-of-annabelle-0001"
PERSONAL = [EMAIL, FORMER, SECOND, PHONE, NAME, GCLID, FBCLID, CLICK, sha256(EMAIL), digest("contacts", EMAIL)]
"""What must not be found anywhere afterwards; the hash as an identity edge might tell it."""

NOW = "2026-03-20T00:00:00Z"
META = {"META_ACCESS_TOKEN": "token", "META_DATASET_ID": "dataset", "CRM_ATTRIBUTION_START": "2026-03-01T00:00:00Z"}
RULES = """
deals:
  pipelines: {default: new}
destinations:
  meta:
    conversions:
      - {milestone: lead_captured, action: Lead}
      - {milestone: qualified_lead, action: Qualified}
      - {milestone: opportunity_created, action: Opportunity}
      - {milestone: customer_won, action: Purchase, value: amount}
"""


def clicked(when: str, name: str, **fields: Any) -> Line:
    return click(when, name, clicked_at=when, destination_url="https://v.example/demo", **fields)


LINES: list[Line] = sorted(
    [
        {"at": day(1), "op": "account", "account": {"timeZone": "Europe/Berlin", "companyCurrency": "EUR"}},
        create(day(1), "companies", 41, name="Quelle", domain="quelle.example"),
        create(day(1), "contacts", 11, "FORM", email=FORMER, firstname=NAME, phone=PHONE, lifecyclestage="lead"),
        create(day(1), "contacts", 12, "FORM", email=SECOND, firstname=NAME),
        create(day(1), "contacts", 21, "FORM", email="bob@quelle.example", firstname="Bob", lifecyclestage="lead"),
        create(day(1), "contacts", 31, "FORM", email=SHARED, firstname="Carla", lifecyclestage="lead"),
        *(join(day(1, "09:01:00"), ("contacts", n), ("companies", 41), primary=True) for n in (11, 12, 21, 31)),
        update(day(2), "contacts", 31, email="carla@ufer.example"),
        update(day(2, "10:00:00"), "contacts", 11, email=SHARED),
        update(day(2, "11:00:00"), "contacts", 11, email=EMAIL),
        clicked(day(2, "12:00:00"), CLICK, contact_id="11", gclid=GCLID, utm_source="google", utm_medium="cpc"),
        clicked(day(2, "12:30:00"), "click-without-eid-0002", fbclid=FBCLID, utm_source="facebook"),
        clicked(
            day(2, "13:00:00"), "click-of-bob-00003", contact_id="21", gclid="Cj0KCQ-of-bob-1", utm_source="google"
        ),
        update(day(2, "12:35:00"), "contacts", 11, "CRM_UI", lifecyclestage="marketingqualifiedlead"),
        submit(day(2, "12:40:00"), FORM, email=EMAIL.upper(), fbclid=FBCLID, page_url=f"https://v.example/?e={EMAIL}"),
        submit(day(2, "12:50:00"), FORM, email="bob@quelle.example"),
        submit(day(2, "12:55:00"), FORM, email=SHARED),
        update(day(3), "contacts", 11, "CRM_UI", lifecyclestage="opportunity"),
        merge(day(4), "contacts", 11, 12, 13),
        create(day(8), "deals", 51, dealname="Quelle start", dealstage="appointmentscheduled", amount="1200.00"),
        join(day(8, "09:01:00"), ("deals", 51), ("companies", 41), primary=True),
        join(day(8, "09:02:00"), ("deals", 51), ("contacts", 13)),
        join(day(8, "09:03:00"), ("deals", 51), ("contacts", 21)),
        update(day(9), "deals", 51, dealstage="closedwon", closedate=day(9)),
        update(day(9, "09:10:00"), "contacts", 13, "AUTOMATION_PLATFORM", lifecyclestage="customer"),
    ],
    key=lambda line: str(line["at"]),
)


@dataclass
class Installation:
    """One data directory with everything in it, and how it is looked at."""

    chain: Chain
    pipeline: Pipeline

    @property
    def data(self) -> Path:
        return self.pipeline.settings.data_dir

    @property
    def inbox(self) -> Path:
        return self.pipeline.settings.inbox

    def erase(self, *contacts: str, **more: Any) -> dict[str, Any]:
        return dict(erase_waiting(self.pipeline, contacts, confirmed=bool(contacts), **more))

    def found(self, values: list[str]) -> dict[str, list[str]]:
        """value -> the files of the data directory whose bytes hold it, in any case."""
        files = {p: p.read_bytes().lower() for p in self.data.rglob("*") if p.is_file()}
        return {v: sorted(p.name for p, content in files.items() if v.lower().encode() in content) for v in values}

    def rows(self, name: str, where: str = "true") -> list[tuple[Any, ...]]:
        with self.chain.warehouse.session() as session:
            return sorted(session.query(f"SELECT * FROM {table_name(name)} WHERE {where}").rows(), key=repr)

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        with self.chain.warehouse.session() as session:
            return session.query(text).rows()

    def settle(self) -> None:
        """What an hourly run does after extraction, but for sending."""
        self.chain.derive()
        with self.chain.warehouse.session() as session:
            session.state.watermark = at(NOW)
            conversions.update(session, self.chain.ledger, self.chain.mapping, self.pipeline.settings, at(NOW))
            self.show(session)

    def show(self, session: Session) -> None:
        for model in MODELS:
            materialize(session.connection, model)
        warehouse = self.chain.warehouse
        marts, target = warehouse.marts_path, warehouse.finance_path
        publish(session.connection, marts_path=marts, target=target, as_of=at(NOW), tests=TESTS, now=at(NOW))


@contextmanager
def installation(folder: Path) -> Iterator[Installation]:
    with Chain.start(folder, LINES, day(3, "10:00:00"), rules_in(folder)) as chain:
        engine = chain.warehouse._engine()
        engine.execute("SET GLOBAL force_compression = 'uncompressed'")
        data = chain.warehouse.directory
        given = configuration.load({**META, "CRM_ATTRIBUTION_DATA_DIR": str(data)})
        made = Installation(chain, Pipeline(given, chain.mapping, FixedClock(at(NOW)), chain.warehouse))
        chain.run()
        made.settle()  # the opportunity is told by the lifecycle, and taken by the platform
        with chain.ledger.writing() as book:
            taken = book.read(CONVERSION).filter(pl.col("milestone") == "opportunity_created")
            sent = {"state": "accepted", "touch_id": f"click:{CLICK}"}
            persons = taken.select("conversion_id", "person_id").iter_rows()
            book.update(
                CONVERSION, [{"conversion_id": key, "person_id": person or "x", **sent} for key, person in persons]
            )
            told_hubspot(book, taken)
        chain.sandbox.set_clock(NOW)
        chain.run()
        with chain.warehouse.session() as session:
            told_otherwise(session)
        drop_files(made.inbox)
        made.settle()
        yield made


def told_hubspot(book: Book, like: pl.DataFrame) -> None:
    """Rows of what HubSpot was told, whose ids name the click, or the e-mail by its digest."""
    made = digest("contacts", EMAIL)
    for number, (destination, of, state) in enumerate([
        ("hubspot_events", f"click:{CLICK}", "accepted"), ("hubspot_events", f"click:{CLICK}", "suppressed"),
        ("hubspot_properties", f"contacts:13:click:{CLICK}:2", "accepted"),
        ("hubspot_properties", f"deals:51:click:{CLICK}:1", "pending"),
        ("hubspot_identify", f"contacts:{made}:0:abc", "accepted"),
    ]):  # fmt: skip
        row = like.head(1).with_columns(
            conversion_id=pl.lit(f"told-{number}"), destination=pl.lit(destination), account=pl.lit(""),
            milestone=pl.lit("link_click"), milestone_id=pl.lit(of), event_id=pl.lit(of), action=pl.lit(f"a{number}"),
            state=pl.lit(state), touch_id=pl.lit(None, pl.String), contact_id=pl.lit(None, pl.Int64),
        )  # fmt: skip
        book.insert(CONVERSION, row)


def rules_in(folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    return rules(folder, RULES)


def told_otherwise(session: Session) -> None:
    """What came by webhook, by mail and in bad order: rows as the readers of those write them."""
    stamp = at(NOW)

    def event(key: str, kind: str, **fields: Any) -> dict[str, Any]:
        common = {"event_key": key, "source": "hubspot", "subscription_type": kind}
        return {**common, "object_type": "contacts", "occurred_at": stamp, "received_at": stamp, **fields}

    merged = json.dumps({"primaryObjectId": 11, "mergedObjectIds": [12], "newObjectId": 13})
    events = [
        event("w1", "contact.propertyChange", object_id="13", property_name="phone", property_value=PHONE),
        event("w2", "contact.merge", object_id="13", details=merged),
        event("w3", "changed", source="ingest", object_type=None, details=json.dumps({"contact": {"email": EMAIL}})),
        event("w4", "contact.privacyDeletion", object_id="13"),
        event("w5", "contact.propertyChange", object_id="21", property_name="phone", property_value="+49 1"),
        event("w6", "deal.propertyChange", object_type="deals", object_id="13", property_name="amount"),
    ]  # fmt: skip
    mails = [
        {"id": f"m{n}", "created_at": stamp, "recipient": who, "is_bot": False, "extracted_at": stamp}
        for n, who in enumerate([EMAIL.title(), "bob@quelle.example"])
    ]
    fairs = [
        {"touch_id": number, "touched_at": stamp, "act": "fair", "told_at": stamp, "extracted_at": stamp, **who}
        for number, who in (("f1", {"email": EMAIL.title()}), ("f2", {"contact_id": 12}), ("f3", {"contact_id": 21}))
    ]
    said = [
        {**fair, "message_id": fair["touch_id"], "kind": "identify", "happened_at": stamp,
         "properties": json.dumps({"phone": "+49 1" if fair["touch_id"] == "f3" else PHONE})}
        for fair in fairs
    ]  # fmt: skip
    said = [
        {name: value for name, value in one.items() if name not in ("touch_id", "act", "touched_at")} for one in said
    ]
    kept = [
        {"subject": subject, "object_type": "contacts", "wanted": "{}",
            "tellings": 0, "told": json.dumps({"phone": phone}),
         "planned_at": stamp, **who}
        for subject, phone, who in (
            ("contacts:13", PHONE, {"record_id": 13}), ("contacts:ab", PHONE, {"name": EMAIL}),
            ("contacts:21", "+49 1", {"record_id": 21}),
        )
    ]  # fmt: skip
    reported = [
        {"key": f"{one}:told:contacts:x", "reasons": "x:no_such_property", "row": "{}", "source": "x", "stored": True}
        for one in ("f1", "f3")
    ]
    meetings = [
        {"kind": "meeting", "id": number, "occurred_at": stamp, "contact_ids": who, "extracted_at": stamp}
        for number, who in (("both", [13, 21]), ("hers", [11]), ("his", [21]))
    ]
    refused = [
        {"key": "13", "reasons": "email:bad", "row": json.dumps({"id": "13", "email": f"{NAME}@@x"}), "source": "x"},
        {"key": "21", "reasons": "email:bad", "row": json.dumps({"id": "21", "email": "bob@@x"}), "source": "x"},
    ]
    clicks = [{"key": "k", "reasons": "x", "row": json.dumps({"click_id": "k", "contact_id": "12"}), "source": "x"}]
    with session.transaction():
        session["raw.webhook_event"].upsert(pl.DataFrame(events, infer_schema_length=None))
        session["raw.email_click"].upsert(pl.DataFrame(mails))
        session["raw.offline_touch"].upsert(pl.DataFrame(fairs, infer_schema_length=None))
        session["raw.identify"].upsert(pl.DataFrame(said, infer_schema_length=None))
        session["conversions.told_record"].upsert(pl.DataFrame(kept, infer_schema_length=None))
        session.quarantine.add("raw.identify", pl.DataFrame(reported), observed_at=stamp)
        session["raw.activity"].upsert(pl.DataFrame(meetings))
        session.quarantine.add("raw.contact", pl.DataFrame(refused), observed_at=stamp)
        session.quarantine.add("raw.link_click", pl.DataFrame(clicks), observed_at=stamp)
        change = {"person_id": "p", "other_person_id": "q", "kind": "merge", "cause": f"email:{sha256(EMAIL)}"}
        session["identity.person_change"].append(pl.DataFrame([{**change, "recorded_at": stamp}]))
        erased = {"object_type": "contacts", "object_id": "13", "kind": "privacy", "source": "webhook"}
        session["raw.deletion"].upsert(pl.DataFrame([{**erased, "deleted_at": stamp, "noticed_at": stamp}]))


BOBS = {"click_id": "click-of-bob-00003", "contact_id": "21", "destination_url": "https://v.example"}
ANNAS = {"click_id": CLICK, "contact_id": "11", "gclid": GCLID, "destination_url": "https://v.example"}


def drop_files(inbox: Path) -> None:
    """Archived and waiting files of every kind; each but the last holds something of Bob too."""
    archive = inbox / "archive" / "clicks"
    archive.mkdir(parents=True)
    (inbox / "clicks").mkdir(exist_ok=True)
    lines = [json.dumps(BOBS), json.dumps(ANNAS), "no json, but bob", f"no json, but {EMAIL}"]
    (archive / "one.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")
    both = pl.DataFrame([BOBS, ANNAS], infer_schema_length=None)
    other = [f"lines of another length,{EMAIL}", "x,dinner,13,y,of another length", "lines of another length, but bob"]
    text = both.write_csv() + "".join(f"{line}\n" for line in other)
    (archive / "two.csv").write_text(text, encoding="utf-8")
    both.write_parquet(archive / "three.parquet", compression="uncompressed")
    (archive / "only.csv").write_text(f"click_id,gclid\nx,{GCLID}\n", encoding="utf-8")
    (archive / "wide.csv").write_bytes(f"email,plan\n{EMAIL},pro\n".encode("utf-16"))
    (archive / "unknown.txt").write_text(f"call {EMAIL}", encoding="utf-8")
    (inbox / "clicks" / "waiting.ndjson").write_text(json.dumps(ANNAS) + "\n" + json.dumps(BOBS), encoding="utf-8")
    hubspot = [
        {"subscriptionType": "contact.propertyChange", "objectId": 13, "propertyName": "phone", "propertyValue": PHONE},
        {"subscriptionType": "contact.propertyChange", "objectId": 21, "propertyName": "phone", "propertyValue": "7"},
        {"subscriptionType": "contact.privacyDeletion", "objectId": 13},
    ]  # fmt: skip
    for folder in (inbox / "archive" / "webhooks", inbox / "webhooks"):
        folder.mkdir()
        (folder / "hook.json").write_bytes(envelope("hubspot", json.dumps(hubspot).encode(), at(NOW)))
    posted = {"source": "workflow", "event": "changed", "contact": {"email": EMAIL, "firstname": NAME}}
    (inbox / "webhooks" / "post.json").write_bytes(envelope("ingest", json.dumps(posted).encode(), at(NOW)))


def facebook_hash() -> str:
    """The hash Meta is sent for Anna: never stored, so never to be found."""
    return str(meta_hash("em", EMAIL))
