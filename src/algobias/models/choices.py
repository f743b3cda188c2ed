"""Words with which parts of the networks are chosen."""

from __future__ import annotations

from typing import Literal

Norm = Literal["batch", "group"]
Shortcut = Literal["A", "B"]
NormName = Literal["layer", "rms"]
ActivationName = Literal["gelu", "swiglu"]
PositionName = Literal["learned", "rotary"]
