"""Settings read from the environment: typed values, missing ones, unknown names."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crm_attribution.errors import ConfigurationError
from crm_attribution.settings.base import Group, Setting, T, listed
from crm_attribution.settings.product import (
    DATA_DIR,
    LOCK_WAIT,
    MAPPING,
    MEMORY,
    OURS,
    PUBLISHED_MODE,
    SEND,
    START,
    WRITE_BACK,
)

_OF_OTHERS = "DAGSTER_"


@dataclass(frozen=True)
class Settings:
    """The environment, typed.

    Attributes:
        declared: every setting there is.
        texts: name -> value as given, of the declared settings that are set and not empty.
        unknown: a message for each name that looks like a setting and is none.
    """

    declared: Mapping[str, Setting[Any]] = field(repr=False)
    texts: Mapping[str, str] = field(repr=False)
    unknown: tuple[str, ...] = ()

    def __getitem__(self, setting: Setting[T]) -> T:
        given = self.texts.get(setting.name)
        return setting.default if given is None else setting.read(given)

    def value(self, name: str) -> str:
        """A setting by its name, as given; empty where it is not set."""
        return self.texts.get(name, "")

    @property
    def data_dir(self) -> Path:
        return self[DATA_DIR].absolute()

    @property
    def start(self) -> datetime:
        return self[START]

    @property
    def mapping(self) -> Path | None:
        return self[MAPPING]

    @property
    def send(self) -> bool:
        return self[SEND]

    @property
    def write_back(self) -> bool:
        return self[WRITE_BACK]

    @property
    def lock_wait_seconds(self) -> float:
        return self[LOCK_WAIT]

    @property
    def memory(self) -> str | None:
        return self[MEMORY]

    @property
    def inbox(self) -> Path:
        return self.data_dir / "inbox"

    @property
    def webhooks(self) -> Path:
        """Where the receiver writes."""
        return self.inbox / "webhooks"

    @property
    def replays(self) -> Path:
        """Where the receiver writes wishes to send conversions again."""
        return self.inbox / "replay"

    def make_data_dir(self) -> Path:
        """The data directory, which only its owner can enter; those who may read the published file can pass it."""
        path = self.data_dir
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = 0o700 | (self[PUBLISHED_MODE] & 0o044) >> 2
        if path.stat().st_uid == os.geteuid() and path.stat().st_mode & 0o777 != mode:
            path.chmod(mode)
        return path

    def missing(self, settings: Iterable[Setting[Any]]) -> list[Setting[Any]]:
        return [setting for setting in settings if setting.name not in self.texts]

    def require(self, settings: Iterable[Setting[Any]]) -> None:
        """Raise one error that lists every one of `settings` that is not set.

        Raises:
            ConfigurationError: names and where to get each.
        """
        lines = [f"  {setting.name}: {setting.where or setting.description}" for setting in self.missing(settings)]
        if lines:
            raise ConfigurationError("these settings are missing (environment or --env-file):\n" + "\n".join(lines))

    def secrets(self) -> list[str]:
        """Every secret value, for redaction; of one that is an address its path too, which is its password."""
        given = [self.texts[name] for name, setting in self.declared.items() if setting.secret and name in self.texts]
        parts = [part for value in given if "," in value for part in listed(value)]
        parts += [urlsplit(value).path for value in given if "://" in value]
        return [value for value in (*given, *parts) if len(value) > 3]


def read(
    groups: Iterable[Group], environment: Mapping[str, str] | None = None, named: Collection[str] = ()
) -> Settings:
    """Read the settings of some groups.

    Args:
        groups: what is declared.
        environment: by default the process's.
        named: names that somebody wrote down as settings: one that nothing declares is reported with any beginning.

    Raises:
        ConfigurationError: listing every value that cannot be read, and every name of ours that looks mistyped.
    """
    env = os.environ if environment is None else environment
    groups = tuple(groups)
    declared = {setting.name: setting for group in groups for setting in group.settings}
    declared |= _of_accounts(groups, {*env, *named})
    problems = []
    for name, setting in declared.items():
        given = env.get(name)
        if given is None or (given == "" and not setting.empty_is_wrong):
            continue
        try:
            setting.read(given)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    prefixes = {group.prefix for group in groups} - {""} | {OURS}
    refused, unknown = _unknown({*env, *named}, declared, prefixes, named)
    if problems or refused:
        lines = "\n".join(f"  {line}" for line in (*problems, *refused))
        raise ConfigurationError(f"settings that cannot be read:\n{lines}")
    return Settings(declared, {name: env[name] for name in declared if env.get(name)}, tuple(unknown))


_ACCOUNT = re.compile(r"(.+?)__([A-Z0-9]+(?:_[A-Z0-9]+)*)")


def _of_accounts(groups: Iterable[Group], given: Iterable[str]) -> dict[str, Setting[Any]]:
    """The settings that are given for a further account of a destination."""
    known = {setting.name: setting for group in groups for setting in group.per_account}
    parts = [(name, _ACCOUNT.fullmatch(name)) for name in given]
    return {name: replace(known[part[1]], name=name) for name, part in parts if part and part[1] in known}


def _unknown(
    given: Collection[str], declared: Mapping[str, Setting[Any]], prefixes: Iterable[str], named: Collection[str]
) -> tuple[list[str], list[str]]:
    """Messages for names with a prefix of ours that nothing declares: what resembles a setting under the product's own
    prefix is an error, the others (`META_…` may be another program's) are only reported."""
    refused: list[str] = []
    reported: list[str] = []
    for name in sorted(set(given) - set(declared)):
        prefix = max((one for one in prefixes if name.startswith(one)), key=len, default="")
        if not prefix and (name not in named or name.startswith(_OF_OTHERS)):
            continue
        rest = {other.removeprefix(prefix): other for other in declared if other.startswith(prefix)}
        close = get_close_matches(name.removeprefix(prefix), rest, n=1, cutoff=0.7)
        hint = f"; did you mean {rest[close[0]]}?" if close else ""
        (refused if close and prefix == OURS else reported).append(f"{name}: there is no such setting{hint}")
    return refused, reported
