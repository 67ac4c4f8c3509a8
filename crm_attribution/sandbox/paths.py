"""One spelling for HubSpot's three, and for counting calls.

HubSpot spells the same resource with a number in the middle or a date behind the family:
https://developers.hubspot.com/docs/developer-tooling/platform/versioning
"""

from __future__ import annotations

import re

from crm_attribution.sandbox.portal.kinds import find_kind

_NUMBERED = re.compile(r"^/crm/v([34])/(objects|associations|pipelines|properties|owners)(?=/|$)")
_DATED = re.compile(r"^/crm/(objects|associations|pipelines|properties|owners)/(2026-0[39])(?=/|$)")
_ONE_RECORD = re.compile(r"^/crm/objects/[^/]+/[^/]+/associations/[^/]+$")
_VERSION = re.compile(r"/(v\d+(\.\d+)?|\d{4}-\d{2})(?=/|$)")
_ID = re.compile(r"/(\d+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[^/]*@[^/]*)(?=/|$)")
_WORDS = ("search", "batch", "merge", "gdpr-delete")


def plain(path: str) -> tuple[str, str]:
    """(version, path without it) of a CRM path that exists in that version; other paths come back as they are.

    Associations are spoken in v4 and the dated versions; the list of one record's associations is absent from 2026-09.
    """
    path = path.rstrip("/")
    numbered = _NUMBERED.match(path)
    if numbered:
        version, family = f"v{numbered[1]}", numbered[2]
        bare = f"/crm/{family}{path[numbered.end() :]}"
        fits = version == ("v4" if family == "associations" or _ONE_RECORD.match(bare) else "v3")
        return (version, bare) if fits else _nowhere(path)
    dated = _DATED.match(path)
    if dated:
        bare = f"/crm/{dated[1]}{path[dated.end() :]}"
        return _nowhere(path) if dated[2] == "2026-09" and _ONE_RECORD.match(bare) else (dated[2], bare)
    return _nowhere(path) if path.startswith("/crm/") else ("", path)


def _nowhere(path: str) -> tuple[str, str]:
    """A path no route answers."""
    return "", "/no-such-version" + path


def folded(path: str) -> str:
    """The path as a route to count: no version, no ids, object types by name."""
    parts = _ID.sub("/{id}", _VERSION.sub("", path.rstrip("/"))).split("/")
    if parts[1:3] == ["crm", "objects"] and len(parts) > 4 and parts[4] not in _WORDS:
        parts[4] = "{id}"
    if parts[1:3] == ["form-integrations", "submissions"] and len(parts) > 4:
        parts[4] = "{id}"
    if parts[1:2] == ["crm"]:
        kinds = [find_kind(part) for part in parts]
        parts = [kind.name if kind else part for kind, part in zip(kinds, parts, strict=True)]
    return "/".join(parts)
