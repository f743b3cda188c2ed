"""Which controls a script allows: found out in short runs, before whole ones are paid for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from algobias.commands.command import Command
from algobias.commands.numbers.inside import Told
from algobias.commands.runner import Runner
from algobias.commands.short import ShortRun, short_runs
from algobias.jobs.ending import why
from algobias.whole_files import disk

NO_TORCH = "no process of the command loads torch, so that nothing can be injected"

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def refusals(runner: Runner, arms: Sequence[str], updates: int) -> dict[str, str]:
    """Say of arms that cannot be run why: a lever is refused, or the command fails at once.

    Of levers that differ in their numbers alone one is tried. What was found out is kept beside the
    baseline's first run. A lever that acts late (an average that is evaluated) need not act in a short run.

    Args:
        runner: What carries out runs of the study.
        arms: The arms.
        updates: Updates of each short run; 0: none is made, and nothing is known.

    Raises:
        KeyboardInterrupt: Interrupted.
        OutOfTime: The time is over.
    """
    if Told.of(runner.first.folder).main is None:
        # No run of such a command is short.
        return {arm: NO_TORCH for arm in arms if runner.command_of(arm).levers}
    if not updates:
        return {}
    kinds: dict[str, list[str]] = {}
    for arm in arms:
        kinds.setdefault(_kind(runner.command_of(arm)), []).append(arm)
    reasons: dict[str, str] = {}
    # Whoever asks the same at once waits, and reads what was found out.
    lock = runner.store.lock(runner.first.address, runner.first.seed)
    with lock, short_runs(runner, updates) as short:
        for kind, alike in kinds.items():
            kept = runner.first.folder.parent / f"allowed-{kind}-{updates}.json"
            if not kept.exists():
                refused = _refused(short.run(kind, arm=alike[0]), runner, alike[0])
                with disk(kept):
                    kept.write_text(json.dumps(refused), encoding="utf-8")
            reason = json.loads(kept.read_text(encoding="utf-8"))
            reasons |= {arm: str(reason) for arm in alike if reason is not None}
    return reasons


def _kind(command: Command) -> str:
    """Name what a command is but for the numbers of its levers."""
    content = command.resolved() | {"levers": [_NUMBER.sub("#", lever) for lever in command.levers]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _refused(short: ShortRun, runner: Runner, arm: str) -> str | None:
    from algobias.attached.levers.registry import read

    if not short.result.well:
        return f"a short run with it fails: {why(short.result, short.folder)}"
    levers = runner.command_of(arm).levers
    names = [*(part.spelling for text in levers for part in read(text)), *levers, "attach"]
    refusals_of_run = (short.told.refusal(name) for name in names)
    return next((reason for reason in refusals_of_run if reason is not None), None)
