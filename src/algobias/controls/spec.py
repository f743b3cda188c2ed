"""What a user asks of a control study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field, field_validator, model_validator

from algobias.commands.numbers.sources import Source
from algobias.commands.treated.treatment import by_words
from algobias.errors import BadInput
from algobias.frozen import Frozen
from algobias.inference.levels import DEFAULT_LOOKS
from algobias.json_values import JsonObject
from algobias.running.asked import MOST_SEED, increasing_seeds, number_or_list, validated
from algobias.running.spec import StudySpec, one_or_many
from algobias.training.device import known_device
from algobias.treatments.limits import KEPT, Limits
from algobias.treatments.ranges import space, split
from algobias.treatments.search import RUNGS


class ControlSpec(Frozen):
    """What a user asks of a control study.

    Attributes:
        candidates: Settings to try besides those proposed; a number may be a range, ``sam:0.02..0.5``.
        only: Where given, nothing else is tried; ranges too.
        forbid: Names of levers that must not be pulled.
        fix: Levers that every setting has, in order, before its own: the search is for what goes with them.
        keep: Cost axes that must not grow.
        most: Number of settings tried; those that optuna proposes come on top.
        trials: Settings that optuna proposes within the ranges; 0: points of a grid.
        rungs: Selection seeds at each rung of the search.
        looks: Numbers of seeds at which the confirmation is looked at.
        seed: Seed from which those of the search and the confirmation are counted; None: the audit's.
        device: Torch device; None: the audit's.
        select: Of a command: source of the metric to choose by, on other examples than the test metric; None:
            the test metric.
    """

    candidates: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    fix: tuple[str, ...] = ()
    keep: tuple[str, ...] = KEPT
    most: int = Field(default=16, ge=1, le=256)
    trials: int = Field(default=0, ge=0, le=10_000)
    rungs: tuple[int, ...] = RUNGS
    looks: tuple[int, ...] = DEFAULT_LOOKS
    seed: int | None = Field(default=None, ge=0, le=MOST_SEED)
    device: str | None = None
    select: str | None = None

    @field_validator("candidates", "only", "fix", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        texts = (value,) if isinstance(value, str) else value
        if isinstance(texts, list | tuple) and any(isinstance(one, str) and by_words(one) for one in texts):
            # Words of somebody else's command name no files of levers.
            return tuple(one if isinstance(one, str) and by_words(one) else _lever(one) for one in texts)
        return one_or_many(value)

    @field_validator("forbid", "keep", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        """Names have no commas: ``lr,sam`` is two of them."""
        texts = (value,) if isinstance(value, str) else value
        if not isinstance(texts, Iterable):
            return texts
        parts = [name.strip() for text in texts for name in str(text).split(",")]
        return one_or_many(tuple(name for name in parts if name))

    @field_validator("rungs", "looks", mode="before")
    @classmethod
    def _number_or_list(cls, value: object) -> object:
        return number_or_list(value)

    @field_validator("rungs", "looks")
    @classmethod
    def _increasing(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return increasing_seeds(value)

    @field_validator("device")
    @classmethod
    def _there(cls, value: str | None) -> str | None:
        return None if value is None else known_device(value)

    @field_validator("select")
    @classmethod
    def _source(cls, value: str | None) -> str | None:
        if value is not None:
            Source.parse(value, "select")
        return value

    @field_validator("fix")
    @classmethod
    def _held(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if space(text) is not None:
                raise BadInput("fix", text, "a setting without a range: a fixed lever has one value")
        return value

    @field_validator("keep")
    @classmethod
    def _axes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        value = () if value == ("none",) else value
        Limits(value)
        return value

    @model_validator(mode="after")
    def _ranges(self) -> ControlSpec:
        _, spaces = split((*self.only, *self.candidates))
        if self.trials and not spaces:
            raise BadInput(
                "trials", self.trials, "0, or at least one setting with a range, like sam:0.02..0.5"
            )
        return self

    def asked(self) -> JsonObject:
        """Write it as plain data; what came later only where it is wanted."""
        plain: JsonObject = self.model_dump(mode="json", exclude={"select"} if self.select is None else None)
        return plain

    def nothing_possible(self) -> BadInput:
        """Say that no point of the user's ranges is left to try."""
        allowed = "a range with a setting that changes the variant and is possible here"
        return BadInput("only", ", ".join(self.only), allowed)

    def question(self, audited: StudySpec) -> StudySpec:
        """The audit's question with the seed and the device asked for here."""
        seed = audited.seed if self.seed is None else self.seed
        return audited.model_copy(update={"seed": seed, "device": self.device or audited.device})


def _lever(one: object) -> object:
    texts = one_or_many((one,))
    return texts[0] if isinstance(texts, tuple) else one


def control_spec(data: Mapping[str, object]) -> ControlSpec:
    """Validate what a user asks.

    Raises:
        BadInput: With the key, the value and what is allowed.
    """
    return validated(ControlSpec, data)
