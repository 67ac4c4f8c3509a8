"""Identifiers as each platform wants them before hashing.

The same raw value has a different hash per platform, so nothing is ever hashed once for all of them.
"""

from __future__ import annotations

import re

import phonenumbers

from crm_attribution.identifiers import normalise_email, sha256, visible

_SHA256 = re.compile(r"[0-9a-f]{64}")
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
    """A user_data value as Meta wants it (`META_RULES`), unhashed; a SHA-256 stays one. None where it is not certain
    what the value means: a wrong hash finds another person, or nobody.

    Args:
        field: em, ph, fn, ln, country or external_id.
    """
    text = visible(raw or "").lower()
    if field in ("em", "ph") and _SHA256.fullmatch(text):
        return text
    if field == "em":
        return normalise_email(text)
    if field == "ph":
        number = e164(text)
        return None if number is None else number.removeprefix("+")
    if field == "country":
        letters = re.sub(r"[^a-z]", "", text)
        return letters if letters in _COUNTRIES else None
    return text or None


def meta_hash(field: str, raw: str | None) -> str | None:
    """The hash of a user_data value; what is a hash already passes."""
    return _hashed(meta(field, raw))


def linkedin_email_hash(raw: str | None) -> str | None:
    """Lower case, no white space, no rules of Gmail's, SHA-256 in lower-case hex; what is a hash already passes.

    https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/conversions-api
    """
    text = visible(raw or "").lower()
    return _hashed(text if _SHA256.fullmatch(text) else normalise_email(text))


def google_hash(field: str, raw: str | None) -> str | None:
    """The hash of an email or phone; what is a hash already passes. Of an address at Gmail the dots and what follows a
    plus sign are left out: https://developers.google.com/data-manager/api/devguides/concepts/formatting"""
    text = visible(raw or "").lower()
    if _SHA256.fullmatch(text):
        return text
    return _hashed(e164(text) if field == "phone" else google_email(text))


def google_email(raw: str | None) -> str | None:
    """An address as Google wants it, unhashed; None where it is none."""
    address = normalise_email(visible(raw or "").lower())
    if address is None:
        return None
    local, _, domain = address.rpartition("@")
    if domain in ("gmail.com", "googlemail.com"):
        local = local.partition("+")[0].replace(".", "")
    return f"{local}@{domain}" if local else None


def e164(raw: str | None) -> str | None:
    """A phone number with country code, `+491701234567`; None where it is not certain which one is meant.

    A trunk zero goes (`+49 (0)30 …`), digits of any script count, and 00 is a plus sign. Without either, the digits
    must be a whole number with its country code, as in 1 650 253 0000: a national number is of no country. A number
    with an extension is a switchboard's, not a person's.
    https://github.com/google/libphonenumber
    """
    text = visible(raw or "")
    bare = "".join(char for char in text if char.isdigit())
    if not text.startswith(("+", "\uff0b")):
        if text.startswith("00") or (len(bare) >= _WITH_COUNTRY and not bare.startswith("0")):
            text = f"+{text.removeprefix('00')}"
        else:
            return None
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return None
    if number.extension or not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


_WITH_COUNTRY = 11
"""Digits from which on a number without + or 00 can be one with its country code. Many national ones have ten."""


def _hashed(value: str | None) -> str | None:
    return value if value is None or _SHA256.fullmatch(value) else sha256(value)
