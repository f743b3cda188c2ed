"""What is found out of a command in four short runs, before anything is paid for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from algobias.attached.levers.spelling import singles
from algobias.attached.orders import ARMED
from algobias.attached.refusals import SEVERAL
from algobias.commands.findings import Finding, Preflight
from algobias.commands.runner import Runner
from algobias.commands.short import ShortRun, ShortRuns, short_runs
from algobias.commands.unmatched import unmatched
from algobias.commands.writes import files_of, written
from algobias.errors import BadInput
from algobias.jobs.ending import why
from algobias.jobs.job import EVENTS, OUTPUT

LOSSES = "losses"
ONE_OF_SEVERAL = (
    f"{SEVERAL}: the training loss that is measured is one of these, and "
    "where they take turns (GANs) it says little of how far training has come; --train-loss names another"
)
"""What is found where arms would be compared at the loss of one of several optimizers."""

NOTHING_LEFT = (
    "no weights were seen, and of short runs there is no output, metric or file in {out} to compare"
)
"""Why runs cannot be told from each other."""


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
    with short_runs(runner, updates) as short:
        before = dict(files_of(cwd, runner.store.path))
        plain = short.run("plain")
        _got_there(plain, asked.shown_command())
        findings = [outside_finding(written(before, cwd, runner.store.path), updates)]
        for source, option in asked.sources:
            unread_yet = unmatched(source, plain.folder, plain.folder / OUTPUT, updates, option)
            findings += [] if unread_yet is None else [unread_yet]
        replay = False
        if plain.weights is None:
            findings.append(Finding("inside", None, unseen(plain)))
        else:
            probed = short.run("probed", fit=True, null_control=True)
            findings += alike(plain, probed, short)
            replay, finding = _replay(probed)
            findings.append(finding)
            unread = probed.told.refusal("probes")
            if unread is not None:
                findings.append(Finding("probes", None, f"coordinates cannot be read: {unread}"))
        findings += differing_seeds(plain, short.run("second seed", replicate=1))
        if not asked.aa:
            levers = asked.command_of("variant").levers
            variant = short.run("variant", arm="variant")
            findings += differing_variant(
                plain, variant, levers, options=asked.sets_options, lengths=asked.length_alone
            )
        seconds = plain.result.seconds / plain.told.updates if plain.told.updates else None
        return Preflight(tuple(findings), replay and asked.fit > 0, seconds)


def _got_there(short: ShortRun, shown: str) -> None:
    if not short.result.well:
        allowed = f"a command that ends well; in its first short run: {why(short.result, short.folder)}"
        raise BadInput("command", shown, allowed)


def unseen(plain: ShortRun) -> str:
    """Say why no weights were seen."""
    if plain.told.main is None:
        if (plain.folder / EVENTS / ARMED).exists():
            return "no process of the command loads torch: only what it tells itself can be judged"
        return (
            "nothing sits inside: no process of the command announced itself, so that nothing is measured, "
            "injected or seeded there. Usual causes: python -E or -I, which ignore PYTHONPATH (also in the "
            "first line of a script); a launcher or container that clears the environment; no Python at all. "
            "import algobias; algobias.attach() in the script is the way in"
        )
    refused = plain.told.refusals
    because = refused[0].why if refused else "no optimizer of torch was seen"
    return f"nothing inside can be measured: {because}"


def differing_seeds(plain: ShortRun, other: ShortRun) -> Iterator[Finding]:
    """Two seeds differ."""
    if not other.result.well:
        yield Finding("seeds", False, f"a second seed fails: {why(other.result, other.folder)}")
        return
    differ = other.apart(plain)
    if differ is None:
        yield Finding("seeds", None, f"whether two seeds end differently is not known: {NOTHING_LEFT}")
        return
    yield Finding(
        "seeds",
        differ,
        "two seeds end differently"
        if differ
        else "two seeds end alike: the command does not take the seed; give it as {seed} in an option",
    )


def alike(plain: ShortRun, probed: ShortRun, short: ShortRuns) -> Iterator[Finding]:
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
        if once == SEVERAL and not short.runner.question.train_loss:
            yield Finding(LOSSES, None, ONE_OF_SEVERAL)
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


def differing_variant(
    plain: ShortRun,
    variant: ShortRun,
    levers: Sequence[str] = (),
    *,
    options: bool = True,
    lengths: Sequence[str] = (),
) -> Iterator[Finding]:
    """The variant does something else than the baseline; where it does not, say whose fault that may be.

    Args:
        plain: A run of the baseline.
        variant: A run of the variant, on the same seed.
        levers: Injected into the variant.
        options: Whether options or variables change too.
        lengths: The options, where they set the length of the schedule alone: short runs do not get there.
    """
    if not variant.result.well:
        text = f"the variant fails: {why(variant.result, variant.folder)}"
        yield Finding("variant", False, text)
        return
    refused = [event for event in variant.told.refusals if event.what not in ("replay", "capture", "probes")]
    differs = variant.told.updates != plain.told.updates or variant.apart(plain)
    if differs:
        yield Finding("variant", True, "the variant ends differently than the baseline")
    elif differs is None and options:
        text = f"whether the variant ends differently than the baseline is not known: {NOTHING_LEFT}"
        yield Finding("variant", None, text)
    elif lengths:
        shown = " and ".join(lengths)
        text = (
            f"in {variant.told.updates} updates the variant does what the baseline does: whole runs tell "
            f"whether {shown} makes them longer or shorter"
        )
        yield Finding("variant", None, text)
    elif options:
        text = (
            "the variant ends as the baseline does: its options may not be what the script reads; where they "
            "set how long it trains, --scale names them"
        )
        yield Finding("variant", False, text)
    elif not refused:
        yield _idle(variant, levers)
    for event in refused:
        yield Finding(
            event.what, False, f"{event.what} cannot be injected: {event.why}", _another(event.what)
        )


def _another(lever: str) -> str:
    name = lever.partition(":")[0]
    return (
        "a lever that this script allows, or an option of its own (--args); "
        f"'algobias levers {name}' says what injecting it equals"
    )


def _idle(variant: ShortRun, levers: Sequence[str]) -> Finding:
    """Say of injected levers that have changed no weight whether they have acted."""
    shown = " and ".join(levers)
    if variant.told.main is None:
        return Finding("variant", False, f"{shown} cannot act: no process of the command loads torch")
    each = [single for lever in levers for single in singles(lever)]
    if any(variant.told.times_applied(single) for single in each):
        return Finding("variant", True, f"{shown} acted, and trains the same weights")
    updates = variant.told.updates
    return Finding(
        "variant", None, f"{shown} did not act in {updates} updates: whole runs tell whether it does"
    )


def _replay(probed: ShortRun) -> tuple[bool, Finding]:
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


def outside_finding(names: Sequence[str], updates: int) -> Finding:
    """Say whether a short run writes where another run may write.

    Args:
        names: Files that it wrote outside of its own folder.
        updates: Updates it had: what is written at the end of training comes later.
    """
    if not names:
        return Finding(
            "writes", True, f"nothing is written outside of {{out}} in the first {updates} updates"
        )
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    text = (
        f"it writes outside of {{out}}, where runs side by side get into each other's way: {shown}; name the "
        "folder in the command, like --out_dir={out}"
    )
    return Finding("writes", False, text)
