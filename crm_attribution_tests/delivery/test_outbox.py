"""The outbox covers every destination, and says so where it cannot."""

from __future__ import annotations

import pytest

from crm_attribution.destinations import destinations
from crm_attribution_tests.delivery.outbox import SMALL, emulator
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox


@pytest.mark.parametrize("name", destinations())
def test_the_sandbox_has_a_counterpart_of_every_destination(sandbox: Sandbox, name: str):
    assert sandbox.received(emulator(SMALL[name], sandbox.env))["received"] is not None
    assert SMALL[name].limits.batch == 2


def test_a_destination_without_a_counterpart_fails(sandbox: Sandbox):
    destination = SMALL["meta"]
    env = {name: value for name, value in sandbox.env.items() if name != destination.base_url_setting}
    with pytest.raises(AssertionError, match="the sandbox has no counterpart of meta: it does not set META_BASE_URL"):
        emulator(destination, env)
