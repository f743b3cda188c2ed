"""What an explanation returns."""

from __future__ import annotations

from dataclasses import dataclass

from algobias.answer.answer import Answer, Answered
from algobias.coordinates.evidence import Statement
from algobias.studies.explain.found import Intervened


@dataclass(frozen=True)
class Explanation(Answered):
    """A finished explanation.

    Attributes:
        study: Its id in the store.
        answer: What it answers.
        interventions: What was done.
        statements: What it supports.
    """

    study: str
    answer: Answer
    interventions: tuple[Intervened, ...]
    statements: tuple[Statement, ...]
