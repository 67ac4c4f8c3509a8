"""Conversions that are due, to their platform: recover, claim, send, settle; alike for every destination."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import polars as pl

from crm_attribution.clock import Clock
from crm_attribution.destinations.base import Destination, Resolved
from crm_attribution.mapping import Mapping as Rules
from crm_attribution.settings import Settings
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session

Resolve = Callable[[Session, pl.DataFrame], Mapping[str, Resolved]]
"""Rows of `conversions.conversion` -> what is known about each, by conversion_id. Reads only: it runs inside the
transaction that claims the rows. A row it leaves out is held."""


class DeliveryReport:
    """What a delivery did."""


def deliver(
    destination: Destination,
    *,
    settings: Settings,
    rules: Rules,
    warehouse: Warehouse,
    clock: Clock,
    window_end: datetime,
    resolve: Resolve,
) -> DeliveryReport:
    """Send everything due by `window_end`."""
    raise NotImplementedError
