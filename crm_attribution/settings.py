"""What a setting is, and the product's own. Others are declared where they are used; `configuration` reads all.

Everything comes from the environment. Whatever is missing is reported together, with where to get it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from io import StringIO
from itertools import takewhile
from pathlib import Path
from typing import Any, Generic, TypeVar

from dotenv.parser import parse_stream

from crm_attribution.clock import parse_instant
from crm_attribution.errors import ConfigurationError

T = TypeVar("T")

OURS = "CRM_ATTRIBUTION_"
_OF_OTHERS = "DAGSTER_"


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
    """Settings that belong together. Their names' common beginning is theirs: another name with it is unknown."""

    title: str
    settings: Sequence[Setting[Any]]

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


def whole(name: str, description: str, default: int | None, *, least: int = 0, most: int) -> Setting[int | None]:
    """A whole number."""

    def read(given: str) -> int:
        if not (given.isascii() and given.isdigit() and least <= int(given) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(given)

    return Setting(name, description, read, default, "" if default is None else str(default))


def listed(given: str) -> tuple[str, ...]:
    """The parts of a text between commas, none of them empty."""
    return tuple(part.strip() for part in given.split(",") if part.strip())


def _first_hour(given: str) -> datetime:
    try:
        start = parse_instant(given)
    except ValueError:
        raise ValueError(f"not an ISO 8601 timestamp, e.g. {DEFAULT_START}") from None
    if start.minute or start.second or start.microsecond:
        raise ValueError(f"must be a full hour, e.g. {DEFAULT_START}")
    return start


def _on_or_off(given: str) -> bool:
    if given.lower() not in ("on", "off"):
        raise ValueError("must be on or off")
    return given.lower() == "on"


def _seconds(given: str) -> float:
    if not (given.isascii() and given.isdigit()):
        raise ValueError("must be whole seconds")
    return float(given)


def _memory(given: str) -> str:
    if not re.fullmatch(r"[1-9]\d*(\.\d+)? ?([MG]i?B)", given):
        raise ValueError("must be a size such as 4GB or 800MB")
    return given


def _mode(given: str) -> int:
    if not re.fullmatch(r"0?4[04][04]", given):
        raise ValueError("must be a mode that lets its owner, and perhaps group (0440) or everybody (0444), read")
    return int(given, 8)


def _path(given: str) -> Path:
    try:
        return Path(given).expanduser().absolute()
    except RuntimeError:
        raise ValueError("begins with ~ and names no user's home") from None


def _folder(given: str) -> Path:
    path = _path(given)
    for part in (path, *path.parents):
        if os.path.isfile(part):
            raise ValueError(f"{part} is a file: name a folder")
    return path


DEFAULT_START = "2026-01-01T00:00:00Z"

DATA_DIR = Setting(
    f"{OURS}DATA_DIR",
    "all runtime state, Dagster's home included. Belongs to one portal and one start",
    _folder,
    Path("data"),
    "`data`",
)
START = Setting(
    f"{OURS}START", "first partition hour, UTC", _first_hour, parse_instant(DEFAULT_START), f"`{DEFAULT_START}`"
)
MAPPING = Setting[Path | None](
    f"{OURS}MAPPING",
    "your business rules, merged deeply over `crm_attribution/mapping.yaml`",
    _path,
    None,
)
SEND = Setting(f"{OURS}SEND", "`on` or `off`, for all destinations", _on_or_off, True, "`on`", empty_is_wrong=True)
LOCK_WAIT = Setting(
    f"{OURS}LOCK_WAIT", "seconds a run waits for another one", _seconds, 900.0, "900", empty_is_wrong=True
)
MEMORY = Setting[str | None](
    f"{OURS}MEMORY",
    "most that DuckDB may use, as `4GB`",
    _memory,
    None,
    "half of the memory of the machine or container",
)
SNAPSHOT_HOURS = whole(
    f"{OURS}SNAPSHOT_HOURS",
    "hours between two copies of the warehouse, made before a run; 0: before each run",
    6,
    most=720,
)
PUBLISHED_MODE = Setting(
    f"{OURS}PUBLISHED_MODE",
    "mode of `finance.duckdb`, as `0440` for its group; the data directory can then be entered, not listed",
    _mode,
    0o400,
    "`0400`",
)
ALERT_URL = secret(f"{OURS}ALERT_URL", "failed runs are posted there as JSON; whoever knows the address may post")
CLOCK = text(f"{OURS}CLOCK", "`wall`; a timestamp or the sandbox's clock address for replaying a past portal", "wall")
PRODUCT = Group(
    "The product", (DATA_DIR, START, MAPPING, SEND, LOCK_WAIT, MEMORY, SNAPSHOT_HOURS, PUBLISHED_MODE, ALERT_URL, CLOCK)
)


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
        """Every secret value, for redaction."""
        given = [self.texts[name] for name, setting in self.declared.items() if setting.secret and name in self.texts]
        parts = [part for value in given if "," in value for part in listed(value)]
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


def read_env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines as `python-dotenv` reads them: `export`, quotes, `# comments`, blank lines, and the mark that
    editors put at the beginning. Nothing is expanded.

    Raises:
        ConfigurationError: naming the line that is none of these.
    """
    found = {}
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}, at byte {error.start}: not UTF-8 text") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    for line in parse_stream(StringIO(content)):
        if line.key is None and not line.error:
            continue
        if line.error or line.key is None or line.value is None or not line.key.replace("_", "").isalnum():
            blank = len(line.original.string) - len(line.original.string.lstrip())
            number = line.original.line + line.original.string[:blank].count("\n")
            raise ConfigurationError(f"{path}, line {number}: expected NAME=value")
        found[line.key] = line.value
    return found


def apply_env_file(path: Path) -> list[str]:
    """Put a file's names into the process's environment; what is already set wins. Returns the names."""
    given = read_env_file(path)
    for name, value in given.items():
        os.environ.setdefault(name, value)
    return list(given)


def set_environment(values: Mapping[str, str]) -> None:
    """Set names for this process and those it starts."""
    os.environ.update(values)
