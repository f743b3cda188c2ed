"""What is found out of a command in four short runs, before anything is paid for."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from algobias.attached.events import End
from algobias.attached.orders import FitOrders
from algobias.commands.ending import why
from algobias.commands.inside import Told, orders_for, orders_json
from algobias.commands.job import OUTPUT, Job, Result
from algobias.commands.runner import Placed, Runner
from algobias.commands.slots import Slots, Task
from algobias.commands.writes import files_of, written
from algobias.errors import BadInput
from algobias.judge.design import Request
from algobias.training.whole_files import disk

SHORT_RUNS = "preflight"
"""The folder of short runs, in the folder of the baseline's first run; it goes with them."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found out.

    Attributes:
        check: What was looked at.
        passed: It is as it must be; None: it could not be looked at.
        text: What was seen, in words.
    """

    check: str
    passed: bool | None
    text: str


@dataclass(frozen=True)
class Preflight:
    """What was found out beforehand.

    Attributes:
        findings: In order.
        replay: The training loss can be measured inside.
        seconds: Time of one update, without what starting takes; None: not known.
    """

    findings: tuple[Finding, ...]
    replay: bool
    seconds: float | None

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What is not as it must be."""
        return tuple(finding for finding in self.findings if finding.passed is False)


@dataclass(frozen=True)
class _Short:
    """A short run that has ended."""

    name: str
    result: Result
    told: Told
    folder: Path

    @property
    def trace(self) -> str:
        """Tell the run from others: hash of what was trained; where nobody knows it, of its output."""
        return self.weights or hashlib.sha256((self.folder / OUTPUT).read_bytes()).hexdigest()

    @property
    def weights(self) -> str | None:
        """Hash of what was trained; None where nothing inside was seen."""
        main = self.told.main
        ends = () if main is None else main.of(End)
        return ends[-1].weights if ends else None


class _Lock:
    """Nobody else carries out a short run."""

    def acquire(self, *, blocking: bool) -> None:
        """Take it."""

    def release(self) -> None:
        """Let go of it."""


def preflight(runner: Runner, updates: int) -> Preflight:
    """Run a command four times for a few updates, and say what was found out.

    Plain; the same seed with the loss measured and every gradient taken twice; a second seed; the variant.

    Args:
        runner: What carries out runs of the study.
        updates: Updates of each.

    Raises:
        BadInput: The command does not get that far.
        KeyboardInterrupt: Interrupted.
    """
    asked = runner.question
    cwd = Path(asked.cwd)
    place = runner.first.folder.parent / SHORT_RUNS
    with disk(place):
        shutil.rmtree(place, ignore_errors=True)  # of one that was killed
        place.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=place) as temporary:
        short = _Shorts(runner, Path(temporary), updates)
        before = dict(files_of(cwd, runner.store.path))
        plain = short.run("plain")
        _got_there(plain, asked.shown_command())
        findings = _written(written(before, cwd, runner.store.path))
        replay = False
        if plain.weights is None:
            findings.append(Finding("inside", None, _unseen(plain)))
        else:
            probed = short.run("probed", fit=True, null_control=True)
            findings += _alike(plain, probed, short)
            replay, finding = _replay(probed)
            findings.append(finding)
            unread = probed.told.refusal("probes")
            if unread is not None:
                findings.append(Finding("probes", None, f"coordinates cannot be read: {unread}"))
        findings += _seeds(plain, short.run("second seed", replicate=1))
        if not asked.aa:
            findings += _differ(plain, short.run("variant", arm="variant"))
        seconds = plain.result.seconds / plain.told.updates if plain.told.updates else None
        return Preflight(tuple(findings), replay and asked.fit > 0, seconds)


@dataclass(frozen=True)
class _Shorts:
    """Makes short runs."""

    runner: Runner
    folder: Path
    updates: int

    def run(
        self,
        name: str,
        *,
        arm: str = "baseline",
        replicate: int = 0,
        fit: bool = False,
        null_control: bool = False,
    ) -> _Short:
        """Carry out one short run."""
        placed: Placed = self.runner.place(Request(arm, replicate))
        folder = self.folder / name.replace(" ", "-")
        here = replace(placed, folder=folder)
        examples = self.runner.question.fit
        orders = orders_for(
            folder,
            seed=None if here.command.has("seed") else here.seed,
            levers=here.command.levers,
            fit=FitOrders(keep=str(folder / "fit-set"), examples=examples) if fit and examples else None,
            stop_after=self.updates,
            null_control=null_control,
            probes=self.runner.question.spelled_probes,
        )
        job: Job = replace(self.runner.job(here), orders=orders_json(orders))
        ended: list[Result] = []
        slots = Slots(1, deadline=self.runner.slots.deadline)
        slots.run([Task(job, _Lock())], lambda task, result: ended.append(result))
        return _Short(name, ended[0], Told.of(folder), folder)


