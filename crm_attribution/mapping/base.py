"""What sections of the mapping are made of: the base class, lengths of time, lists of names, domains and addresses."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from crm_attribution.identifiers import ascii_host, visible

_CENTURY = timedelta(days=36_500)
Days = Annotated[int, Field(ge=0, le=_CENTURY // timedelta(days=1))]
Hours = Annotated[int, Field(ge=0, le=_CENTURY // timedelta(hours=1))]
Minutes = Annotated[int, Field(ge=0, le=_CENTURY // timedelta(minutes=1))]
Seconds = Annotated[int, Field(ge=0, le=_CENTURY // timedelta(seconds=1))]
"""A length of time that can be taken from a date of ours: up to a century."""

T = TypeVar("T")


class Section(BaseModel):
    """A section of the mapping: an entry it does not name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _lower(names: list[str]) -> list[str]:
    return [name.lower() for name in names]


def lower_keys(values: dict[str, T]) -> dict[str, T]:
    return {name.lower(): value for name, value in values.items()}


Names = Annotated[list[str], AfterValidator(_lower)]
"""Compared in lower case, written in any."""


def _hosts(names: list[str]) -> list[str]:
    """Host names in their IDNA form.

    Raises:
        ValueError: for what is no host name.
    """
    hosts = {name: ascii_host(visible(name).removeprefix("@")) for name in names}
    wrong = [name for name, host in hosts.items() if host is None or not re.fullmatch(r"[a-z0-9._-]+", host)]
    if wrong:
        raise ValueError(f"no domain: {', '.join(map(repr, wrong))}; write it as in firm.com or b\u00fccher.example")
    return [host for host in hosts.values() if host]


Domains = Annotated[list[str], AfterValidator(_hosts)]
"""Compared in lower case and in IDNA form, written in any."""


def _addresses(patterns: list[str]) -> list[str]:
    """E-mail patterns in lower case, their domains in IDNA form where they have letters beyond ASCII."""
    parts = [pattern.lower().rpartition("@") for pattern in patterns]
    return [f"{local}{at}{host if host.isascii() else ascii_host(host) or host}" for local, at, host in parts]


Addresses = Annotated[list[str], AfterValidator(_addresses)]
"""E-mail addresses, `*` for anything."""
