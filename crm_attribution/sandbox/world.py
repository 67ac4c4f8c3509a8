"""What the sandbox's parts share while it runs."""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from crm_attribution.sandbox.faults import Fault
from crm_attribution.sandbox.grants import Grants
from crm_attribution.sandbox.limits import Limits
from crm_attribution.sandbox.portal import Portal

_NAMESPACE = uuid.UUID("2f1c9d54-0b7e-5c43-8a1f-4f6f0e3c7a90")


@dataclass
class World:
    """The account, its limits and tokens, the counters and the faults. The clock is the portal's."""

    portal: Portal
    limits: Limits = field(default_factory=Limits)
    grants: Grants = field(default_factory=Grants)
    faults: list[Fault] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    shared: dict[str, Any] = field(default_factory=dict)
    """What several platforms have in common, by name."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def trace_id(self) -> str:
        """A correlation id: unique, and the same in every run."""
        return str(uuid.uuid5(_NAMESPACE, str(next(self._numbers))))
