"""Merges in both of HubSpot's regimes.

Since 2025 a merge of contacts or companies makes a record with a third id, and the primary's values win; before, the
primary kept its id and the most recent value won. Both parents' histories are on the survivor, of entries with the
same name and timestamp only the primary's. Both old ids return the survivor permanently.
https://developers.hubspot.com/changelog/updated-merge-functionality-for-contacts-and-companies

Simplified: HubSpot's documented exceptions for single properties are left out, except that the primary's e-mail always
stays the primary one.
"""

from __future__ import annotations

from crm_attribution.sandbox.instants import iso
from crm_attribution.sandbox.portal.records import Entry, Record

SOURCE = "MERGE_OBJECTS"
BOOKKEEPING = ("hs_merged_object_ids", "hs_calculated_merged_vids", "hs_additional_emails")


def _ids(record: Record, name: str) -> list[str]:
    return [part for part in (record.value(name) or "").split(";") if part]


def _union(primary: list[Entry], merged: list[Entry]) -> list[Entry]:
    """Both histories, oldest first."""
    taken = {entry.at for entry in primary}
    return sorted([*primary, *(entry for entry in merged if entry.at not in taken)], key=lambda entry: entry.at)


def _winner(name: str, primary: Record, merged: Record, third: bool) -> str:
    mine, theirs = primary.value(name), merged.value(name)
    if mine is None or theirs is None:
        return mine or theirs or ""
    if third or name == "email":
        return mine
    return mine if primary.history[name][-1].at >= merged.history[name][-1].at else theirs


def _bookkeeping(primary: Record, merged: Record, survivor_id: str, at: int) -> dict[str, str]:
    """What HubSpot notes on the survivor about the records it absorbed.

    hs_calculated_merged_vids misses what the absorbed record had itself absorbed before.
    """
    fresh = survivor_id != primary.id
    absorbed = [primary.id, merged.id] if fresh else [merged.id]
    chain = [*_ids(primary, "hs_merged_object_ids"), *_ids(merged, "hs_merged_object_ids"), *absorbed]
    noted = {"hs_merged_object_ids": ";".join(dict.fromkeys(chain))}
    if primary.kind.name == "contacts":
        former = [] if fresh else _ids(primary, "hs_calculated_merged_vids")
        noted["hs_calculated_merged_vids"] = ";".join([*former, *(f"{vid}:{at}" for vid in absorbed)])
        main = primary.value("email") or merged.value("email")
        others = [*_ids(primary, "hs_additional_emails"), merged.value("email"), *_ids(merged, "hs_additional_emails")]
        extra = [address for address in dict.fromkeys(others) if address and address != main]
        if extra:
            noted["hs_additional_emails"] = ";".join(extra)
    return noted


def merge(primary: Record, merged: Record, into: str | None, at: int) -> Record:
    """The survivor: a third record where `into` names one, otherwise the primary itself, changed in place."""
    third = into is not None and into != primary.id
    survivor_id = into if third and into is not None else primary.id
    noted = _bookkeeping(primary, merged, survivor_id, at)
    for parent in (primary, merged) if third else ():
        parent.history.setdefault("createdate", [Entry(iso(parent.created), parent.created, "INTERNAL")])
    values: dict[str, str] = {}
    histories: dict[str, list[Entry]] = {}
    for name in [*primary.history, *(name for name in merged.history if name not in primary.history)]:
        values[name] = _winner(name, primary, merged, third)
        kept = merged.history.get(name, []) if name not in BOOKKEEPING else []
        histories[name] = _union(primary.history.get(name, []), kept)
    survivor = Record(primary.kind, survivor_id, at) if third else primary
    survivor.history = {name: entries[-primary.kind.history_cap :] for name, entries in histories.items() if entries}
    for name, value in {**values, **noted}.items():
        if name not in BOOKKEEPING or name in noted:
            survivor.write(name, Entry(value, at, SOURCE))
    survivor.stamp(at)
    return survivor
