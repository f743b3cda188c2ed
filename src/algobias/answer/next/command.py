"""What to do after an audit of a command: in words, since only its author knows its options."""

from __future__ import annotations

from algobias.answer.answer import Answer
from algobias.answer.next.lengths import longer_by, scale_of, values_of
from algobias.answer.next.typed import Commanded, Step, again, words_of

TIMES = 2
"""How much longer a variant that is under-trained is trained next."""

NO_LONGER = "longer runs of the variant fit no better: look for a rate or warm-up that suits the change"
"""Said of a variant that is under-trained, and that more updates do not train any further."""

LOG_LOSS = "log the training loss of every run as well: it tells whether fit or bias is what was lost"
"""What tables without a training loss lack where the loss is real."""

NO_LOSS = "metric only", "with counters"
"""Levels of evidence below a training loss."""


def after_command(answer: Answer, command: str) -> str | None:
    """Say what to do after an audit of a command; None: what is said after any audit fits.

    Args:
        answer: What it answers.
        command: The command that asked for it.
    """
    verdict = answer.verdict
    helped = [control.lever for control in answer.controls if control.verdict == "recovered"]
    if answer.evidence is None or helped:
        return None
    if answer.aa:
        if verdict == "no_gap":
            return "as it must be, nothing is found where nothing changed; run it with a change (--args)"
        return None
    if verdict == "not_applied":
        return "check that the script reads what was changed (--args, --env), and run it again"
    if verdict == "undecided" and answer.evidence in NO_LOSS and answer.would_decide is None:
        return (
            "a training loss would tell fit from bias: see the warnings for why none was measured inside, or "
            "have the script tell it (--train-loss)"
        )
    asked = command.partition(" -- ")[0]
    if never_meets(answer) and "--scale" not in asked and "scale=" not in asked:
        hint = scale_of(words_of(answer.task or ""))
        return (
            f"name the option that makes the schedule longer ({hint}), and run it again: at equal training "
            "loss fit and bias are told apart"
        )
    return None


def trained_longer(record: Commanded) -> Step:
    """Say how to train the variant of a command longer: by its own options, which --scale names."""
    asked = words_of(record.command)
    longer = longer_by(asked, TIMES)
    if longer and again(record):
        return Step(f"train the variant {TIMES} times as long", again(record, "--args", longer))
    hint = scale_of(words_of(record.answer.task or ""))
    named = f", the options that --scale names ({hint})" if not values_of(asked, "--scale") else ""
    return Step(f"train the variant longer: run it again with the longer schedule in --args{named}")


def never_meets(answer: Answer) -> bool:
    """Whether the loss is real, and there is a training loss, but the runs are never at an equal one."""
    undecided = answer.verdict == "undecided" and answer.evidence not in NO_LOSS
    return undecided and answer.gap.state == "present" and not answer.fit.matched


def with_way_out(answer: Answer) -> Answer:
    """Let the reason name what would decide, where the runs of an audit without a scale never meet."""
    if not never_meets(answer):
        return answer
    hint = scale_of(words_of(answer.task or ""))
    return answer.changed(reason=f"{answer.reason} Runs of other lengths may tell ({hint}), not more seeds.")
