"""What to do after a study: one line with the exact command, for the terminal and for the report."""

from __future__ import annotations

from algobias.answer.next.command import LOG_LOSS, NO_LONGER, after_command, trained_longer
from algobias.answer.next.control import after_control
from algobias.answer.next.tables import NEW_RUNS, again_of_tables, doubted_columns, of_new_runs, with_columns
from algobias.answer.next.typed import Commanded, Step, about, again, carrying
from algobias.answer.single import SingleRuns
from algobias.judge.split import NO_LOSS as NO_TRAINING_LOSS
from algobias.own.user_file import in_words

OPTIONS = ("--lower-is-better", "--decays")
"""Options that settle a doubt whose text ends with them."""


def next_text(record: Commanded) -> str:
    """The next steps in one line; empty where the record has no verdict this version knows."""
    return "; ".join(str(step) for step in next_steps(record))


def next_steps(record: Commanded) -> tuple[Step, ...]:
    """What follows from a study: from its verdict, or from what a control or an intervention showed."""
    answer = record.answer
    if answer.control_of is not None:
        return after_control(record, answer.control_of)
    if answer.explain_of is not None:
        return _after_explain(record, answer.explain_of)
    verdict = str(answer.verdict)
    if record.answer.doubts:
        return (_ask_another(record),)
    of_command = after_command(answer, record.command)
    real = answer.evidence is not None and verdict == "undecided" and answer.gap.state == "present"
    brings_back = (_search(record),) if real else ()
    if of_command is not None:
        return (Step(of_command), *brings_back)
    if answer.aa:
        return _after_null(record, verdict)
    if verdict in ("bias", "mixed", "data", "broken", "optimization"):
        return _after_loss(record, verdict)
    if verdict == "no_gap":
        return (_keep(record),)
    if verdict == "not_applied":
        return _after_nothing(record)
    return (*_after_undecided(record), *brings_back) if verdict == "undecided" else ()


def _ask_another(record: Commanded) -> Step:
    """The verdict rests on a question that is in doubt."""
    doubts = record.answer.doubts
    options = [option for option in OPTIONS if any(text.endswith(option) for text in doubts)]
    asked = again(record, *options)
    named, words = [text for text in doubts if doubted_columns(text)], "first settle what is doubted above"
    if named and asked:
        asked = with_columns(asked, ",".join(map(doubted_columns, named)))
        which = "where the columns named above are the same quantity, say so, and ask again"
        return Step(which if len(named) == len(doubts) else f"{words}; {which}", asked)
    with_them = " with the options" if len(options) > 1 else " with the option" if options else ""
    return Step(f"{words}, then ask again{with_them}", asked)


def _after_loss(record: Commanded, verdict: str) -> tuple[Step, ...]:
    helped = [
        control.lever
        for control in record.answer.controls
        if control.verdict == "recovered" and not control.undoes
    ]
    if helped:
        return (Step(f"train with {helped[0]} beside the change: the gap that it leaves is tolerable"),)
    if _of_tables(record):
        return _after_tables(record, verdict)
    if not record.answer.gap.n:
        what = "mend the change: it failed its own check before anything was trained (see the reason)"
        return (Step(what),)
    search = _search(record)
    if verdict == "optimization" and record.answer.fit.longer_in_vain:
        return (Step(f"{NO_LONGER}; {search.what}", search.command),)
    if record.answer.evidence is not None:
        return (trained_longer(record), search) if verdict == "optimization" else (search,)
    if verdict == "optimization":
        longer = Step("train the variant on, with twice its updates", again(record, "--control", "budget:x2"))
        return (longer, search) if longer.command else (search,)
    if verdict == "broken":
        return (search,)
    return (search, Step("why", about(record, "explain")))


def _search(record: Commanded) -> Step:
    return Step("what brings it back (--plan shows the cost first)", about(record, "control"))


def _after_tables(record: Commanded, verdict: str) -> tuple[Step, ...]:
    """No control can be tried on tables: what to train, and how to ask again."""
    asked = again_of_tables(record)
    if verdict == "optimization":
        what = "train the variant's runs on, log them into its table, and ask again"
    elif verdict == "broken":
        what = "mend the training of the variant (a lower learning rate, warm-up, clipping), and ask again"
    else:
        what = (
            "no control can be tried on tables: train the variant with one on the same seeds (algobias "
            f"levers lists them), and compare that with the baseline, its logs as {NEW_RUNS} in the place of "
            "the variant's"
        )
        asked = of_new_runs(asked)
    return (Step(what, asked),)


