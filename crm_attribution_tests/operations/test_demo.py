"""The demo's sandbox: one for each command, gone with the command however that ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import pytest

from crm_attribution.operations.demo import LOG_END, sandbox

pytestmark = pytest.mark.sandbox

KILLED = """
import os, signal
from crm_attribution.operations.demo import LOG_END, sandbox
with sandbox(LOG_END, lambda _: None) as (control, env):
    print(env["META_BASE_URL"], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def is_open(address: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(address.split(":")[2].split("/")[0]))) == 0


def test_two_at_once_do_not_meet_and_a_killed_command_leaves_none():
    ran = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    with sandbox(LOG_END, lambda _: None) as (_, first), sandbox(LOG_END, lambda _: None) as (control, second):
        assert first["META_BASE_URL"] != second["META_BASE_URL"]
        assert control.request("GET", "/_sandbox/clock").body["now"] == "2026-03-13T20:00:00Z"
        assert second["CRM_ATTRIBUTION_CLOCK"].startswith(second["META_BASE_URL"].removesuffix("/meta"))
        address = ran.communicate(timeout=120)[0].strip()
        assert ran.returncode == -signal.SIGKILL
        until = time.monotonic() + 30
        while is_open(address) and time.monotonic() < until:
            time.sleep(0.1)
        assert not is_open(address)
        assert is_open(first["META_BASE_URL"])
    assert not is_open(first["META_BASE_URL"])
