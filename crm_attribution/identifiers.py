"""Normalised identifiers and deterministic ids."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from urllib.parse import parse_qs, unquote, urlsplit

import idna
import polars as pl

from crm_attribution.clock import from_millis, iso

DEAL_ACCOUNT = "deal:"
"""How the account id of a deal without a company begins; its members are the deal's contacts."""

CLICK_ID_PARAMETERS = ("gclid", "gbraid", "wbraid", "fbclid", "li_fat_id", "msclkid", "ttclid")


def sha256(text: str) -> str:
    """Lower-case hex SHA-256 of the UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


_RECORD_ID = re.compile(r"0|[1-9][0-9]{0,17}")


def record_id(value: object) -> int | None:
    """A HubSpot record id, an integer or its digits; None for anything else, also for one that BIGINT cannot hold.

    Leading zeros are refused: HubSpot writes none, and `007` must not name record 7.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip()
    return int(text) if _RECORD_ID.fullmatch(text) else None


def record_ids(texts: Iterable[str]) -> list[int]:
    """The record ids among some texts, in their order."""
    return [found for found in map(record_id, texts) if found is not None]


_BLANKS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Characters that show nothing although Unicode does not count them as format or space characters."""


def visible(text: str) -> str:
    """Without characters that nobody sees (zero-width, direction marks, soft hyphen, BOM, control characters that are
    no space), trimmed, composed (NFC)."""
    return unicodedata.normalize("NFC", "".join(char for char in text if _is_seen(char))).strip()


def _is_seen(char: str) -> bool:
    category = unicodedata.category(char)
    return category != "Cf" and char not in _BLANKS and (category != "Cc" or char.isspace())


def normalise_email(text: str | None) -> str | None:
    """Lower case, without invisible characters and without spaces around the address and its @, the domain in its IDNA
    form; None where it is no address, or where a space inside leaves open which one was meant. Never raises."""
    if text is None:
        return None
    address = re.sub(r"\s*@\s*", "@", visible(text)).lower()
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", address):
        return None
    local, domain = address.split("@")
    host = ascii_host(domain)
    return f"{local}@{host}" if host is not None and "." in host else None


def ascii_host(host: str) -> str | None:
    """A host name in its IDNA form (RFC 5891, mapped by UTS 46), which mail and DNS use; None where it has none.

    Names in ASCII pass as they are, also those that IDNA would refuse.
    """
    host = host.lower().rstrip(".")
    if host.isascii():
        return host or None
    try:
        return idna.encode(host, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return None


_PLACEHOLDERS = {
    *("null", "none", "undefined", "nan", "na", "n.a.", "unknown", "empty", "test", "true", "false", "click_id"),
    *("clickid", "{}", "0", "-", "not_set", *CLICK_ID_PARAMETERS),
}
_MACRO = re.compile(r"__\w+__|[$%]?\w*\{.*|.*\}|\[\w+\]|%\w+%")


def is_macro(text: str) -> bool:
    """Whether a text is a placeholder that an ad platform or a mail tool should have filled in: `{{campaign.name}}`."""
    return _MACRO.fullmatch(text) is not None


def normalise_click_id(text: str | None) -> str | None:
    """A platform's click id as the platform gave it; None for a placeholder, a cut or an unreadable one. Never raises.

    Out of a whole `_fbc` cookie (`fb.1.<time>.<id>`), out of `name=value` and decoded where it is still URL-encoded.
    https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/fbp-and-fbc
    """
    if text is None:
        return None
    value = visible(text)
    for _ in range(2):  # encoded twice where one form hands on another's address
        value = unquote(value).strip() if "%" in value else value
    named = re.search(rf"(?:^|[?&#])(?:{'|'.join(CLICK_ID_PARAMETERS)})=([^&#]*)", value)
    value = named[1] if named else value
    cookie = re.fullmatch(r"fb\.\d\.\d{10,13}\.(.+)", value)
    value = cookie[1] if cookie else value
    if value.rstrip("=").lower() in _PLACEHOLDERS or is_macro(value) or re.match(r"fb\.\d(\.|$)", value):
        return None
    return value if re.fullmatch(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*={0,2}", value) and ".." not in value else None


_COOKIE = re.compile(r"fb\.\d\.(\d{10}|\d{13})\.(.+)")


def told_click_id(text: str) -> tuple[str, datetime | None] | None:
    """A click id as a CRM's property tells it, and when the click was, where it says so: a whole `_fbc` cookie does.
    None for what is none: a placeholder, a cut one, one that is still URL-encoded. Never raises.

    https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/fbp-and-fbc
    """
    found = None if "%" in text else normalise_click_id(text)
    if found is None:
        return None
    cookie = _COOKIE.fullmatch(visible(text))
    if cookie is None:
        return found, None
    millis = int(cookie[1]) * (1 if len(cookie[1]) == 13 else 1_000)
    return found, from_millis(millis)


def normalised_emails(emails: pl.Series) -> pl.Series:
    """Each e-mail (String, or List of String) normalised; null where it is none, left out of lists."""
    if isinstance(emails.dtype, pl.List):
        texts = emails.explode()
        names = {text: normalise_email(text) for text in texts.unique().drop_nulls()}
        inner = pl.element().cast(pl.String).replace_strict(names, default=None, return_dtype=pl.String).drop_nulls()
        return emails.to_frame("e").select(pl.col("e").list.eval(inner))["e"]
    names = {text: normalise_email(text) for text in emails.unique().drop_nulls()}
    return emails.cast(pl.String).replace_strict(names, default=None, return_dtype=pl.String)


def normalise_domain(text: str | None) -> str | None:
    """Host name without scheme, path, port and `www.`, lower case, in its IDNA form; None where there is none."""
    if not text or not text.strip():
        return None
    bare = re.sub(r"^[a-z][a-z0-9+.-]*://", "", visible(text).lower())
    authority = re.split(r"[/?#]", bare, maxsplit=1)[0].rsplit("@", 1)[-1]
    host = re.sub(r"^[\s.]+|[\s.]+$", "", authority.split(":", 1)[0])
    host = re.sub(r"^(www\.+)+(?=[^.]+\.)", "", host)  # of www.com the www stays
    return ascii_host(host) if "." in host else None


def url_parameters(url: str | None) -> dict[str, str]:
    """First value of each query parameter; empty for anything that is no URL. Never raises."""
    if not url:
        return {}
    try:
        query = urlsplit(url).query
    except ValueError:
        return {}
    return {name: values[0] for name, values in parse_qs(query).items()}


DEAL_EVENT = "deal_"
"""How the event ids of deals begin, and no others: those of lifecycle changes are hexadecimal."""


def lifecycle_event_id(object_type: str, object_id: int, stage: str, changed_at: datetime) -> str:
    """SHA-256 of `contact_id:stage:changed_at`; a company's id is written `company:<id>`."""
    prefix = "company:" if object_type == "companies" else ""
    return sha256(f"{prefix}{object_id}:{stage}:{iso(changed_at)}")


def deal_event_id(deal_id: int, stage: str, changed_at: datetime) -> str:
    """`deal_{deal_id}_{stage}_{changed_at}`."""
    return f"{DEAL_EVENT}{deal_id}_{stage}_{iso(changed_at)}"


def delivery_key(destination: str, account: str, action: str, milestone_id: str, revision: int) -> str:
    """SHA-256 over version 1 and the parts, each written as its UTF-8 length, a colon and itself.

    Only business facts go in: never a run, a clock, an order or a person id, which may change and would send twice.
    """
    parts = ("1", destination, account, action, milestone_id, str(revision))
    return sha256("".join(f"{len(part.encode())}:{part}" for part in parts))


def person_id(contact_id: int, generation: int = 0) -> str:
    """The id a person gets when first met through a contact; `generation` counts splits off the same contact."""
    return "person_" + sha256(f"contact:{contact_id}:{generation}")[:24]
