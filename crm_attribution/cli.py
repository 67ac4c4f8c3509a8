"""The command line: a thin layer over the same Dagster definitions the UI shows.

Progress goes to standard error, results to standard output; `--json` gives one JSON document. Exit code 1 means that
something failed, with a message that says what to do.
"""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import click

from crm_attribution import settings, stopping
from crm_attribution.errors import CrmAttributionError
from crm_attribution.operations.commands import finance as finance_commands
from crm_attribution.operations.commands import ledger as ledger_commands
from crm_attribution.operations.commands import preflight as preflight_command
from crm_attribution.operations.commands import provision as provision_command
from crm_attribution.operations.console import Instant, acts_on_errors, given_settings, say

DEMO = Path("data/demo")
RUN_HOURS = ("backfill", "demo", "rebuild")
CALL_HUBSPOT = ("backfill", "plan", "preflight", "preview", "privacy-deletion", "provision")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--env-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="NAME=value settings.")
@click.option("--demo", "on_demo", is_flag=True, help="Use data/demo, which `crm-attribution demo` made.")
@click.pass_context
def main(context: click.Context, env_file: Path | None, on_demo: bool) -> None:
    """HubSpot as the source of truth for B2B attribution."""
    stopping.raise_on_signals()
    stopping.private()
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # a connection that a stop cuts is no news
    if context.invoked_subcommand in RUN_HOURS:
        gc.disable()  # until the run begins: what is loaded stays, and looking through it takes a quarter of the start
    atexit.register(gc.freeze)  # looking through all of Dagster's modules for garbage before the end takes seconds
    if env_file is not None and on_demo:
        raise click.UsageError("--demo and --env-file exclude each other")
    try:
        if env_file is not None:
            context.obj = settings.apply_env_file(env_file)
        if on_demo:
            _use_demo(context)
    except CrmAttributionError as error:
        raise click.ClickException(str(error)) from error


def _use_demo(context: click.Context) -> None:
    """Point the command at the demo's data directory; start the sandbox for commands that call HubSpot."""
    from crm_attribution.operations import demo as playing

    directory = DEMO.absolute()
    if context.invoked_subcommand in CALL_HUBSPOT:
        context.with_resource(playing.with_sandbox(directory, say))
    else:
        playing.use(directory)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of tables.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=DEMO, show_default=True)
@acts_on_errors
def demo(as_json: bool, data_dir: Path) -> None:
    """Run the whole pipeline on the embedded sandbox, from a clean slate."""
    from crm_attribution.operations.demo import play, show

    result = play(data_dir.absolute(), say)
    click.echo(json.dumps(result, indent=2)) if as_json else show(result)


@main.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=DEMO, show_default=True)
@click.option("--port", default=3000, show_default=True, help="Dagster's port.")
@click.pass_context
@acts_on_errors
def ui(context: click.Context, data_dir: Path, port: int) -> None:
    """Open Dagster on the instance the demo used, with its sandbox; on your own data with --env-file."""
    from crm_attribution.operations.demo import open_demo_ui, open_ui

    if context.find_root().params["env_file"] is None:
        sys.exit(open_demo_ui(data_dir.absolute(), port, say))
    if context.get_parameter_source("data_dir") is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--data-dir is the demo's; with --env-file it is CRM_ATTRIBUTION_DATA_DIR")
    sys.exit(open_ui(given_settings(), port, say))


@main.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sandbox(arguments: tuple[str, ...]) -> None:
    """HubSpot, clicks and ad platforms emulated: --portal FILE --clock ISO [--port N] [--write-env FILE]."""
    _become("crm_attribution.sandbox", arguments)


