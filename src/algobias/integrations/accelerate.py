"""The tracker for ``accelerate``: it hears what the script hands to ``accelerator.log``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from accelerate.tracking import GeneralTracker

from algobias.integrations.curve import Curve
from algobias.integrations.watch import Options, Watch


class Tracker(GeneralTracker):  # type: ignore[misc]
    """Note the curve of a training, or hand its metric to ``algobias run``.

    Every process has one, since the training loss is a replay of a forward pass that all take part in.

    Args:
        metric: Name that the script gives it in ``accelerator.log``; other numbers are not looked at.
        options: :class:`~algobias.integrations.watch.Options`.

    Example::

        tracker = Tracker("accuracy", log="runs/baseline/seed=0.csv", fit_set="runs/fit.pt")
        accelerator = Accelerator(log_with=tracker)
        accelerator.init_trackers("project")
        ...
        accelerator.log({"accuracy": accuracy}, step=step)
        accelerator.end_training()
    """

    name = "algobias"
    requires_logging_directory = False
    main_process_only = False

    def __init__(self, metric: str, **options: Unpack[Options]) -> None:
        super().__init__()
        self.watch = Watch(metric, **options)

    @property
    def tracker(self) -> Watch:
        """What ``accelerator.get_tracker("algobias", unwrap=True)`` returns."""
        return self.watch

    @property
    def curve(self) -> Curve:
        """Training loss and test metric by update, so far."""
        return self.watch.curve

    def start(self) -> None:
        """Sit inside of the training; ``init_trackers`` comes before it."""
        self.watch.begin()

    def store_init_configuration(self, values: Mapping[str, object]) -> None:
        """Let the script's settings be."""

    def log(self, values: Mapping[str, object], step: int | None = None, **kwargs: object) -> None:
        """Hand on the metric, where it is among the values."""
        if self.watch.has(values):
            self.watch.tell(values)

    def finish(self) -> None:
        """Note how the training ended."""
        self.watch.end()
