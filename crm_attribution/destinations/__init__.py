"""Ad platforms, one per file: a module here that defines `DESTINATION` is one; nothing else knows its name."""

from __future__ import annotations

from functools import cache

from crm_attribution.destinations.base import Destination
from crm_attribution.registry import discover


@cache
def destinations() -> dict[str, Destination]:
    """Every destination of this folder, by name.

    Raises:
        ConfigurationError: when two files claim one name.
    """
    return discover(__name__, __path__, "DESTINATION", Destination)  # type: ignore[type-abstract]