@main.command("generate-portal", context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def generate_portal(arguments: tuple[str, ...]) -> None:
    """A portal log of a believable company: --seed N --contacts N --days N --out FILE."""
    _become("crm_attribution.sandbox.generate", arguments)


def _become(module: str, arguments: Sequence[str]) -> NoReturn:
    """Put another program of ours in the place of this process: no child is left that a signal would not reach."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own program


@main.command()
@click.option("--from", "start", type=Instant(), required=True, help="First hour.")
@click.option("--to", "end", type=Instant(), required=True, help="End, exclusive.")
@click.option("--select", help="A part of the graph, in Dagster's selection syntax.")
@click.option("--force", is_flag=True, help="Also where it takes more of the day's calls than a backfill may.")
@click.option("--json", "as_json", is_flag=True)
@acts_on_errors
def backfill(start: datetime, end: datetime, select: str | None, force: bool, as_json: bool) -> None:
    """Materialize a range of hours as one run."""
    from crm_attribution.operations import backfill as backfilling
    from crm_attribution.operations import status as reporting
    from crm_attribution.orchestration.budget import BUDGET_TAG
    from crm_attribution.orchestration.resources import progress
    from crm_attribution.orchestration.runs import run_hours

    given = given_settings()
    with progress(say):
        planned = 0 if force else backfilling.allow(given, start, end, select)
        tags = {BUDGET_TAG: "forced" if force else "checked"}
        run_id = run_hours(given, start, end, select=select, tags=tags)
    result = {"run_id": run_id, "calls_to_plan": planned, **reporting.run_summary(given, run_id)}
    click.echo(json.dumps(result, indent=2)) if as_json else reporting.show_run(result)
    if (unsafe := backfilling.unsent(result["tables"])) is not None:
        raise click.ClickException(unsafe)


@main.command()
@click.option("--from", "start", type=Instant(), required=True, help="First hour.")
@click.option("--to", "end", type=Instant(), required=True, help="End, exclusive.")
@click.option("--json", "as_json", is_flag=True)
@acts_on_errors
def plan(start: datetime, end: datetime, as_json: bool) -> None:
    """Count what a backfill would ask of HubSpot: calls, minutes at the account's limits, share of the day."""
    from crm_attribution.operations import backfill as backfilling

    made = backfilling.plan(given_settings(), start, end)
    click.echo(json.dumps(made.document(), indent=2)) if as_json else backfilling.show(made)


@main.command()
@click.option("--json", "as_json", is_flag=True)
@acts_on_errors
def rebuild(as_json: bool) -> None:
    """Derive everything after raw again, from raw. Person ids, credit history and the delivery ledger are kept."""
    from crm_attribution.operations.rebuild import rebuild_all
    from crm_attribution.orchestration.resources import progress

    with progress(say):
        result = rebuild_all(given_settings())
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        for table, changed in result.items():
            click.echo(f"{table}: {changed} rows changed")


@main.group()
def mapping() -> None:
    """The mapping file: what a change of it would do."""


@mapping.command()
@click.option(
    "--mapping",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The changed mapping file.",
)
@click.option("--json", "as_json", is_flag=True)
@acts_on_errors
def diff(file: Path, as_json: bool) -> None:
    """What a changed mapping file would change in events, milestones and conversions. Nothing is written."""
    from crm_attribution.operations import mapping_diff

    result = mapping_diff.compare(given_settings(), file)
    click.echo(json.dumps(result, indent=2)) if as_json else mapping_diff.show(result)


@main.command()
@click.option(
    "--snapshot", help="Its name, as in snapshots/ of the data directory; by default the newest that is whole."
)
@click.option("--json", "as_json", is_flag=True)
@acts_on_errors
def restore(snapshot: str | None, as_json: bool) -> None:
    """Put the last good copy of the warehouse back, and say what will be read again."""
    from crm_attribution.operations import restore as restoring

    result = restoring.restore(given_settings(), snapshot)
    click.echo(json.dumps(result, indent=2)) if as_json else restoring.show(result)


@main.command("privacy-deletion")
@click.option("--contact", "contacts", multiple=True, metavar="ID", help="A contact a person confirmed as erased.")
@click.option("--yes", is_flag=True, help="With --contact: what is erased cannot be restored.")
@click.option("--json", "as_json", is_flag=True)
@acts_on_errors
def privacy_deletion(contacts: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Erase the contacts HubSpot has erased, and those named; ends by rewriting the files."""
    from crm_attribution.orchestration.resources import progress
    from crm_attribution.orchestration.runs import run_job

    config = {"erase": {"contact_ids": list(contacts), "confirm": yes}}
    with progress(say):
        run_id, figures = run_job(given_settings(), "privacy_deletion", config)
    if as_json:
        click.echo(json.dumps({"run_id": run_id, **figures}, indent=2))
    else:
        for name, value in figures.items():
            click.echo(f"{name}: {value}")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, help="Port to listen on; 0 takes any free one.")
@acts_on_errors
def receive(host: str, port: int) -> None:
    """Receive HubSpot's webhooks and posts of workflows until it is stopped; the pipeline loads them hourly."""
    from crm_attribution.webhook.serve import receive as serve

    serve(given_settings(), host, port, say)


@main.command()
@click.option("--redirect-uri", required=True, help="One of the app's redirect addresses.")
@click.option("--code", help="What HubSpot put behind `code=` on that address; asked for where it is not given.")
@click.option("--scope", "scopes", multiple=True, help="A scope the app requires; for the address that is shown.")
@acts_on_errors
def authorize(redirect_uri: str, code: str | None, scopes: tuple[str, ...]) -> None:
    """Make the token file of an OAuth app, from an authorization code; or put a new pair of tokens into it."""
    from crm_attribution.http.clock import make_clock
    from crm_attribution.hubspot import access, oauth

    given = given_settings()
    file, endpoint = access.token_file(given), access.token_endpoint(given)
    if code is None:
        say(f"open {oauth.authorization_url(given.value('HUBSPOT_CLIENT_ID'), redirect_uri, scopes)}")
        code = click.prompt("code", hide_input=True, err=True)
    tokens = oauth.authorize(file, endpoint, make_clock(given), code.strip(), redirect_uri)
    click.echo(f"{file.path} holds version {tokens.version} for HubSpot account {tokens.hub_id or 'unknown'}")


@main.command()
@click.argument("words", nargs=-1, required=True, metavar="[person|event|milestone|account|deal|number] ID")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="Rows shown of each list."
)
@click.option("--show-personal", is_flag=True, help="Unmasked e-mails instead of a***@domain.")
@click.option("--json", "as_json", is_flag=True)
@acts_on_errors
def why(words: tuple[str, ...], limit: int, show_personal: bool, as_json: bool) -> None:
    """The edges, rules and source rows behind a person, event, milestone, account or deal.

    A person is named by its id (a former one too), contact:ID, email:ADDRESS or a click id as gclid:VALUE; an account
    by company:ID, domain:NAME or deal:ID; a milestone by its id or that of one of its events; a deal by its id. An id
    alone is enough: a number alone is a deal's.

    `why number marts.TABLE COLUMN=VALUE …` opens rows of a mart: what they are made of, its touches and source rows.
    """
    from crm_attribution.operations.why import KINDS
    from crm_attribution.operations.why import command as explanation

    *named, identifier = words
    if named and named[0] == "number":
        tree = explanation.why_number(given_settings(), words[1], words[2:], limit, show_personal=show_personal)
    elif len(named) > 1 or any(kind not in KINDS for kind in named):
        raise click.UsageError(f"give an id, or one of {', '.join(KINDS)} and an id")
    else:
        kind = named[0] if named else None
        tree = explanation.why(given_settings(), kind, identifier, limit, show_personal=show_personal)
    click.echo(json.dumps(tree.as_dict(), indent=2)) if as_json else explanation.show(tree)


@main.command()
@click.argument("sql")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="Rows shown.")
@click.option("--json", "as_json", is_flag=True, help="All rows, as one JSON list.")
@acts_on_errors
def query(sql: str, limit: int, as_json: bool) -> None:
    """Run one SQL query on the published file, read-only; safe while a run writes."""
    from crm_attribution.operations import query as querying

    rows = querying.run(given_settings(), sql)
    click.echo(json.dumps(rows.rows(named=True), indent=2, default=str)) if as_json else querying.show(rows, limit)


