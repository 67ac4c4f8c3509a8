"""What HubSpot's answers mean for an installation: scopes, account, clock, properties, pipelines, consent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm_attribution.findings import Finding, did_you_mean
from crm_attribution.mapping import Rules

Json = Mapping[str, Any]

CLOCK_WARNS, CLOCK_FAILS = 60.0, 300.0
"""Seconds between our clock and HubSpot's."""


@dataclass(frozen=True)
class Need:
    """A scope, and what it is for. `off`: how to do without it."""

    scope: str
    what: str
    off: str = ""


def needs(rules: Rules) -> list[Need]:
    """The scopes for reading what the mapping asks: https://developers.hubspot.com/docs/api/scopes"""
    streams = rules.streams
    told = [name for name, on in (("meetings", streams.meetings), ("calls", streams.calls)) if on]
    found = [
        Need("crm.objects.contacts.read", " and ".join(["contacts", *told])),
        Need("crm.objects.companies.read", "companies"),
        Need("crm.objects.deals.read", "deals and their pipelines"),
        Need("crm.objects.owners.read", "owners"),
        *(Need(f"crm.schemas.{kind}.read", f"properties of {kind}") for kind in ("contacts", "companies", "deals")),
        Need("forms", "forms and their submissions"),
    ]
    optional = [
        ("content", "clicks in marketing e-mails", "email_clicks", streams.email_clicks),
        ("crm.objects.marketing_events.read", "marketing events", "marketing_events", streams.marketing_events),
        ("marketing.campaigns.read", "HubSpot's own campaigns", "campaigns", streams.campaigns),
        (
            "marketing.campaigns.revenue.read",
            "what HubSpot credits to its campaigns",
            "campaign_revenue",
            streams.campaign_revenue,
        ),
    ]
    found += [
        Need(scope, what, f", or switch the stream off in the mapping (streams: {{{name}: off}})")
        for scope, what, name, on in optional
        if on
    ]
    return found


def scope(need: Need, *, granted: bool | None, refused: Sequence[str] | None) -> Finding:
    """Whether a scope is there.

    Args:
        need: the scope.
        granted: whether HubSpot's list of the token's scopes has it; None where there is no such list.
        refused: the scopes that the refusal of a small read names; None where the read was answered or not tried.
    """
    name = f"HubSpot scope {need.scope}"
    if refused is not None:
        others = [other for other in refused if other != need.scope]
        also = f" (HubSpot names {', '.join(others)})" if others else ""
        fix = f"add {need.scope} to the service key or app{need.off}"
        return Finding(name, "failed", f"not granted: {need.what} cannot be read{also}", fix)
    if granted:
        return Finding(name, "ok", f"granted, for {need.what}")
    return Finding(name, "ok", f"{need.what} can be read")


def writing(granted: Sequence[str] | None, *, on: bool) -> list[Finding]:
    """Scopes for writing of the token that reads. `on`: HubSpot is written to, and what writes looks at its own."""
    if on:
        return []
    name, found = "HubSpot scopes for writing", "not needed: nothing is written to HubSpot"
    if granted is None:
        return [Finding(name, "ok", found)]
    write = sorted(one for one in granted if one.endswith((".write", ".send", ".read_write")))
    if not write:
        return [Finding(name, "ok", f"{found}, and none is granted")]
    fix = "a key that only reads is enough"
    return [Finding(name, "ok", f"{found}; granted are {', '.join(write)}", fix)]


def account(details: Json, daily: str | None, known: str | None) -> list[Finding]:
    """The account itself.

    Args:
        details: HubSpot's account details.
        daily: calls a day, where its header names them: the only trace of the subscription's tier.
        known: the portal the data directory belongs to; None where it is new.
    """
    portal, hosted = str(details.get("portalId")), str(details.get("dataHostingLocation") or "unknown")
    kind = str(details.get("accountType") or "unknown")
    where = f"{hosted} (EU)" if hosted.startswith("eu") else f"{hosted} (outside of the EU)"
    facts = [f"portal {portal}", f"type {kind}", f"time zone {details.get('timeZone')}", f"data hosted in {where}"]
    facts += [f"currency {details.get('companyCurrency') or 'none'}"]
    facts += [f"{daily} calls a day; HubSpot shows no subscription tier"] if daily else []
    found = [Finding("HubSpot account", "ok", ", ".join(facts))]
    if kind not in ("STANDARD", "unknown"):
        fix = "use the token of the production account where its figures are wanted"
        found.append(Finding("HubSpot account type", "warning", f"{kind} is no production account", fix))
    if not details.get("companyCurrency"):
        fix = "set the company currency in HubSpot (Settings > Account Defaults > Currency)"
        found.append(Finding("HubSpot currency", "warning", "the account has none: values are not converted", fix))
    if known is not None and known != portal:
        fix = "name another CRM_ATTRIBUTION_DATA_DIR, or the token of the portal it belongs to"
        found.append(
            Finding("HubSpot portal", "failed", f"the data directory belongs to {known}, the token to {portal}", fix)
        )
    return found


def clock(ours: datetime, theirs: datetime | None) -> Finding:
    """Our clock beside HubSpot's."""
    name = "clock"
    if theirs is None:
        return Finding(name, "cannot be checked", "HubSpot's answer has no date")
    apart = abs((ours - theirs).total_seconds())
    found = f"{apart:.0f} s from HubSpot's"
    fix = "set this machine's clock (NTP)"
    if apart > CLOCK_FAILS:
        return Finding(name, "failed", f"{found}: platforms would refuse or misdate conversions", fix)
    return Finding(name, "warning", found, fix) if apart > CLOCK_WARNS else Finding(name, "ok", found)


