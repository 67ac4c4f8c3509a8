"""Read the mapping file: the shipped `mapping.yaml` with a file of the user's merged over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from crm_attribution import layered_yaml
from crm_attribution.errors import ConfigurationError
from crm_attribution.mapping import problems
from crm_attribution.mapping.rules import Rules

SHIPPED = Path(__file__).parents[1] / "mapping.yaml"


def load(override: Path | None = None) -> Rules:
    """Read the shipped rules with `override` merged deeply over them.

    Raises:
        ConfigurationError: naming file, line, YAML path and problem of every wrong entry.
    """
    merged = layered_yaml.read([path for path in (override, SHIPPED) if path is not None])
    if override is not None:
        _note_own_stages(merged.data, layered_yaml.read([override]).data)
    try:
        rules = Rules.model_validate(merged.data)
    except ValidationError as error:
        shipped = layered_yaml.read([SHIPPED]).data
        lines = [
            f"  {merged.located(problem['loc'], problems.described(problem, shipped))}" for problem in error.errors()
        ]
        raise ConfigurationError("the mapping is wrong:\n" + "\n".join(lines)) from None
    wrong = [*problems.of_destinations(rules.destinations), *problems.of_write_back(rules)]
    lines = [f"  {merged.located(where, message)}" for where, message in wrong]
    if lines:
        raise ConfigurationError("the mapping is wrong:\n" + "\n".join(lines))
    return rules


def _note_own_stages(merged: dict[str, Any], own: dict[str, Any]) -> None:
    """Note which deal stages the user's file names: they outrank HubSpot's metadata."""
    deals = own.get("deals")
    if not isinstance(deals, dict):
        return
    if "own_stages" in deals:
        raise ConfigurationError("deals.own_stages: not a setting; stages named under deals.stages are your own")
    stages = deals.get("stages")
    if isinstance(stages, dict) and isinstance(merged.get("deals"), dict):
        merged["deals"] = {**merged["deals"], "own_stages": sorted(str(stage) for stage in stages)}
