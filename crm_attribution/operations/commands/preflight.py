"""`crm-attribution preflight`: is the installation ready, and which data leave it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click
from rich.table import Table

from crm_attribution.findings import Finding, worst
from crm_attribution.operations.console import acts_on_errors, given_settings, wide_console

_STATES = ("failed", "warning", "cannot be checked", "ok")


@click.command()
@click.option("--privacy", is_flag=True, help="In place of the check: which data leave for whom, and what is kept.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
@acts_on_errors
def preflight(privacy: bool, as_json: bool) -> None:
    """Check tokens, scopes, mapping, accounts, actions, API versions and disk, and name what is wrong with its fix.

    Exit code 1 when something failed; a warning does not fail.
    """
    if privacy:
        _show_privacy(as_json)
        return
    from crm_attribution.preflight.check import check

    found = check(given_settings())
    if as_json:
        click.echo(json.dumps({"state": worst(found), "checks": [vars(one) for one in found]}, indent=2))
    else:
        show(found)
    if worst(found) == "failed":
        sys.exit(1)


def show(found: Sequence[Finding]) -> None:
    """For people: what somebody must act on comes first."""
    console = wide_console()
    table = Table("name", "state", "found", "what to do", show_lines=True)
    for one in sorted(found, key=lambda one: _STATES.index(one.state)):
        table.add_row(one.name, one.state, one.found, one.fix if one.state != "ok" else "")
    console.print(table)
    counts = {state: sum(one.state == state for one in found) for state in _STATES}
    console.print("; ".join(f"{count} {state}" for state, count in counts.items() if count), highlight=False)


def _show_privacy(as_json: bool) -> None:
    from crm_attribution import mapping
    from crm_attribution.preflight.register import page, register

    made = register(mapping.load(given_settings().mapping))
    click.echo(json.dumps(made.document(), indent=2) if as_json else page(made))
