"""pandera contracts, one module per layer. Importing the package registers every table in `CONTRACTS`."""

from crm_attribution.contracts import attribution, conversions, events, finance, identity, raw
from crm_attribution.contracts.base import CONTRACTS, SCHEMAS, Column, Contract

__all__ = [
    "CONTRACTS",
    "SCHEMAS",
    "Column",
    "Contract",
    "attribution",
    "conversions",
    "events",
    "finance",
    "identity",
    "raw",
]
