"""YAML files merged over one another, and the file and line that a value of the result stands in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from crm_attribution.errors import ConfigurationError


class _Texts(yaml.SafeLoader):
    """YAML whose values are texts as they are written; each setting's own type reads them.

    YAML 1.1 reads 010 as 8, 1:30 as 90, an unquoted timestamp as a date, `no` as false, and the id 1.10 as 1.1.
    """


_KEPT = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
_Texts.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag in _KEPT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Layered:
    """Merged files.

    Attributes:
        data: the result; a value of an earlier file wins, mappings are merged.
        nodes: each file with the positions of its values.
    """

    data: dict[str, Any]
    nodes: Mapping[Path, yaml.Node | None]

    def located(self, where: Sequence[int | str], message: str) -> str:
        """A message about the value at a path of keys and positions, with the file and line that say most of it."""
        dotted = ".".join(str(part) for part in where)
        places = [(*_locate(node, where), path) for path, node in self.nodes.items()]
        _, line, path = max(places, key=lambda place: place[0])
        return f"{path}, line {line}: {dotted}: {message}"


def read(files: Sequence[Path]) -> Layered:
    """Read files and merge each over those after it.

    Raises:
        ConfigurationError: naming the file that is missing, and file and line of what is no YAML.
    """
    nodes = {path: _compose(path) for path in files}
    merged: dict[str, Any] = {}
    for path in reversed(files):
        data = _construct(path, nodes[path])
        if not isinstance(data, dict):
            raise ConfigurationError(f"{path}, line 1: expected a mapping of sections")
        merged = _merge(merged, data)
    return Layered(merged, nodes)


def _compose(path: Path) -> yaml.Node | None:
    try:
        return yaml.compose(path.read_text(encoding="utf-8"), Loader=_Texts)
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such mapping file (CRM_ATTRIBUTION_MAPPING)") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: the mapping file cannot be read ({error.strerror})") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: nested too deeply for a mapping file") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{path}, line {line}: not YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        raise ConfigurationError(f"{path}, at character {error.position}: not YAML: {error.reason}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}, at byte {error.start}: not UTF-8 text") from None


def _construct(path: Path, node: yaml.Node | None) -> Any:
    """The values of a composed file."""
    if node is None:
        return {}
    loader = _Texts("")
    try:
        _refuse_twice(node)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{path}, line {line}: {error.problem}; a mapping file holds plain values") from None
    except _Twice as error:
        raise ConfigurationError(f"{path}, {error}") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: an alias refers to itself") from None
    finally:
        loader.dispose()


class _Twice(Exception):
    """A name that stands twice in one section: YAML would take the last one and say nothing."""


def _refuse_twice(node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in lines:
                    first = lines[key.value]
                    raise _Twice(f"line {line}: {key.value} is already named in line {first}: keep one of the two")
                lines[key.value] = line
            _refuse_twice(value)
    elif isinstance(node, yaml.SequenceNode):
        for part in node.value:
            _refuse_twice(part)


def _merge(base: Any, top: Any) -> Any:
    if isinstance(base, dict) and isinstance(top, dict):
        return {
            key: _merge(base[key], top[key]) if key in base and key in top else top.get(key, base.get(key))
            for key in [*base, *(key for key in top if key not in base)]
        }
    return top


def _locate(node: yaml.Node | None, where: Sequence[int | str]) -> tuple[int, int]:
    """How many steps of a path a file knows, and the line of the last of them."""
    line, depth = 1, 0
    for part in where:
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if str(key.value) == str(part):
                    found, line = value, key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part]
            line = found.start_mark.line + 1
        if found is None:
            break
        node, depth = found, depth + 1
    return depth, line
