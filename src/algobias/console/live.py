"""The live terminal view of a running study; sparse plain lines where there is no terminal."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from algobias.answer.interval import Interval
from algobias.errors import clean_text
from algobias.json_values import number_or_none
from algobias.reports.numerals import bounds, duration, fixed, loss, shortened
from algobias.runs.progress import Progress

MOST_ARMS = 6
"""With more arms than this a plain line names only those at work."""

PLAIN_EVERY = 10.0
"""Seconds between two progress lines where there is no terminal."""

SPREAD = "seed spread"
"""What the further baselines are called that show how far seeds scatter, where no tolerance is given."""

_LEVELS = {True: "\u00b7\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588", False: ".12345678"}


@dataclass
class _Run:
    """How far one run has got."""

    update: int = 0
    total: int = 0
    train_loss: float | None = None
    test_metric: float | None = None
    done: bool = False

    @property
    def share(self) -> float:
        """Part of the planned updates that is done, 0 to 1."""
        if self.done:
            return 1.0
        return min(1.0, self.update / self.total) if self.total > 0 else 0.0


class LiveView(Progress):
    """Shows a study while it runs: arms by seeds, time, the current interval. Writes to stderr only.

    On a terminal one region is redrawn a few times a second. Elsewhere (a pipe, a log file) a line is
    printed for each look and message, and at most every ten seconds one for progress, without any control
    character. All methods may be called from any thread and in any order; :meth:`stop` more than once.

    Args:
        console: Where to write; by default stderr.
        clock: Seconds from a fixed moment.
    """

    def __init__(
        self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console if console is not None else Console(file=sys.stderr, highlight=False)
        self._clock = clock
        self._lock = threading.RLock()
        self._live: Live | None = None
        # Rich believes FORCE_COLOR over the file; control characters in a log file help nobody.
        isatty = getattr(self.console.file, "isatty", lambda: False)
        self._terminal = self.console.is_terminal and not self.console.is_dumb_terminal and bool(isatty())
        self._runs: dict[str, dict[int, _Run]] = {}
        self._stage: set[tuple[str, int]] = set()
        self._expected = 0
        self._title = ""
        self._places = 2
        self._last_look = ""
        self._begun = self._stage_begun = clock()
        self._last_line = -math.inf
        self._stopped = False

    def __enter__(self) -> LiveView:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self, plan: Mapping[str, object]) -> None:
        """The study begins.

        Args:
            plan: What ``--plan`` prints; ``task``, ``change``, ``first_look_seeds`` and ``tolerance`` are
                read where they are there.
        """
        with self._lock:
            change = plan.get("change")
            text = " then ".join(map(str, change)) if isinstance(change, list | tuple) else str(change or "")
            self._title = clean_text(": ".join(part for part in (str(plan.get("task") or ""), text) if part))
            first = number_or_none(plan.get("first_look_seeds"))
            self._expected = 2 * int(first) if first is not None else 0
            tolerance = number_or_none(plan.get("tolerance"))
            if tolerance is not None and tolerance > 0:
                self._places = min(6, max(0, math.ceil(-math.log10(tolerance))) + 1)
            self._begun = self._stage_begun = self._clock()
            self._stopped = False
        if self._title and not self._terminal:
            self._say(self._title)
        self._show()

    def update(
        self,
        arm: str,
        seed: int,
        update: int,
        total: int,
        train_loss: float | None,
        test_metric: float | None,
    ) -> None:
        """One run has got to ``update`` of ``total``; the values are of its last check.

        A ``total`` of 0 says that the run is asked for, and not how long it is.
        """
        with self._lock:
            if not total and all(self._runs[_name(arm)][seed].done for arm, seed in self._stage):
                # Asked for together: the pace counts from here, and is not that of short runs before.
                self._stage, self._expected, self._stage_begun = set(), 0, self._clock()
            run = self._run(arm, seed)
            run.update, run.total = update, total
            run.train_loss = number_or_none(train_loss)
            run.test_metric = number_or_none(test_metric)
            run.done = False
        self._tick()

    def finished(self, arm: str, seed: int) -> None:
        """One run has ended."""
        with self._lock:
            self._run(arm, seed).done = True
        self._tick()

    def look(self, n: int, interval: tuple[float, float, float], state_text: str) -> None:
        """The study was looked at with ``n`` seeds: mean, low and high of the gap, and what followed."""
        with self._lock:
            mean, low, high = (number_or_none(number) for number in interval)
            value = Interval(mean=mean, low=low, high=high)
            gap = f"{fixed(value.mean, self._places)} {bounds(value, self._places)}"
            self._last_look = f"{n} seeds: gap {gap}; {clean_text(state_text)}"
            self._stage, self._expected, self._stage_begun = set(), 0, self._clock()
            text = f"look at {self._last_look}"
        self._say(text)

    def message(self, text: str) -> None:
        """One sentence."""
        self._say(clean_text(text))

    def stop(self) -> None:
        """Nothing more will come: the region is removed and the cursor given back."""
        with self._lock:
            live, self._live, self._stopped = self._live, None, True
        if live is not None:
            live.stop()

    def _done(self) -> str:
        """Runs done, arm by arm; where there are many arms, of those at work."""
        done = {arm: self._count(runs) for arm, runs in self._runs.items()}
        if len(done) > MOST_ARMS:
            whole = [arm for arm, count in done.items() if len(set(count.split("/"))) == 1]
            rest = ", ".join(f"{arm} {count}" for arm, count in done.items() if arm not in whole)
            return f"{len(whole)} of {len(done)} arms done" + (f"; runs done: {rest}" if rest else "")
        return ", ".join(f"{arm} {count}" for arm, count in done.items()) + " runs done"

    def _run(self, arm: str, seed: int) -> _Run:
        self._stage.add((arm, seed))
        return self._runs.setdefault(_name(arm), {}).setdefault(seed, _Run())

    # What follows prints, and is never called with the lock held: rich's refreshing thread holds a lock of
    # its own while it asks for the picture, and two locks taken in both orders stop everything.

    def _tick(self) -> None:
        if self._terminal:
            self._show()
            return
        line = ""
        with self._lock:
            if self._clock() - self._last_line >= PLAIN_EVERY:
                # The first line waits too: short studies are over before anybody could read it.
                if self._last_line > -math.inf:
                    line = f"{self._done()}; {self._times()}"
                self._last_line = self._clock()
        if line:
            self._say(line)

    def _say(self, text: str) -> None:
        self._last_line = self._clock()
        if self._terminal:
            self.console.print(Text(text, overflow="fold"))
        else:
            # Without a width: a log file has none, and whoever reads it wraps as they like.
            self.console.out(text, highlight=False)

    def _show(self) -> None:
        with self._lock:
            if not self._terminal or self._live is not None or self._stopped:
                return
            live = self._live = Live(
                console=self.console, get_renderable=self._render, transient=True, refresh_per_second=4
            )
        live.start()
        with self._lock:
            ended = self._stopped
        if ended:
            live.stop()

    def _render(self) -> RenderableType:
        with self._lock:
            width = self.console.width
            unicode = (self.console.encoding or "").lower().startswith("utf")
            table = Table.grid(padding=(0, 2, 0, 0))
            table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(8, min(30, width // 3)))
            for _ in range(2 if width < 70 else 3):
                table.add_column(no_wrap=True)
            for arm, runs in self._runs.items():
                cells = "".join(self._cell(run, unicode) for _, run in sorted(runs.items()))
                row = [Text(shortened(arm, 28)), Text(cells[: max(4, width // 3)]), Text(self._count(runs))]
                if width >= 70:
                    row.append(Text(self._latest(runs), style="dim"))
                table.add_row(*row)
            parts: list[RenderableType] = [table, Text(self._times(), style="dim")]
            if self._last_look:
                parts.append(Text(f"last look at {self._last_look}"))
            if self._title:
                parts.insert(0, Text(shortened(self._title, max(20, 2 * width)), style="bold"))
            return Group(*parts)

    @staticmethod
    def _cell(run: _Run, unicode: bool) -> str:
        levels = _LEVELS[unicode]
        return levels[-1] if run.done else levels[min(len(levels) - 2, int(run.share * (len(levels) - 1)))]

    @staticmethod
    def _count(runs: dict[int, _Run]) -> str:
        return f"{sum(run.done for run in runs.values())}/{len(runs)}"

    def _latest(self, runs: dict[int, _Run]) -> str:
        running = [run for run in runs.values() if not run.done and run.total] or list(runs.values())
        run = max(running, key=lambda one: one.share)
        parts = [f"{run.update:,} of {run.total:,}"] if run.total and not run.done else []
        if run.train_loss is not None:
            parts.append(f"loss {loss(run.train_loss)}")
        if run.test_metric is not None:
            parts.append(f"test {fixed(run.test_metric, self._places)}")
        return ", ".join(parts)

    def _times(self) -> str:
        """Time since the start, and how long the runs of this stage will take at their pace so far."""
        now = self._clock()
        text = f"{duration(max(0.0, now - self._begun))} so far"
        runs = [self._runs[_name(arm)][seed] for arm, seed in self._stage]
        expected = max(len(runs), self._expected)
        share = sum(run.share for run in runs) / expected if expected else 0.0
        spent = now - self._stage_begun
        if 0.02 < share < 1 and spent > 1:
            text += f", about {duration(max(1, round(spent * (1 - share) / share)))} left for these runs"
        return text


def arm_in_words(arm: str) -> str:
    """Name an arm for whoever watches: the baselines that tell how far seeds scatter are called that."""
    return SPREAD if arm == "noise" else arm


def _name(arm: str) -> str:
    return clean_text(arm_in_words(arm)).replace("_", " ")
