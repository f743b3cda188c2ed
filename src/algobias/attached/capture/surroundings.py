"""What lies around a call: autocast and whether gradients are recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Surroundings:
    """Autocast and gradient mode at one moment.

    Attributes:
        gradients: Whether gradients are recorded.
        autocast: For each kind of device, whether autocast is on, and its type.
        cache: Whether autocast keeps the weights that it has cast.
    """

    gradients: bool
    autocast: tuple[tuple[str, bool, torch.dtype], ...]
    cache: bool

    @classmethod
    def now(cls) -> Surroundings:
        """Those at this moment."""
        kinds = ("cpu", "cuda") if torch.cuda.is_initialized() else ("cpu",)  # type: ignore[no-untyped-call]
        autocast = tuple(
            (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds
        )
        return cls(torch.is_grad_enabled(), autocast, torch.is_autocast_cache_enabled())

    @contextmanager
    def casting(self) -> Iterator[None]:
        """Have autocast as it was.

        Its cache of cast weights is kept inside: calls that shared one must share one again, since gradients
        are added up where a weight was cast.
        """
        with ExitStack() as stack:
            for kind, enabled, dtype in self.autocast:
                casts = torch.autocast(kind, dtype=dtype, enabled=enabled, cache_enabled=self.cache)
                stack.enter_context(casts)
            yield
