"""Where the ledger is."""

from __future__ import annotations

from crm_attribution.ledger.store import Ledger
from crm_attribution.settings import Group, Setting, Settings


def _address(given: str) -> str:
    if given and not given.startswith("postgresql+psycopg://"):
        raise ValueError("must be postgresql+psycopg://USER:PASSWORD@HOST/DATABASE")
    return given


URL = Setting(
    "CRM_ATTRIBUTION_LEDGER_URL",
    "PostgreSQL database that holds the delivery ledger, `postgresql+psycopg://USER:PASSWORD@HOST/DATABASE`;"
    " by default it is `ledger.sqlite` in the data directory",
    _address,
    "",
    secret=True,
)

GROUP = Group("The delivery ledger", (URL,))


def open_ledger(given: Settings) -> Ledger:
    """The ledger of these settings; opened in each transaction.

    Raises:
        ConfigurationError: when the address is none.
    """
    return Ledger(given.data_dir, given[URL])
