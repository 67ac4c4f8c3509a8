"""OAuth: one pair of tokens, several processes, and every reason HubSpot may refuse."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from crm_attribution.cli import main
from crm_attribution.clock import parse_instant
from crm_attribution.errors import (
    ClientRefused,
    CodeRefused,
    ConfigurationError,
    OtherAccount,
    RefreshRefused,
    Retryable,
    TokenFileRestored,
    Unauthorized,
)
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.oauth import refusal
from crm_attribution.hubspot.paths import Paths
from crm_attribution.hubspot.refreshes import FILE, RESULTS, Refreshes
from crm_attribution.hubspot.token_file import TokenFile, Tokens
from crm_attribution_tests.http.scripted import Handler, Scripted, reply, serving
from crm_attribution_tests.hubspot.token_user import PATH, credential

NOON = "2026-03-09T12:00:00Z"
SECRET = "canary"


@dataclass
class App:
    """An installed app at HubSpot: hands out tokens, and knows which of them are good."""

    rotates: bool = True
    refresh_token: str = f"{SECRET}-refresh-0"
    good: set[str] = field(default_factory=lambda: {f"{SECRET}-access-0"})
    refreshes: int = 0
    process: int | None = None
    refusal: tuple[int, Any] | None = None
    hub_id: int | None = 1000001
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, handler: Handler) -> None:
        request = handler.scripted.seen[-1]
        with self.lock:
            if request.path == PATH:
                self._token({name: values[0] for name, values in parse_qs(request.body.decode()).items()}, handler)
            elif handler.headers["Authorization"].removeprefix("Bearer ") in self.good:
                reply(200, {})(handler)
            else:
                reply(401, {"category": "EXPIRED_AUTHENTICATION"})(handler)

    def _token(self, form: dict[str, str], handler: Handler) -> None:
        assert handler.headers["Content-Type"] == "application/x-www-form-urlencoded"
        assert (form["client_id"], form["client_secret"]) == ("app-id", "app-secret")
        reply(*self._answer(form))(handler)

    def _answer(self, form: dict[str, str]) -> tuple[int, Any]:
        if self.refusal is not None:
            return self.refusal
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh_token:
            return 400, {"status": "BAD_REFRESH_TOKEN", "error": "invalid_grant", "message": f"{SECRET} is bad"}
        self.refreshes += 1
        if self.rotates:
            self.refresh_token = f"{SECRET}-refresh-{self.refreshes}"
        token = f"{SECRET}-access-{self.refreshes}"
        self.good.add(token)
        if self.process is not None:
            os.kill(self.process, signal.SIGKILL)
        body = {"access_token": token, "refresh_token": self.refresh_token, "expires_in": 1800, "hub_id": self.hub_id}
        return 200, body


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def url(app: App) -> Iterator[str]:
    with serving(Scripted([app])) as server:
        yield server.url


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    made = TokenFile(tmp_path / "tokens.json")
    with made.locked() as held:
        expires = parse_instant("2026-03-09T12:30:00Z")
        held.write(Tokens(f"{SECRET}-access-0", f"{SECRET}-refresh-0", expires, hub_id="1000001"))
    return made


def start(url: str, file: TokenFile, hours: int) -> subprocess.Popen[str]:
    module = "crm_attribution_tests.hubspot.token_user"
    command = [sys.executable, "-m", module, url, str(file.path), "2026-03-09T13:00:00Z", str(hours)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_a_token_is_renewed_ninety_seconds_before_its_end_and_kept_until_then(app, url, file):
    early = credential(url, file.path, "2026-03-09T12:28:29Z")
    assert early.headers() == {"Authorization": f"Bearer {SECRET}-access-0"}
    assert app.refreshes == 0
    due = credential(url, file.path, "2026-03-09T12:28:30Z")
    assert due.headers() == due.headers() == {"Authorization": f"Bearer {SECRET}-access-1"}
    assert app.refreshes == 1
    there = file.read()
    assert (there.version, there.refresh_token) == (2, f"{SECRET}-refresh-1")
    assert there.expires_at == parse_instant("2026-03-09T12:58:30Z")
    assert due.figures() == {
        "authentication": "OAuth app",
        "token expires": "2026-03-09T12:58:30Z",
        "token renewed": "2026-03-09T12:28:30Z",
        "last attempt to renew": "2026-03-09T12:28:30Z",
        "renewals of 7 days": 1,
        "of them failed": 0,
    }
    assert early.headers() == {"Authorization": f"Bearer {SECRET}-access-1"}, "what another process put there"
    assert app.refreshes == 1


def test_two_processes_share_one_file_and_ask_once_per_expiry(app, url, file):
    """HubSpot as strict as it could be: every refresh token works once. A lost pair would end in a refusal."""
    processes = [start(url, file, 8) for _ in range(2)]
    message = [process.communicate(timeout=60)[1] for process in processes]
    assert message == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
    assert app.refreshes == 8
    assert (file.read().version, file.version_seen()) == (9, 9)


@pytest.mark.crash
@pytest.mark.parametrize("rotates", [False, True])
def test_killed_between_hubspots_answer_and_the_file(app, url, file, rotates):
    app.rotates = rotates
    process = start(url, file, 1)
    app.process = process.pid
    assert process.wait(timeout=30) == -signal.SIGKILL
    process.communicate()
    app.process = None
    there = file.read()
    assert (there.version, there.last_error) == (1, "unfinished")
    next_one = credential(url, file.path, "2026-03-09T13:00:01Z")
    if rotates:
        with pytest.raises(RefreshRefused, match="install it again and run crm-attribution authorize"):
            next_one.headers()
        assert next_one.figures()["last attempt ended with"] == "RefreshRefused"
    else:
        assert next_one.headers() == {"Authorization": f"Bearer {SECRET}-access-2"}


def test_a_clock_behind_hubspots_costs_one_refused_call_per_expiry(app, url, file):
    app.good = set()
    user = credential(url, file.path, NOON)
    calls = Transport(url, service="hubspot", headers=user.headers, renew=user.renew)
    for _ in range(3):
        calls.request("GET", "/x")
    assert (app.refreshes, calls.calls) == (1, 4)


def test_a_clock_far_ahead_does_not_renew_at_every_call(app, url, file):
    user = credential(url, file.path, "2031-01-01T00:00:00Z")
    for _ in range(3):
        user.headers()
    assert app.refreshes == 1


def test_a_file_from_a_backup_is_renewed_before_use_or_recognised(app, url, file):
    old = file.path.read_bytes()
    app.rotates = False
    user = credential(url, file.path, "2026-03-09T12:30:00Z")
    user.headers()
    file.path.write_bytes(old)
    assert credential(url, file.path, NOON).headers() == {"Authorization": f"Bearer {SECRET}-access-2"}
    assert file.read().version == 3, "above every version seen"
    file.path.write_bytes(old)
    app.refresh_token = "another"
    with pytest.raises(TokenFileRestored, match=r"holds version 1, and version 3 was used here.*newest file back"):
        credential(url, file.path, NOON).headers()


def test_a_write_never_goes_back_and_leaves_no_other_file(file):
    there = file.read()
    with file.locked() as held:
        held.write(replace(there, version=5))
        for wrong in (replace(there, version=4), replace(there, version=5, access_token="other")):
            with pytest.raises(ConfigurationError, match="version 5"):
                held.write(wrong)
        with pytest.raises(Retryable, match="another process"), file.locked(0.1):
            pass
    assert file.read().version == 5
    assert sorted(path.name for path in file.path.parent.iterdir()) == ["tokens.json", "tokens.json.lock"]


def test_the_file_is_its_owners_alone(file):
    assert {path.stat().st_mode & 0o777 for path in file.path.parent.iterdir()} == {0o600}
    for mode in (0o640, 0o604, 0o666):
        file.path.chmod(mode)
        with pytest.raises(ConfigurationError, match=rf"mode {mode:04o}.*chmod 600"):
            file.read()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"access_token": "canary"}', '{"access_token": 1, "expires_at": 2}'])
def test_a_file_that_is_none_is_refused_without_being_quoted(file, text):
    file.path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="not a token file") as caught:
        file.read()
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("status", "body", "grant", "kind", "message"),
    [
        (400, {"status": "BAD_REFRESH_TOKEN"}, "refresh_token", RefreshRefused, "uninstalled"),
        (400, {"error": "invalid_grant"}, "refresh_token", RefreshRefused, "uninstalled"),
        (400, {"error": "invalid_grant"}, "authorization_code", CodeRefused, "authorization code"),
        (400, {"status": "BAD_AUTH_CODE"}, "authorization_code", CodeRefused, "used before"),
        (400, {"status": "EXPIRED_AUTH_CODE"}, "authorization_code", CodeRefused, "too old"),
        (400, {"status": "BAD_REDIRECT_URI"}, "authorization_code", CodeRefused, "--redirect-uri"),
        (400, {"status": "BAD_CLIENT_ID"}, "refresh_token", ClientRefused, "HUBSPOT_CLIENT_ID is not"),
        (400, {"status": "BAD_CLIENT_SECRET"}, "refresh_token", ClientRefused, "HUBSPOT_CLIENT_SECRET does not fit"),
        (401, {"error": "invalid_client"}, "refresh_token", ClientRefused, "HUBSPOT_CLIENT_SECRET"),
        (400, {"status": "BAD_HUB"}, "refresh_token", OtherAccount, "another HubSpot account"),
        (400, {"status": "BAD_GRANT_TYPE"}, "refresh_token", Unauthorized, "version of HubSpot's token endpoint"),
        (400, {"status": f"{SECRET} is bad"}, "refresh_token", Unauthorized, "no reason that is known"),
        (403, {}, "refresh_token", Unauthorized, "no reason that is known"),
    ],
)
def test_every_refusal_is_an_error_of_its_own(status, body, grant, kind, message):
    error = refusal(body, status, grant)
    assert type(error) is kind
    assert message in str(error)
    assert SECRET not in str(error)


def test_a_refused_or_failing_renewal_changes_no_token_and_shows_none(app, url, file, caplog):
    user = credential(url, file.path, "2026-03-09T13:00:00Z")
    before = file.read()
    app.refusal = (400, {"status": "BAD_CLIENT_SECRET", "message": f"{SECRET}"})
    with caplog.at_level("DEBUG"), pytest.raises(ClientRefused) as caught:
        user.headers()
    app.refusal = (503, {})
    with pytest.raises(Retryable):
        user.headers()
    there = file.read()
    assert replace(there, last_attempt_at=None, last_error=None) == before
    assert there.last_error == "Retryable"
    app.refusal, app.hub_id = None, 2000002
    with pytest.raises(OtherAccount, match="account 1000001, the renewed token is for 2000002"):
        user.headers()
    counter = file.path.with_name("hubspot_oauth.prom").read_text()
    assert SECRET not in f"{caught.value!r} {caplog.text} {there!r} {user!r} {counter}"
    assert 'hubspot_refresh_attempts_total{result="refused"} 2\n' in counter
    assert 'hubspot_refresh_attempts_total{result="no_answer"} 1\n' in counter


def test_a_failed_renewal_of_another_account_stores_nothing(app, url, file):
    app.hub_id = 2000002
    with pytest.raises(OtherAccount):
        credential(url, file.path, "2026-03-09T13:00:00Z").headers()
    assert file.read().access_token == f"{SECRET}-access-0"


@given(
    ended=st.lists(st.tuples(st.integers(0, 30), st.sampled_from(RESULTS)), max_size=30).map(sorted),
    now=st.integers(30, 40),
)
def test_attempts_are_counted_for_ever_and_judged_by_the_last_seven_days(ended: list[tuple[int, str]], now: int):
    with TemporaryDirectory() as folder:
        counter, start = Refreshes(Path(folder) / "x" / FILE), parse_instant("2026-03-01T00:00:00Z")
        for day, result in ended:
            counter.count(result, start + timedelta(days=day))
        text = counter.path.read_text() if ended else ""
        recent = counter.recent(start + timedelta(days=now))
    lines = [line for line in text.splitlines() if line.startswith("hubspot_refresh_attempts_total{")]
    totals = Counter(result for _, result in ended)
    assert lines == [f'hubspot_refresh_attempts_total{{result="{one}"}} {totals[one]}' for one in sorted(RESULTS)
                     if ended]  # fmt: skip
    assert all(re.fullmatch(r"# (HELP|TYPE) \w+ .+|\w+\{(\w+=\"[^\"]*\",?)+\} \d+", line) for line in text.splitlines())
    late = [result for day, result in ended if now - 7 < day <= now]
    errors = sum(result != "success" for result in late)
    assert (recent.attempts, recent.errors) == (len(late), errors)
    assert recent.is_alarming == (bool(late) and Fraction(errors, len(late)) > Fraction(1, 100))


def test_the_token_endpoint_follows_the_version():
    assert [Paths.of(version).token for version in ("v3", "2026-03", "2026-09")] == [
        "/oauth/v3/token",
        "/oauth/2026-03/token",
        "/oauth/2026-09/token",
    ]


def test_authorize_makes_the_file_and_the_next_pair_goes_above_it(app, url, tmp_path, monkeypatch):
    path = tmp_path / "new.json"
    env = {
        "HUBSPOT_BASE_URL": url,
        "HUBSPOT_CLIENT_ID": "app-id",
        "HUBSPOT_CLIENT_SECRET": "app-secret",
        "HUBSPOT_TOKEN_FILE": str(path),
        "CRM_ATTRIBUTION_CLOCK": NOON,
    }
    for version in (1, 2):
        given = ["--code", "abc"] if version == 1 else []
        arguments = ["authorize", "--redirect-uri", "https://acme.example/back", "--scope", "forms", *given]
        done = CliRunner().invoke(main, arguments, env=env, input="abc\n")
        assert done.exit_code == 0, done.output
        assert done.stdout.strip().endswith(f"{path} holds version {version} for HubSpot account 1000001")
    assert "client_id=app-id&redirect_uri=https%3A%2F%2Facme.example%2Fback&scope=oauth+forms" in done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    assert TokenFile(path).read().expires_at == parse_instant("2026-03-09T12:30:00Z")
    app.refusal = (400, {"status": "BAD_AUTH_CODE"})
    done = CliRunner().invoke(main, [*arguments, "--code", "abc"], env=env)
    assert (done.exit_code, "open the authorization page again" in done.stderr) == (1, True)
    assert json.loads(path.read_text())["version"] == 2
