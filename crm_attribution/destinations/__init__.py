"""Ad platforms, one per file: a module here that defines `DESTINATION` is one; nothing else knows its name."""

from __future__ import annotations

from functools import cache

from crm_attribution.destinations.base import Destination
from crm_attribution.registry import discover
from crm_attribution.settings import Settings


@cache
def destinations() -> dict[str, Destination]:
    """Every destination of this folder, by name.

    Raises:
        ConfigurationError: when two files claim one name.
    """
    return discover(__name__, __path__, "DESTINATION", Destination)  # type: ignore[type-abstract]


def values(destination: Destination, settings: Settings) -> dict[str, str]:
    """The destination's own settings and nothing else; those that are not set are left out."""
    return {setting.name: settings[setting] for setting in destination.settings if settings[setting]}


def not_configured(destination: Destination, settings: Settings) -> str | None:
    """Why it cannot be used, naming each missing setting and where to get it; None where it can."""
    missing = settings.missing(destination.required)
    return "not configured: " + "; ".join(f"{one.name} ({one.where})" for one in missing) if missing else None
