"""The sandbox as a test helper: starts the program on a free port and talks to its control path.

with Sandbox.start(lines, "2026-03-02T00:00:00Z") as sandbox:
    sandbox.env["HUBSPOT_BASE_URL"]; sandbox.set_clock("2026-03-02T01:00:00Z"); sandbox.received("meta")["counted"]
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

Line = Mapping[str, Any]


LANES: set[str] | None = None
"""Markers of the test that runs now; None outside pytest. A test that starts a sandbox without being marked as one that
does would slow the fast lane down."""


class SandboxRefused(AssertionError):
    """The sandbox did not start, or its control path refused a request; the message is the sandbox's."""


def write_portal(path: Path, lines: Iterable[Line]) -> Path:
    """Write a portal log and return its path."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


class Sandbox:
    """A running sandbox, stopped at the end of the `with` block.

    Attributes:
        base_url: where it serves.
        env: the environment that points the pipeline at it.
        oauth: client_id, client_secret, redirect_uri, and the refresh_token and code that are good at the start.
    """

    def __init__(self, process: subprocess.Popen[str], ready: dict[str, Any], folder: tempfile.TemporaryDirectory[str]):
        self.process = process
        self.base_url: str = ready["base_url"]
        self.env: dict[str, str] = ready["env"]
        self.oauth: dict[str, Any] = ready["oauth"]
        self._folder = folder

    @classmethod
    def start(
        cls, portal: Iterable[Line] | Path | str, clock: str, limits: str = "off", arguments: Iterable[str] = ()
    ) -> Sandbox:
        """Start with a log file, or with lines, and wait until it serves."""
        assert LANES is None or LANES & {"sandbox", "pipeline"}, "mark this test: pytest.mark.sandbox"
        folder = tempfile.TemporaryDirectory(prefix="sandbox-")
        path = Path(portal) if isinstance(portal, str | Path) else write_portal(Path(folder.name) / "log.jsonl", portal)
        command = [sys.executable, "-m", "crm_attribution.sandbox", "--portal", str(path), "--clock", clock]
        errors = (Path(folder.name) / "stderr").open("w+", encoding="utf-8")
        process = subprocess.Popen(
            [*command, "--limits", limits, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout is not None
        with process.stdout, errors:
            first = process.stdout.readline()
            if not first:
                process.wait(timeout=10)
                errors.seek(0)
                message = errors.read()
                folder.cleanup()
                raise SandboxRefused(message)
        return cls(process, json.loads(first), folder)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.stop()

    def stop(self) -> int:
        """Stop it and return its exit status."""
        self.process.terminate()
        try:
            status = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self._folder.cleanup()
        return status

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        """(status, decoded JSON or text, headers in lower case) of one call to a path or an address of the sandbox."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        host = self.base_url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=30)
        with contextlib.closing(connection):
            sent = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path.removeprefix(self.base_url), data, sent)
            answer = connection.getresponse()
            raw, received = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        try:
            return answer.status, json.loads(raw) if raw else None, received
        except ValueError:
            return answer.status, raw.decode(), received

    def hubspot(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, JSON) of a call with HubSpot's token."""
        token = {"Authorization": f"Bearer {self.env['HUBSPOT_ACCESS_TOKEN']}"}
        status, answer, _ = self.request(method, path, body, token)
        return status, answer

    def _control(self, method: str, name: str, body: Any = None) -> Any:
        status, answer, _ = self.request(method, f"/_sandbox/{name}", body)
        if status != 200:
            raise SandboxRefused(f"{method} {name}: {status} {answer}")
        return answer

    def calls(self) -> dict[str, Any]:
        """{"total": n, "routes": {"POST /crm/objects/contacts/search": n}}: no versions, no ids."""
        found: dict[str, Any] = self._control("GET", "calls")
        return found

    def reset_calls(self) -> None:
        self._control("DELETE", "calls")

    def received(self, platform: str) -> dict[str, Any]:
        """{"requests": n, "received": [...], "counted": [...]} of `meta` or `linkedin`."""
        found: dict[str, Any] = self._control("GET", f"received/{platform}")
        return found

    def tell_by_browser(self, platform: str, account: str, action: str, key: str) -> None:
        """The platform's pixel or tag tells an event."""
        self._control("POST", f"browser/{platform}", {"account": account, "action": action, "key": key})

    def clock(self) -> str:
        return str(self._control("GET", "clock")["now"])

    def set_clock(self, now: str) -> None:
        """Move the clock forward; lines that become due are applied."""
        self._control("PUT", "clock", {"now": now})

    def faults(self, faults: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
        """Replace the faults (an empty list clears them); without an argument, the current ones with their hits."""
        found: list[dict[str, Any]] = self._control("GET" if faults is None else "PUT", "faults", faults)
        return found

    def webhooks(self, url: str, secret: str, **options: Any) -> dict[str, int]:
        """Deliver the webhooks that are due to `url`; {"delivered": events, "requests": n, "refused": events}."""
        found: dict[str, int] = self._control("POST", "webhooks", {"url": url, "secret": secret, **options})
        return found

    def forget_webhooks(self) -> None:
        """Nothing that happened until now will be delivered."""
        self._control("DELETE", "webhooks")

    def set_oauth(self, **settings: Any) -> dict[str, Any]:
        """Set `rotate`, `revoked`, `expires_in`, `without` (scopes), `told`; what is good now, tokens included."""
        found: dict[str, Any] = self._control("PUT", "oauth", settings)
        return found

    def set_up(self, platform: str, **changes: list[str]) -> dict[str, Any]:
        """What the account of a platform lacks: `missing`, `disabled`, `mistyped` ids of account, rules and actions."""
        found: dict[str, Any] = self._control("PUT", f"setup/{platform}", changes)
        return found

    def set_limits(self, **limits: int) -> dict[str, Any]:
        """Set `daily`, `burst`, `search`, `associations`, `oauth` and whether they are `on`."""
        found: dict[str, Any] = self._control("PUT", "limits", limits)
        return found

    def set_properties(self, kind: str, **changes: Any) -> None:
        """Change property definitions: add=[{name, label, type, fieldType}], rename={}, retype={}, remove=[]."""
        self._control("PUT", "properties", {"object": kind, **changes})

    def log(self, lines: Iterable[Line]) -> None:
        """More portal-log lines; those that are due are applied at once."""
        self._control("POST", "log", list(lines))
