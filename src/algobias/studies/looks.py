"""The looks of an audit: taken by the planner, told and stored once each."""

from __future__ import annotations

from collections.abc import Sequence

from algobias.answer.result import look_entry
from algobias.judge.describe import fine_tolerance
from algobias.judge.design import Design, Request, Run
from algobias.judge.plan import Look, replay
from algobias.judge.verdict import Verdict
from algobias.studies.study import Study


class Looks:
    """The planner of an audit, which tells and stores each look once.

    Args:
        design: What was fixed before the first run.
        study: Where looks are told and stored.

    Attributes:
        taken: The looks so far.
    """

    def __init__(self, design: Design, study: Study) -> None:
        self._design, self._study = design, study
        self.taken: list[Look] = []

    def plan(self, runs: Sequence[Run]) -> list[Request] | Verdict:
        """Say which runs are wanted next, or the verdict."""
        earlier = len(self.taken)
        self.taken, wanted = replay(self._design, runs)
        for look in self.taken[earlier:]:
            gap = look.split.gap
            self._study.progress.look(look.n, (gap.mean, gap.low, gap.high), look.text)
            self._study.store.save_decision(self._study.id, look_entry(look).to_json())
            if look is self.taken[0] and look.verdict is None:
                for warning in fine_tolerance(self._design.tolerance, look.split):
                    self._study.progress.message(warning)
        return wanted
