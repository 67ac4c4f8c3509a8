"""The state of a HubSpot account at the sandbox's clock. Pure: values in, values out, no HTTP."""

from crm_attribution.sandbox.portal.log import LogError, parse_lines
from crm_attribution.sandbox.portal.portal import ClockError, Portal

__all__ = ["ClockError", "LogError", "Portal", "parse_lines"]
