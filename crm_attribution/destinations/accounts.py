"""Ad accounts of a destination: its own settings are one, those with `__NAME` after their names are further ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from crm_attribution.destinations.base import Destination
from crm_attribution.settings import Settings, of_account

OWN = ""
"""Name of the account of the destination's own settings."""


@dataclass(frozen=True)
class Account:
    """One ad account, dataset or customer of a destination.

    Attributes:
        name: as the mapping names it; empty for that of the destination's own settings.
        id: as the platform names it, part of the delivery key; empty where the settings do not say.
        settings: the destination's, as they are for this account.
        missing: why it cannot be used; None where it can.
        others: ids of the destination's other accounts.
        is_first: whether it also looks after conversions of accounts that are no longer in use.
    """

    destination: Destination
    name: str
    id: str
    settings: Mapping[str, str] = field(repr=False)
    missing: str | None = None
    others: frozenset[str] = frozenset()
    is_first: bool = True

    @property
    def key(self) -> str:
        """What is remembered of it is found by: the destination's name, and of a further account its id too."""
        return f"{self.destination.name}@{self.id.replace(':', '_')}" if self.name else self.destination.name

    @property
    def title(self) -> str:
        """For people: `meta`, `meta eu`."""
        return f"{self.destination.name} {self.name}".strip()

    @property
    def credential(self) -> str:
        """The setting that a message about a refused token names."""
        return of_account(self.destination.proof(self.settings), self.name)


def accounts(destination: Destination, names: Iterable[str], settings: Settings) -> list[Account]:
    """The accounts that the mapping names, in its order; each also where it cannot be used.

    Args:
        names: of the mapping; `OWN` for the destination's own settings.
    """
    named = list(dict.fromkeys(names)) or [OWN]
    given = {name: values(destination, settings, name) for name in named}
    ids = {name: _id(destination, given[name], name) for name in named}
    found = []
    for name in named:
        missing = not_configured(destination, settings, name) or _same(destination, name, ids)
        others = frozenset(other for of, other in ids.items() if of != name and other) - {ids[name]}
        found.append(Account(destination, name, ids[name], given[name], missing, others, name == named[0]))
    return found


def values(destination: Destination, settings: Settings, name: str = OWN) -> dict[str, str]:
    """The destination's own settings and nothing else, as they are for an account; those that are not set are left out.
    What a further account does not set is that of the destination, but for what says which account it is."""
    found = {}
    for setting in destination.settings:
        own = replace(setting, name=of_account(setting.name, name))
        shared = not name or setting.name != destination.account_setting
        if given := settings[own] if settings.value(own.name) else settings[setting] if shared else "":
            found[setting.name] = given
    return found


def not_configured(destination: Destination, settings: Settings, name: str = OWN) -> str | None:
    """Why an account cannot be used, naming each missing setting and where to get it; None where it can."""
    given = values(destination, settings, name)
    lacking = destination.lacking(given)
    lacking += [
        one
        for one in destination.settings
        if name and one.name == destination.account_setting and one.name not in given and one not in lacking
    ]
    missing = [f"{of_account(one.name, name)} ({one.where})" for one in lacking]
    return "not configured: " + "; ".join(missing) if missing else None


def _id(destination: Destination, given: Mapping[str, str], name: str) -> str:
    told = destination.account_setting in given or not (name or destination.is_account_required)
    return destination.account(given) if told else ""


def _same(destination: Destination, name: str, ids: Mapping[str, str]) -> str | None:
    """Two names of one account could send a conversion to it twice: only the first is used."""
    first = next(other for other, id_ in ids.items() if id_ == ids[name])
    if first == name:
        return None
    names = " and ".join(of_account(destination.account_setting, one) for one in (first, name))
    return f"not configured: {names} name the same account"
