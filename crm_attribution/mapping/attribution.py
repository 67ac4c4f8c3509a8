"""Section `attribution`: models in use, their parameters and variants, outcomes and look-back windows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from crm_attribution.attribution.models import models
from crm_attribution.attribution.models.base import Model as AttributionModel
from crm_attribution.mapping.base import Days, Minutes, Section
from crm_attribution.mapping.events import Milestone, Movement

Scope = Literal["account", "deal_contacts"]
Outcome = Literal[Milestone, Movement]


def _model(name: str) -> str:
    if name not in models():
        raise ValueError(f"no such attribution model; there are {', '.join(models())}")
    return name


def _model_or_variant(name: str, info: ValidationInfo) -> str:
    return name if name in info.data.get("variants", {}) else _model(name)


def _known_parameters(model: str, given: Iterable[str]) -> None:
    known = models()[model].parameters
    unknown = sorted(set(given) - known.keys())
    if unknown:
        raise ValueError(f"{model} has no parameter {', '.join(unknown)}; it has {', '.join(known) or 'none'}")


Model = Annotated[str, AfterValidator(_model)]
ModelOrVariant = Annotated[str, AfterValidator(_model_or_variant)]
Parameter = Annotated[int, Field(ge=0, le=10_000)]


class Variant(Section):
    """An attribution model under another name, with parameters of its own."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Parameter]

    of: Model

    @property
    def parameters(self) -> dict[str, int]:
        return dict(self.__pydantic_extra__)

    @model_validator(mode="after")
    def _known(self) -> Variant:
        _known_parameters(self.of, self.parameters)
        return self


@dataclass(frozen=True)
class ChosenModel:
    """An attribution model in use.

    Attributes:
        name: in attribution.credit: the model's, or the variant's.
        model: how it weighs.
        parameters: all that it has.
    """

    name: str
    model: AttributionModel
    parameters: dict[str, int]


class Attribution(Section):
    """Models in use with parameters and variants; scopes, outcomes, look-back in days, collapsing in minutes."""

    variants: dict[str, Variant]
    models: Annotated[list[ModelOrVariant], Field(min_length=1)]
    parameters: dict[Model, dict[str, Parameter]]
    scopes: Annotated[list[Scope], Field(min_length=1)]
    outcomes: list[Outcome]
    lookback_days: dict[Milestone | Literal["default"], Days]
    collapse_minutes: Minutes
    same_decision_days: Days
    direct_channels: list[str]

    @property
    def chosen(self) -> list[ChosenModel]:
        """The models in use, in the mapping's order."""
        found = []
        for name in dict.fromkeys(self.models):
            variant = self.variants.get(name)
            model = models()[variant.of if variant else name]
            own = variant.parameters if variant else self.parameters.get(name, {})
            found.append(ChosenModel(name, model, {**model.parameters, **own}))
        return found

    def reading(self, *, answers: bool) -> list[str]:
        """Names of the models in use that share outcomes among answers, or among touches."""
        return [chosen.name for chosen in self.chosen if chosen.model.answers is answers]

    @field_validator("variants")
    @classmethod
    def _new_names(cls, variants: dict[str, Variant]) -> dict[str, Variant]:
        taken = sorted(variants.keys() & models().keys())
        if taken:
            raise ValueError(f"{', '.join(taken)}: a model has this name; set its parameters under `parameters`")
        return variants

    @field_validator("parameters")
    @classmethod
    def _parameters(cls, given: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        for name, values in given.items():
            _known_parameters(name, values)
        return given

    @field_validator("lookback_days")
    @classmethod
    def _has_default(cls, days: dict[str, int]) -> dict[str, int]:
        if "default" not in days:
            raise ValueError("needs an entry `default`")
        return days
