"""What a user asks of an explanation: pure data, validated."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator

from algobias.errors import BadInput
from algobias.frozen import Frozen
from algobias.levers.registry import parse_many
from algobias.running.asked import validated
from algobias.running.spec import one_or_many

AT = (0.25, 0.5, 0.75)
DOSES = (0.25, 0.5, 0.75)
MOST_FORCES = 6
MOST_DOSE = 4.0


class ExplainSpec(Frozen):
    """What a user asks of an explanation.

    Attributes:
        at: Shares of the planned updates at which the change is switched off and on.
        doses: Sizes of the change besides its own, which is 1.
        force: Levers that may force coordinates back, besides those proposed.
        only: Where given, no others.
        most: Number of levers proposed at most.
        seeds: How many of the audit's seeds; all it looked at without it.
    """

    at: tuple[float, ...] = AT
    doses: tuple[float, ...] = DOSES
    force: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    most: int = Field(default=MOST_FORCES, ge=1, le=64)
    seeds: int | None = Field(default=None, ge=4)

    @field_validator("at")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        for share in value:
            if not 0 < share < 1:
                raise BadInput("at", share, "shares of the planned updates, above 0 and below 1")
        return value

    @field_validator("doses")
    @classmethod
    def _sizes(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        for size in value:
            if not 0 < size <= MOST_DOSE:
                raise BadInput("doses", size, f"sizes of the change, above 0 and at most {MOST_DOSE:g}")
        return value

    @field_validator("force", "only", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return one_or_many(value)

    @field_validator("force", "only")
    @classmethod
    def _levers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            parse_many(text)
        return value


def explain_spec(data: Mapping[str, object]) -> ExplainSpec:
    """Validate what a user asks.

    Raises:
        BadInput: With the key, the value and what is allowed.
    """
    return validated(ExplainSpec, data)
