"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# The same examples in every run: a change is judged by what it does, not by what was drawn.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")