@main.command()
@click.option("--json", "as_json", is_flag=True)
@acts_on_errors
def status(as_json: bool) -> None:
    """How fresh the warehouse is, what waits, what is held, and who holds the lock."""
    from crm_attribution.operations import status as reporting

    result = reporting.status(given_settings())
    click.echo(json.dumps(result, indent=2)) if as_json else reporting.show_status(result)


@main.command()
@click.option("--table", help="Of one table, such as raw.contact.")
@click.option("--reason", help="Only where this text is in FIELD:REASON.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="Fields shown.")
@click.option("--json", "as_json", is_flag=True)
@acts_on_errors
def quarantine(table: str | None, reason: str | None, limit: int, as_json: bool) -> None:
    """The rows that were refused: each field with its reason and what to do about it; no values."""
    from crm_attribution.operations import quarantine as listing

    result = listing.listed(given_settings(), listing.Asked(table, reason, limit))
    click.echo(json.dumps(result, indent=2)) if as_json else listing.show(result)


for command in (
    preflight_command.preflight,
    provision_command.provision,
    finance_commands.close_month,
    finance_commands.reopen_month,
    finance_commands.changed,
    ledger_commands.preview,
    ledger_commands.replay,
    ledger_commands.release,
    ledger_commands.resolve,
    ledger_commands.group,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
