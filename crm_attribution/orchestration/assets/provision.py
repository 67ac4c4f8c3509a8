"""The job `provision`: make in HubSpot what `write_back` of the mapping names."""

import dagster as dg

from crm_attribution.delivery.provision import provision as make
from crm_attribution.findings import worst
from crm_attribution.orchestration.assets.common import PipelineParam, acting_on_errors


@dg.op(description="Event definitions and properties of HubSpot; what is there is left as it is.")
def provision_hubspot(context: dg.OpExecutionContext, pipeline: PipelineParam) -> None:
    with acting_on_errors():
        found = make(pipeline.rules, pipeline.settings, act=True)
    context.add_output_metadata({f"{one.name}: {one.state}": " ".join([one.found, one.fix]) for one in found})
    if worst(found) == "failed":
        wrong = "; ".join(f"{one.name}: {one.found}; {one.fix}" for one in found if one.state == "failed")
        raise dg.Failure(description=wrong, allow_retries=False)


@dg.job(
    name="provision",
    executor_def=dg.in_process_executor,
    description="Makes the event definitions and properties in HubSpot that `write_back` of the mapping names.",
)
def provision() -> None:
    provision_hubspot()
