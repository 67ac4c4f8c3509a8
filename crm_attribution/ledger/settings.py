"""Where the ledger is."""

from __future__ import annotations

from crm_attribution.ledger.store import Ledger
from crm_attribution.settings import Group, Settings, postgresql

URL = postgresql(
    "CRM_ATTRIBUTION_LEDGER_URL",
    "PostgreSQL database that holds the delivery ledger, `postgresql://USER:PASSWORD@HOST/DATABASE`;"
    " by default it is `ledger.sqlite` in the data directory",
)

GROUP = Group("The delivery ledger", (URL,))


def open_ledger(given: Settings) -> Ledger:
    """The ledger of these settings; opened in each transaction.

    Raises:
        ConfigurationError: when the address is none.
    """
    return Ledger(given.data_dir, given[URL])
