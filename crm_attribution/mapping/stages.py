"""Part `write_back.stages`: deals that move to a stage when their contacts have clicked often enough."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from crm_attribution.mapping.base import Days, Section
from crm_attribution.mapping.conversions import send_from_text
from crm_attribution.mapping.texts import PropertyName, Text
from crm_attribution.money import LARGEST, to_minor

OBSERVED = "observed"
"""What a rule that only observes adds to its name."""

FIXED = frozenset({"dealstage", "pipeline", "amount", "deal_currency_code", "hs_object_id", "dealname"})
_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_EVERY = "*"


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("must begin with a letter, of a-z, 0-9 and _, at most 50 characters")
    return name


def _required(name: str) -> str:
    if name in FIXED or name.startswith(("hs_analytics_", "hs_latest_source")):
        raise ValueError("is not for a rule to set: name a property that the stage requires")
    return name


Name = Annotated[str, AfterValidator(_name)]
Required = Annotated[PropertyName, AfterValidator(_required)]


class StageRule(Section):
    """One threshold: which clicks, how many in how many days, and which deals they move.

    Attributes:
        tag, link: what is counted: clicks on links with a tag, or on one link (its slug); one of the two. `*` stands
            for anything, case is ignored.
        days: the rolling window, up to and with each click.
        count: how many clicks in it.
        pipeline, from_stage, to_stage: HubSpot's internal ids.
        least_amount: of the deal, a decimal number in the deal's currency, or one for each currency; a deal without an
            amount, or in a currency that is not named, is not moved.
        mode: `observe` counts what would move; `act` moves it.
        requires: what the stage requires: property -> text, sent where the deal has none.
        send_from: crossings of before are not acted upon.
    """

    name: Name
    tag: Annotated[str, Field(min_length=1)] | None = None
    link: Annotated[str, Field(min_length=1)] | None = None
    days: Annotated[Days, Field(ge=1)]
    count: Annotated[int, Field(ge=1)]
    pipeline: Annotated[str, Field(min_length=1)]
    from_stage: Annotated[str, Field(min_length=1)]
    to_stage: Annotated[str, Field(min_length=1)]
    least_amount: dict[str, str] = {}
    mode: Literal["observe", "act"] = "observe"
    requires: dict[Required, Text] = {}
    send_from: str | None = None

    @field_validator("least_amount", mode="before")
    @classmethod
    def _by_currency(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            given = {_EVERY: given}
        return {code: str(one) for code, one in given.items()}

    @field_validator("least_amount")
    @classmethod
    def _amounts(cls, given: dict[str, str]) -> dict[str, str]:
        for code, one in given.items():
            if code != _EVERY and not re.fullmatch(r"[A-Z]{3}", code):
                raise ValueError(f"{code}: no ISO 4217 code, as EUR")
            try:
                number = Decimal(one)
            except InvalidOperation:
                number = Decimal("NaN")
            if not number.is_finite() or not 0 <= number <= LARGEST:
                raise ValueError(f"{one}: no decimal number, as 5000 or 5000.50")
            if code == _EVERY and len(one.partition(".")[2]) > 2:
                raise ValueError(f"{one}: three places behind the point; write 5000 without a separator of thousands")
        return given

    @field_validator("send_from")
    @classmethod
    def _instant(cls, text: str | None) -> str | None:
        return None if text is None else send_from_text(text)

    @model_validator(mode="after")
    def _whole(self) -> StageRule:
        if (self.tag is None) == (self.link is None):
            raise ValueError("name what is counted: `tag` or `link`, one of the two")
        if self.from_stage == self.to_stage:
            raise ValueError("from_stage and to_stage are the same")
        return self

    @property
    def action(self) -> str:
        """What the ledger calls it: a rule that observes is another one than that which acts."""
        return self.name if self.mode == "act" else f"{self.name}:{OBSERVED}"

    def is_enough(self, amount: int | None, currency: str | None) -> bool:
        """Whether a deal is worth enough.

        Args:
            amount: minor units of `currency`.
            currency: ISO 4217 code.
        """
        if not self.least_amount:
            return True
        if amount is None or currency is None:
            return False
        least = self.least_amount.get(currency, self.least_amount.get(_EVERY))
        minor = None if least is None else to_minor(least, currency)
        return minor is not None and amount >= minor


class Stages(Section):
    """Thresholds; each moves a deal once."""

    rules: list[StageRule]

    @model_validator(mode="after")
    def _once(self) -> Stages:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)}: a name is of one rule only; the ledger knows it by its name")
        return self

    @property
    def requires(self) -> list[str]:
        """Every property that a rule may set."""
        return list(dict.fromkeys(name for rule in self.rules for name in rule.requires))
