"""The callback for ``transformers.Trainer``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from transformers import TrainerCallback

from algobias.integrations.curve import Curve
from algobias.integrations.watch import Options, Watch


class Callback(TrainerCallback):
    """Note the curve of a training, or hand its metric to ``algobias run``.

    Args:
        metric: Name among the metrics of ``evaluate``, with or without ``eval_`` in front.
        options: :class:`~algobias.integrations.watch.Options`.

    Example::

        watch = Callback("accuracy", log="runs/baseline/seed=0.csv", fit_set="runs/fit.pt")
        Trainer(model, arguments, ..., callbacks=[watch]).train()
        watch.curve.columns()
    """

    def __init__(self, metric: str = "eval_loss", **options: Unpack[Options]) -> None:
        self.watch = Watch(metric, **options)

    @property
    def curve(self) -> Curve:
        """Training loss and test metric by update, so far."""
        return self.watch.curve

    def on_train_begin(self, args: object, state: object, control: object, **kwargs: object) -> None:
        """Sit inside of the training."""
        self.watch.begin()

    def on_evaluate(
        self,
        args: object,
        state: object,
        control: object,
        metrics: Mapping[str, object] | None = None,
        **kwargs: object,
    ) -> None:
        """Hand on the metric."""
        self.watch.tell(metrics or {}, (self.watch.metric, f"eval_{self.watch.metric}"))

    def on_train_end(self, args: object, state: object, control: object, **kwargs: object) -> None:
        """Note how the training ended."""
        self.watch.end()
