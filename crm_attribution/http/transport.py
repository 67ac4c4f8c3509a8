"""Calls to one service over HTTP: their headers, rate budget, retries and counts.

Two ways to ask: `Transport.request` for reads, which waits for its rate budget and retries what may succeed
later, and `Transport.send_once` for deliveries, which tries exactly once and says whether the other side may
have applied it. Neither raises anything outside `crm_attribution.errors`, and no message carries a query, an
id, a body or a token.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import requests
import tenacity
import urllib3

from crm_attribution.errors import CrmAttributionError, Retryable, TokenExpired
from crm_attribution.http.answers import Answer, failure, folded, route, token_expired
from crm_attribution.http.exchange import (
    Body,
    Call,
    Params,
    Unreadable,
    before_sending,
    checked_base,
    encoded,
    new_session,
    problem_of,
)
from crm_attribution.http.pacing import Budget, Patience
from crm_attribution.redaction import RedactingFilter, redact

__all__ = ["Answer", "Budget", "RedactingFilter", "Transport", "folded", "redact", "route"]

# At DEBUG urllib3 logs whole request lines, query included.
logging.getLogger("urllib3").setLevel(logging.INFO)

Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]


class Watch(Protocol):
    """Looks at every call of a service that counts us: stops before what must not be asked, learns from answers."""

    def before(self) -> None:
        """A call is about to be made. Raises what should stop it."""

    def after(self, budget: str, answer: Answer) -> None:
        """A call under this budget's name was answered."""

    def renewal(self) -> str | None:
        """When a daily quota is renewed, for messages."""


