"""The one place where names and texts become SQL."""

from __future__ import annotations


def quote_identifier(*parts: str) -> str:
    """`quote_identifier("marts", "funnel")` is `"marts"."funnel"`, safe for any characters."""
    if not parts or not all(parts):
        raise ValueError(f"an SQL name needs non-empty parts, got {parts!r}")
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def quote_literal(text: str) -> str:
    """A text as an SQL string, for statements that take no parameters (COMMENT ON)."""
    return "'" + text.replace("'", "''") + "'"
