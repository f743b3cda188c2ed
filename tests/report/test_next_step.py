"""What to do next, after every verdict and every kind of study."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from synthetic import VERDICTS, hostile, record

from algobias.answer.next.step import next_steps, next_text
from algobias.answer.next.typed import repeated
from algobias.judge.split import NO_LOSS
from algobias.reports.html import render
from algobias.reports.record import StudyRecord
from algobias.reports.tables import level_table
from algobias.reports.verdicts import verdict_words

ID = "a3f9c2d17b"


def changed(verdict: str, command: str | None = None, **more: Any) -> StudyRecord:
    made = record(verdict, 4)
    return replace(made, result={**made.result, **more}, command=made.command if command is None else command)


@pytest.mark.parametrize(
    ("verdict", "wanted"),
    [
        ("bias", [f"algobias control {ID}", f"algobias explain {ID}", "--plan"]),
        ("mixed", [f"algobias control {ID}", f"algobias explain {ID}", "--plan"]),
        ("data", [f"algobias control {ID}", f"algobias explain {ID}", "--plan"]),
        ("broken", [f"algobias control {ID}", "--plan"]),
        (
            "optimization",
            [
                "algobias audit digits --change batch:x16,lr=sqrt --control budget:x2",
                f"algobias control {ID}",
            ],
        ),
        ("undecided", ["algobias audit digits --change batch:x16,lr=sqrt --looks 4,6,9,13,20,44"]),
        ("no_gap", ["keep the change: nothing is lost at the tolerance of 0.4"]),
        ("not_applied", ["algobias levers batch"]),
    ],
)
def test_every_verdict_ends_with_what_to_do_next(verdict: str, wanted: list[str]) -> None:
    assert verdict in VERDICTS
    told = next_text(record(verdict, 4))
    for part in wanted:
        assert part in told
    assert "\n" not in told


def test_every_verdict_has_a_next_step() -> None:
    for verdict in VERDICTS:
        for made in (record(verdict, 4), changed(verdict, study=None), changed(verdict, aa=True)):
            assert next_text(made)
    assert next_text(StudyRecord({**record("bias", 4).result, "verdict": "of another version"})) == ""


@pytest.mark.parametrize("verdict", VERDICTS)
def test_tables_are_never_sent_to_a_study(verdict: str) -> None:
    made = changed(verdict, "algobias compare a.csv b.csv --tolerance 0.4 --json", study=None, change=[])
    told = next_text(made)
    assert "algobias control" not in told
    assert "algobias explain" not in told
    if verdict not in ("no_gap",):
        new = "NEW_RUNS" if verdict in ("bias", "mixed", "data") else "b.csv"
        assert f"algobias compare a.csv {new} --tolerance 0.4" in told
        assert "--json" not in told


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("a b --seeds 0,1,2", "a b --tolerance 0.4 --seeds 0,1,2,3,4,5,6"),
        ("a b --seeds=4,9,2 --looks 2,3", "a b --tolerance 0.4 --seeds 4,9,2,10,11,12,13 --looks 2,3,7"),
        ("a b", "a b --tolerance 0.4"),
        ("-- -a b", "--tolerance 0.4 -- -a b"),
        ("a b --tolerance=0.1 --looks 9", "a b --tolerance=0.1 --looks 9"),
    ],
)
def test_more_seeds_of_tables_are_named_with_the_tolerance_that_was_used(asked: str, told: str) -> None:
    of_them = {"study": None, "change": [], "would_decide": 7, "tolerance_reason": "1.25 seed sd"}
    made = changed("undecided", f"algobias compare {asked}", **of_them)
    assert next_text(made).endswith(f"to 7 seeds of each arm, and ask again: algobias compare {told}")
    given = replace(made, result={**made.result, "tolerance_reason": "as given"})
    assert ("--tolerance 0.4" in next_text(given)) is False


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("a b --as-is", "a NEW_RUNS --as-is"),
        ("--tolerance 0.1 a --unpaired 'b c'", "--tolerance 0.1 a --unpaired NEW_RUNS"),
        ("a --seeds=0,1 b", "a --seeds=0,1 NEW_RUNS"),
        ("--decays -- -a -b", "--decays -- -a NEW_RUNS"),
    ],
)
def test_runs_that_are_still_to_be_made_have_a_placeholder(asked: str, told: str) -> None:
    made = changed(*("bias", f"algobias compare {asked}"), study=None, change=[], tolerance_reason="as given")
    assert next_text(made).endswith(f"NEW_RUNS in the place of the variant's: algobias compare {told}")


def test_doubts_about_columns_are_settled_by_naming_them() -> None:
    loss = "the train_loss is x: is it? If it is, ask again with --columns train_loss=loss,train_loss=l"
    metric = "y: is it? If it is, ask again with --columns 'test_metric=acc,test_metric=val acc'"
    asked = "algobias compare a b --columns update=step"
    told = next_text(changed("bias", asked, study=None, doubts=[loss, metric]))
    columns = "update=step,train_loss=loss,train_loss=l,test_metric=acc,test_metric=val acc"
    assert told == (
        "where the columns named above are the same quantity, say so, and ask again: "
        f"algobias compare a b --columns '{columns}'"
    )
    both = next_text(changed("bias", asked, study=None, doubts=[loss, "it falls; ask again with --decays"]))
    assert both.startswith("first settle what is doubted above; where the columns")
    assert "--decays" in both
    assert "train_loss=l" in both


@pytest.mark.parametrize(
    ("asked", "args"),
    [
        ("--args --batch=64 --scale --epochs -- python t.py --epochs=10", "--epochs=20"),
        ("--args '--batch=64 --epochs 7' --scale=--epochs -- python t.py --epochs 10", "'--epochs 14'"),
        ("--args --b=6 --scale '--iters=2000' -- python t.py", "--iters=4000"),
        ("--args --b=6 --scale '--n --decay' -- python t.py --n 5 --decay 0.5", "'--n 10 --decay 1.0'"),
        ("--args --b=6 --scale epochs -- python t.py epochs=5", "epochs=10"),
        ("--args --b=6 -- python t.py --epochs=10", ""),
        ("--args --b=6 --scale --epochs -- python t.py", ""),
    ],
)
def test_a_longer_variant_of_a_command_is_spelled_out_where_its_schedule_is_known(
    asked: str, args: str
) -> None:
    made = changed(
        *("optimization", f"algobias run {asked}"),
        evidence="with replay",
        task="python t.py --epochs=10",
        looks=[6],
    )
    told = next_text(made)
    if args:
        ours, _, own = asked.partition(" -- ")
        assert told.startswith("train the variant 2 times as long: algobias run ")
        assert f" --args {args} -- {own}" in told
        assert ours.split(" ")[0] in told
    else:
        assert "longer schedule in --args" in told
        assert ("--scale '--epochs'" in told) is ("--scale" not in asked)


def test_an_undecided_study_of_looks_of_its_own_gets_one_more() -> None:
    asked = "algobias audit digits --change 'lr:x2' --looks=4,6 --quiet --store 'my store'"
    told = next_text(changed("undecided", asked, looks=[4, 6], would_decide=11))
    assert "algobias audit digits --change lr:x2 --store 'my store' --looks 4,6,11" in told
    gone = [{"name": "baseline", "seeds": [0, 1], "diverged": 2}]
    assert next_text(changed("undecided", arms=gone)).startswith("mend the baseline")
    assert "more seeds alone do not settle it" in next_text(changed("undecided", would_decide=None))


def test_the_store_and_the_data_folder_go_along() -> None:
    asked = "algobias audit digits --change lr:x2 --store 'my store' --data=pictures"
    told = next_text(changed("bias", asked))
    assert f"algobias control {ID} --store 'my store' --data=pictures" in told


def test_a_study_made_in_python_goes_on_in_python() -> None:
    made = "algobias.audit(...)"
    assert f'algobias.control("{ID}")' in next_text(changed("bias", made))
    assert "looks=4,6,9,13,20,44" in next_text(changed("undecided", made))
    assert f'algobias.control("{ID}")' in next_text(changed("optimization", made))


def test_longer_training_is_not_offered_where_longer_runs_fit_no_better() -> None:
    for longer, offered in ((None, True), (0.95, False)):
        fit = {**record("optimization", 4).result["fit"], "longer": longer}
        made = changed("optimization", fit=fit)
        told = next_text(made)
        assert ("budget:x2" in told) is offered
        assert ("fit no better" in told) is not offered
        assert f"algobias control {ID}" in told
        assert ("longer runs do not mend" in verdict_words(made).title) is not offered
        of_command = next_text(changed("optimization", fit=fit, evidence="with replay"))
        assert ("longer schedule" in of_command) is offered


def test_tables_without_losses_are_told_what_a_loss_would_tell() -> None:
    gap = {**record("bias", 4).result["gap"], "state": "present"}
    asked = "algobias compare a.csv b.csv"
    for reason, told in ((NO_LOSS, True), ("not every seed reaches it", False)):
        fit = {"matched": False, "reason": reason}
        made = changed("undecided", asked, study=None, fit=fit, gap=gap, would_decide=None)
        assert ("log the training loss of every run as well" in next_text(made)) is told
        assert (asked in next_text(made)) is told


def test_levels_at_which_there_is_no_gap_have_no_row() -> None:
    known = {"level": 0.1, "gap": {"mean": 1.0, "low": 0.5, "high": 1.5, "n": 4}, "seeds_reached": 4}
    unknown = {"level": 0.5, "gap": {"mean": None, "low": None, "high": None, "n": 0}, "seeds_reached": 0}
    for levels, rows in (([known, unknown], ["0.1"]), ([unknown], [])):
        made = changed("bias", fit={**record("bias", 4).result["fit"], "levels": levels})
        assert [row["level"] for row in level_table(made)] == rows
        assert ("The gap at further levels" in render(made)) is bool(rows)


def test_a_better_variant_is_kept_and_a_tolerable_loss_weighed() -> None:
    better = changed("no_gap", gap={"mean": -1.0, "low": -1.4, "high": -0.6, "n": 4})
    assert next_text(better).startswith("keep the change: the variant is better")
    assert "real but tolerable" in next_text(changed("no_gap", tolerable=True))


def test_a_change_that_saves_nothing_is_not_kept_for_its_saving() -> None:
    def costing(
        verdict: str = "no_gap", baseline: float = 1.0, variant: float = 1.0, **more: Any
    ) -> StudyRecord:
        arms = [
            {
                "name": name,
                "cost": {"updates": cost, "gradients": 9.0 * cost, "bits": 32.0, "seconds": 5.0 * cost**2},
            }
            for name, cost in (("baseline", baseline), ("variant", variant))
        ]
        return changed(verdict, arms=arms, **more)

    for cost, saves in ((1.0, False), (16.0, False), (0.95, False), (0.5, True)):
        made = costing(variant=cost)
        assert ("keep the change" in next_text(made)) is saves
        assert ("the change saves nothing here" in next_text(made)) is not saves
        assert ("can be kept" in verdict_words(made).meaning) is saves
        assert ("saves nothing here" in verdict_words(made).meaning) is not saves
    tolerable = costing(tolerable=True)
    assert "real but tolerable" in next_text(tolerable)
    assert "can be kept" not in verdict_words(tolerable).meaning
    better = costing(gap={"mean": -1.0, "low": -1.4, "high": -0.6, "n": 4})
    assert next_text(better).startswith("the change saves nothing here")
    assert next_text(better).endswith("the variant is better")
    assert "saves nothing here" in verdict_words(better).meaning
    command = costing(variant=1.06, evidence="with replay")
    assert next_text(command).startswith("the change saves nothing here")
    fit = {**record("no_gap", 4).result["fit"], "bias_share": {"mean": 1.0, "state": "present"}}
    assert "at equal fit it is behind" in next_text(costing(variant=1.06, fit=fit, gap=better.result["gap"]))
    assert not costing(study=None).answer.saves_nothing, "of tables most costs are not known"
    for cost, kept in ((1.06, False), (0.5, True)):
        told = next_text(costing(variant=cost, study=None))
        assert ("keep the change" in told) is kept
        assert ("the tables show nothing that the change saves (they tell updates alone" in told) is not kept
    clock = [
        {"name": name, "cost": {"updates": 1.0, "seconds": cost}}
        for name, cost in (("baseline", 9), ("variant", 5))
    ]
    assert changed("no_gap", arms=clock).answer.saves_nothing
    assert not changed("no_gap", arms=clock, evidence="with replay").answer.saves_nothing
    assert not changed("no_gap", arms=[{"name": "baseline"}, {"name": "variant"}]).answer.saves_nothing


def test_a_change_that_failed_before_training_is_not_sent_to_a_search() -> None:
    told = next_text(changed("broken", gap={"mean": None, "low": None, "high": None, "n": 0}))
    assert "control" not in told
    assert "mend the change" in told


def test_a_control_that_helped_in_an_audit_is_named() -> None:
    assert next_text(record("bias", 4, controls=1)).startswith("train with lr:0.4+warmup:40+clip:1")


@pytest.mark.parametrize(
    ("confirmed", "wanted"),
    [
        ("recovered", ["train with sam:0.1", "recipe stands in the report"]),
        ("partial", ["train with sam:0.1, which brings back a part", "algobias control 0f0f --most 32"]),
        ("none", ["algobias control 0f0f --most 32 --keep none", "algobias explain 0f0f"]),
        ("harmful", ["algobias control 0f0f --most 32 --keep none", "algobias explain 0f0f"]),
        (None, ["algobias control 0f0f --most 32 --keep none", "algobias explain 0f0f"]),
    ],
)
def test_after_a_control_study(confirmed: str | None, wanted: list[str]) -> None:
    told = next_text(searched(confirmed, 16))
    for part in wanted:
        assert part in told


def searched(confirmed: str | None, count: int, command: str | None = None, **more: Any) -> StudyRecord:
    """A control study that tried some settings, the first above a limit."""
    lever = None if confirmed is None else "sam:0.1"
    chosen = [{"axes": "updates", "lever": lever, "confirmed": confirmed}]
    broken = [{"axes": "updates", "reason": "updates 2 times the variant"}]
    settings = [{"lever": f"lr:x{place}", "over_limit": [] if place else broken} for place in range(count)]
    return changed("bias", command, **{"control_of": "0f0f", "chosen": chosen, "tried": settings, **more})


def test_a_wider_search_is_offered_only_where_there_is_more_to_try() -> None:
    assert "control 0f0f --candidate lr:x0.3" in next_text(searched("partial", 7))
    assert next_text(searched("none", 7)).startswith("a wider search: algobias control 0f0f --keep none;")
    assert "control 0f0f --candidate lr:x0.3" in next_text(searched("none", 7, tried=[{"lever": "lr:x2"}]))
    of_command = next_text(searched("none", 0, evidence="with replay"))
    assert "control 0f0f --candidate 'args: --warmup=100'" in of_command
    assert "--most" not in of_command
    for most in ("--most 24", "--most=24"):
        asked = f"algobias control 0f0f {most}"
        assert "--most 48" in next_text(searched("partial", 24, asked))
        assert "--candidate" in next_text(searched("partial", 23, asked))
    assert "--candidate" in next_text(searched("partial", 256, "algobias control 0f0f --most 256"))
    named = next_text(searched("partial", 1, "algobias control 0f0f --only lr:x2"))
    assert named.endswith("a wider search, not only of what --only named: algobias control 0f0f")
    in_python = "algobias.control(...)"
    assert 'algobias.control("0f0f", most=32, keep="none")' in next_text(searched("none", 16, in_python))
    assert 'algobias.control("0f0f", candidates=["lr:x0.3"])' in next_text(searched("partial", 3, in_python))


def test_what_gained_most_above_every_limit_can_be_confirmed() -> None:
    broken = [{"axes": "updates", "reason": "updates 4 times the variant"}]
    gains = {"lr:x2": 1.46, "args: --epochs=32": 1.88}
    tried = [{"lever": name, "improvement": {"mean": gain, "n": 4}} for name, gain in gains.items()]
    tried[1]["over_limit"] = broken
    shown = next_text(searched("none", 0, tried=tried, evidence="with replay"))
    assert shown.startswith("confirm args: --epochs=32, which gained most in the search and costs more")
    assert "algobias control 0f0f --only 'args: --epochs=32' --keep none" in shown
    in_python = next_text(searched("none", 0, "algobias.control(...)", tried=tried))
    assert 'algobias.control("0f0f", only=["args: --epochs=32"], keep="none")' in in_python
    tried[0]["improvement"]["mean"] = 2.0
    assert "confirm" not in next_text(searched("none", 0, tried=tried))
    assert "confirm" not in next_text(searched("recovered", 0, tried=tried[1:]))


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("algobias explain last --only lr:x2", "algobias explain 0f0f --only lr:x2"),
        ("algobias explain --quiet last --store last", "algobias explain --quiet 0f0f --store last"),
        ("algobias explain --only lr:x2", "algobias explain 0f0f --only lr:x2"),
        ("algobias explain", "algobias explain 0f0f"),
        ("algobias explain 0f0f --only lr:x2", "algobias explain 0f0f --only lr:x2"),
        ("algobias.explain(...)", "algobias.explain(...)"),
    ],
)
def test_how_to_reproduce_names_the_audit_that_last_was(asked: str, wanted: str) -> None:
    for about in ("explain_of", "control_of"):
        assert repeated(changed("bias", asked, **{about: "0f0f"})) == wanted
    assert repeated(changed("bias", asked)) == asked, "an audit is about no other study"
    text = render(changed("bias", "algobias explain last", explain_of="0f0f", statements=[]))
    assert "<code>algobias explain 0f0f</code>" in text


def test_after_an_explanation() -> None:
    caused = [{"coordinate": "top_eigenvalue", "word": "caused by", "because": ""}]
    told = next_text(changed("bias", explain_of="0f0f", statements=caused))
    assert "top eigenvalue" in told
    assert "algobias control 0f0f" in told
    assert "algobias control 0f0f" in next_text(changed("bias", explain_of="0f0f", statements=[]))


def test_a_doubted_question_is_asked_again_first() -> None:
    falls = "in 12 of 12 runs metric falls while the training loss falls: ask again with --lower-is-better"
    asked = "algobias compare a.csv b.csv"
    made = changed("bias", asked, study=None, doubts=[falls])
    assert next_text(made).endswith("algobias compare a.csv b.csv --lower-is-better")
    scales = "one table seems to be in fractions, the other in percent"
    assert next_text(changed("no_gap", asked, study=None, doubts=[scales])).endswith(asked)


def test_a_change_behind_at_equal_fit_is_kept_with_that_said() -> None:
    fit = {**record("no_gap", 4).result["fit"], "bias_share": {"mean": 1.0, "state": "present"}}
    assert "at equal fit it is behind" in next_text(changed("no_gap", fit=fit))


def test_a_null_study_that_finds_something_is_a_reason_to_stop() -> None:
    assert "audit digits --change ..." in next_text(changed("no_gap", aa=True))
    assert "differs from itself" in next_text(changed("bias", aa=True))


def test_the_report_says_it_under_the_verdict_and_takes_no_text_for_markup() -> None:
    text = render(record("bias", 4))
    assert f"<code>algobias control {ID}</code>" in text
    assert text.index(f"algobias control {ID}") < text.index("Numbers at a glance")
    assert all("\x1b" not in str(step) for step in next_steps(hostile()))


def test_runs_of_a_command_that_never_meet_need_longer_ones() -> None:
    asked = "algobias run --args=--bs=256 -- python train.py --scale 3"
    open_fit = {"gap": {**record("bias", 4).result["gap"], "state": "present"}, "fit": {"matched": False}}
    told = next_text(changed("undecided", asked, evidence="with replay", **open_fit))
    assert "--scale OPTION" in told
    of_epochs = next_text(
        changed("undecided", asked, evidence="with replay", task="python t.py --epochs 12", **open_fit)
    )
    assert "(--scale '--epochs')" in of_epochs
    scaled = asked.replace("run", "run --scale=--epochs=4", 1)
    assert "--scale '" not in next_text(changed("undecided", scaled, evidence="with replay", **open_fit))
