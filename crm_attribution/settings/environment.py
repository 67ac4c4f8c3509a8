"""The environment of this process, and files of settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

from crm_attribution.errors import ConfigurationError


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
