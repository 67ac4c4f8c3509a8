"""The mapping file: business rules, merged from the shipped `mapping.yaml` and a file of the user's.

A module holds the sections of one stage. `rules` puts them together, `reading` reads the files, `problems` words what
is wrong with an entry.
"""

from crm_attribution.mapping.attribution import Attribution, ChosenModel
from crm_attribution.mapping.conversions import (
    Consent,
    ConversionDefaults,
    ConversionRule,
    Destination,
    VolumeGuard,
    send_from,
)
from crm_attribution.mapping.events import (
    Carrier,
    Churn,
    Currency,
    Deals,
    Lifecycle,
    Milestone,
    PipelineKind,
    Suppression,
    Values,
    ValueSource,
)
from crm_attribution.mapping.identity import Accounts, Clicks, Identity
from crm_attribution.mapping.raw import Extraction, Forms, Streams
from crm_attribution.mapping.reading import SHIPPED, load
from crm_attribution.mapping.rules import Rules
from crm_attribution.mapping.spend import Spend, UtmRule
from crm_attribution.mapping.touches import ChannelRule, Touches
from crm_attribution.mapping.write_back import EventRule, WriteBack

__all__ = [
    "SHIPPED",
    "Accounts",
    "Attribution",
    "Carrier",
    "ChannelRule",
    "ChosenModel",
    "Churn",
    "Clicks",
    "Consent",
    "ConversionDefaults",
    "ConversionRule",
    "Currency",
    "Deals",
    "Destination",
    "EventRule",
    "Extraction",
    "Forms",
    "Identity",
    "Lifecycle",
    "Milestone",
    "PipelineKind",
    "Rules",
    "Spend",
    "Streams",
    "Suppression",
    "Touches",
    "UtmRule",
    "ValueSource",
    "Values",
    "VolumeGuard",
    "WriteBack",
    "load",
    "send_from",
]
