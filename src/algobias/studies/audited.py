"""A finished audit as the start of another study: its result and its question."""

from __future__ import annotations

from pathlib import Path

from algobias.answer.answer import Answer
from algobias.commands.question import CommandQuestion
from algobias.errors import BadInput
from algobias.judge.verdict import GAPS
from algobias.kept.archive import Archive, read_archive, to_finish
from algobias.kept.store import Store, StudyRow
from algobias.own.user_file import in_file, without_folder
from algobias.recipe import recipe_from
from algobias.running.arms import Arms
from algobias.running.spec import StudySpec, spec_from


def audit_of(store: Store, study: str) -> StudyRow:
    """The audit that a study is, or is about.

    Args:
        store: Where studies are kept.
        study: An id, a unique prefix, or ``last``.

    Raises:
        BadInput: No such study, or one that nothing can be begun with; the newest that would do is named.
    """
    row = store.find_study(study)
    for origin in ("control_of", "explain_of"):
        if origin in row.spec:
            row = store.find_study(str(row.spec[origin]))
    unfit = _unfit(row)
    if unfit is not None:
        newest = next((one.id for one in reversed(store.studies()) if _would_do(one)), None)
        instead = (
            "no study in this store would do" if newest is None else f"the newest that would do: {newest}"
        )
        raise BadInput(unfit.field, unfit.value, f"{unfit.allowed} ({instead})")
    return row


def audited_question(row: StudyRow) -> tuple[Answer, StudySpec]:
    """The answer of an audit that found a gap, and its question.

    Raises:
        BadInput: It has not finished, found no gap, or has no runs to show one: a check before them failed.
    """
    unfit = _unfit(row)
    if unfit is not None:
        raise unfit
    if of_command(row):
        raise BadInput("study", f"{row.id} (of a command)", "an audit of a task")
    answer = read_archive(row).answer
    known = {key: value for key, value in row.spec.items() if key in StudySpec.model_fields}
    return answer, spec_from({**known, "task": _where_it_is(str(known["task"]))})


def audited_command(row: StudyRow) -> tuple[Archive, CommandQuestion]:
    """An audit of a command that found a gap, and its question.

    Raises:
        BadInput: It has not finished, or found no gap; its folder has gone.
    """
    unfit = _unfit(row)
    if unfit is not None:
        raise unfit
    question = CommandQuestion.from_store(row.spec)
    if not Path(question.cwd).is_dir():
        raise BadInput("study", row.id, f"a study whose command can still be started in {question.cwd}")
    return read_archive(row), question


def of_command(row: StudyRow) -> bool:
    """Whether an audit is one of a command."""
    return "command" in row.spec


def _where_it_is(task: str) -> str:
    """The task; one whose file is no longer where it was audited, with that of its name in this folder.

    Whether it is still what was audited, :func:`check_files` says.
    """
    named = in_file(task)
    if named is None or Path(named[0]).is_file():
        return task
    return without_folder(task) if Path(Path(named[0]).name).is_file() else task


def check_files(audited: Answer, arms: Arms) -> None:
    """Refuse to go on from an audit where a user's file is no longer what was audited.

    A file of levers shows in the recipes, one of a task in the addresses: with its code and data. A newer
    version of the training loop shows there as well.

    Args:
        audited: What the audit answered.
        arms: What its question makes now, on the device of the audit.

    Raises:
        BadInput: Some recipe or address is another one; the files are named.
    """
    own = [text for text in (*audited.change, *audited.base) if in_file(text) is not None]
    allowed = "what was audited; audit it again as it is now"
    for arm in audited.arms:
        recipe = arms.recipes.get(arm.name or "")
        if recipe is None or arm.recipe is None:
            continue
        if own and recipe.address() != recipe_from(dict(arm.recipe)).address():
            raise BadInput("change", ", ".join(own), allowed)
        if arms.task.files and arms.address(recipe) != arm.address:
            raise BadInput("task", arms.task.text, allowed)


def tolerance_of(audited: Answer) -> float:
    """Take the tolerance of an audit with runs, which has one."""
    if audited.tolerance is None:
        raise BadInput("study", audited.study, "an audit with a tolerance")
    return float(audited.tolerance)


def _unfit(row: StudyRow) -> BadInput | None:
    """Why nothing can be begun with an audit, or None."""
    if row.result is None:
        return BadInput("study", row.id, f"a finished audit: {to_finish(row)}")
    answer = read_archive(row).answer
    shown = f"{row.id} ({answer.verdict})"
    # Of a command it is often not told what the loss is made of, but that it is real.
    real = of_command(row) and answer.gap.state == "present"
    if answer.aa or not (answer.verdict in GAPS or (answer.verdict == "undecided" and real)):
        allowed = "an audit that ended " + ", ".join(GAPS) + ": there is no gap to explain or to bring back"
        return BadInput("study", shown, allowed)
    if not answer.gap.n:
        return BadInput("study", shown, f"an audit with runs; this has none: {answer.reason}")
    return None


def _would_do(row: StudyRow) -> bool:
    """Whether a study is an audit, in order, that something can be begun with."""
    if "control_of" in row.spec or "explain_of" in row.spec:
        return False
    try:
        return _unfit(row) is None
    except BadInput:
        return False
