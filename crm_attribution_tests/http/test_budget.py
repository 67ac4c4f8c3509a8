from __future__ import annotations

import threading
import time

import pytest

from crm_attribution.errors import Retryable
from crm_attribution.http.transport import Budget
from crm_attribution.hubspot.limits import hubspot_budgets
from crm_attribution_tests.http.scripted import reply


def test_the_share_of_hubspots_limits():
    budgets = hubspot_budgets()
    assert (budgets["burst"].allowed, budgets["search"].allowed) == (90, 4)
    assert hubspot_budgets(burst=190)["burst"].allowed == 171


def test_blocks_when_spent():
    budget = Budget(3, 0.3, share=1)
    started = time.monotonic()
    assert all(budget.acquire(5) for _ in range(7))
    assert 0.6 <= time.monotonic() - started < 2


def test_is_shared_by_clients_and_threads_and_holds_in_every_window(server, transport):
    server.play(reply())
    stamps: list[float] = []

    class Stamped(Budget):
        def acquire(self, timeout: float) -> bool:
            acquired = super().acquire(timeout)
            stamps.append(time.monotonic())
            return acquired

    budgets = {"burst": Stamped(10, 0.5, share=0.9)}
    clients = [transport(budgets=budgets), transport(budgets=budgets)]

    def ask(client) -> None:
        for _ in range(5):
            client.request("GET", "/x")

    threads = [threading.Thread(target=ask, args=(clients[n % 2],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stamps.sort()
    assert len(stamps) == 20
    assert max(sum(1 for s in stamps if start <= s < start + 0.45) for start in stamps) <= 10


def test_retries_count_too_and_unnamed_budgets_are_off(server, transport):
    server.play(reply(500), reply())
    spent = Budget(2, 60, share=1)
    client = transport(budgets={"search": spent})
    for _ in range(3):
        client.request("GET", "/x")
    server.play(reply(500), reply())
    client.request("GET", "/x", budget="search")
    with pytest.raises(Retryable, match="no room in the search rate budget"):
        transport(budgets={"search": spent}, deadline_seconds=0.05, attempts=1).request("GET", "/x", budget="search")
