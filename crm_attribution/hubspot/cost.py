"""What reading costs in calls: arithmetic over HubSpot's page sizes, nothing else."""

from __future__ import annotations

from math import ceil
from typing import Literal

SEARCH_PAGE, LIST_PAGE, HISTORY_BATCH, ASSOCIATION_BATCH = 200, 50, 50, 1_000
"""Results of a search; records of a listing with history; ids of a batch read with history, and of associations
(https://developers.hubspot.com/docs/api-reference/search/guide and .../crm/associations)."""

Way = Literal["list", "search"]


def pages(rows: int, size: int) -> int:
    """Calls for so many rows; asking costs one even where there is nothing."""
    return max(1, ceil(rows / size))


def history_calls(records: int) -> int:
    """Batch reads with history of so many ids; none for none."""
    return ceil(records / HISTORY_BATCH)


def search_calls(found: int) -> int:
    """Reading the `found` records of a window: search for their ids, then read them with history."""
    return pages(found, SEARCH_PAGE) + history_calls(found)


def list_calls(total: int) -> int:
    """Listing all `total` records of a type with history."""
    return pages(total, LIST_PAGE)


def association_calls(records: int, pairs: int) -> int:
    """Reading the associations of so many records to `pairs` other types; none for none."""
    return ceil(records / ASSOCIATION_BATCH) * pairs


def cheaper(found: int, total: int) -> Way:
    """Whether to list a whole type or to search for what changed; search where both cost the same."""
    return "list" if list_calls(max(found, total)) < search_calls(found) else "search"
