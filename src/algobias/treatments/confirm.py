"""The confirmation: what was chosen, once, on fresh seeds and data no choice has seen. Pure, sequential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from algobias.judge.design import Design, Request, Run
from algobias.judge.plan import plan
from algobias.judge.recovery import Place, Recovery
from algobias.judge.verdict import Verdict

SETTLED = ("recovered", "harmful")


@dataclass(frozen=True)
class Confirmation:
    """What the confirmation found.

    Attributes:
        verdict: Gap and shares of the change on the fresh seeds, with one recovery for each control.
        look: Seeds at the stopping look.
        log: One entry for each look: seeds and what was said of each control where it is judged.
    """

    verdict: Verdict
    look: int
    log: tuple[tuple[int, tuple[str, ...]], ...]

    def judged(self, control: int, at: Place) -> Recovery | None:
        """One control, compared at a place where that is possible, else where it is."""
        return _at(next((one for one in self.verdict.recoveries if one.control == control), None), at)


def plan_confirmation(
    design: Design, runs: Sequence[Run], places: Sequence[tuple[int, Place]]
) -> list[Request] | Confirmation:
    """Say which runs the confirmation wants next, or what it found.

    At each of ``design.looks`` every control is judged at the schedule's error level; the study stops once
    all that are decisive are ``recovered`` or ``harmful``, else at the last look with what is known there.
    The chance to call a control ``recovered`` whose true treated gap is the tolerance is at most 5 % over
    all looks.

    Args:
        design: Looks, tolerance, number of controls; ``design.at`` says where they are compared.
        runs: The runs there are.
        places: (number of a control, where it is judged); these decide when to stop. A control chosen within
            two limits may be judged at two places.
    """
    log: list[tuple[int, tuple[str, ...]]] = []
    for look in design.looks:
        answer = plan(replace(design, only_look=look), [run for run in runs if run.replicate < look])
        if isinstance(answer, list):
            return answer
        found = Confirmation(answer, look, ())
        judged = [found.judged(control, at) for control, at in places]
        said = tuple("not comparable" if one is None else one.verdict for one in judged)
        log.append((look, said))
        if look == design.looks[-1] or all(one in SETTLED for one in said):
            return replace(found, log=tuple(log))
    raise AssertionError("the last look always ends it")


def _at(found: Recovery | None, at: Place) -> Recovery | None:
    """The comparison at that place, or the one there is."""
    if found is None or found.at == at:
        return found
    return found.other if found.other is not None and found.other.at == at else found
