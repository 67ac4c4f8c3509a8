"""Ad platforms, one per file.

A platform is a module here with a function `create(world) -> Platform`; nothing else has to know about it. What it
received is answered at `/_sandbox/received/{name}`.
"""

from __future__ import annotations

import importlib
import pkgutil

from crm_attribution.sandbox.platforms.base import Platform
from crm_attribution.sandbox.world import World


def create_all(world: World) -> list[Platform]:
    """Every platform in this folder, by file name."""
    found: list[Platform] = []
    for module in sorted(item.name for item in pkgutil.iter_modules(__path__)):
        create = getattr(importlib.import_module(f"{__name__}.{module}"), "create", None)
        if create is not None:
            found.append(create(world))
    return found
