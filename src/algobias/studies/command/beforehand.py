"""What is known before the planner is asked: preflight, time, tolerance, whether the rate decays."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from algobias.answer.next.lengths import length_options, scale_of
from algobias.commands.findings import Preflight, kept
from algobias.commands.numbers.inside import Told
from algobias.commands.placed import NOISE
from algobias.commands.preflight import preflight
from algobias.commands.runner import Runner
from algobias.commands.writes import files_of, written
from algobias.errors import BadInput, Unfit
from algobias.judge.design import Request
from algobias.runs.progress import Progress
from algobias.studies.command.options import CommandOptions

OUTSIDE = "outside.json"
"""Where it is noted what the baseline's first run wrote outside of its folder."""

NOISE_SEEDS = 4
"""Baselines on other seeds that tell the seed spread, where no tolerance is given."""

DECAYED = 0.5
"""A learning rate that ends below this share of its highest value decays."""


def found_beforehand(runner: Runner, options: CommandOptions, progress: Progress) -> Preflight:
    """Find out beforehand what can be known of the command; say it."""
    updates = runner.question.preflight
    if not updates:
        return Preflight((), runner.question.fit > 0, None)
    folder = runner.first.folder.parent
    other = runner.place(Request("variant", 0)).address[:12]
    names = " ".join(probe.kept_as() for probe in runner.question.asked_probes)
    read = f"-{hashlib.sha256(names.encode()).hexdigest()[:8]}" if names else ""
    progress.message(f"preflight: four short runs of {updates} updates")
    # Whoever asks the same at once waits, and reads what was found out.
    with runner.store.lock(runner.first.address, runner.first.seed):
        path = folder / f"preflight-{other}-{updates}{read}.json"
        found = kept(path, lambda: preflight(runner, updates), force=options.force)
    for finding in found.findings:
        mark = {True: "ok", False: "FAILED", None: "note"}[finding.passed]
        progress.message(f"preflight {mark}: {finding.text}")
    if found.failed and not options.force:
        first = found.failed[0]
        instead = first.instead or "a command of which that is not so (--force goes on in spite of it)"
        raise Unfit(f"preflight ({first.check})", first.text, instead)
    return found


def expected(runner: Runner) -> tuple[str, list[str]]:
    """Carry out the baseline's first run; say what the study will take by it, and what it wrote outside.

    Returns:
        The sentence, and files outside of the run's own folder, as they were noted when it was carried out.
    """
    asked, cwd = runner.question, Path(runner.question.cwd)
    noted = runner.first.folder.parent / OUTSIDE
    before = dict(files_of(cwd, runner.store.path))
    (run,) = runner.carry_out([Request("baseline", 0)])
    if not noted.exists():
        noted.write_text(json.dumps(written(before, cwd, runner.store.path)), encoding="utf-8")
    each = run.outcome.cost.seconds
    fewest, most = (look * len(asked.arms) for look in (asked.looks[0], asked.looks[-1]))
    places = runner.slots.places
    sentence = expected_times(each, fewest, most, places)
    return sentence, list(map(str, json.loads(noted.read_text(encoding="utf-8"))))


def expected_times(each: float, fewest: int, most: int, places: int) -> str:
    """Say what a study will take, by one run that went alone.

    Side by side runs share cores: they may take as long as one after the other, or as long as alone.

    Args:
        each: Seconds of the run.
        fewest: Runs of the first look.
        most: Runs of all looks.
        places: Runs at a time.
    """
    said = []
    for name, count in (("the first look", fewest), ("all looks", most)):
        quick, slow = (_spoken(math.ceil(count / at_a_time) * each) for at_a_time in (places, 1))
        said.append(f"{name} {f'{quick} to {slow}' if quick != slow else f'about {quick}'} ({count} runs)")
    slowed = "which slow each other down where they share cores"
    side = "" if places == 1 else f", {places} at a time, {slowed}"
    return (
        f"one run alone takes {each:.3g} s: {' and '.join(said)}{side}; runs of other lengths, and those "
        "that tell the seed spread, come on top"
    )


def _spoken(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def tolerance_of(runner: Runner) -> tuple[float, str]:
    """Take the tolerance as given, or 1.25 seed sd of baselines on seeds that the audit never uses."""
    if runner.question.tolerance is not None:
        return runner.question.tolerance, "as given"
    runner.progress.message(
        f"no tolerance given: {NOISE_SEEDS} baselines on other seeds tell the seed spread"
    )
    runs = runner.carry_out([Request(NOISE, replicate) for replicate in range(NOISE_SEEDS)])
    ends = [run.outcome.end_metric for run in runs if run.outcome.ended_well]
    if len(ends) < 2:
        raise BadInput(
            "--tolerance", None, "a number: the baselines that were to tell the spread did not end well"
        )
    sd = float(np.std(ends, ddof=1))
    if sd == 0:
        return 1e-6, "the baseline does not vary over seeds"
    return float(f"{1.25 * sd:.3g}"), f"1.25 times the seed sd {sd:.3g} of {len(ends)} other baselines"


def _guessed(words: Sequence[str]) -> str:
    hint = scale_of(words)
    return f"by its name, {hint}" if length_options(words) else hint


def rate_decays(runner: Runner) -> tuple[bool, str | None]:
    """Say whether the learning rate of the baseline's first run decays, and what to do about it."""
    asked = runner.question
    if asked.decays is not None:
        return asked.decays, None
    if asked.scaling:
        # Separate runs of every length are right whether or not the rate decays.
        return True, None
    runner.carry_out([Request("baseline", 0)])
    rates = Told.of(runner.first.folder).rates()
    if not rates:
        return False, None
    if rates[-1] < DECAYED * max(rates):
        return True, (
            "the learning rate decays: arms can be compared at equal training loss only by runs of other "
            f"lengths; --scale names the option that sets the length ({_guessed(asked.command)})"
        )
    return False, None
