"""Connections of a run: HubSpot with its credential and limits, and the APIs of sources."""

from dataclasses import dataclass
from functools import cached_property

from crm_attribution.clock import Clock
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot import settings as hubspot_settings
from crm_attribution.hubspot.access import VERSION, Credential, credential, open_transport
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.limits import Limits
from crm_attribution.settings import Settings
from crm_attribution.sources import sources
from crm_attribution.sources.base import Source
from crm_attribution.warehouse.connection import Warehouse

_LIMITS: dict[tuple[str, str], Limits] = {}
"""The limits of an account and its credential, for the whole process: HubSpot counts every run and client together."""


@dataclass
class Connections:
    """HTTP clients, made when first asked for: a run of SQL models alone needs no token."""

    settings: Settings
    clock: Clock
    warehouse: Warehouse

    def require(self) -> None:
        """Check the settings of HubSpot and of every source.

        Raises:
            ConfigurationError: listing every missing setting.
        """
        of_sources = [setting for source in sources().values() for setting in source.needed(self.settings)]
        self.settings.require([*hubspot_settings.needed(self.settings), *of_sources])

    @cached_property
    def credential(self) -> Credential:
        """Who asks HubSpot."""
        return credential(self.settings, self.clock)

    @cached_property
    def limits(self) -> Limits:
        """What HubSpot lets this account and credential do."""
        given = self.settings
        key = (given[hubspot_settings.BASE_URL], given.value(self.credential.setting))
        if key not in _LIMITS:
            _LIMITS[key] = Limits(
                self.clock,
                burst=given[hubspot_settings.BURST_LIMIT],
                daily=given[hubspot_settings.DAILY_LIMIT],
                reserve=(given[hubspot_settings.DAILY_RESERVE] or 0) / 100,
                oauth=hubspot_settings.uses_oauth(given),
            )
            self.learn_time_zone()
        return _LIMITS[key]

    def learn_time_zone(self) -> None:
        """Tell the limits when the account's day begins, as far as the warehouse knows; outside of any session."""
        with self.warehouse.session() as session:
            zone = session.scalar("SELECT time_zone FROM raw.account")
        self.limits.in_time_zone(zone)

    @cached_property
    def hubspot(self) -> HubSpotClient:
        """HubSpot, as the settings' credential and inside its limits.

        Raises:
            ConfigurationError: when settings are missing, or name two credentials.
        """
        return HubSpotClient(open_transport(self.settings, self.credential, self.limits), version=VERSION)

    def to(self, source: Source) -> Transport | None:
        """Calls to a source's API, where one is configured."""
        if not source.connects(self.settings):
            return None
        where = source.connection(self.settings)
        return Transport(
            where.base_url,
            service=source.name,
            headers=dict(where.headers),
            secrets=self.settings.secrets(),
            credential=where.credential,
        )