def _keep(record: Commanded) -> Step:
    tolerance = record.answer.tolerance
    lost = f" at the tolerance of {tolerance:g}" if tolerance is not None else ""
    told = ("a loss is real but tolerable" if record.answer.tolerable else "nothing is lost") + lost
    if record.answer.hides_loss:
        told += ", though at equal fit it is behind"
    elif record.answer.gap.below_zero:
        told = "the variant is better"
    if record.answer.saves_nothing:
        return Step(f"the change saves nothing here, no cost that is counted falls; {told}")
    if record.answer.tables_show_no_saving:
        return Step(
            f"{told}; the tables show nothing that the change saves (they tell updates alone, and those do "
            "not fall): whether it is worth keeping, a cost they do not tell must say"
        )
    if record.answer.hides_loss:
        kept = "keep the change as it is trained here"
        return Step(f"{kept}: nothing is lost{lost}, though at equal fit it is behind")
    if record.answer.gap.below_zero:
        return Step("keep the change: the variant is better")
    if record.answer.tolerable:
        return Step(f"keep the change, if what it saves is worth a loss that is real but tolerable{lost}")
    return Step(f"keep the change: nothing is lost{lost}")


def _after_nothing(record: Commanded) -> tuple[Step, ...]:
    if _of_tables(record):
        return (Step("check that the two tables are of different runs, and ask again", again(record)),)
    change = next(iter(record.answer.change), "")
    name = change.partition(":")[0]
    if not name.isidentifier():
        return (Step("check the value of the lever, and audit again"),)
    return (Step("check the lever's value against its card, and audit again", f"algobias levers {name}"),)


def _after_undecided(record: Commanded) -> tuple[Step, ...]:
    count = record.answer.would_decide
    if record.answer.single is not None:
        return (_more_than_one(record.answer.single),)
    if record.answer.no_baseline:
        first = "mend the baseline's training first (a lower learning rate, warm-up, clipping), and ask again"
        unmeasured = "mend what is not finite of the baseline first (see the reason), and ask again"
        return (Step(first if record.answer.baseline_diverged else unmeasured),)
    if count is None and _of_tables(record) and record.answer.fit.reason == NO_TRAINING_LOSS:
        return (Step(f"{LOG_LOSS}; then ask again", again_of_tables(record)),)
    if count is None:
        settled = "more seeds alone do not settle it (see the reason): a larger test set may, or a tolerance"
        return (Step(f"{settled} that is larger, declared before new runs"),)
    if _of_tables(record):
        asked = again_of_tables(record, count)
        return (Step(f"train on to {count} seeds of each arm, and ask again", asked),)
    more = ",".join(map(str, [*(n for n in record.answer.looks if n < count), count]))
    asked = again(record, "--looks", more, instead=True)
    if not asked:
        return (Step(f"the same question with looks={more}; runs that are there are used again"),)
    return (Step("more seeds; runs that are there are used again", asked),)


def _more_than_one(single: SingleRuns) -> Step:
    """One run of each arm: what to train, short enough to be paid for."""
    return Step(
        f"train {single.seeds} seeds of each arm at {single.length:g} times the length, with the whole "
        f"schedule of the learning rate in it ({single.cost:.3g} times what these two runs cost), and "
        "compare those"
    )


def _after_null(record: Commanded, verdict: str) -> tuple[Step, ...]:
    if verdict == "no_gap":
        asked = carrying(record, "algobias", "audit", str(record.answer.task))
        what = "as it must be, nothing is found where nothing changed; audit a change"
        return (Step(what, f"{asked} --change ..."),)
    if verdict == "undecided":
        return _after_undecided(record)
    what = "the same recipe differs from itself: look at the task before any change is judged with it"
    return (Step(f"{what}, and ask with other seeds", again(record, "--seed", "1000", instead=True)),)


def _after_explain(record: Commanded, audited: str) -> tuple[Step, ...]:
    causes = [
        in_words(statement.coordinate)
        for statement in record.answer.statements
        if statement.word == "caused by"
    ]
    aim = f"what brings it back, which should move {', '.join(causes)}" if causes else "what brings it back"
    return (Step(f"{aim} (--plan shows the cost first)", about(record, "control", audited)),)


def _of_tables(record: Commanded) -> bool:
    """The runs were trained elsewhere: there is no study to go on from."""
    return not record.answer.study
