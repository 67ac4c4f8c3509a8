"""`crm-attribution provision`: make in HubSpot what `write_back` of the mapping names."""

from __future__ import annotations

import json
import sys

import click

from crm_attribution.findings import worst
from crm_attribution.operations.commands.preflight import show
from crm_attribution.operations.console import acts_on_errors, given_settings


@click.command()
@click.option("--dry-run", is_flag=True, help="Only name what is missing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
@acts_on_errors
def provision(dry_run: bool, as_json: bool) -> None:
    """Make the event definitions and properties in HubSpot that `write_back` of the mapping names.

    What is there is left as it is. Exit code 1 when something failed.
    """
    from crm_attribution import mapping
    from crm_attribution.delivery.provision import provision as make

    given = given_settings()
    found = make(mapping.load(given.mapping), given, act=not dry_run)
    if as_json:
        click.echo(json.dumps({"state": worst(found), "pieces": [vars(one) for one in found]}, indent=2))
    else:
        show(found)
    if worst(found) == "failed":
        sys.exit(1)
