"""Every setting there is: the product's own, HubSpot's, and those of each source and destination."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from crm_attribution import settings
from crm_attribution.destinations import destinations
from crm_attribution.errors import ConfigurationError
from crm_attribution.hubspot import settings as hubspot
from crm_attribution.ledger import settings as ledger
from crm_attribution.settings import Group, Setting, Settings, of_account
from crm_attribution.sources import sources
from crm_attribution.webhook import settings as webhook


def groups() -> list[Group]:
    """All settings, as the table of settings orders them.

    Raises:
        ConfigurationError: when a name is declared in two ways.
    """
    found = [hubspot.GROUP, settings.PRODUCT, ledger.GROUP, webhook.GROUP]
    found += [source.group for source in sources().values() if source.settings]
    found += [destination.group for destination in destinations().values()]
    declared: dict[str, tuple[Setting[Any], str]] = {}
    for group in found:
        for setting in group.settings:
            first, title = declared.setdefault(setting.name, (setting, group.title))
            if first != setting:
                raise ConfigurationError(f"{setting.name}: declared in two ways, by {title} and by {group.title}")
    return found


def load(environment: Mapping[str, str] | None = None, named: Collection[str] = ()) -> Settings:
    """Read the settings; by default from the process's environment. `named` are those of an --env-file.

    Raises:
        ConfigurationError: listing every value that cannot be read, and every name of ours that looks mistyped.
    """
    return settings.read(groups(), environment, named)


def table() -> str:
    """All settings in Markdown, a section for each group, for docs/settings.md."""
    sections = []
    for group in groups():
        rows = [f"| `{one.name}` | {_meaning(one)} | {one.where} | {one.shown} |" for one in group.settings]
        head = ["| name | meaning | where to get it | default |", "| --- | --- | --- | --- |"]
        more = ["", _accounts(group)] if group.per_account else []
        sections.append("\n".join([f"## {group.title}", "", *head, *rows, *more]) + "\n")
    return "\n".join(sections)


def _accounts(group: Group) -> str:
    example = of_account(group.account_setting, "eu")
    return (
        f"A further account, `account: eu` of a rule of the mapping, has `__EU` after the names: `{example}` is"
        " required, what else is not set is as above."
    )


def _meaning(setting: Setting[Any]) -> str:
    marks = [word for word, on in (("secret", setting.secret), ("required", setting.required)) if on]
    return setting.description + (f" ({', '.join(marks)})" if marks else "")
