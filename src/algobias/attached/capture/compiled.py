"""Functions that ``torch.compile`` makes: called and recorded as a whole, never compiled together with us."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from algobias.attached.capture.calls import Calls
from algobias.attached.capture.recorder import Recorder
from algobias.attached.patch import replace


def install(calls: Calls, recorder: Recorder) -> None:
    """Wrap the functions that the script compiles from now on; compiled modules are modules anyway."""
    original: Callable[..., Any] = torch.compile

    @functools.wraps(original)
    def compile(model: Any = None, **options: Any) -> Any:
        if model is None:  # used as a decorator with options
            return functools.partial(compile, **options)
        made = original(model, **options)
        if isinstance(made, nn.Module) or not callable(made):
            return made
        name = f"{getattr(model, '__module__', '')}.{getattr(model, '__qualname__', type(model).__name__)}"

        @functools.wraps(made)
        def whole(*args: Any, **given: Any) -> Any:
            if calls.inside or torch.compiler.is_compiling():
                return made(*args, **given)
            # Always inside, recorded or not: what was compiled holds for one of both alone.
            calls.inside = True
            try:
                if not recorder.recording:
                    return made(*args, **given)
                return recorder.whole("compiled", made, name, args, given)
            finally:
                calls.inside = False

        return whole

    replace(torch, "compile", compile)
