"""Plug-ins: every module of a package that defines one certain name is one, and nothing else knows it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Protocol, TypeVar

from crm_attribution.errors import ConfigurationError


class Named(Protocol):
    """What a registry holds."""

    @property
    def name(self) -> str: ...


P = TypeVar("P", bound=Named)


def discover(package: str, folders: Iterable[str], attribute: str, kind: type[P]) -> dict[str, P]:
    """Import every module of `package` and collect its `attribute`, by name and in the order of names.

    Args:
        package: dotted name.
        folders: the package's `__path__`.
        attribute: what a plug-in's module defines, for example `DESTINATION`. Modules without it are no plug-ins.
        kind: the type it has to be.

    Raises:
        ConfigurationError: when two modules claim one name, or `attribute` is something else.
    """
    found: dict[str, P] = {}
    place = package.rpartition(".")[2]
    for module in sorted(item.name for item in pkgutil.iter_modules(folders)):
        plugin = getattr(importlib.import_module(f"{package}.{module}"), attribute, None)
        if plugin is None:
            continue
        if not isinstance(plugin, kind):
            raise ConfigurationError(f"{place}/{module}.py: {attribute} must be a {kind.__name__}")
        if plugin.name in found:
            raise ConfigurationError(f"{place}/{module}.py: the name {plugin.name} is taken")
        found[plugin.name] = plugin
    return dict(sorted(found.items()))
