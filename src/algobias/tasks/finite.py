"""NaN and infinity in data: where they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from algobias.errors import BadInput
from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 256
"""Examples that are checked at a time."""


def first_not_finite(tensor: Tensor) -> tuple[int, float] | None:
    """The first row with a number that is not finite, and that number; None where there is none.

    Cost: one pass over the tensor.
    """
    if not tensor.is_floating_point() or tensor.ndim == 0:
        return None
    for start in range(0, len(tensor), CHUNK):
        chunk = tensor[start : start + CHUNK]
        # one NaN or infinity spoils a sum, which is several times faster than looking at each number
        if bool(torch.isfinite(chunk.sum(dtype=torch.float64))):
            continue
        bad = ~torch.isfinite(chunk)
        if bad.any():
            place = int(bad.reshape(len(bad), -1).any(dim=1).nonzero()[0])
            return start + place, float(chunk[place][bad[place]].reshape(-1)[0])
    return None


def refuse_not_finite(item: Any, name: str, example: int) -> None:
    """Refuse an item of a dataset that holds NaN or infinity: in a tensor, an array or a plain number.

    Args:
        item: Any nesting of tuples, lists and mappings; other objects in it are not looked into.
        name: ``train``, ``validation`` or ``test``.
        example: Its number.

    Raises:
        BadInput: With the example's number and the place in the item.
    """
    waiting: list[tuple[str, Any]] = [(f"{name}[{example}]", item)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{path}[{key!r}]", entry) for key, entry in value.items()]
        elif isinstance(value, tuple | list):
            waiting += [(f"{path}[{place}]", entry) for place, entry in enumerate(value)]
        elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
            value = torch.from_numpy(np.ascontiguousarray(value, dtype=np.float64))
        elif isinstance(value, float | np.floating):
            value = torch.tensor(float(value), dtype=torch.float64) if not math.isfinite(value) else None
        if isinstance(value, torch.Tensor):
            bad = first_not_finite(value.reshape(-1))
            if bad is not None:
                raise BadInput(path, f"{bad[1]} in example {example}", "finite numbers only")
