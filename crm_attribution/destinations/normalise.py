"""Identifiers as each platform wants them before hashing.

The same raw value has a different hash per platform, so nothing is ever hashed once for all of them.
"""

from __future__ import annotations

import re

from crm_attribution.identifiers import sha256

_META_EMAIL = re.compile(r".+@.+\..+")
_META_PHONE = re.compile(r"\d{1,4}\d{2,3}\d{4,}")
_HASHES = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
_ISO_3166 = (
    "ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bl bm bn bo bq br bs bt bv bw by bz "
    "ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg eh er es et fi fj fk fm fo "
    "fr ga gb gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je "
    "jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mf mg mh mk ml mm mn mo "
    "mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw "
    "py qa re ro rs ru rw sa sb sc sd se sg sh si sj sk sl sm sn so sr ss st sv sx sy sz tc td tf tg th tj tk tl tm "
    "tn to tr tt tv tw tz ua ug um us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw "
)
"""Two-letter country codes (https://www.iso.org/iso-3166-country-codes.html)."""

_COUNTRIES = frozenset(_ISO_3166.split())

META_RULES = "https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/customer-information-parameters"


def meta(field: str, raw: str | None) -> str | None:
    """A user_data value as Meta's SDK normalises it (`META_RULES`), unhashed; None where it would refuse it.

    Args:
        field: em, ph, fn, ln, country or external_id.
    """
    text = (raw or "").strip().lower()
    if field == "em":
        return text if _META_EMAIL.fullmatch(text) else None
    if field == "ph":
        digits = re.sub(r"[\s\-()]", "", text)
        digits = re.sub(r"^\+?0{0,2}", "", digits)
        return digits if digits.isascii() and _META_PHONE.fullmatch(digits) else None
    if field == "country":
        letters = re.sub(r"[^a-z]", "", text)
        return letters if letters in _COUNTRIES else None
    return text or None


def meta_hash(field: str, raw: str | None) -> str | None:
    """The hash of a user_data value; what is a hash already passes."""
    value = meta(field, raw)
    if value is None or _HASHES.fullmatch(value):
        return value
    return sha256(value)


def linkedin_email_hash(raw: str | None) -> str | None:
    """Lower case, no white space, no rules of Gmail's, SHA-256 in lower-case hex.

    https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/conversions-api
    """
    address = re.sub(r"\s+", "", raw or "").lower()
    return sha256(address) if re.fullmatch(r"[^@]+@[^@]+\.[^@]+", address) else None
