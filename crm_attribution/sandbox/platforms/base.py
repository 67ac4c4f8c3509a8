"""What ad platforms have in common: they receive events and count some of them."""

from __future__ import annotations

from collections import Counter
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
        accounts: how many it counts for each account.
    """

    requests: int = 0
    received: list[Json] = field(default_factory=list)
    counted: list[Json] = field(default_factory=list)
    accounts: Counter[str] = field(default_factory=Counter)


@dataclass
class Setup:
    """What the account lacks, by id: of the account itself, of conversion rules or actions. All else is there.

    Attributes:
        missing: does not exist.
        disabled: exists and is switched off.
        mistyped: a rule or action of another kind, which takes no events of the API.
        keys: public keys of service accounts that may ask for tokens: the modulus in hex, the exponent is 65537.
    """

    missing: list[str] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    mistyped: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def change(self, raw: Any) -> None:
        """Set lists of ids; those that are not named stay.

        Raises:
            ValueError: naming the field that is not understood.
        """
        names = sorted(vars(self))
        if not isinstance(raw, dict) or not set(raw) <= set(names):
            raise ValueError(f"the body is an object of {', '.join(names)}")
        for name, ids in raw.items():
            if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
                raise ValueError(f"`{name}` is a list of ids")
        for name, ids in raw.items():
            setattr(self, name, ids)

    def shown(self) -> Json:
        return dict(vars(self))


class Platform(Api, Protocol):
    """An ad platform: an API with an inbox. Its module names `FURTHER`, a further account that the same token reaches.

    Attributes:
        name: how the control path calls it.
        setup: what its account lacks.
    """

    name: str
    inbox: Inbox
    setup: Setup

    def browser(self, account: str, action: str, key: str) -> None:
        """The pixel or tag of an account tells an event, under a key that events of the API may have too."""
