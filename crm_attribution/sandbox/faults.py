"""Faults a test asks for: on which calls, what goes wrong, how often.

Any status from 400 to 599 is a kind of its own, on GET as on POST: 423, 429, 477 (with Retry-After), 500, 502, 504, 524
(the last three as a gateway's page). The other kinds are in KINDS.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

KINDS = {
    "429": "refuse with Retry-After",
    "429_no_retry_after": "refuse without Retry-After",
    "401_expired": "refuse an expired token",
    "slow": "answer after `seconds`",
    "timeout_after_accept": "apply, then stay silent for `seconds`",
    "drop": "close the connection before anything is applied",
    "drop_after_accept": "apply, then close the connection without an answer",
    "bad_json": "apply, then answer half a JSON document",
    "no_history": "leave propertiesWithHistory out of one record of a list or batch answer",
    "null_history": "answer null as propertiesWithHistory of one record",
    "missing_row": "leave one record out of a list, batch or search answer, without an error for it",
    "index_lag": "search as the index was `seconds` of the sandbox's clock ago",
}
DEFAULT_SECONDS = {"timeout_after_accept": 30.0, "slow": 1.0, "index_lag": 60.0}
ROW_FAULTS = ("no_history", "null_history", "missing_row")
_STATUS = re.compile(r"[45]\d\d")


class FaultError(ValueError):
    """A fault that is not understood; the message names the field."""


@dataclass
class Fault:
    """One fault and how often it struck.

    Attributes:
        route: `METHOD /path` with `*` for anything; matched with and without version and ids.
        kind: one of KINDS, or any status from 400 to 599.
        probability: of striking a matching call, drawn from `seed`.
        every: strike every n-th matching call.
        count: strike so many times at most.
        policy: HubSpot's policyName of a 429.
        scope: the missing scope of a 403.
        record: the id of the record a row fault hits, the one in mid-page without it. An answer in which there is
            nothing to spoil comes whole, and counts as no hit.
    """

    route: str
    kind: str
    probability: float | None = None
    every: int | None = None
    count: int | None = None
    seconds: float = 0.0
    retry_after: float = 1.0
    policy: str | None = None
    seed: int = 0
    scope: str | None = None
    record: str | None = None
    hits: int = 0
    seen: int = 0
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def __post_init__(self) -> None:
        self._random.seed(self.seed)

    def strikes(self, method: str, paths: tuple[str, ...]) -> bool:
        """Whether this call is hit; counts it."""
        if not any(fnmatchcase(f"{method} {path}", self.route) for path in paths):
            return False
        self.seen += 1
        if self.count is not None and self.hits >= self.count:
            return False
        if self.every is not None and self.seen % self.every:
            return False
        if self.probability is not None and self._random.random() >= self.probability:
            return False
        self.hits += 1
        return True

    @property
    def status(self) -> int | None:
        """The status it refuses with, None where it does something else."""
        return int(self.kind[:3]) if _STATUS.match(self.kind) else None

    def shown(self) -> dict[str, Any]:
        """As the control path answers it."""
        hidden = ("_random",)
        return {name: value for name, value in vars(self).items() if name not in hidden and value is not None}


_TYPES: dict[str, tuple[type, ...]] = {
    "route": (str,),
    "kind": (str,),
    "probability": (int, float),
    "every": (int,),
    "count": (int,),
    "seconds": (int, float),
    "retry_after": (int, float),
    "policy": (str,),
    "seed": (int,),
    "scope": (str,),
    "record": (str,),
}


def _fault(position: int, raw: Any) -> Fault:
    if not isinstance(raw, dict):
        raise FaultError(f"fault {position} must be an object")
    for name, value in raw.items():
        if name not in _TYPES:
            raise FaultError(f"fault {position}: `{name}` is unknown; known are {', '.join(_TYPES)}")
        if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
            raise FaultError(f"fault {position}: `{name}` has the wrong type")
    kind = raw.get("kind", "")
    if kind not in KINDS and not re.fullmatch(_STATUS, kind):
        raise FaultError(f"fault {position}: `kind` is {kind!r}; known are a status and {', '.join(KINDS)}")
    if not re.match(r"\S+ [/*]", raw.get("route", "")):
        raise FaultError(f"fault {position}: `route` is a method and a path, such as `POST /crm/objects/*/search`")
    if raw.get("every", 1) < 1:
        raise FaultError(f"fault {position}: `every` must be at least 1")
    return Fault(**{"seconds": DEFAULT_SECONDS.get(kind, 0.0), **raw})


def spoil_rows(body: bytes, fault: Fault) -> bytes:
    """An answer of which one record is spoilt."""
    answer = json.loads(body)
    rows = answer.get("results") if isinstance(answer, dict) else None
    at = _place(rows or [], fault)
    if rows is None or at is None:
        fault.hits -= 1
        return body
    if fault.kind == "missing_row":
        del rows[at]
    elif fault.kind == "null_history":
        rows[at]["propertiesWithHistory"] = None
    else:
        del rows[at]["propertiesWithHistory"]
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()


def _place(rows: list[dict[str, Any]], fault: Fault) -> int | None:
    """The position of the record to corrupt."""
    if fault.record is None:
        at = len(rows) // 2 if rows else None
    else:
        ids = [str(row.get("id", row.get("from", {}).get("id"))) for row in rows]
        at = ids.index(fault.record) if fault.record in ids else None
    spoilt = at is not None and (fault.kind == "missing_row" or rows[at].get("propertiesWithHistory") is not None)
    return at if spoilt else None


def parse_faults(raw: Any) -> list[Fault]:
    """The faults of a request body, a list.

    Raises:
        FaultError: at the first that is not understood.
    """
    if not isinstance(raw, list):
        raise FaultError("the body is a list of faults")
    return [_fault(position, item) for position, item in enumerate(raw)]
