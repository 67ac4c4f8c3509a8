"""The job `replay`: send conversions again, under the ids and keys they have."""

import dagster as dg
from pydantic import Field

from crm_attribution.clock import parse_instant
from crm_attribution.delivery.replay import Wish, queue
from crm_attribution.errors import ConfigurationError
from crm_attribution.orchestration.assets.common import PipelineParam, acting_on_errors
from crm_attribution.words import said

JOB = "replay"
OP = "queue_replay"


class Replay(dg.Config):
    """Which conversions, where, and why."""

    event_ids: list[str] = Field(default=[], description="Event, milestone or conversion ids.")
    destinations: list[str] = Field(description="Platforms.")
    reason: str = Field(description="Why; it is kept with each conversion.")
    hour: str = Field(default="", description="In place of ids: all that were ready in this hour, ISO 8601.")
    milestone: str = Field(default="", description="Of the hour only those of this milestone.")
    state: str = Field(default="", description="Of the hour only those in this state.")


def wish_of(given: Replay) -> Wish:
    """The wish.

    Raises:
        ConfigurationError: where it names neither ids nor an hour, or both, or the reason is no line of text.
    """
    if bool(given.event_ids) == bool(given.hour):
        raise ConfigurationError("give either event_ids or an hour")
    if not given.destinations:
        raise ConfigurationError("destinations is empty: name at least one")
    reason = said("reason", given.reason, "say why; it is kept with each conversion")
    try:
        hour = parse_instant(given.hour) if given.hour else None
    except ValueError:
        raise ConfigurationError("hour is no ISO 8601 timestamp, e.g. 2026-03-12T09:00:00Z") from None
    milestone, state = given.milestone or None, given.state or None
    return Wish(given.event_ids, given.destinations, reason, "job", hour, milestone, state)


@dg.op(name=OP, description="Queue conversions; the next run of each destination's sink sends them.")
def queue_replay(context: dg.OpExecutionContext, config: Replay, pipeline: PipelineParam) -> None:
    with acting_on_errors(), pipeline.warehouse.session() as session:
        answers = queue(session, pipeline.ledger, wish_of(config), pipeline.clock.now())
    context.add_output_metadata(
        {
            "ids": len(answers),
            "queued": sum(answer.ok for answer in answers),
            "answers": dg.MetadataValue.json([answer.document() for answer in answers]),
        }
    )


@dg.job(
    name=JOB,
    executor_def=dg.in_process_executor,
    description="Sends conversions again under the ids and keys they have, where the platform still recognises them, so"
    " that each is counted once. What is not sent again, and why, is in the metadata and in delivery.replay.",
)
def replay() -> None:
    queue_replay()
