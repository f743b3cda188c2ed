"""What a user asks of a control study."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from algobias.errors import BadInput
from algobias.recipe import Frozen, bad_input_from
from algobias.study.control.limits import KEPT, Limits
from algobias.study.control.ranges import split
from algobias.study.control.search import RUNGS
from algobias.study.design import DEFAULT_LOOKS
from algobias.study.spec import increasing_seeds


class ControlSpec(Frozen):
    """What a user asks of a control study.

    Attributes:
        candidates: Settings to try besides those proposed; a number may be a range, ``sam:0.02..0.5``.
        only: Where given, nothing else is tried; ranges too.
        forbid: Names of levers that must not be pulled.
        keep: Cost axes that must not grow.
        most: Number of settings tried.
        trials: Settings that optuna proposes within the ranges; 0: points of a grid.
        rungs: Selection seeds at each rung of the search.
        looks: Numbers of seeds at which the confirmation is looked at.
    """

    candidates: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    keep: tuple[str, ...] = KEPT
    most: int = Field(default=16, ge=1, le=256)
    trials: int = Field(default=0, ge=0, le=10_000)
    rungs: tuple[int, ...] = RUNGS
    looks: tuple[int, ...] = DEFAULT_LOOKS

    @field_validator("rungs", "looks")
    @classmethod
    def _increasing(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return increasing_seeds(value)

    @model_validator(mode="after")
    def _ranges(self) -> ControlSpec:
        _, spaces = split((*self.only, *self.candidates))
        if self.trials and not spaces:
            raise BadInput(
                "trials", self.trials, "0, or at least one setting with a range, like sam:0.02..0.5"
            )
        return self

    @field_validator("keep")
    @classmethod
    def _axes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Limits(value)
        return value


def control_spec(data: dict[str, Any]) -> ControlSpec:
    """Validate what a user asks.

    Raises:
        BadInput: With the key, the value and what is allowed.
    """
    try:
        return ControlSpec.model_validate(data)
    except ValidationError as error:
        raise bad_input_from(error, ControlSpec, "control") from error
