"""What a control study tried, chose and confirmed."""

from __future__ import annotations

from algobias.answer.control import ControlEntry
from algobias.answer.cost import Costs
from algobias.answer.form import Count, Form, Many, Number
from algobias.answer.interval import Interval
from algobias.judge.recovery import UNBOUNDED

MOST = 16
"""Settings that are tried where the user does not say how many."""

SAME_EXAMPLES = (
    "the search and the confirmation are on different seeds, but a command has one test metric: both read "
    "it, so that what was chosen may suit these test examples a little; --select names one to choose by"
)
"""Warning of a control study whose choice has seen the examples on which it is confirmed."""


class OverLimit(Form):
    """A limit on cost that a setting breaks.

    Attributes:
        axes: The limit in words.
        reason: What breaks it, with its figures.
    """

    axes: str = ""
    reason: str = ""


class Tried(ControlEntry):
    """A setting on its last rung: the figures of the search, and what a control's entry has.

    Attributes:
        why: Why it was tried.
        seeds: Selection seeds of its last rung.
        baseline_metric: Mean test metric of the baseline with it.
        baseline_cost: Costs of the baseline with it as multiples of those of the baseline.
        over_limit: Limits that it breaks.
        chosen: It was chosen.
        dropped: Why it did not get to the last rung, or None.
    """

    why: str | None = None
    seeds: Count | None = None
    baseline_metric: Number | None = None
    baseline_cost: Costs = Costs()
    over_limit: Many[OverLimit] = ()
    chosen: bool = False
    dropped: str | None = None


class TunedGap(Interval):
    """Tuned baseline minus treated variant.

    Attributes:
        at: Where both were read.
    """

    at: str | None = None


class Chosen(Form):
    """What was chosen within one limit on cost.

    Attributes:
        axes: The limit in words.
        lever: The setting; None: none helps.
        undoes: How it leaves nothing of the change, or None.
        at: Where it is judged, or None.
        confirmed: What the fresh seeds say of it, or None.
        general: It helps the baseline as well.
        reason: Why something is missing, or None.
        over_limit: Which limit it breaks on the fresh seeds, or None.
        tuned_gap: How far it is from the tuned baseline, or None.
    """

    axes: str | None = None
    lever: str | None = None
    undoes: str | None = None
    at: str | None = None
    confirmed: str | None = None
    general: bool | None = None
    reason: str | None = None
    over_limit: str | None = None
    tuned_gap: TunedGap | None = None

    @property
    def of_no_gap(self) -> bool:
        """Whether it is called recovered where the gap itself is not clear of 0."""
        return self.confirmed == "recovered" and (self.reason or "").startswith(UNBOUNDED)


class ConfirmationLook(Form):
    """One look of the confirmation.

    Attributes:
        n: Seeds.
        said: What is said of each lever.
        levers: The levers.
        at: Where each of them is judged.
    """

    n: Count | None = None
    said: Many[str] = ()
    levers: Many[str] = ()
    at: Many[str] = ()


class StudySeeds(Form):
    """Seeds of a control study: the first, and how many.

    Attributes:
        search: Of the search.
        confirmation: Of the confirmation.
    """

    search: Many[int] = ()
    confirmation: Many[int] = ()
