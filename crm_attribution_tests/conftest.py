"""Order of the suite."""

from __future__ import annotations

import pytest

SLOW = ("pipeline", "automation", "extraction", "errors")
"""Folders with few and slow tests: first, so that two workers end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not any(f"crm_attribution_tests/{folder}/" in item.nodeid for folder in SLOW))
