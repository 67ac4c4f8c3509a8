"""Commands about conversions: let go of what is held, decide what is unknown, put a copy of the ledger in force."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from crm_attribution.contracts.conversions import STATES
from crm_attribution.mapping.events import MILESTONES
from crm_attribution.operations.console import Instant, acts_on_errors, given_settings, with_flags
from crm_attribution.words import said

_DESTINATION = click.option("--destination", required=True, help="Platform, as in the mapping.")
_JSON = click.option("--json", "as_json", is_flag=True)


def _full(hour: datetime | None) -> None:
    if hour is not None and (hour.minute or hour.second or hour.microsecond):
        raise click.UsageError("--hour must be a full hour, e.g. 2026-03-12T09:00:00Z")


def _reason(option: str, given: str) -> str:
    return said(option, given, "say why; it is kept with each conversion")


@click.command()
@_DESTINATION
@click.option(
    "--reason",
    type=click.Choice(["volume_guard", "possible_duplicate", "before_activation"]),
    required=True,
    help="Which hold to lift; before_activation uploads history on purpose.",
)
@_JSON
@acts_on_errors
def release(destination: str, reason: str, as_json: bool) -> None:
    """Let go of conversions that wait for a person's decision; the next hour sends them."""
    from crm_attribution.operations import ledger

    released = ledger.release(given_settings(), destination, reason)
    result = {"destination": destination, "reason": reason, "released": len(released)}
    click.echo(json.dumps(result) if as_json else f"{len(released)} conversions of {destination} are released")


