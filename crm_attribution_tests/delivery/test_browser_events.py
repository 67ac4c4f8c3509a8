"""What the pixel or tag told too is sent under its id, so that the platform counts browser and server once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from crm_attribution.destinations import destinations
from crm_attribution.errors import ConfigurationError, Retryable
from crm_attribution.ledger.store import Ledger
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.raw.records import named_properties
from crm_attribution_tests.delivery.outbox import NOW, Outbox, resolved
from crm_attribution_tests.delivery.test_faults import Scripted
from crm_attribution_tests.flow.chain import rules
from crm_attribution_tests.sandbox_process import Sandbox

Make = Callable[..., Outbox]
Counted = Callable[[Outbox], list[str]]
TELLS = [name for name, one in destinations().items() if one.browser_events is not None]


def tell(outbox: Outbox, **ids: str) -> None:
    for name, key in ids.items():
        outbox.people[name] = resolved(outbox.tag + name, browser_event_id=outbox.tag + key)


def sent_under(outbox: Outbox, sandbox: Sandbox) -> dict[str, str]:
    """Business fact -> the key its last event came with."""
    field = outbox.destination.key_field
    assert field is not None
    found = {}
    for event in sandbox.received(outbox.emulator)["received"]:
        for name in outbox.counted([event], outbox.rows()):
            found[name] = event[field].removeprefix(outbox.tag)
    return found


@pytest.mark.sandbox
@pytest.mark.parametrize("name", TELLS)
def test_an_event_the_browser_told_counts_once_and_no_id_is_used_twice(
    name: str, make: Make, sandbox: Sandbox, counted: Counted
):
    outbox = make(name)
    keys = dict(zip("abd", outbox.plan("a", "b", "d"), strict=True))
    (keys["c"],) = outbox.plan("c", occurred_at=NOW - timedelta(hours=4))
    tell(outbox, a="pixel-1", b="pixel-2", c="pixel-2")
    row = outbox.rows()["a"]
    account = sandbox_account(outbox) if name == "linkedin" else row["account"]
    sandbox.tell_by_browser(outbox.emulator, account, row["action"], outbox.tag + "pixel-1")
    outbox.deliver()
    assert set(outbox.states().values()) == {"accepted"}
    assert sent_under(outbox, sandbox) == {"a": "pixel-1", "b": "pixel-2", "c": keys["c"], "d": keys["d"]}
    assert counted(outbox) == ["b", "c", "d"], "the browser's event stands for a"
    other = "other" if outbox.destination.browser_events == "action" else outbox.destination.example_action + "7"
    outbox.plan("e", action=other)
    tell(outbox, e="pixel-1")
    outbox.deliver()
    again = sent_under(outbox, sandbox)["e"]
    assert (again == "pixel-1") == (outbox.destination.browser_events == "action")


def sandbox_account(outbox: Outbox) -> str:
    from crm_attribution.sandbox.platforms import linkedin

    assert outbox.emulator == "linkedin"
    return linkedin.ACCOUNT


@pytest.mark.sandbox
def test_the_id_of_the_first_claim_stays(make: Make, sandbox: Sandbox, counted: Counted):
    """Another one would be another event for the platform, and count again."""
    outbox = make("meta")
    outbox.plan("changed", "gained")
    tell(outbox, changed="pixel-1")
    outbox.deliver(transport=Scripted(Retryable("no answer", sent=True)))
    assert set(outbox.states().values()) == {"retry"}
    tell(outbox, changed="pixel-2", gained="pixel-3")
    for name in ("changed", "gained"):
        outbox.change(name, next_attempt_at=outbox.now)
    outbox.deliver()
    key = outbox.rows()["gained"]["conversion_id"]
    assert sent_under(outbox, sandbox) == {"changed": "pixel-1", "gained": key}
    assert counted(outbox) == ["changed", "gained"]


def test_a_ledger_of_the_release_before_gets_the_column(tmp_path: Path):
    """Killed in between it is as it was: one transaction."""
    ledger = Ledger(tmp_path)
    ledger.create()
    with ledger.writing() as book:
        connection = book.connection
        connection.exec_driver_sql("DROP INDEX conversion_browser_event_id")
        connection.exec_driver_sql("ALTER TABLE conversion DROP COLUMN browser_event_id")
        connection.exec_driver_sql("UPDATE ledger SET version = 1")
    with Ledger(tmp_path).reading() as book:
        assert book.read(CONVERSION)["browser_event_id"].to_list() == []
        assert book.connection.exec_driver_sql("SELECT version FROM ledger").scalar() == 2
        indexes = book.connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'index'").scalars().all()
    assert "conversion_browser_event_id" in indexes


def test_a_rule_names_the_property_which_is_read(tmp_path: Path):
    rule = "{{milestone: lead_captured, action: '{}', browser_event_id: {}}}"
    text = f"destinations:\n  {{}}:\n    conversions:\n      - {rule}\n"
    mapped = rules(tmp_path, text.format("meta", "Lead", "pixel_event_id"))
    assert "pixel_event_id" in named_properties(mapped, "contacts")[0]
    assert mapped.destinations["meta"].told_by_browser("lead_captured", "Lead") == "pixel_event_id"
    assert mapped.destinations["meta"].told_by_browser("lead_captured", "Other") is None
    ads = {name for name, one in destinations().items() if one.plans_from == "milestones"}
    for name in sorted(ads - {*TELLS}):
        with pytest.raises(ConfigurationError, match=f"{name} does not deduplicate events of the browser and ours"):
            rules(tmp_path, text.format(name, destinations()[name].example_action, "x"))
