"""Sources other than HubSpot, one per file: a module here that defines `SOURCE` is one."""

from __future__ import annotations

from functools import cache

from crm_attribution.registry import discover
from crm_attribution.sources.base import Source


@cache
def sources() -> dict[str, Source]:
    """Every source of this folder, by name.

    Raises:
        ConfigurationError: when two files claim one name.
    """
    return discover(__name__, __path__, "SOURCE", Source)