@click.command()
@_DESTINATION
@click.option(
    "--as",
    "decision",
    type=click.Choice(["accepted", "rejected", "retry", "again"]),
    required=True,
    help="What became of unknown ones; retry: nothing was applied, send them under the same key."
    " again: plan rejected ones anew, as a new revision, after their cause is mended.",
)
@click.option("--because", required=True, help="Why; it is kept with each row.")
@click.option("--id", "ids", multiple=True, help="Conversion, milestone or event id; may be repeated.")
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Such ids, one a line.")
@click.option("--reason", help="Only those in their state for this reason.")
@click.option("--from", "since", type=Instant(), help="Only facts from then on.")
@click.option("--to", "until", type=Instant(), help="Only facts before then.")
@click.option("--all", "everything", is_flag=True, help="All of the destination, where nothing else is given.")
@_JSON
@acts_on_errors
def resolve(
    destination: str,
    decision: str,
    because: str,
    ids: tuple[str, ...],
    file: Path | None,
    reason: str | None,
    since: datetime | None,
    until: datetime | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Decide conversions whose end is unknown, or plan rejected ones anew: by id, file or filter, with a reason."""
    from crm_attribution.operations import ledger

    named = [*ids, *(ledger.read_ids(file) if file else ())]
    if file and not named:
        raise click.UsageError(f"{file} names no id")
    if not everything and not named and reason is None and since is None and until is None:
        raise click.UsageError("name conversions by --id, --file, --reason, --from or --to; --all takes all of them")
    because = _reason("--because", because)
    chosen = ledger.Chosen(destination, named, reason, since, until)
    done = ledger.resolve(given_settings(), chosen, decision, because)
    result = {"destination": destination, "as": decision, "because": because, "resolved": len(done), "ids": done}
    words = "planned anew" if decision == "again" else decision
    click.echo(json.dumps(result) if as_json else f"{len(done)} conversions of {destination} are {words}")


@click.command()
@click.option("--event-id", "ids", multiple=True, help="Event, milestone or conversion id; may be repeated.")
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Such ids, one a line.")
@click.option("--hour", type=Instant(), help="In place of ids: all that were ready in this hour.")
@click.option("--milestone", type=click.Choice(MILESTONES), help="With --hour: only this milestone.")
@click.option("--state", type=click.Choice(STATES), help="With --hour: only those in this state.")
@click.option("--destination", "to", multiple=True, required=True, help="Platform; may be repeated.")
@click.option("--reason", "why", required=True, help="Why; it is kept with each conversion.")
@_JSON
@acts_on_errors
def replay(
    ids: tuple[str, ...],
    file: Path | None,
    hour: datetime | None,
    milestone: str | None,
    state: str | None,
    to: tuple[str, ...],
    why: str,
    as_json: bool,
) -> None:
    """Send conversions again under the ids and keys they have: the next hour sends them, and each is counted once.

    What the platform would count a second time is refused, with the reason.
    """
    from crm_attribution.delivery.replay import Wish
    from crm_attribution.operations import ledger

    named = [*ids, *(ledger.read_ids(file) if file else ())]
    if file and not named:
        raise click.UsageError(f"{file} names no id")
    if bool(named) == (hour is not None):
        raise click.UsageError("give ids by --event-id or --file, or an --hour")
    if hour is None and (milestone or state):
        raise click.UsageError("--milestone and --state go with --hour")
    _full(hour)
    why = _reason("--reason", why)
    answers = ledger.replay(given_settings(), Wish(named, to, why, "command", hour, milestone, state))
    if as_json:
        click.echo(json.dumps(answers))
    else:
        _show_replay(answers)
    if unknown := [answer["id"] for answer in answers if answer["canonical_event"] is None]:
        raise click.ClickException(
            f"{len(unknown)} of {len(answers)} ids are not known, nothing was queued for them: {', '.join(unknown[:5])}"
        )


def _show_replay(answers: list[dict[str, Any]]) -> None:
    if not answers:
        click.echo("no conversion is meant by this")
    for answer in answers:
        sent = ", ".join(answer["replayed_destinations"])
        told = [f"sent again to {sent} by the next hour"] if sent else []
        told += [f"not to {name}: {reason}" for name, reason in answer["refused"].items()]
        click.echo(f"{answer['id']}: {'; '.join(told)}")


@click.command()
@_DESTINATION
@click.option("--milestone", help="One business fact, by the id of its milestone or of an event of it.")
@click.option("--hour", type=Instant(), help="What the sink of this hour would send now.")
@click.option("--next", "upcoming", is_flag=True, help="What the next hour's would send; the default.")
@click.option("--validate", is_flag=True, help="Have the platform check it without counting, where it can.")
@_JSON
@acts_on_errors
def preview(
    destination: str, milestone: str | None, hour: datetime | None, upcoming: bool, validate: bool, as_json: bool
) -> None:
    """Show the exact requests that would be sent, with personal data hashed, and what would not be sent and why."""
    from crm_attribution.operations import preview as previewing

    if sum((milestone is not None, hour is not None, upcoming)) > 1:
        raise click.UsageError("--milestone, --hour and --next exclude each other")
    _full(hour)
    asked = previewing.Asked(destination, milestone, hour, validate)
    result = previewing.show_next(given_settings(), asked)
    click.echo(json.dumps(result, indent=2)) if as_json else previewing.show(result)


@click.group(name="ledger")
def group() -> None:
    """The delivery ledger: what was planned and sent."""


@group.command()
@_JSON
@acts_on_errors
def recover(as_json: bool) -> None:
    """End safe mode after the ledger was lost or put back: its newest copy goes on.

    What may have been sent after that copy is sent again only where the platform recognises our key; elsewhere it
    becomes unknown and waits for `resolve`.
    """
    from crm_attribution.operations import ledger

    result = ledger.recover(given_settings())
    click.echo(json.dumps(result) if as_json else _told(result))


def _told(result: dict[str, Any]) -> str:
    if not result["recovered"]:
        return str(result["reason"])
    lines = [f"{result['reason']}: {result['from']} goes on, with {result['conversions']} conversions"]
    if result["unknown_since"]:
        lines.append(
            f"what was due since {result['unknown_since']} may have been sent: it is sent again only where the platform"
            f" recognises our key, else it becomes unknown ({with_flags('crm-attribution resolve')})"
        )
    else:
        lines.append("nothing was sent after it: the next hour goes on")
    return "\n".join(lines)
