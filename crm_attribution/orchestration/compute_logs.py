"""Dagster's files of what runs print, in their usual place; a run of the command line prints on its terminal alone.

To write a file and the terminal at once Dagster starts four processes a run, and on Ctrl-C they print tracebacks of
their own after our last line. Runs that Dagster launches itself are kept as always.
https://docs.dagster.io/deployment/dagster-instance#compute-log-storage
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClassData


class ComputeLogs(LocalComputeLogManager):
    """`LocalComputeLogManager` that captures nothing after `on_the_terminal`."""

    _captures = True

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"home": dg.StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> ComputeLogs:
        return cls(os.path.join(config_value["home"], "storage"), inst_data=inst_data)

    def on_the_terminal(self) -> None:
        """From now on what this process prints stays where it is printed."""
        self._captures = False

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        if not self._captures:
            yield CapturedLogContext(log_key)
            return
        with super().capture_logs(log_key) as context:
            yield context
