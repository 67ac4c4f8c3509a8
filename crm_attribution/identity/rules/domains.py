"""Business domains: the registrable part of a host name by the public suffix list, free-mail providers left out.

The list is bundled with its package (https://publicsuffix.org/list/), so nothing is looked up over the network.
"""

from __future__ import annotations

from functools import cache

import polars as pl
from publicsuffixlist import PublicSuffixList

from crm_attribution import identifiers
from crm_attribution.mapping import Accounts


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def registrable(host: str | None) -> str | None:
    """`mail.firm.co.uk` -> `firm.co.uk`; None for a bare public suffix, an address in digits, and for nothing."""
    if not host or host.replace(".", "").isdigit():
        return None
    found: str | None = _suffixes().privatesuffix(host.lower())
    return found


def business(hosts: pl.Series, rules: Accounts) -> pl.Series:
    """Return the business domain of each host name (String); null for none and for free-mail providers."""
    free = {*rules.free_mail_domains, *rules.more_free_mail_domains}
    names = {host: registrable(host) for host in hosts.unique().drop_nulls()}
    kept = {host: name for host, name in names.items() if name is not None and name not in free}
    return hosts.replace_strict(kept, default=None, return_dtype=pl.String)


def of_emails(emails: pl.Series, rules: Accounts) -> pl.Series:
    """The business domain of each e-mail, in its IDNA form; null where it has none."""
    hosts = emails.str.split("@").list.get(1, null_on_oob=True)
    names = {host: identifiers.ascii_host(identifiers.visible(host)) for host in hosts.unique().drop_nulls()}
    return business(hosts.replace_strict(names, default=None, return_dtype=pl.String), rules)
