"""The callback for Lightning's ``Trainer``, of ``lightning`` or ``pytorch_lightning``."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Unpack

from algobias.integrations.curve import Curve
from algobias.integrations.watch import Options, Watch

PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def _base() -> Any:
    """The base class of callbacks of that package which the script uses, else of the first there is."""
    loaded = [name for name in PACKAGES if name in sys.modules]
    for name in loaded or PACKAGES[:1]:
        try:
            return importlib.import_module(f"{name}.callbacks").Callback
        except ModuleNotFoundError:
            continue
    return importlib.import_module(f"{PACKAGES[1]}.callbacks").Callback


class Callback(_base()):  # type: ignore[misc]
    """Note the curve of a training, or hand its metric to ``algobias run``.

    Args:
        metric: Name that ``self.log`` gives it in ``validation_step``.
        options: :class:`~algobias.integrations.watch.Options`.

    Example::

        watch = Callback("val_acc", log="runs/baseline/seed=0.csv", fit_set="runs/fit.pt")
        Trainer(..., callbacks=[watch]).fit(model, train, validation)
        watch.curve.columns()
    """

    def __init__(self, metric: str = "val_loss", **options: Unpack[Options]) -> None:
        super().__init__()
        self.watch = Watch(metric, **options)

    @property
    def curve(self) -> Curve:
        """Training loss and test metric by update, so far."""
        return self.watch.curve

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Sit inside of the training."""
        self.watch.begin()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Hand on the metric; what is validated before training is no evaluation of it."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self.watch.tell(trainer.callback_metrics)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Note how the training ended."""
        self.watch.end()