def _got_there(short: _Short, shown: str) -> None:
    if not short.result.well:
        allowed = f"a command that ends well; in its first short run: {why(short.result, short.folder)}"
        raise BadInput("command", shown, allowed)


def _unseen(plain: _Short) -> str:
    if plain.told.main is None:
        return "no process of the command loads torch: only what it tells itself can be judged"
    refused = plain.told.refusals
    because = refused[0].why if refused else "no optimizer of torch was seen"
    return f"nothing inside can be measured: {because}"


def _seeds(plain: _Short, other: _Short) -> Iterator[Finding]:
    """Two seeds differ."""
    if not other.result.well:
        yield Finding("seeds", False, f"a second seed fails: {why(other.result, other.folder)}")
        return
    differ = other.trace != plain.trace
    yield Finding(
        "seeds",
        differ,
        "two seeds end differently"
        if differ
        else "two seeds end alike: the command does not take the seed; give it as {seed} in an option",
    )


def _alike(plain: _Short, probed: _Short, short: _Shorts) -> Iterator[Finding]:
    """The same seed repeats, and measuring changes nothing; taken apart only where they differ."""
    if not probed.result.well:
        yield Finding("measuring", False, f"the measured run fails: {why(probed.result, probed.folder)}")
        return
    if probed.weights == plain.weights:
        yield Finding("repeat", True, "the same seed ends with the same weights")
        once = probed.told.refusal("sam:0")
        text = "measuring, and taking every gradient twice, changes no weight"
        if once is not None:
            text = f"measuring changes no weight; gradients cannot be taken twice: {once}"
        yield Finding("measuring", True, text)
        return
    again = short.run("plain again")
    same = again.weights == plain.weights
    yield Finding(
        "repeat",
        same,
        "the same seed ends with the same weights"
        if same
        else "the same seed ends with other weights: runs cannot be repeated, and pairs of seeds mean less",
    )
    if same:
        yield Finding("measuring", False, "measuring changes the weights: it is left out")


def _differ(plain: _Short, variant: _Short) -> Iterator[Finding]:
    """The variant does something else than the baseline."""
    if not variant.result.well:
        text = f"the variant fails: {why(variant.result, variant.folder)}"
        yield Finding("variant", False, text)
        return
    differs = variant.trace != plain.trace or variant.told.updates != plain.told.updates
    yield Finding(
        "variant",
        differs,
        "the variant ends differently than the baseline"
        if differs
        else "the variant ends as the baseline does: its options may not be what the script reads",
    )
    for event in variant.told.refusals:
        if event.what not in ("replay", "capture", "probes"):
            yield Finding(event.what, False, f"{event.what} cannot be injected: {event.why}")


def _replay(probed: _Short) -> tuple[bool, Finding]:
    """Whether the training loss can be measured inside."""
    refused = next((event for event in probed.told.refusals if event.what in ("replay", "capture")), None)
    if refused is not None:
        return False, Finding("replay", None, f"the training loss cannot be measured: {refused.why}")
    if not probed.result.well:
        return False, Finding("replay", None, "the measured run failed: the training loss is not measured")
    if not probed.told.losses():
        text = "no evaluation came so soon: the first whole run tells whether losses can be measured"
        return True, Finding("replay", None, text)
    return True, Finding("replay", True, "losses and gradients are replayed exactly")


def _written(names: list[str]) -> list[Finding]:
    """Nothing is written where another run may write."""
    if not names:
        return [Finding("writes", True, "nothing is written outside of {out}")]
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    text = (
        f"it writes outside of {{out}}, where runs side by side get into each other's way: {shown}; name the "
        "folder in the command, like --out_dir={out}"
    )
    return [Finding("writes", False, text)]


def kept(path: Path, make: Callable[[], Preflight]) -> Preflight:
    """Read what was found out before, or find it out and keep it.

    Args:
        path: The file.
        make: Finds it out.
    """
    try:
        told = json.loads(path.read_bytes())
        findings = tuple(Finding(**finding) for finding in told["findings"])
        return Preflight(findings, told["replay"], told["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {
        "findings": [finding.__dict__ for finding in made.findings],
        "replay": made.replay,
        "seconds": made.seconds,
    }
    path.write_text(json.dumps(told), encoding="utf-8")
    return made
