"""When to measure during training: every so many updates, or so that it takes at most a share of the time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from algobias.errors import BadInput

SPELLING = "every=500 (updates) or 2% (of the time)"
STATE = "what state_dict() gave: a dict with last, spent, cost and elapsed, numbers"


class Cadence:
    """Says when measuring is due; the first time at once.

    With ``every = k`` at every update divisible by k (and where one was passed over). With ``share = s`` as
    soon as another measurement that takes as long as the last one keeps what has been spent on measuring at
    or below s times the time since the start: ``spent + c <= s (elapsed + c)``.

    Args:
        every: Updates between measurements.
        share: Largest share of wall time, in (0, 1).
        clock: Seconds; the machine's by default.

    Raises:
        BadInput: Both or neither, or out of range.
    """

    def __init__(
        self,
        every: int | None = None,
        share: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if (every is None) == (share is None):
            raise BadInput("cadence", f"every={every}, share={share}", f"one of the two: {SPELLING}")
        if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise BadInput("every", every, "a whole number of updates above 0")
        if share is not None and not 0 < share < 1:
            raise BadInput("share", share, "a share of the time above 0 and below 1, like 0.02")
        self.every, self.share, self._clock = every, share, clock
        self.spent = 0.0
        self.last: int | None = None
        self._cost = 0.0
        self._start: float | None = None

    @classmethod
    def parse(cls, text: str, clock: Callable[[], float] = time.perf_counter) -> Cadence:
        """Read ``every=500`` or ``2%``.

        Raises:
            BadInput: It is neither.
        """
        word = text.strip().replace(" ", "")
        if match := re.fullmatch(r"every=(\d{1,15})", word):
            return cls(every=int(match[1]), clock=clock)
        if match := re.fullmatch(r"(\d{1,3}(?:\.\d+)?)%", word):
            return cls(share=float(match[1]) / 100, clock=clock)
        raise BadInput("cadence", text, SPELLING)

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was started by the first question, measuring included."""
        return 0.0 if self._start is None else self._clock() - self._start

    def begin(self) -> None:
        """Start the clock, where it has not been started."""
        if self._start is None:
            self._start = self._clock()

    def due(self, update: int) -> bool:
        """Whether to measure after this update. Cost: well below a microsecond.

        Args:
            update: Updates made; never decreasing.
        """
        self.begin()
        if self.last is None:
            return True
        if update <= self.last:
            return False
        if self.every is not None:
            return update // self.every > self.last // self.every
        assert self.share is not None
        return self.spent + self._cost <= self.share * (self.elapsed + self._cost)

    def done(self, update: int, seconds: float) -> None:
        """Note a measurement.

        Args:
            update: After which update.
            seconds: How long it took.
        """
        # Several measurements after one update (runs that are trained together) are one for the budget.
        self._cost = seconds + (self._cost if update == self.last else 0.0)
        self.last = update
        self.spent += seconds

    def restart(self) -> None:
        """Another run begins: measuring is due at once; time and what was spent go on."""
        self.last = None

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on in another process; plain numbers."""
        return {"last": self.last, "spent": self.spent, "cost": self._cost, "elapsed": self.elapsed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            BadInput: It is none.
        """
        if not isinstance(state, Mapping):
            raise BadInput("cadence", state, STATE)
        for key in ("last", "spent", "cost", "elapsed"):
            value = state.get(key, "missing")
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number and not (key == "last" and value is None):
                raise BadInput(f"cadence[{key!r}]", value, STATE)
        self.last, self.spent, self._cost = state["last"], state["spent"], state["cost"]
        self._start = self._clock() - state["elapsed"]
