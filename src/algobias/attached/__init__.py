"""Inside of a training script nobody edited: what is seen there, and what is changed there on request."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from os import PathLike


def attach(
    probes: str | Sequence[str] = (), *, file: str | PathLike[str] | None = None, fit: int = 2000
) -> bool:
    """Sit inside of this process's training, as the process that started it has ordered.

    One line before training, for where Python does not run what lies in front of ``PYTHONPATH``
    (``python -I``, a cluster's own launcher). Without orders, and a second time, it does nothing; but where
    ``probes`` are asked for it then reads them by itself, at every evaluation, on the first training
    examples. Training ends with the same weights, to the last bit. What cannot be read is a warning.

    Args:
        probes: A preset, or probes by name; orders say it themselves.
        file: Appended to: one JSON line for each reading, with ``update``, as ``Monitor`` writes it.
        fit: Training examples on which is read, at least, as far as training has that many.

    Returns:
        Whether anything sits there now.

    Raises:
        BadInput: The orders cannot be read; probes without a file, or unknown ones.

    Example:
        >>> import algobias
        >>> algobias.attach()                        # nobody has ordered anything here
        False
    """
    from algobias.attached.arm import arm, arm_by_itself, attachment, is_ordered

    if is_ordered():
        importlib.import_module("torch")
        arm()
    elif probes and attachment() is None:
        importlib.import_module("torch")
        arm_by_itself((probes,) if isinstance(probes, str) else tuple(probes), file, fit)
    return attachment() is not None


def report(test_metric: object = None, train_loss: object = None) -> None:
    """Tell what a script measured itself, at this point of training, in place of what is listened to.

    Without orders it does nothing: the line may stay in the script.

    Args:
        test_metric: A number, or a tensor of one.
        train_loss: The same.

    Raises:
        BadInput: Something else.

    Example:
        >>> import algobias
        >>> algobias.report(test_metric=0.93, train_loss=0.1)
    """
    from algobias.attached.arm import attachment
    from algobias.attached.metrics.taps import finite

    values = {"test_metric": test_metric, "train_loss": train_loss}
    read = {name: finite(value, f"report.{name}") for name, value in values.items() if value is not None}
    run = attachment()
    if run is not None:
        run.reported(read.get("test_metric"), read.get("train_loss"))
