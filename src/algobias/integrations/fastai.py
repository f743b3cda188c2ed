"""The callback for fastai's ``Learner``."""

from __future__ import annotations

from typing import Any, Unpack

from fastai.callback.core import Callback as Base
from fastai.optimizer import OptimWrapper

from algobias.errors import BadInput
from algobias.integrations.curve import Curve
from algobias.integrations.watch import Options, Watch


class Callback(Base):  # type: ignore[misc]
    """Note the curve of a training, or hand its metric to ``algobias run``.

    fastai's own optimizers are none of torch's, and their steps are not seen: the learner needs
    ``opt_func=partial(OptimWrapper, opt=torch.optim.AdamW)``.

    Args:
        metric: Name in the table that ``fit`` prints, like ``accuracy`` or ``valid_loss``.
        options: :class:`~algobias.integrations.watch.Options`.

    Example::

        watch = Callback("accuracy", log="runs/baseline/seed=0.csv", fit_set="runs/fit.pt")
        Learner(data, model, metrics=accuracy, opt_func=partial(OptimWrapper, opt=SGD), cbs=watch).fit(3)
        watch.curve.columns()
    """

    order = 60
    """After the recorder, which has the values of an epoch."""

    def __init__(self, metric: str = "valid_loss", **options: Unpack[Options]) -> None:
        super().__init__()
        self.watch = Watch(metric, **options)

    @property
    def curve(self) -> Curve:
        """Training loss and test metric by update, so far."""
        return self.watch.curve

    def before_fit(self) -> None:
        """Sit inside of the training.

        Raises:
            BadInput: The learner's optimizer is none of torch's.
        """
        learner: Any = self.learn
        if not isinstance(learner.opt, OptimWrapper):
            allowed = "an optimizer of torch's: opt_func=partial(OptimWrapper, opt=torch.optim.AdamW)"
            raise BadInput("opt_func", type(learner.opt).__name__, allowed)
        self.watch.begin()

    def after_epoch(self) -> None:
        """Hand on the metric."""
        recorder: Any = self.learn.recorder
        if len(recorder.log):
            names = [str(name) for name in recorder.metric_names]
            self.watch.tell(dict(zip(names, recorder.log, strict=False)))

    def after_fit(self) -> None:
        """Note how the training ended."""
        self.watch.end()
