"""Attribution models, one per file: a module here that defines `MODEL` is one; the mapping names those in use."""

from __future__ import annotations

from functools import cache

from crm_attribution.attribution.models.base import Model
from crm_attribution.registry import discover


@cache
def models() -> dict[str, Model]:
    """Every attribution model of this folder, by name.

    Raises:
        ConfigurationError: when two files claim one name.
    """
    return discover(__name__, __path__, "MODEL", Model)
