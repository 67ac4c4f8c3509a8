"""What ad platforms have in common: they receive events and count some of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from crm_attribution.sandbox.api import Api

Json = dict[str, Any]


@dataclass
class Inbox:
    """What arrived.

    Attributes:
        requests: calls that reached the platform, refused ones too.
        received: every event of an accepted request, as it came.
        counted: the events the platform counts after its own dedupe.
    """

    requests: int = 0
    received: list[Json] = field(default_factory=list)
    counted: list[Json] = field(default_factory=list)


class Platform(Api, Protocol):
    """An ad platform: an API with an inbox.

    Attributes:
        name: how the control path calls it.
    """

    name: str
    inbox: Inbox
