"""The job `privacy_deletion`: erase what HubSpot has erased, everywhere, down to the bytes on the disk.

The order makes it safe to die anywhere: the files of the inbox first, while the warehouse still knows what to look for;
then the rows in one transaction; then everything derived and the copy for finance; last the warehouse file is written
again, with the tombstones' `erased_at` in the new file. Until then the request waits, and the next run starts over with
what this one looked for (`erasing.json`).
"""

from collections.abc import Iterable
from datetime import datetime

import dagster as dg
from pydantic import Field

from crm_attribution.errors import ConfigurationError, ContractViolation
from crm_attribution.identifiers import record_ids
from crm_attribution.layers import derive
from crm_attribution.marts.current import Models
from crm_attribution.orchestration.assets.common import PipelineParam, acting_on_errors
from crm_attribution.orchestration.assets.sql import MODELS, publish_marts
from crm_attribution.orchestration.resources import Pipeline
from crm_attribution.privacy import erase as privacy
from crm_attribution.privacy import going_on
from crm_attribution.privacy.files import forget
from crm_attribution.privacy.rules import Trace
from crm_attribution.privacy.told import told_of
from crm_attribution.privacy.traces import CLEAN, mentions, trace
from crm_attribution.warehouse import snapshots
from crm_attribution.warehouse.rewrite import rewrite_marts, rewrite_warehouse
from crm_attribution.warehouse.state import newest_hour_end

JOB = "privacy_deletion"
OP = "erase"

Figures = dict[str, int | str]


class PrivacyDeletion(dg.Config):
    """Leave empty for the deletions HubSpot reported."""

    contact_ids: list[str] = Field(
        default=[], description="HubSpot contact ids a person confirmed as erased, e.g. from raw.missing. No e-mails."
    )
    confirm: bool = Field(default=False, description="Set to true with contact_ids: what is erased cannot be restored.")


def erase_waiting(pipeline: Pipeline, contact_ids: Iterable[str] = (), *, confirmed: bool = False) -> Figures:
    """Erase every contact whose privacy deletion waits, and those a person names; figures without personal data.

    Raises:
        ConfigurationError: for ids that are not confirmed, are no ids, or are not known here.
    """
    named = _confirmed(set(contact_ids), confirmed=confirmed)
    warehouse, now = pipeline.warehouse, pipeline.clock.now()
    with warehouse.session() as session:
        as_of = newest_hour_end(session.state)
        if named:
            privacy.confirm(session, named, now)
        if not (requested := privacy.waiting(session)):
            going_on.ended(warehouse.directory)  # one that died between its last two steps
            return {"contacts erased": 0}
        derive(session, pipeline.rules, as_of)
        traces = going_on.keep(warehouse.directory, trace(session, requested))
        told = told_of(session, traces)
    files = forget(pipeline.settings.inbox, traces)
    erased, left = _erase_rows(pipeline, traces, as_of, now)
    marts = rewrite_marts(warehouse)
    done, _ = publish_marts(pipeline, rewrite=True)
    copies = snapshots.forget(warehouse.directory)
    file = rewrite_warehouse(warehouse, lambda fresh: privacy.finish(fresh, traces.contact_ids, now))
    going_on.ended(warehouse.directory)
    return {
        "contacts erased": len(requested),
        "ids with merged ones": len(traces.contact_ids),
        **{f"rows: {name}": count for name, count in erased.items()},
        "inbox files searched": files.looked_at,
        "inbox files rewritten": files.rewritten,
        "inbox files deleted": files.deleted,
        "inbox rows": files.rows,
        **{f"bytes: {f.file}": f"{f.bytes_before} before, {f.bytes_after} after" for f in (marts, file)},
        "copies of the warehouse deleted": copies,
        "finance snapshot": done.snapshot_id,
        **{f"HubSpot was told: {what}": count for what, count in told.items()},
        **{f"records of others that mention them: {name}": count for name, count in left.items()},
    }


def _confirmed(given: set[str], *, confirmed: bool) -> list[int]:
    """The contact ids that a person named and confirmed."""
    named = sorted(record_ids(given))
    if len(named) != len(given):
        raise ConfigurationError("contact_ids takes HubSpot's contact ids, which are numbers, and nothing else")
    if named and not confirmed:
        raise ConfigurationError("set confirm to true (--yes on the command line) to erase the named contacts for good")
    return named


def _erase_rows(
    pipeline: Pipeline, traces: Trace, as_of: datetime, now: datetime
) -> tuple[dict[str, int], dict[str, int]]:
    """Erase rows and derive everything again. Returns rows erased by table, and what still mentions the contacts.

    Raises:
        ContractViolation: when a table that must not name them still does.
    """
    with pipeline.warehouse.session() as session:
        erased = privacy.erase(session, pipeline.ledger, traces, now)
        derive(session, pipeline.rules, as_of)
        Models(session, as_of).run_anew(MODELS)
        left = mentions(session, traces)
        if kept := sorted(CLEAN & left.keys()):
            raise ContractViolation(f"not erased, a defect: {', '.join(kept)} still name an erased contact")
    return erased, left


@dg.op(
    name=OP,
    description="Erase rows, inbox lines and file contents of contacts that HubSpot has erased; recompute, publish, "
    "rewrite the files.",
)
def erase(context: dg.OpExecutionContext, config: PrivacyDeletion, pipeline: PipelineParam) -> None:
    with acting_on_errors():
        figures = erase_waiting(pipeline, config.contact_ids, confirmed=config.confirm)
    for name, value in figures.items():
        pipeline.say(f"{JOB}: {name}: {value}")
    context.add_output_metadata(figures)


@dg.job(
    name=JOB,
    executor_def=dg.in_process_executor,
    description="Erases every contact whose privacy deletion HubSpot reported (raw.deletion, kind privacy, erased_at "
    "null) and contacts named and confirmed in the config, in the warehouse, the inbox and the file finance reads; "
    "ends by rewriting the files, so that no deleted byte stays. Never deletes anything in HubSpot.",
)
def privacy_deletion() -> None:
    erase()
