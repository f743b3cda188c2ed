"""What a control study stands on: an audit, of a task or of a command, whose gap settings are to close."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from algobias.answer.answer import Answer
from algobias.coordinates.readings import Readings
from algobias.json_values import JsonObject
from algobias.judge.design import Design, Request, Run
from algobias.kept.archive import Place
from algobias.studies.study import Study
from algobias.treatments.confirm import Confirmation
from algobias.treatments.gathered import S

Settled = TypeVar("Settled")

Planner = Callable[[Sequence[Run]], list[Request] | Settled]
"""Says of the runs there are which it wants besides, or answers."""


@dataclass(frozen=True)
class Confirmed:
    """A confirmation with the runs it rests on, where those lie, and what was read of them.

    Attributes:
        confirmation: What was found.
        runs: The runs.
        places: Where they lie.
        readings: Coordinates at matched fit; None where none can be read.
    """

    confirmation: Confirmation
    runs: list[Run]
    places: list[Place]
    readings: Readings | None = None


class Part(Protocol):
    """The arms of one part of a study, search or confirmation, on that part's own seeds."""

    @property
    def design(self) -> Design:
        """What the planner needs to know."""

    def without(self, arms: Iterable[str]) -> Self:
        """Leave out some arms."""

    def carried_out(self, plan: Planner[Settled]) -> tuple[Settled, list[Run]]:
        """Make the runs that a planner asks for, until it answers.

        Raises:
            KeyboardInterrupt: Interrupted; everything so far is stored.
            OutOfTime: The time is over; everything so far is stored.
        """

    def idle(self, runs: Sequence[Run]) -> Mapping[int, str]:
        """Say of settings that did nothing in any of these runs why, by number."""

    def undone(self, runs: Sequence[Run]) -> Mapping[int, str]:
        """Say of settings with which the variant's runs turned out to be the baseline's how, by number."""

    def confirmed(self, design: Design, plan: Planner[Confirmation]) -> Confirmed:
        """Confirm what was chosen: runs until it is decided, then the coordinates that can be read."""

    def answer(self, study: str, design: Design, confirmed: Confirmed) -> Answer:
        """Answer as an audit on these seeds would, without what the study tried and chose."""

    def finish(self, answer: Answer, design: Design, confirmed: Confirmed | None) -> Answer:
        """Store the answer of the study; return it with ``seconds``."""


class Ground(Protocol[S]):
    """An audit that found a gap, as a control study asks about it."""

    @property
    def audited(self) -> Answer:
        """What the audit answered."""

    @property
    def study(self) -> Study:
        """The control study."""

    @property
    def seed(self) -> int:
        """Seed from which those of search and confirmation are counted."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes of cost that are known of every run; others may be unknown, and limit nothing then."""

    @property
    def question(self) -> JsonObject:
        """The audit's question as it is stored."""

    @property
    def shown(self) -> tuple[str, str]:
        """The comparison in a few words, and the task as it is shown."""

    def settings(self) -> tuple[S, ...]:
        """Every setting that needs no proposals by optuna.

        Raises:
            BadInput: A setting of the user's own that cannot be, or nothing to try.
        """

    def named(self, texts: Sequence[str], why: str | None = None) -> tuple[S, ...]:
        """Settings of these points of the user's ranges, as far as they can be.

        Args:
            texts: The points.
            why: Where they come from; None: they are named by the user.
        """

    def with_fixed(self, text: str) -> str:
        """Spell a setting behind what is fixed."""

    def possible(self, settings: tuple[S, ...]) -> tuple[S, ...]:
        """Leave out settings that turn out to be impossible here, before the search pays for them.

        Raises:
            BadInput: One of them is the user's own.
        """

    def addresses(self, settings: Sequence[S], first_seed: int) -> dict[str, str]:
        """Address of each arm of the search."""

    def undoing(self, setting: S, undoes: str) -> S:
        """Note of a setting how it leaves nothing of the change."""

    def part(self, name: str, settings: Sequence[S], first_seed: int) -> Part:
        """Make the arms of a part of the study.

        Args:
            name: ``search`` or ``confirm``.
            settings: The controls.
            first_seed: First of the part's seeds.
        """
