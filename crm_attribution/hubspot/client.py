"""The client the assets use. One method per question; pages come as lists of plain dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from crm_attribution.http.transport import Transport
from crm_attribution.hubspot import campaigns
from crm_attribution.hubspot.activities import EVENT_PAGE, Kind, changed_pages, count
from crm_attribution.hubspot.associations import Association, read_associations
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.hubspot.paging import Record, pages, rows
from crm_attribution.hubspot.paths import Paths, segment
from crm_attribution.hubspot.records import BatchResult, Page, batch_results, list_pages, record_path
from crm_attribution.hubspot.search import (
    Changed,
    ChangeFeed,
    Walk,
    id_filters,
    walk_pages,
    window_filters,
    won_pages,
)
from crm_attribution.hubspot.streams import email_click_pages, submission_pages


class HubSpotClient:
    """Reads one portal through `transport`."""

    def __init__(self, transport: Transport, *, version: str = "2026-09", paths: Paths | None = None) -> None:
        self.transport = transport
        self._paths = paths or Paths.of(version)

    def account_details(self) -> Record:
        """portalId, timeZone, companyCurrency, additionalCurrencies, …"""
        body: Record = self.transport.request("GET", self._paths.account).body
        return body

    def daily_usage(self) -> tuple[int, int] | None:
        """(limit, used) calls of the account's private apps today; None where HubSpot does not say.

        https://developers.hubspot.com/docs/api-reference/legacy/account/account-information/get-usage-details
        """
        found = rows(self.transport.request("GET", self._paths.usage).body, "hubspot api usage")
        counted = next((row for row in found if {"usageLimit", "currentUsage"} <= row.keys()), None)
        return None if counted is None else (int(counted["usageLimit"]), int(counted["currentUsage"]))

    def owners(self, *, archived: bool = False) -> list[Record]:
        """Active owners, or the archived ones (two lists at HubSpot; old deals name owners of both).

        https://developers.hubspot.com/docs/api/crm/owners
        """
        return self._all("owners", self._paths.owners, limit=100, archived=str(archived).lower())

    def pipelines(self, object_type: str) -> list[Record]:
        """Pipelines with their stages. Not paged."""
        path = f"{self._paths.pipelines}/{segment(object_type)}"
        return rows(self.transport.request("GET", path).body, "hubspot pipelines")

    def properties(self, object_type: str) -> list[Record]:
        """Property definitions: name, type, fieldType, label, …. Not paged."""
        path = f"{self._paths.properties}/{segment(object_type)}"
        return rows(self.transport.request("GET", path).body, "hubspot properties")

    def forms(self, *, archived: bool = False) -> list[Record]:
        """Forms of every type, captured ones too: the active ones, or the archived ones."""
        return self._all("forms", self._paths.forms, limit=100, formTypes="all", archived=str(archived).lower())

    def form_submissions(self, form_id: str, newer_than: datetime | None) -> Iterator[list[Record]]:
        """Submissions at or after `newer_than`, newest first, each conversionId once."""
        return submission_pages(self.transport, self._paths.submissions, form_id, newer_than)

    def activities(self, kind: Kind, since: datetime | None, until: datetime) -> Iterator[list[Record]]:
        """Meetings or calls modified in `[since, until)`. ⌈N/200⌉ calls."""
        return changed_pages(self._asker(kind.objects), kind, since, until)

    def count_activities(self, kind: Kind, since: datetime | None = None, until: datetime | None = None) -> int:
        """How many unarchived meetings or calls were modified in `[since, until)`, or are there at all; one call."""
        return count(self._asker(kind.objects), since, until)

    def archived_activities(self, kind: Kind) -> set[str]:
        """Ids of the archived meetings or calls. ⌈N/100⌉ calls."""
        listing = list_pages(
            self.transport, f"{self._paths.objects}/{kind.objects}", ["hs_object_id"], [], archived=True
        )
        return {str(row["id"]) for page in listing for row in page.records}

    def read_activities(self, kind: Kind, ids: Sequence[str]) -> list[Record]:
        """Those of the meetings or calls that are there and not archived. ⌈N/100⌉ calls."""
        found = batch_results(self.transport, f"{self._paths.objects}/{kind.objects}", ids, kind.properties, [])
        return [record for result in found for record in result.records]

    def marketing_events(self) -> list[Record]:
        """Every marketing event: objectId, eventName, startDateTime, updatedAt, …"""
        return self._all("marketing events", self._paths.marketing_events, need="objectId", limit=EVENT_PAGE)

    def participations(self, event: str) -> list[Record]:
        """The people of a marketing event: who they are, attendanceState and occurredAt."""
        path = f"{self._paths.marketing_events}/participations/{segment(event)}/breakdown"
        return self._all("marketing event participations", path, limit=EVENT_PAGE)

    def campaigns(self) -> list[Record]:
        """Every campaign: id, updatedAt, name and utm."""
        properties = ",".join(campaigns.PROPERTIES)
        return self._all("campaigns", self._paths.campaigns, limit=campaigns.PAGE, properties=properties)

    def campaign_totals(self, campaign: str) -> Record | None:
        """Budget and spend items of a campaign with its currency; None where it is gone."""
        return self._of_campaign(campaign, "budget/totals")

    def campaign_revenue(self, campaign: str) -> Record | None:
        """What HubSpot's own report credits to a campaign by its linear model, of all times; None where it is gone."""
        return self._of_campaign(campaign, "reports/revenue", attributionModel=campaigns.MODEL)

    def _of_campaign(self, campaign: str, what: str, **params: str) -> Record | None:
        path = f"{self._paths.campaigns}/{segment(campaign)}/{what}"
        answer = self.transport.request("GET", path, params=params, expected=(200, 404))
        found: Record | None = None if answer.status == 404 else answer.body
        return found

    def email_clicks(self, since: datetime | None, until: datetime) -> Iterator[list[Record]]:
        """Marketing e-mail clicks created in `[since, until)`."""
        return email_click_pages(self.transport, self._paths.email_events, since, until)

    def changed(self, object_type: str, since: datetime | None, until: datetime) -> ChangeFeed:
        """Ids and modified times of the records whose *current* modified time is in `[since, until)`, and how many
        unarchived records there are at all.

        Archived and merged-away records are never in it. Costs ⌈N/200⌉ calls, one when nothing changed.
        """
        return ChangeFeed(self._asker(object_type), object_type, since, until)

    def walked(self, object_type: str, walk: Walk) -> Iterator[list[Changed]]:
        """The rest of a walk through changes that was broken off."""
        return walk_pages(self._asker(object_type), object_type, walk)

    def count(self, object_type: str, since: datetime | None = None, until: datetime | None = None) -> int:
        """How many unarchived records HubSpot counts in `[since, until)`; one call."""
        filters = window_filters(OBJECT_TYPES[object_type].modified_property, since, until)
        return self._count(object_type, filters)

    def closed_won(self) -> Iterator[list[Record]]:
        """The unarchived deals that HubSpot has as closed and won: amount, currency, close date. ⌈N/200⌉ calls."""
        return won_pages(self._asker("deals"))

    def count_ids(self, object_type: str, first: int, last: int) -> int:
        """How many unarchived records have an id from `first` to `last`, both included; one call."""
        return self._count(object_type, id_filters(first, last))

    def _count(self, object_type: str, filters: list[Record]) -> int:
        groups = [{"filters": filters}] if filters else []
        return int(self._search(object_type, {"filterGroups": groups, "limit": 1})["total"])

    def ids_between(self, object_type: str, first: int, last: int) -> list[str]:
        """The unarchived record ids from `first` to `last`, at most 200 of them; one call."""
        body = {"filterGroups": [{"filters": id_filters(first, last)}], "limit": 200, "properties": ["hs_object_id"]}
        return [str(row["id"]) for row in rows(self._search(object_type, body), "hubspot search ids", need="id")]

    def list_all(
        self,
        object_type: str,
        properties: Sequence[str],
        history: Sequence[str] = (),
        *,
        archived: bool = False,
        after: str | None = None,
    ) -> Iterator[Page]:
        """Every record, or every archived one (never both), from the cursor `after` on. ⌈T/50⌉ calls with history,
        ⌈T/100⌉ without."""
        path = record_path(self._paths.objects, object_type)
        return list_pages(self.transport, path, properties, history, archived=archived, after=after)

    def read_one(
        self, object_type: str, record_id: str, properties: Sequence[str] = (), *, archived: bool = False
    ) -> Record | None:
        """One record by its id, None where HubSpot does not know it. The id of a merged record answers with the
        record that absorbed it."""
        path = f"{record_path(self._paths.objects, object_type)}/{segment(record_id)}"
        params = {"archived": str(archived).lower()} | ({"properties": ",".join(properties)} if properties else {})
        answer = self.transport.request("GET", path, params=params, expected=(200, 404))
        found: Record | None = None if answer.status == 404 else answer.body
        return found

    def batch_read(
        self,
        object_type: str,
        ids: Sequence[int] | Sequence[str],
        properties: Sequence[str],
        history: Sequence[str] = (),
        *,
        archived: bool = False,
    ) -> BatchResult:
        """The records of `ids`, merged ids included. ⌈N/50⌉ calls with history, ⌈N/100⌉ without."""
        total = BatchResult()
        path = record_path(self._paths.objects, object_type)
        for result in batch_results(self.transport, path, ids, properties, history, archived=archived):
            total.add(result)
        return total

    def associations(
        self, from_type: str, to_type: str, ids: Sequence[int] | Sequence[str]
    ) -> dict[str, list[Association]]:
        """The other ends for each id; `[]` for none (or an unknown id). ⌈N/1,000⌉ calls."""
        path = f"{self._paths.associations}/{segment(from_type)}/{segment(to_type)}/batch/read"
        where = f"hubspot associations {from_type} to {to_type}"
        return read_associations(self.transport, path, ids, where)

    def _asker(self, object_type: str) -> Callable[[Record], Record]:
        return lambda body: self._search(object_type, body)

    def _search(self, object_type: str, body: Record) -> Record:
        path = f"{record_path(self._paths.objects, object_type)}/search"
        answer: Record = self.transport.request("POST", path, json=body, budget="search").body
        return answer

    def _all(self, name: str, path: str, need: str = "id", **params: Any) -> list[Record]:
        def fetch(after: str | None) -> Record:
            cursor = {} if after is None else {"after": after}
            body: Record = self.transport.request("GET", path, params=params | cursor).body
            return body

        return [row for page in pages(fetch, f"hubspot {name}", need=need) for row in page]
