"""What a setting is, and the kinds there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One name of the environment.

    Attributes:
        name: in capitals.
        description: what it means, for the table of settings.
        read: the value of a text. Raises ValueError with what it must be.
        default: where it is not set, or empty.
        shown: the default as the table of settings writes it.
        where: where to get it; messages about a missing setting say so.
        secret: whether its value must not be shown. Two values may be separated by a comma, each is a secret.
        required: whether the plug-in that declares it needs it.
        empty_is_wrong: whether an empty value is an error and not the default.
    """

    name: str
    description: str
    read: Callable[[str], T] = field(repr=False)
    default: T
    shown: str = ""
    where: str = ""
    secret: bool = False
    required: bool = False
    empty_is_wrong: bool = False


@dataclass(frozen=True)
class Group:
    """Settings that belong together. Their names' common beginning is theirs: another name with it is unknown.

    Attributes:
        per_account: those that may be set anew for each further account, under `of_account(name, account)`.
        account_setting: of those, the one that says which account it is.
    """

    title: str
    settings: Sequence[Setting[Any]]
    per_account: Sequence[Setting[Any]] = ()
    account_setting: str = ""

    @property
    def prefix(self) -> str:
        """Up to and with the last underscore, for example `META_`; empty where the names have none in common."""
        names = [setting.name for setting in self.settings]
        same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
        common = "".join(letters[0] for letters in same)
        return common[: common.rfind("_") + 1]


def text(name: str, description: str, default: str = "", **more: Any) -> Setting[str]:
    """A setting that is taken as it is."""
    return Setting(name, description, str, default, **{"shown": default, **more})


def secret(name: str, description: str, **more: Any) -> Setting[str]:
    """A token, key or password."""
    return text(name, description, secret=True, **more)


def file(name: str, description: str, **more: Any) -> Setting[str]:
    """A setting that names a file and is the text in it."""

    def read(given: str) -> str:
        try:
            return Path(given).expanduser().read_text(encoding="utf-8")
        except (OSError, RuntimeError, UnicodeDecodeError) as error:
            raise ValueError(f"{given} cannot be read: {type(error).__name__}") from None

    return Setting(name, description, read, "", **more)


_DRIVER = "postgresql+psycopg2"


def postgresql(name: str, description: str) -> Setting[str]:
    """The address of a PostgreSQL database, with the driver that dagster-postgres brings, whatever it names."""

    def read(given: str) -> str:
        scheme, mark, rest = given.partition("://")
        if given and not (scheme in ("postgresql", "postgres", "postgresql+psycopg", _DRIVER) and mark and "/" in rest):
            raise ValueError("must be postgresql://USER:PASSWORD@HOST/DATABASE")
        return f"{_DRIVER}://{rest}" if given else ""

    return Setting(name, description, read, "", secret=True)


def whole(name: str, description: str, default: int | None, *, least: int = 0, most: int) -> Setting[int | None]:
    """A whole number."""

    def read(given: str) -> int:
        if not (given.isascii() and given.isdigit() and least <= int(given) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(given)

    return Setting(name, description, read, default, "" if default is None else str(default))


def of_account(name: str, account: str) -> str:
    """The name of a setting for an account of the mapping; its own name where that is none."""
    return f"{name}__{account.upper()}" if account else name


def listed(given: str) -> tuple[str, ...]:
    """The parts of a text between commas, none of them empty."""
    return tuple(part.strip() for part in given.split(",") if part.strip())
