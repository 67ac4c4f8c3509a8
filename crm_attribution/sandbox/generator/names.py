"""Invented persons and companies."""

from __future__ import annotations

import random
import unicodedata

from crm_attribution.sandbox.generator.rhythm import Region


def _words(text: str, between: str = " ") -> tuple[str, ...]:
    return tuple(text.split(between))


_FIRST = _words(
    "Anna Jürgen Sophie Mehmet Clara Björn Renée Tomasz Ingrid Luca Saskia Omar Hannah Pieter Yasmin Georg Marta "
    "Dylan Grace Noah Elif Henrik Beatriz Callum"
)
_LAST = _words(
    "Weidner,Kowalczyk,Möllering,van Dorst,Achterberg,Strømdal,Pellegrin,Okonjo,Lindqvister,Harlan,Szabados,Teixeira,"
    "Grünefeld,Maddox,Yildirmaz,Brennecke,Castellane,Whitlock,Fjellheim,Rautio,Delvaux,Ostrander,Haidari,Quillon",
    ",",
)
_HEADS = _words(
    "Nordrup Kestwin Blauhof Lindvar Quarzel Harbren Silbrun Vantor Elstwig Cobrin Falkmar Meridon Birksund Granwell "
    "Lumavex Tidrow Ostbrin Sumvale Kupfrey Aspgrove"
)
_TAILS = _words("werk logistik soft data medizin labs handel energie systems finanz robotics textil cloud foods optik")
_FORMS = {"eu": ("GmbH", "AG", "SE & Co. KG", "B.V."), "us": ("Inc.", "LLC", "Corp.")}
_INDUSTRIES = _words(
    "COMPUTER_SOFTWARE LOGISTICS_AND_SUPPLY_CHAIN MACHINERY FINANCIAL_SERVICES HOSPITAL_HEALTH_CARE RETAIL "
    "RENEWABLES_ENVIRONMENT FOOD_PRODUCTION"
)
_TRANSLITERATE = str.maketrans({"ü": "ue", "ö": "oe", "ä": "ae", "ø": "oe", "ß": "ss"})


def person(rng: random.Random) -> tuple[str, str]:
    return rng.choice(_FIRST), rng.choice(_LAST)


def mailbox(first: str, last: str) -> str:
    """The local part of a business address: ASCII, lower case."""
    text = f"{first}.{last}".lower().replace(" ", "").translate(_TRANSLITERATE)
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def company(number: int, rng: random.Random, region: Region) -> tuple[str, str]:
    """Name and domain of the n-th company: each number has its own domain."""
    combinations = len(_HEADS) * len(_TAILS)
    place = number * 7 % combinations  # 7 and 300 have no common factor, so every combination comes once a round
    stem = _HEADS[place % len(_HEADS)] + _TAILS[place // len(_HEADS)]
    series = number // combinations
    name = f"{stem}{series or ''}"
    return f"{name} {rng.choice(_FORMS[region.name])}", f"{name.lower()}.example"


def industry(rng: random.Random) -> str:
    return rng.choice(_INDUSTRIES)


def phone(rng: random.Random, region: Region) -> str:
    """A number as people type it; American ones from the range reserved for fiction."""
    if region.name == "us":
        return f"(555) {555}-01{rng.randrange(100):02d}"
    return rng.choice((f"+49 30 23125 {rng.randrange(1000):03d}", f"030 / 23125-{rng.randrange(1000):03d}"))
