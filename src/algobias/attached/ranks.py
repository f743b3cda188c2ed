"""Whether a process trains together with others."""

from __future__ import annotations

import torch

PROCESSES = "several processes train together"


def trains_with_others() -> bool:
    """Whether gradients are averaged with those of other processes: what one of them does, all must do."""
    distributed = torch.distributed
    together = distributed.is_available() and distributed.is_initialized()
    return together and distributed.get_world_size() > 1