def properties(kind: str, wanted: Iterable[str], listed: Iterable[Json]) -> list[Finding]:
    """Properties the mapping names and the portal does not have: HubSpot ignores them without a word."""
    known = sorted(str(one["name"]) for one in listed if not one.get("archived"))
    names = sorted(set(wanted))
    missing = [
        Finding(
            f"property {kind}.{name}",
            "warning",
            f"the portal has no such property{did_you_mean(name, known)}",
            "correct the name in the mapping, or make the property in HubSpot",
        )
        for name in names
        if name not in known
    ]
    return missing or [Finding(f"properties of {kind}", "ok", f"all {len(names)} that the mapping needs exist")]


def pipelines(rules: Rules, shipped: Rules, listed: Sequence[Json], deals: Mapping[str, int]) -> list[Finding]:
    """Pipelines with deals and without a kind; pipelines and stages of the user's mapping that the portal lacks.

    Args:
        rules: the mapping.
        shipped: that without a file of the user's.
        listed: deal pipelines with their stages.
        deals: how many deals each pipeline without a kind has.
    """
    found = []
    kinds = rules.deals.pipelines
    for pipeline in listed:
        number, count = str(pipeline["id"]), deals.get(str(pipeline["id"]), 0)
        if number not in kinds and count:
            label = f"{pipeline.get('label', number)} ({number})"
            fix = f'name its kind in the mapping (deals: {{pipelines: {{"{number}": new}}}}), or ignore'
            found.append(
                Finding(f"pipeline {number}", "failed", f"{label} has {count} deals and no kind: no milestones", fix)
            )
    own = [name for name in kinds if name not in shipped.deals.pipelines]
    found += _unknown("pipeline", own, [str(pipeline["id"]) for pipeline in listed])
    stages = [str(stage["id"]) for pipeline in listed for stage in pipeline.get("stages") or []]
    found += _unknown("deal stage", rules.deals.own_stages, stages)
    return found or [Finding("pipelines", "ok", f"every one of {len(listed)} with deals has a kind")]


def without_kind(rules: Rules, listed: Sequence[Json]) -> list[str]:
    """Pipelines whose deals must be counted."""
    return [str(pipeline["id"]) for pipeline in listed if str(pipeline["id"]) not in rules.deals.pipelines]


def lifecycle(rules: Rules, shipped: Rules, listed: Sequence[Json]) -> list[Finding]:
    """Lifecycle stages of the user's mapping that the portal lacks."""
    options = _options(listed, "lifecyclestage")
    own = [stage for stage in rules.lifecycle.stages if stage not in shipped.lifecycle.stages]
    if not options or not own:
        return []
    return _unknown("lifecycle stage", own, [option.lower() for option in options])


def consent(rules: Rules, listed: Sequence[Json]) -> list[Finding]:
    """The values of the consent properties beside their options. One that does not exist is a missing property."""
    found = []
    known = {str(one["name"]) for one in listed}
    meant = {value.lower() for value in (*rules.consent.granted, *rules.consent.denied)}
    granting = {value.lower() for value in rules.consent.granted}
    for name in rules.consent.properties:
        if name not in known:
            continue
        about, options = f"consent property {name}", _options(listed, name)
        if not options:
            found.append(Finding(about, "cannot be checked", "it has no options, any text may stand in it"))
            continue
        if not granting & {option.lower() for option in options}:
            fix = f"write the option that grants under consent.granted: {', '.join(options)}"
            found.append(Finding(about, "failed", "none of its options grants: nobody would be uploaded", fix))
            continue
        open_ = [option for option in options if option.lower() not in meant]
        if open_:
            fix = "write each under consent.granted or consent.denied; as it is, it counts as no answer"
            found.append(Finding(about, "warning", f"options without a meaning: {', '.join(open_)}", fix))
        else:
            found.append(Finding(about, "ok", f"every option has a meaning: {', '.join(options)}"))
    return found


def own_sync(destinations: Sequence[str]) -> list[Finding]:
    """HubSpot may send conversions to the same platforms by itself, and no call tells whether it does."""
    if not destinations:
        return []
    found = (
        f"HubSpot's own sync may tell {', '.join(destinations)} of the same conversions: no API shows whether it is on,"
        " and nothing recognises the two as one"
    )
    fix = (
        "look under Marketing > Ads > Events (Marketing Hub Professional and up). To switch over without counting"
        " twice: choose an hour, set it as `send_from` of the destination, switch HubSpot's event off at that hour,"
        " then CRM_ATTRIBUTION_SEND=on"
    )
    return [Finding("HubSpot's own ad conversion events", "cannot be checked", found, fix)]


def _options(listed: Sequence[Json], name: str) -> list[str]:
    one = next((item for item in listed if item["name"] == name), {})
    return [str(option["value"]) for option in one.get("options") or [] if not option.get("hidden")]


def _unknown(what: str, names: Iterable[str], known: Sequence[str]) -> list[Finding]:
    return [
        Finding(
            f"{what} {name}",
            "warning",
            f"the portal has no such {what}{did_you_mean(name, known)}",
            "correct it in the mapping, by HubSpot's internal value",
        )
        for name in names
        if name not in known
    ]
