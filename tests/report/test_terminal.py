"""The panels at every width, and the live view on a terminal and in a pipe."""

from __future__ import annotations

import io
import math
import re
import threading

import pytest
from rich.console import Console, RenderableType
from synthetic import HOSTILE, VERDICTS, hostile, record

from algobias.console.live import PLAIN_EVERY, LiveView
from algobias.console.terminal import plan_panel, verdict_panel

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class Tty(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def printed(renderable: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined]


def words_of(text: str) -> set[str]:
    return {word.strip(",:;") for word in re.sub(r"[│╭╮╰╯─]", " ", text).split()}


@pytest.mark.parametrize("width", [40, 64, 100, 200])
@pytest.mark.parametrize("verdict", VERDICTS)
def test_verdict_panel_fits_and_cuts_no_word(verdict: str, width: int) -> None:
    shown = record(verdict, 9, controls=2, unbounded=True, rate_only=True)
    text = printed(verdict_panel(shown), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert verdict.replace("_", " ") in text
    whole = words_of(printed(verdict_panel(shown), 400))
    # Every word of the panel is there at every width, unbroken.
    assert whole - {"cost", "Cost"} <= words_of(text)


def test_verdict_panel_tells_the_numbers_and_where_the_report_is() -> None:
    text = printed(verdict_panel(record("bias", 9, controls=2, unbounded=True)), 100)
    for wanted in ("Gap at the planned end", "Tolerance", "Bias share", "Fit share", "9 (in each arm"):
        assert wanted in text
    assert "[unbounded]" in text
    assert "×0.06" in text
    assert "algobias-report.html" in text


def test_panel_of_an_undecided_study_says_what_would_decide() -> None:
    assert "44 seeds" in printed(verdict_panel(record("undecided", 20)), 100)


@pytest.mark.parametrize("width", [40, 100])
def test_panel_never_obeys_text_from_the_study(width: int) -> None:
    text = printed(verdict_panel(hostile()), width)
    assert not CONTROL.search(text)
    assert "\u202e" not in text
    assert "[bold]x" in text, "square brackets are text, not markup"
    assert max(len(line) for line in text.splitlines()) <= width


@pytest.mark.parametrize("width", [40, 100])
def test_plan_panel(width: int) -> None:
    plan = {
        "task": "digits",
        "change": ["batch:x16,lr=sqrt"],
        "looks": [4, 6, 9],
        "workers": 2,
        "worst_case_updates": 123_456,
        "worst_case_seconds": 75.0,
        "worst_case_bytes": 3.2e8,
        "arms": [
            {"name": "baseline", "seeds": 9, "worst_case_updates": 2000, "worst_case_seconds": 30.0},
            {"name": "rate_only", "seeds": 9, "worst_case_updates": 16000, "worst_case_seconds": math.inf},
        ],
    }
    text = printed(plan_panel(plan), width)
    for wanted in ("baseline", "rate only", "16,000", "123,456", "1 min 15 s", "320 MB"):
        assert wanted in text
    assert max(len(line) for line in text.splitlines()) <= width


def play(view: LiveView, clock: Clock) -> None:
    view.start({"task": "digits", "change": ["batch:x16"], "first_look_seeds": 2, "tolerance": 0.4})
    for step in range(1, 11):
        clock.now += 2.5
        for arm in ("baseline", "variant+control:0 \x1b[2J"):
            for seed in range(2):
                view.update(arm, seed, 10 * step, 100, 0.5 / step, math.nan if step == 1 else 90.0 + step)
    for arm in ("baseline", "variant+control:0 \x1b[2J"):
        view.finished(arm, 0)
    view.look(2, (1.25, -math.inf, 1.5), "another look")
    view.message("measuring \x1b[31m the spread")
    view.stop()
    view.stop()


@pytest.mark.parametrize("width", [40, 80, 160])
def test_live_view_on_a_terminal_draws_and_cleans_up(width: int) -> None:
    file, clock = Tty(), Clock()
    view = LiveView(Console(file=file, width=width, force_terminal=True, _environ={}), clock=clock)
    play(view, clock)
    text = file.getvalue()
    assert "look at 2 seeds: gap 1.25" in text
    assert "\x1b[2J" not in text
    assert "\x1b[31m" not in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h"), "the cursor is given back"


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_printed_with_the_lock_held(terminal: bool) -> None:
    """Rich holds a lock of its own while it asks for the picture: the two in both orders stop everything."""
    held: list[bool] = []

    class Watched(Tty):
        def isatty(self) -> bool:
            return terminal

        def write(self, text: str) -> int:
            free: list[bool] = []

            def look() -> None:
                free.append(view._lock.acquire(timeout=2))
                if free[0]:
                    view._lock.release()

            other = threading.Thread(target=look)
            other.start()
            other.join()
            held.append(not free[0])
            return super().write(text)

    clock = Clock()
    view = LiveView(Console(file=Watched(), width=80, force_terminal=terminal, _environ={}), clock=clock)
    play(view, clock)
    assert held
    assert not any(held)


def test_live_region_shows_arms_seeds_times_and_the_last_interval() -> None:
    file, clock = Tty(), Clock()
    console = Console(file=file, width=100, force_terminal=True, _environ={})
    view = LiveView(console, clock=clock)
    view.start({"task": "digits", "change": ["batch:x16"], "first_look_seeds": 2})
    clock.now = 10.0
    view.update("baseline", 0, 50, 100, 3e-3, 96.5)
    view.finished("baseline", 1)
    view.look(2, (1.0, 0.5, 1.5), "another look")
    clock.now = 20.0
    view.update("baseline", 2, 50, 100, 3e-3, 96.5)
    text = printed(view._render(), 100)
    view.stop()
    assert "1/3" in text
    assert "20 s so far, about 10 s left for these runs" in text
    assert "2 seeds: gap 1.00 [0.50, 1.50]; another look" in text.replace("\xa0", " ")


def test_plain_lines_in_a_pipe_are_sparse_and_without_control_characters() -> None:
    file, clock = io.StringIO(), Clock()
    # FORCE_COLOR must not bring control characters into a log file.
    view = LiveView(Console(file=file, width=40, force_terminal=True), clock=clock)
    play(view, clock)
    lines = file.getvalue().splitlines()
    assert not CONTROL.search(file.getvalue())
    progress = [line for line in lines if "runs done" in line]
    assert 1 <= len(progress) <= 25.0 / PLAIN_EVERY
    assert [line for line in lines if line.startswith("look at 2 seeds")]
    assert len(lines) <= 3 + len(progress)


def test_live_view_needs_no_start_and_survives_stop_alone() -> None:
    file = io.StringIO()
    with LiveView(Console(file=file)) as view:
        view.finished("baseline", 0)
    LiveView(Console(file=file)).stop()
    assert HOSTILE not in file.getvalue()
