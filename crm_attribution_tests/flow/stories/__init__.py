"""Every story of the modules in this folder, found by name, and the portal in which all of them happen."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from crm_attribution_tests.flow.story import SETUP, Story
from crm_attribution_tests.sandbox_process import Line


def _found() -> dict[str, Story]:
    """Name of the function -> story.

    Raises:
        ValueError: when two stories have one name or one number.
    """
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    named = [(name, value) for module in modules for name, value in vars(module).items() if isinstance(value, Story)]
    for what in ([name for name, _ in named], [story.number for _, story in named]):
        if len(what) != len(set(what)):
            raise ValueError(f"two stories share a name or number: {sorted(what)}")
    return dict(named)


STORIES = _found()


def portal() -> list[Line]:
    """All stories as one log."""
    lines = [line for story in STORIES.values() for line in story.lines]
    return [*SETUP, *sorted(lines, key=lambda line: str(line["at"]))]
