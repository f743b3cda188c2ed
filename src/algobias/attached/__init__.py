"""Inside of a training script nobody edited: what is seen there, and what is changed there on request."""

from __future__ import annotations

import importlib


def attach() -> bool:
    """Sit inside of this process's training, as the process that started it has ordered.

    One line before training, for where Python does not run what lies in front of ``PYTHONPATH``
    (``python -I``, a cluster's own launcher). Without orders, and a second time, it does nothing.

    Returns:
        Whether anything sits there now.

    Raises:
        BadInput: The orders cannot be read.

    Example:
        >>> import algobias
        >>> algobias.attach()                        # nobody has ordered anything here
        False
    """
    from algobias.attached.arm import arm, attachment, is_ordered

    if is_ordered():
        importlib.import_module("torch")
        arm()
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
