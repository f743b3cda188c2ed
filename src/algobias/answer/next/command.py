"""What to do after an audit of a command: in words, since only its author knows its options."""

from __future__ import annotations

from algobias.answer.answer import Answer

LONGER = "train the variant longer: run it again with the longer schedule in --args"
"""What brings back what a command lost by too little training."""

NO_LONGER = "longer runs of the variant fit no better: look for a rate or warm-up that suits the change"
"""Said of a variant that is under-trained, and that more updates do not train any further."""

SCALE = (
    "name the option that makes the schedule longer, with its planned value (--scale '--epochs=20'), and run "
    "it again: at equal training loss fit and bias are told apart"
)
"""What a match needs where the runs that there are never meet."""

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
    scaled = "--scale" in command.partition(" -- ")[0]
    if verdict == "undecided" and answer.gap.state == "present" and not (answer.fit.matched or scaled):
        return SCALE
    return None
