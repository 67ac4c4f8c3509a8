from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crm_attribution_tests.sandbox.generator.validator import Reader, read

SAMPLE = Path(__file__).parents[3] / "data" / "sample_portal.jsonl"


@pytest.fixture(scope="session")
def sample() -> list[dict[str, Any]]:
    return read(SAMPLE.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def reader(sample: list[dict[str, Any]]) -> Reader:
    return Reader().read(sample)
