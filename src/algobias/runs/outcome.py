"""What a run leaves behind: its curve, how it ended. Plain numpy, no torch.

The planner, the statistics and the report read these objects only; who made them (the loop here, a
CSV file, another machine) is invisible to them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from algobias.runs.cost import Cost

Floats = NDArray[np.float64]


MOST_METRIC = 1e100
"""Metrics, and what they are compared with, are smaller: sums of their squares are numbers."""


@dataclass(frozen=True)
class Curve:
    """Checks of one run, in order of updates.

    Attributes:
        update: Updates made at each check, strictly increasing, [K].
        train_loss: Training loss in evaluation mode, [K]; NaN throughout where nobody measured it.
        train_metric: Training metric (higher is better), [K]; NaN where not known.
        test_metric: Test metric (higher is better), [K].
    """

    update: NDArray[np.int64]
    train_loss: Floats
    train_metric: Floats
    test_metric: Floats

    def __len__(self) -> int:
        return len(self.update)


@dataclass(frozen=True)
class Outcome:
    """One recipe trained with one seed.

    Attributes:
        seed: The seed.
        curve: Checks from the first update to the last.
        planned: Row of ``curve`` at the planned end (the last row where the run diverged before it).
        diverged: The run ended with a non-finite training loss.
        trivial_metric: Test metric of a predictor that knows nothing; NaN where it is not known.
        lost_metric: What the run scores where it ends non-finite and the trivial metric is not known; None:
            its worst check.
        cost: Cost up to the last row of ``curve``.
        per_example: Test metric of every test example at the planned end, or None.
        also: Further metrics of the test set at the planned end, by name; they decide nothing.
        sample: A text that shows what the network does (generated text, translations), or None.
        loss_known: The training loss was measured; False: only the test metric tells how the run ended.
        loss_se: Standard error of each training loss as the loss on the examples that all runs share, [K];
            None: it is measured on those.
    """

    seed: int
    curve: Curve
    planned: int
    diverged: bool = False
    trivial_metric: float = 0.0
    lost_metric: float | None = None
    cost: Cost = field(default_factory=Cost)
    per_example: NDArray[np.float32] | None = None
    also: dict[str, float] = field(default_factory=dict)
    sample: str | None = None
    loss_known: bool = True
    loss_se: Floats | None = None

    @property
    def worst_metric(self) -> float:
        """What a run that ended non-finite scores: its trivial metric; where not known, the lost one."""
        if math.isfinite(self.trivial_metric):
            return self.trivial_metric
        if self.lost_metric is not None:
            return self.lost_metric
        known = self.curve.test_metric[np.isfinite(self.curve.test_metric)]
        return float(known.min()) if len(known) else 0.0

    @property
    def end_metric(self) -> float:
        """Test metric at the planned end; the worst one where the run did not end well."""
        return float(self.curve.test_metric[self.planned]) if self.ended_well else self.worst_metric

    @property
    def ended_well(self) -> bool:
        """Loss and test metric are finite at the planned end; the metric, where no loss was measured."""
        loss, metric = (float(row[self.planned]) for row in (self.curve.train_loss, self.curve.test_metric))
        known = math.isfinite(loss) if self.loss_known else not self.diverged
        return known and math.isfinite(metric)
