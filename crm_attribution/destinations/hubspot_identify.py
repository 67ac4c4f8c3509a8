"""People and companies as other systems know them: HubSpot contacts by e-mail, companies by domain, and who belongs to
which.

A record that is known is written by its id: HubSpot refuses `hs_object_id` as the unique property of an upsert. A
contact that is not is made, or found, by its e-mail. HubSpot has no unique domain, so a company that is made carries
`crm_attribution_domain`, which is unique: one that may have been made is made again without a second one.

https://developers.hubspot.com/docs/api-reference/2026-03/crm/objects/companies/batch/upsert-companies
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import ClassVar

from crm_attribution.destinations.base import (
    Answer,
    Asked,
    Json,
    Limits,
    Outcome,
    Question,
    Ready,
    Request,
    Source,
    all_rows,
)
from crm_attribution.destinations.hubspot import EMAIL, RECORD, VERSION, headers
from crm_attribution.destinations.hubspot_records import (
    OBJECTS,
    PROPERTIES,
    HubSpotRecords,
    failures,
    objects,
    outcome_of,
    unique_text,
)

NEW, MEMBERSHIPS, COMPANY, PRIMARY = "new_", "memberships", "company", "primary"
"""How actions that may make a record begin; the action that associates a contact with `COMPANY` of its details, as its
primary one where `PRIMARY` is there."""

ACTIONS = ("contacts", "new_contacts", "companies", "new_companies", MEMBERSHIPS)
DOMAIN = "crm_attribution_domain"
"""Property of the companies that were made here: their domain, unique."""

_unique_domain = partial(unique_text, DOMAIN, "companies", "crm.schemas.companies.read")

KEYS = {"contacts": "email", "companies": DOMAIN}
"""What finds a record that is not known."""

ASSOCIATE = f"/crm/associations/{VERSION}/contacts/companies/batch/create"
_TO_COMPANY, _TO_PRIMARY_COMPANY = 279, 1
"""https://developers.hubspot.com/docs/api/crm/associations"""


class HubSpotIdentify(HubSpotRecords):
    """What records are given by inputs and computed traits. `action` is one of `ACTIONS`."""

    name: ClassVar[str] = "hubspot_identify"
    plans_from: ClassVar[Source] = "inputs"
    example_action: ClassVar[str] = "contacts"
    limits: ClassVar[Limits] = Limits(
        batch=100, max_age=timedelta(days=90), dedupe=timedelta(days=365), actions=1, calls_per_minute=300
    )
    scopes: ClassVar[Sequence[str]] = ("crm.objects.contacts.write", "crm.objects.companies.write")
    documentation: ClassVar[str] = (
        "https://developers.hubspot.com/docs/api-reference/2026-03/crm/objects/companies/batch/upsert-companies"
    )

    def accepts(self, ready: Ready) -> str | None:
        if ready.action == MEMBERSHIPS:
            return None if ready.contact_id is not None and ready.details.get(COMPANY) else "no_identifier"
        if not ready.action.startswith(NEW):
            return super().accepts(ready)
        key = _key(ready)
        valid = EMAIL.fullmatch(key) if ready.action == "new_contacts" else key
        return None if valid else "no_identifier"

    def build(self, batch: Sequence[Ready], settings: Mapping[str, str], options: Mapping[str, str]) -> Request:
        action = batch[0].action
        if action == MEMBERSHIPS:
            pairs = {(row.contact_id, row.details[COMPANY]): _pair(row) for row in batch}
            return Request("POST", ASSOCIATE, headers(settings), {"inputs": list(pairs.values())})
        if not action.startswith(NEW):
            return super().build(batch, settings, options)
        kind = action.removeprefix(NEW)
        inputs = {_key(row): _upsert(kind, row) for row in batch}
        return Request("POST", f"{OBJECTS}/{kind}/batch/upsert", headers(settings), {"inputs": list(inputs.values())})

    def questions(self, asked: Asked) -> list[Question]:
        """The scopes of what is told; whether there is the property by which companies are made once."""
        own = [scope for scope in self.scopes if scope.split(".")[2] in asked.actions]
        found = [one for one in super().questions(asked) if one.about.removeprefix("scope ") in own]
        if f"{NEW}companies" in asked.actions:
            look = Request("GET", f"{PROPERTIES}/companies/{DOMAIN}", headers(asked.settings), {})
            found.append(Question(f"property {DOMAIN}", look, _unique_domain))
        return found

    def read_refusal(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        """Without the unique property nobody's row is at fault, and nothing is lost: it has to be made."""
        text = json.dumps(answer.body)
        if self.is_own_refusal(answer) and DOMAIN in text and ("PROPERTY_DOESNT_EXIST" in text or "unique" in text):
            return all_rows(batch, "stopped", "property_is_not_there")
        return super().read_refusal(answer, batch)

    def read_success(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        body, action = answer.body if isinstance(answer.body, dict) else {}, batch[0].action
        if action == MEMBERSHIPS:
            return _associated(body, batch)
        if not action.startswith(NEW):
            return super().read_success(answer, batch)
        place = KEYS[action.removeprefix(NEW)]
        stored: dict[str, Json] = {}
        for one in objects(body.get("results")):
            properties = one.get("properties")
            if isinstance(properties, dict):
                stored[str(one.get("objectWriteTraceId"))] = stored[str(properties.get(place)).casefold()] = properties
        failed = failures(body, "objectWriteTraceId", "ids", "id")
        failed |= {row.conversion_id: failed[_key(row)] for row in batch if _key(row) in failed}
        return [
            outcome_of(row, stored.get(_key(row).casefold()) or stored.get(row.conversion_id), failed) for row in batch
        ]


def _key(ready: Ready) -> str:
    return ready.details.get(KEYS.get(ready.action.removeprefix(NEW), ""), "")


def _upsert(kind: str, ready: Ready) -> Json:
    properties = {name: text for name, text in ready.details.items() if name != RECORD}
    head = {"id": _key(ready), "idProperty": KEYS[kind], "objectWriteTraceId": ready.conversion_id}
    return {**head, "properties": properties}


def _pair(ready: Ready) -> Json:
    types = [_TO_COMPANY, *([_TO_PRIMARY_COMPANY] if ready.details.get(PRIMARY) else [])]
    return {
        "from": {"id": str(ready.contact_id)},
        "to": {"id": ready.details[COMPANY]},
        "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": one} for one in types],
    }


def _associated(body: Json, batch: Sequence[Ready]) -> list[Outcome]:
    """Results name both ends; an error names the contact."""
    made = {(_end(one, "from"), _end(one, "to")) for one in objects(body.get("results"))}
    failed = failures(body, "fromObjectId", "ids")
    found = []
    for row in batch:
        contact = str(row.contact_id)
        if (contact, row.details[COMPANY]) in made:
            found.append(Outcome(row.conversion_id, "accepted"))
        elif contact in failed:
            found.append(Outcome(row.conversion_id, "rejected", failed[contact]))
        else:
            found.append(Outcome(row.conversion_id, "uncertain", "results_do_not_match"))
    return found


def _end(result: Json, side: str) -> str:
    """An end of an association, as v4 answers it or as `from` and `to`."""
    end = result.get(side)
    return str(end.get("id")) if isinstance(end, dict) else str(result.get(f"{side}ObjectId"))


DESTINATION = HubSpotIdentify()
