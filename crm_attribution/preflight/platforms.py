"""Asks each platform that gets conversions: whether token, account and actions are what the mapping takes them for."""

from __future__ import annotations

import re
from dataclasses import replace

from crm_attribution.clock import Clock
from crm_attribution.conversions.plan import accounts_of, named_of, not_named
from crm_attribution.delivery.access import Access, access_to
from crm_attribution.delivery.deliver import transport_for
from crm_attribution.destinations.accounts import Account
from crm_attribution.destinations.base import Asked, Destination, Finding, Question
from crm_attribution.errors import CrmAttributionError
from crm_attribution.http.transport import Transport
from crm_attribution.mapping import Rules
from crm_attribution.preflight.portal import failed
from crm_attribution.settings import Settings, of_account


def used(destination: Destination, rules: Rules, given: Settings) -> bool:
    """Whether it has something to be told of in the mapping, and an account for any of it is configured."""
    switched_on = destination.plans_from == "milestones" or given.write_back
    usable = any(account.missing is None for account in accounts_of(destination, rules, given))
    return switched_on and usable and bool(rules.named(destination.name))


def look(destination: Destination, rules: Rules, given: Settings, clock: Clock) -> list[Finding]:
    """Everything about one platform; names begin with its own, and of a further account with that of the account."""
    return [
        replace(finding, name=f"{account.title}: {finding.name}", fix=_in_its_names(finding.fix, account, given))
        for account in accounts_of(destination, rules, given)
        for finding in _look(account, rules, given, clock)
    ]


def _in_its_names(fix: str, account: Account, given: Settings) -> str:
    """A fix with the settings that are the account's own."""
    own = [one.name for one in account.destination.settings if given.value(of_account(one.name, account.name))]
    if not account.name or not own:
        return fix
    return re.sub(rf"\b({'|'.join(own)})\b", lambda found: of_account(found[1], account.name), fix)


def _look(account: Account, rules: Rules, given: Settings, clock: Clock) -> list[Finding]:
    destination, set_ = account.destination, account.settings
    if destination.is_hubspot and not given.write_back:
        return [Finding("use", "ok", "not in use: CRM_ATTRIBUTION_WRITE_BACK is off")]
    if not rules.named(destination.name):
        return [Finding("use", "ok", f"not in use: {not_named(destination)}")]
    if account.missing is not None:
        some = bool(account.name) or any(setting.name in set_ for setting in destination.required)
        fix = "set what is missing" if some else "nothing, where it is not to be used"
        return [Finding("use", "warning" if some else "ok", f"not in use: {account.missing}", fix)]
    access, found = access_to(account, given), []
    if access is not None:
        refused = access.renew()
        if refused is not None:
            fix = f"check {account.credential} and the client it was granted to"
            return [Finding("access token", "failed" if refused.person else "cannot be checked", refused.reason, fix)]
        found.append(Finding("access token", "ok", "the platform gives one"))
    named = list(dict.fromkeys(action for _, action in named_of(account, rules)))
    asked = Asked(named, set_, rules.options(destination.name), clock.now())
    transport = transport_for(destination, given)
    found += [_answered(question, transport, access) for question in destination.questions(asked)]
    found += destination.not_checked(asked)
    if not found or (access is not None and len(found) == 1):
        fix = f"look at the platform itself; {destination.documentation}"
        found.append(
            Finding("account and actions", "cannot be checked", "the platform has no call that shows them", fix)
        )
    return found


def _answered(question: Question, transport: Transport, access: Access | None) -> Finding:
    request = question.request
    headers = {**request.headers, **(access.headers() if access else {})}
    body = request.json or None
    try:
        answer = transport.send_once(request.method, request.path, params=request.params, json=body, headers=headers)
    except CrmAttributionError as error:
        return failed(question.about, error)
    return question.read(answer)
