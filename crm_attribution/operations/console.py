"""What all commands share: timestamps as options, messages on standard error, errors as messages with an exit code."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from shlex import quote
from typing import Any, TypeVar

import click
from rich.console import Console

from crm_attribution import stopping
from crm_attribution.clock import parse_instant
from crm_attribution.errors import CrmAttributionError, Stopped, machine_trouble
from crm_attribution.settings import Settings

WIDE = 1000
"""Columns of a table that goes to a file or another program: nothing is cut."""

F = TypeVar("F", bound=Callable[..., Any])


def wide_console() -> Console:
    """For tables on standard output: as wide as the terminal, and not cut where there is none."""
    return Console(width=None if sys.stdout.isatty() else WIDE, markup=False, emoji=False)


class Instant(click.ParamType[datetime]):
    """ISO 8601; a bare date means 00:00Z."""

    name = "ISO"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return parse_instant(value)
        except ValueError:
            self.fail(f"{value!r} is not an ISO 8601 timestamp, e.g. 2026-03-12T09:00:00Z or 2026-03-12", param, ctx)


def given_settings() -> Settings:
    """The settings of this process; names that look like one and are none are reported."""
    from crm_attribution import configuration

    given = configuration.load(named=click.get_current_context().find_root().obj or ())
    for message in given.unknown:
        say(f"warning: {message}")
    return given


def acts_on_errors(command: F) -> F:
    """Show the errors of a command as messages. A signal that stopped it decides the exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except CrmAttributionError as error:
            raise Failed(error) from error
        except KeyboardInterrupt:
            raise Failed(Stopped(stopping.line(), stopping.received())) from None
        except Exception as error:
            if (trouble := machine_trouble(error)) is None:
                raise
            raise click.ClickException(with_flags(trouble)) from None
        except BaseException as error:
            if not stopping.is_stop(error):
                raise
            raise Failed(Stopped(stopping.line(), stopping.received())) from None

    return run  # type: ignore[return-value]


class Failed(click.ClickException):
    """A message, and the exit code that shells expect after a signal."""

    def __init__(self, error: CrmAttributionError) -> None:
        super().__init__(with_flags(str(error)))
        if isinstance(error, Stopped):
            self.exit_code = 128 + (error.number or signal.SIGINT)  # type: ignore[misc]


def say(message: str) -> None:
    """Progress, on standard error."""
    click.echo(message, err=True)


def with_flags(text: str) -> str:
    """A text in which each command that it suggests has the `--demo` or `--env-file` of the one that runs: it can be
    typed as it stands."""
    context = click.get_current_context(silent=True)
    given = {} if context is None else context.find_root().params
    flags = " --demo" if given.get("on_demo") else ""
    if given.get("env_file"):
        flags = f" --env-file {quote(str(given['env_file']))}"
    return _SUGGESTED.sub(lambda found: f"{found[1]}{flags} ", text) if flags else text


_SUGGESTED = re.compile(r"(?<![\w-])(crm-attribution) (?=[a-z])(?!demo\b)")
