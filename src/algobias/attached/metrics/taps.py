"""Taps: the functions that loggers are called by, each wrapped once the script has imported its module."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from algobias.attached.arrival import when_imported
from algobias.attached.patch import replace

Hear = Callable[[str, float, str, "float | None"], None]
"""Told a name, a value, the source and the step."""


def install(hear: Hear) -> None:
    """Listen to every logger that the script will import; nothing is imported for it."""
    heard = _Quiet(hear)
    when_imported("transformers.trainer_callback", functools.partial(_transformers, heard))
    for package in ("lightning.pytorch", "pytorch_lightning"):
        when_imported(f"{package}.trainer.call", functools.partial(_lightning, heard))
    when_imported("wandb.sdk.wandb_run", functools.partial(_wandb, heard))
    when_imported("mlflow.tracking.fluent", functools.partial(_mlflow, heard))
    for module in ("torch.utils.tensorboard.writer", "tensorboardX.writer"):
        when_imported(module, functools.partial(_tensorboard, heard))
    when_imported("trackio", functools.partial(_trackio, heard))


class _Quiet:
    """Tells of numbers, and of nothing while one logger passes them on to another's functions.

    A logger whose value cannot be read does not disturb the script.
    """

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self.inside = False

    def tell(self, values: Mapping[Any, Any], source: str, step: object, under: str = "") -> None:
        """Tell of all numbers among values by name; nested ones as ``outer/inner``."""
        if self.inside:
            return
        for name, value in values.items():
            if isinstance(value, Mapping):
                self.tell(value, source, step, f"{under}{name}/")
                continue
            read = number(value)
            if read is not None:
                self._hear(f"{under}{name}", read, source, number(step))

    def wrap(self, place: object, name: str, before: Callable[..., None]) -> None:
        """Have ``before`` called with the arguments of ``place.name`` in front of every call of it."""
        original = getattr(place, name, None)
        if not callable(original):
            return

        @functools.wraps(original)
        def tapped(*args: Any, **options: Any) -> Any:
            outer = not self.inside
            if outer:
                before(*args, **options)
            self.inside = True
            try:
                return original(*args, **options)
            finally:
                self.inside = not outer

        replace(place, name, tapped)


def number(value: object) -> float | None:
    """A number as one of Python's, also from a tensor or an array of one; None of anything else."""
    if isinstance(value, bool | str | bytes) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    item = getattr(value, "item", None)
    size = getattr(value, "numel", None) or getattr(value, "size", 1)
    if not callable(item) or (size() if callable(size) else size) != 1:
        return None
    try:
        read = item()
    except Exception:  # somebody else's object
        return None
    return float(read) if isinstance(read, int | float) and not isinstance(read, bool) else None


def _transformers(heard: _Quiet, module: ModuleType) -> None:
    def evaluated(handler: Any, args: Any, state: Any, control: Any, metrics: Any) -> None:
        if isinstance(metrics, Mapping):
            heard.tell(metrics, "transformers", getattr(state, "global_step", None))

    def logged(handler: Any, args: Any, state: Any, control: Any, logs: Any) -> None:
        # What an evaluation logs is told once more by on_evaluate.
        if isinstance(logs, Mapping) and not any(str(name).startswith(("eval_", "test_")) for name in logs):
            heard.tell(logs, "transformers", getattr(state, "global_step", None))

    handler = module.CallbackHandler
    heard.wrap(handler, "on_evaluate", evaluated)
    heard.wrap(handler, "on_log", logged)


def _lightning(heard: _Quiet, module: ModuleType) -> None:
    def called(trainer: Any, hook_name: str, *args: Any, **options: Any) -> None:
        ends = ("on_validation_end", "on_test_end")
        if hook_name in ends and not getattr(trainer, "sanity_checking", False):
            heard.tell(trainer.callback_metrics, "lightning", getattr(trainer, "global_step", None))

    heard.wrap(module, "_call_callback_hooks", called)


def _wandb(heard: _Quiet, module: ModuleType) -> None:
    def logged(run: Any, data: Any = None, step: Any = None, *args: Any, **options: Any) -> None:
        if isinstance(data, Mapping):
            heard.tell(data, "wandb", step)

    heard.wrap(module.Run, "log", logged)


def _mlflow(heard: _Quiet, module: ModuleType) -> None:
    def single(key: Any, value: Any, step: Any = None, *args: Any, **options: Any) -> None:
        heard.tell({key: value}, "mlflow", step)

    def several(metrics: Any, step: Any = None, *args: Any, **options: Any) -> None:
        if isinstance(metrics, Mapping):
            heard.tell(metrics, "mlflow", step)

    heard.wrap(module, "log_metric", single)
    heard.wrap(module, "log_metrics", several)

    def also_in_front(mlflow: ModuleType) -> None:
        for name in ("log_metric", "log_metrics"):
            replace(mlflow, name, getattr(module, name))

    when_imported("mlflow", also_in_front)


def _tensorboard(heard: _Quiet, module: ModuleType) -> None:
    def scalar(writer: Any, tag: Any, scalar_value: Any, global_step: Any = None, *a: Any, **o: Any) -> None:
        heard.tell({tag: scalar_value}, "tensorboard", global_step)

    def scalars(
        writer: Any, main_tag: Any, tag_scalar_dict: Any, global_step: Any = None, *a: Any, **o: Any
    ) -> None:
        if isinstance(tag_scalar_dict, Mapping):
            heard.tell(tag_scalar_dict, "tensorboard", global_step, f"{main_tag}/")

    heard.wrap(module.SummaryWriter, "add_scalar", scalar)
    heard.wrap(module.SummaryWriter, "add_scalars", scalars)


def _trackio(heard: _Quiet, module: ModuleType) -> None:
    def logged(metrics: Any, step: Any = None, *args: Any, **options: Any) -> None:
        if isinstance(metrics, Mapping):
            heard.tell(metrics, "trackio", step)

    heard.wrap(module, "log", logged)


def finite(value: object, field: str) -> float:
    """A number that a script reports.

    Raises:
        BadInput: It is none, or not finite.
    """
    from algobias.errors import BadInput

    read = number(value)
    if read is None or math.isnan(read):
        raise BadInput(field, value, "a number")
    return read