class Transport:
    """Calls to one service.

    Args:
        base_url: https, or http to a loopback address. Paths are appended to it.
        service: the name messages carry.
        headers: sent with every call; a function is asked before every call (tokens that are refreshed).
        secrets: values that must never show; this object's messages never contain any, `redact` and the
            log filter take them from `Transport.secrets`.
        renew: asked once per `request`, after an answer that says the token has expired: whether `headers` has
            another one now.
        budgets: by name; a name that is not in here is not limited, so an empty mapping means limits off.
        watch: looks at every call.
        credential: the setting that a 401 message names.
        attempts: of one `request`, throttling (429, 423) not counted: that is bounded by the deadline alone.
        deadline_seconds: of one `request`, waits included; also the longest wait we accept from `Retry-After`.
        read_seconds: for the body of one answer, however slowly it drips.
        plain_text: whether a delivery may be answered with words that are not JSON.
    """

    def __init__(
        self,
        base_url: str,
        *,
        service: str,
        headers: Headers | None = None,
        secrets: Sequence[str] = (),
        renew: Callable[[], bool] | None = None,
        budgets: Mapping[str, Budget] | None = None,
        watch: Watch | None = None,
        credential: str | None = None,
        timeout: tuple[float, float] = (3.05, 30),
        attempts: int = 6,
        deadline_seconds: float = 300,
        read_seconds: float = 60,
        plain_text: bool = False,
        max_bytes: int = 64 * 1024 * 1024,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.base_url = checked_base(base_url, service)
        self.service = service
        self.secrets = tuple(secrets)
        self._headers: Headers = {} if headers is None else headers
        self._renew = renew
        self._budgets = dict(budgets or {})
        self._watch = watch
        self._credential = credential or f"{service.upper()}_ACCESS_TOKEN"
        self._timeout = timeout
        self._attempts, self._deadline = attempts, deadline_seconds
        self._read_seconds, self._max_bytes = read_seconds, max_bytes
        self._plain_text = plain_text
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311  (jitter, not a secret)
        self._session = new_session()
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def calls(self) -> int:
        """HTTP requests made, retries included."""
        with self._lock:
            return self._counts.total()

    @property
    def calls_by_route(self) -> dict[str, int]:
        """The same per `METHOD path`, ids folded."""
        with self._lock:
            return dict(self._counts)

    def close(self) -> None:
        """Close pooled connections."""
        self._session.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        json: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        budget: str = "burst",
        expected: Iterable[int] = (200,),
    ) -> Answer:
        """Read something, waiting and retrying inside the bounds. Only for calls that may be repeated.

        Raises:
            Retryable: still failing when attempts or deadline were spent.
            Rejected: the other side will never accept this call (400, 404, 409, 414, 422, …).
            Unauthorized, Forbidden, QuotaExhausted, Terminal: a person must act.
        """
        call = Call(method.upper(), path, params, encoded(json, content), dict(headers or {}), json is not None)
        wanted = frozenset(expected)
        patience = Patience(self._attempts, self._deadline, self._rng)

        renewed = self._renew is None

        def once() -> Answer:
            nonlocal renewed
            answer = self._watched(call, budget, self._session)
            if token_expired(answer) and not renewed and self._renew is not None and self._renew():
                renewed = True
                answer = self._watched(call, budget, self._session)
                if token_expired(answer):
                    raise TokenExpired(
                        f"{self.service} {call.route}: the access token is called expired although it was renewed just"
                        f" now; compare this machine's clock with the real time ({self._credential})"
                    )
            if answer.status in wanted and answer.readable:
                return answer
            raise self._failure(answer, call)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Retryable),
            wait=patience.wait,
            stop=patience.stop,
            sleep=self._sleep,
            retry_error_callback=patience.give_up,
        )
        return retrying(once)

    def send_once(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        json: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        budget: str = "burst",
    ) -> Answer:
        """Deliver something: one attempt on a fresh connection, never repeated here.

        A reused connection that the other side closes at that moment cannot be distinguished from a delivery that was
        read and not answered, so deliveries do not reuse any.

        Returns:
            The answer for every status, errors included, for the caller to classify.

        Raises:
            Retryable: with `sent=False` when nothing of the body left (refused, DNS, TLS, no budget), with
                `sent=True` when it may have been applied (time-out, reset, success status with a body that
                cannot be read).
        """
        call = Call(method.upper(), path, params, encoded(json, content), dict(headers or {}), json is not None)
        call.headers.setdefault("Connection", "close")
        with new_session() as session:
            answer = self._watched(call, budget, session)
        if answer.status < 300 and not answer.readable and not self._plain_text:
            raise Retryable(f"{self.service} {call.route}: {answer.status} with a body that is not JSON", sent=True)
        return answer

    def _watched(self, call: Call, budget: str, session: requests.Session) -> Answer:
        """One call, inside its budget and under the eyes of `watch`."""
        if self._watch is not None:
            self._watch.before()
        self._take(budget, call, self._deadline)
        answer = self._exchange(call, session)
        if self._watch is not None:
            self._watch.after(budget, answer)
        return answer

    def _failure(self, answer: Answer, call: Call) -> CrmAttributionError:
        renewal = self._watch.renewal() if self._watch is not None and answer.status == 429 else None
        return failure(answer, service=self.service, route=call.route, credential=self._credential, renewal=renewal)

    def _take(self, name: str, call: Call, timeout: float) -> None:
        budget = self._budgets.get(name)
        if budget is not None and not budget.acquire(timeout):
            raise Retryable(f"{self.service} {call.route}: no room in the {name} rate budget for {timeout:.0f} s")

    def _exchange(self, call: Call, session: requests.Session) -> Answer:
        headers = self._headers_for(call)  # may read a file or ask for a token: its errors are not this call's
        with self._lock:
            self._counts[call.route] += 1
        body = Body(call.body) if call.body is not None else None
        # The cause is not chained: the texts of requests' errors carry whole URLs.
        problem: str
        try:
            with session.request(
                call.method,
                self.base_url + call.path,
                params=call.params,
                data=body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                raw = self._read(response)
                return Answer.of(response.status_code, response.headers, raw)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            problem = problem_of(error)
            sent = body.touched if body is not None else not before_sending(error)
        except Unreadable as error:
            problem, sent = str(error), True
        raise Retryable(f"{self.service} {call.route}: {problem}", sent=sent)

    def _headers_for(self, call: Call) -> dict[str, str]:
        standing = self._headers() if callable(self._headers) else self._headers
        kind = {"Content-Type": "application/json"} if call.is_json else {}
        return {"Accept": "application/json", "User-Agent": "crm-attribution", **kind, **standing, **call.headers}

    def _read(self, response: requests.Response) -> bytes:
        """The body, bounded in size and time. `read1` returns with what is there, so a drip cannot hold us."""
        until = time.monotonic() + self._read_seconds
        parts = bytearray()
        while chunk := response.raw.read1(65536, decode_content=True):
            parts += chunk
            if len(parts) > self._max_bytes:
                raise Unreadable(f"answer larger than {self._max_bytes} bytes")
            if time.monotonic() > until:
                raise Unreadable(f"answer still not complete after {self._read_seconds:g} s")
        return bytes(parts)
