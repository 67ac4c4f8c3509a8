"""What an incremental model follows: which topic of the journal tells the changes of a table.

A contract's table tells its topics (`journal`), an incremental model the keys that it wrote, under its own name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from crm_attribution.contracts import CONTRACTS
from crm_attribution.errors import ConfigurationError
from crm_attribution.marts.header import Follow, Header


def resolve(
    header: Header, path: Path, read: Iterable[str], models: Mapping[str, tuple[str, ...]]
) -> tuple[Follow, ...]:
    """The follows of a header with their topics.

    Args:
        header: of the model's file.
        path: the file, for messages.
        read: every table that the model and its tests read, those behind views included.
        models: `schema.name` of each model -> the key by which it is incremental, or nothing.

    Raises:
        ConfigurationError: naming the file and the fix.
    """
    if bool(header.incremental) != bool(header.follows):
        raise ConfigurationError(f"{path}: @incremental and @follows belong together; write both or neither")
    never_null = {column.name for column in header.columns if column.not_null}
    if missing := [name for name in header.incremental if name not in never_null]:
        raise ConfigurationError(
            f"{path}: @incremental names {', '.join(missing)}, which no [not_null] @column documents"
        )
    if header.view and header.incremental:
        raise ConfigurationError(f"{path}: a view holds no rows that could be brought up to date; drop @incremental")
    known = set(read)
    for follow in header.follows:
        for table in filter(None, (follow.table, follow.through)):
            if table not in known:
                raise ConfigurationError(f"{path}: @follows names {table}, which neither the model nor its tests read")
    return tuple(replace(follow, topic=_topic(header, path, follow, models)) for follow in header.follows)


def _topic(header: Header, path: Path, follow: Follow, models: Mapping[str, tuple[str, ...]]) -> str:
    """The topic whose keys are what the follow needs of its table."""
    wanted = header.incremental if follow.column is None else (follow.column,)
    if follow.through is not None and follow.through in CONTRACTS:
        has = {column.name for column in CONTRACTS[follow.through].columns}
        if lacking := [name for name in (*wanted, *header.incremental) if name not in has]:
            raise ConfigurationError(f"{path}: @follows through {follow.through}, which lacks {', '.join(lacking)}")
    if models.get(follow.table) == wanted:
        return follow.table
    contract = CONTRACTS.get(follow.table)
    told = [topic for entry in contract.journal for topic in entry.topics] if contract is not None else []
    for topic in told:
        if topic.columns == wanted:
            return topic
    tells = ", ".join(sorted({f"({', '.join(topic.columns)})" for topic in told})) or "nothing"
    raise ConfigurationError(
        f"{path}: @follows {follow.table} by ({', '.join(wanted)}), but of its changes the journal tells {tells}"
    )
