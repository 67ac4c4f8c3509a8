"""Whether the ledger may be sent from: it must not be behind what is known of it elsewhere.

In safe mode nothing is planned and nothing is sent, until `crm-attribution ledger recover` has put the newest copy in
force. A ledger that is gone, or older than it was, would send again what a platform has already counted.
"""

from __future__ import annotations

from crm_attribution.ledger.mark import MarkDamaged, Stand
from crm_attribution.ledger.store import Ledger, LedgerDamaged

SAFE_MODE = "safe mode"

WHAT_TO_DO = "nothing is sent until you have run: crm-attribution ledger recover"


def why_unsafe(ledger: Ledger, copied: Stand | None) -> str | None:
    """Why nothing may be sent from a ledger; None where it may.

    Args:
        ledger: as configured.
        copied: what the warehouse's copy was made of; None where it has none yet.
    """
    try:
        marked = ledger.mark.read()
    except MarkDamaged:
        return f"{SAFE_MODE}: {ledger.mark.path.name} cannot be read; {WHAT_TO_DO}"
    try:
        there = ledger.exists()
    except LedgerDamaged as error:
        return f"{SAFE_MODE}: {error}; {WHAT_TO_DO}"
    if not there:
        if marked is None and copied is None:
            return None
        return f"{SAFE_MODE}: {ledger.name} is gone, and conversions were sent before; {WHAT_TO_DO}"
    with ledger.reading() as book:
        stand = book.stand
    for known, name in ((marked, f"its mark {ledger.mark.path.name}"), (copied, "its copy in the warehouse")):
        if known is None:
            continue
        if known.ledger != stand.ledger:
            return f"{SAFE_MODE}: {ledger.name} is another one than {name} was made of; {WHAT_TO_DO}"
        if known.serial > stand.serial:
            return f"{SAFE_MODE}: {ledger.name} is older than {name} ({stand.serial} < {known.serial}); {WHAT_TO_DO}"
    return None
