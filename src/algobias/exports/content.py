"""What of a finished study goes to a tracker: the verdict and its numbers, and a curve for each run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from algobias.answer.answer import Answer
from algobias.answer.interval import Interval
from algobias.runs.outcome import Outcome
from algobias.runs.run import Run

COLUMNS = ("train_loss", "test_metric", "train_metric")
"""Numbers of a check, by the names that tables of curves have for them."""


@dataclass(frozen=True)
class Point:
    """A check of a run.

    Attributes:
        update: Updates made.
        values: Finite numbers by name, of :data:`COLUMNS`.
    """

    update: int
    values: dict[str, float]


@dataclass(frozen=True)
class ExportedRun:
    """A run of a study.

    Attributes:
        arm: Its arm.
        seed: Its seed.
        length: Multiple of the planned schedule.
        points: Its curve; checks without a finite number are left out.
        end: Numbers at the planned end, finite ones.
        planned: Updates at the planned end.
        diverged: It ended without a finite number.
        seconds: How long it took.
    """

    arm: str
    seed: int
    length: float
    points: tuple[Point, ...]
    end: dict[str, float]
    planned: int
    diverged: bool
    seconds: float

    @classmethod
    def of(cls, run: Run) -> ExportedRun:
        """Take what of a run is exported."""
        outcome = run.outcome
        points = [_point(outcome, place) for place in range(len(outcome.curve))]
        planned = points[outcome.planned]
        return cls(
            arm=run.arm,
            seed=outcome.seed,
            length=run.length,
            points=tuple(point for point in points if point.values),
            end=planned.values,
            planned=planned.update,
            diverged=outcome.diverged,
            seconds=outcome.cost.seconds,
        )

    @property
    def name(self) -> str:
        """Name among the runs of the study."""
        length = "" if self.length == 1 else f" length={self.length:g}"
        return f"{self.arm} seed={self.seed}{length}"

    @property
    def settings(self) -> dict[str, str]:
        """What tells it from the other runs."""
        return {"arm": self.arm, "seed": str(self.seed), "length": f"{self.length:g}"}

    @cached_property
    def mark(self) -> str:
        """Hash of everything that is exported of it."""
        curve = [[point.update, point.values] for point in self.points]
        return _hash([self.settings, curve, self.end, self.planned, self.diverged])

    def second(self, update: int) -> float:
        """Say about how long after its beginning an update was made, in seconds."""
        last = self.points[-1].update if self.points else 0
        return self.seconds * update / last if last else 0.0


@dataclass(frozen=True)
class ExportedStudy:
    """A finished study.

    Attributes:
        answer: What it answers.
        runs: Its runs, in the order of arms, seeds and lengths.
        command: How it was asked for.
        draw: Draws the report, an HTML document; seconds, and its pictures have other names each time.
        created: When it was begun, seconds since 1970.
    """

    answer: Answer
    runs: tuple[ExportedRun, ...]
    command: str
    draw: Callable[[], str]
    created: float

    @classmethod
    def of(
        cls,
        answer: Answer,
        runs: Iterable[Run],
        *,
        decays: bool,
        command: str,
        draw: Callable[[], str],
        created: float,
    ) -> ExportedStudy:
        """Take what of a study is exported.

        Args:
            answer: What it answers.
            runs: Its runs.
            decays: Runs of other lengths are runs of their own; else a longer run contains the shorter one.
            command: How it was asked for.
            draw: Draws the report.
            created: When it was begun, seconds since 1970.
        """
        longest: dict[tuple[str, int, float], Run] = {}
        for run in runs:
            key = run.arm, run.outcome.seed, run.length if decays else 1.0
            if key not in longest or len(run.outcome.curve) > len(longest[key].outcome.curve):
                longest[key] = run
        arms = list(dict.fromkeys(arm for arm, _, _ in longest))
        order = sorted(longest, key=lambda key: (arms.index(key[0]), *key[1:]))
        return cls(
            answer,
            tuple(ExportedRun.of(replace(longest[key], length=key[2])) for key in order),
            command,
            draw,
            created,
        )

    @cached_property
    def report(self) -> str:
        """The report, an HTML document."""
        return self.draw()

    @property
    def id(self) -> str:
        """The study's id."""
        return str(self.answer.study)

    @property
    def title(self) -> str:
        """What was asked, in one line."""
        asked = "baseline against itself" if self.answer.aa else " then ".join(self.answer.change)
        return f"{self.answer.task}: {asked}"

    @property
    def tags(self) -> dict[str, str]:
        """What it says in words, without what is not known."""
        answer = self.answer
        every = {
            "study": self.id,
            "verdict": answer.verdict,
            "reason": answer.reason,
            "task": answer.task,
            "change": "baseline against itself" if answer.aa else ", ".join(answer.change),
            "base": ", ".join(answer.base),
            "metric": answer.metric,
            "evidence": answer.evidence,
            "control_of": answer.control_of,
            "explain_of": answer.explain_of,
            "moved": ", ".join(entry.probe for entry in answer.moved if entry.status == "moved"),
            "warnings": " | ".join(answer.warnings),
            "command": self.command,
        }
        for place, control in enumerate(answer.controls):
            every[f"control.{place}"] = f"{control.lever}: {control.verdict}"
        for place, done in enumerate(answer.interventions):
            every[f"intervention.{place}"] = done.text
        for place, said in enumerate(answer.statements):
            every[f"statement.{place}"] = f"{said.coordinate}: {said.word}; {said.because}"
        return {name: text for name, text in every.items() if text}

    @property
    def numbers(self) -> dict[str, float]:
        """What it says in numbers, without what is not known."""
        answer = self.answer
        every: dict[str, float | None] = {
            **dict(_interval("gap", answer.gap)),
            **dict(_interval("bias_share", answer.fit.bias_share)),
            **dict(_interval("fit_share", answer.fit.fit_share)),
            "tolerance": answer.tolerance,
            "matched_level": answer.fit.level,
            "seeds": answer.gap.n,
        }
        for place, control in enumerate(answer.controls):
            every |= dict(_interval(f"control.{place}.recovered", control.recovered))
        for place, done in enumerate(answer.interventions):
            every |= dict(_interval(f"intervention.{place}.recovered", done.recovered))
        return {name: float(value) for name, value in every.items() if value is not None}

    @property
    def answer_text(self) -> str:
        """The answer as ``--json`` prints it, without where it lies on the machine it was made on."""
        return json.dumps(self.answer.without("store", "report").to_json(), indent=2) + "\n"

    @cached_property
    def mark(self) -> str:
        """Hash of everything that is exported of the study itself."""
        return _hash([self.tags, self.numbers, self.answer.without("store", "report", "seconds").to_json()])


def _point(outcome: Outcome, place: int) -> Point:
    curve = outcome.curve
    row = {name: float(getattr(curve, name)[place]) for name in COLUMNS}
    return Point(
        int(curve.update[place]), {name: value for name, value in row.items() if math.isfinite(value)}
    )


def _interval(name: str, value: Interval | None) -> Iterator[tuple[str, float | None]]:
    if value is not None:
        yield name, value.mean
        yield f"{name}_low", value.low
        yield f"{name}_high", value.high


def _hash(content: object) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
