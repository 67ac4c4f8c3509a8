"""Identifiers as each platform wants them before hashing.

The same raw value has a different hash per platform, so nothing is ever hashed once for all of them.
"""

from __future__ import annotations

import re
from functools import lru_cache

import pycountry

from crm_attribution.identifiers import normalise_email, sha256, visible

_SHA256 = re.compile(r"[0-9a-f]{64}")
META_RULES = "https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/customer-information-parameters"


def meta(field: str, raw: str | None, country: str | None = None) -> str | None:
    """A user_data value as Meta wants it (`META_RULES`), unhashed; a SHA-256 stays one. None where it is not certain
    what the value means: a wrong hash finds another person, or nobody.

    Args:
        field: em, ph, fn, ln, country or external_id.
        country: the person's, by which a national phone number is read.
    """
    text = visible(raw or "").lower()
    if field in ("em", "ph") and _SHA256.fullmatch(text):
        return text
    if field == "em":
        return normalise_email(text)
    if field == "ph":
        number = e164(text, country)
        return None if number is None else number.removeprefix("+")
    if field == "country":
        code = country_code(text)
        return None if code is None else code.lower()
    return text or None


def meta_hash(field: str, raw: str | None, country: str | None = None) -> str | None:
    """The hash of a user_data value; what is a hash already passes."""
    return _hashed(meta(field, raw, country))


def linkedin_email_hash(raw: str | None) -> str | None:
    """Lower case, no white space, no rules of Gmail's, SHA-256 in lower-case hex; what is a hash already passes.

    https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/conversions-api
    """
    text = visible(raw or "").lower()
    return _hashed(text if _SHA256.fullmatch(text) else normalise_email(text))


def google_hash(field: str, raw: str | None, country: str | None = None) -> str | None:
    """The hash of an email or phone; what is a hash already passes. Of an address at Gmail the dots and what follows a
    plus sign are left out: https://developers.google.com/data-manager/api/devguides/concepts/formatting"""
    text = visible(raw or "").lower()
    if _SHA256.fullmatch(text):
        return text
    return _hashed(e164(text, country) if field == "phone" else google_email(text))


def google_email(raw: str | None) -> str | None:
    """An address as Google wants it, unhashed; None where it is none."""
    address = normalise_email(visible(raw or "").lower())
    if address is None:
        return None
    local, _, domain = address.rpartition("@")
    if domain in ("gmail.com", "googlemail.com"):
        local = local.partition("+")[0].replace(".", "")
    return f"{local}@{domain}" if local else None


def microsoft_hash(field: str, raw: str | None, country: str | None = None) -> str | None:
    """The hash of an email or phone; what is a hash already passes. Of every address the dots before the @ and what
    follows a plus sign are left out: https://learn.microsoft.com/en-us/advertising/guides/uet-conversion-api-integration
    """
    text = visible(raw or "").lower()
    if _SHA256.fullmatch(text):
        return text
    if field == "phone":
        return _hashed(e164(text, country))
    address = normalise_email(text)
    if address is None:
        return None
    local, _, domain = address.rpartition("@")
    local = local.partition("+")[0].replace(".", "")
    return _hashed(f"{local}@{domain}") if local else None


@lru_cache(maxsize=1024)
def country_code(raw: str | None) -> str | None:
    """The two letters of a country by its code of two or three letters or its English name; None where it is none.

    https://www.iso.org/iso-3166-country-codes.html
    """
    text = " ".join(visible(raw or "").replace(".", "").split())
    if len(text) < 2:
        return None
    try:
        return str(pycountry.countries.lookup(_OTHER_NAMES.get(text.lower(), text)).alpha_2)
    except LookupError:
        return None


_OTHER_NAMES = {
    "england": "GB",
    "great britain": "GB",
    "russia": "RU",
    "scotland": "GB",
    "turkey": "TR",
    "uk": "GB",
    "wales": "GB",
}
"""As people write them and the standard does not."""


def e164(raw: str | None, country: str | None = None) -> str | None:
    """A phone number with country code, `+491701234567`; None where it is not certain which one is meant.

    A trunk zero goes (`+49 (0)30 …`), digits of any script count, and 00 is a plus sign. Without either, it is read as
    the country's national number or as a whole number with its country code, as in 1 650 253 0000; what could be two
    numbers is none, unless one begins with the country's own code. A number with an extension is a switchboard's, not a
    person's.
    https://github.com/google/libphonenumber
    """
    text = visible(raw or "")
    bare = "".join(char for char in text if char.isdigit())
    if text.startswith(("+", "\uff0b")):
        return _valid(text, None)
    if text.startswith("00"):
        return _valid(f"+{text.removeprefix('00')}", None)
    region = country_code(country)
    national = _valid(text, region) if region else None
    whole = _valid(f"+{text}", None) if len(bare) >= _WITH_COUNTRY and not bare.startswith("0") else None
    if region is None or national is None or whole is None or national == whole:
        return national or whole
    import phonenumbers  # its tables take long to load, and most hours send no number

    code = phonenumbers.country_code_for_region(region)
    return whole if whole.startswith(f"+{code}") else None


def _valid(text: str, region: str | None) -> str | None:
    import phonenumbers

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if number.extension or not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


_WITH_COUNTRY = 11
"""Digits from which on a number without + or 00 can be one with its country code. Many national ones have ten."""


def _hashed(value: str | None) -> str | None:
    return value if value is None or _SHA256.fullmatch(value) else sha256(value)
