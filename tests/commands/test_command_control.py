"""Control studies of a command: what is proposed, chosen and confirmed, on a script whose answer is known."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from quick_slots import Quick, here
from test_command_study import question

from algobias.commands.question import CommandQuestion
from algobias.controls.forecast import forecast_control
from algobias.controls.run import Control, run_control
from algobias.controls.spec import control_spec
from algobias.errors import BadInput
from algobias.json_values import JsonObject
from algobias.kept.archive import read_archive
from algobias.kept.store import Store
from algobias.reports.html import render
from algobias.running.trainer import Options
from algobias.runs.progress import Progress
from algobias.studies.audited import audit_of
from algobias.studies.command.run import run_command
from algobias.studies.reports import record_of
from algobias.treatments.command_candidates import command_candidates

BIAS = 5.0
CURE = "args: --cure=0.6"
ASKED = {"candidates": (CURE, "args: --cure=0.2", "args: --iters=128"), "rungs": (2, 3), "looks": (6,)}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an audit that found a bias of 5 points."""
    folder = tmp_path_factory.mktemp("audited")
    with pytest.MonkeyPatch.context() as patch, Store(folder) as store:
        Quick(here).install(patch)
        audit = run_command(question(args=(f"--bias={BIAS}",), looks=(3,)), store)
        assert audit.answer.verdict == "bias"
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Quick:
    return Quick(here).install(monkeypatch)


@pytest.fixture
def store(once: Path, tmp_path: Path, quick: Quick) -> Iterator[Store]:
    shutil.copytree(once, tmp_path / "store")
    with Store(tmp_path / "store") as opened:
        yield opened


class Said(Progress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)


def control(store: Store, said: Progress | None = None, **asked: object) -> Control:
    row = audit_of(store, "last")
    return run_control(row, control_spec({**ASKED, **asked}), store, Options(1), said)


def comparable(answer: JsonObject) -> JsonObject:
    """An answer without what a clock tells."""
    if isinstance(answer, dict):
        return {key: comparable(value) for key, value in answer.items() if key != "seconds"}
    return [comparable(one) for one in answer] if isinstance(answer, list) else answer


def test_what_brings_back_most_is_chosen_and_confirmed_on_fresh_seeds(store: Store, quick: Quick) -> None:
    said = Said()
    found = control(store, said)
    answer = found.answer
    assert [one.lever for one in answer.chosen] == [CURE, CURE]
    (entry,) = answer.controls
    assert entry.recovered.mean == pytest.approx(0.6, abs=1e-6)
    assert entry.verdict == "partial"
    assert entry.general is False  # the baseline has no bias to be cured of
    assert {one.lever for one in answer.tried} == set(ASKED["candidates"])
    assert all(one.why == "named by the user" for one in answer.tried)
    assert any(text.startswith("not tried: lr:x0.5") and "no process" in text for text in said.texts)
    words = [word for job in quick.done for word in job.words]
    seeds = {int(word.removeprefix("--seed=")) for word in words if word.startswith("--seed=")}
    search, confirmation = answer.seeds.search[0], answer.seeds.confirmation[0]
    assert seeds == {*range(search, search + 3), *range(confirmation, confirmation + 6)}
    assert answer.control_of == audit_of(store, "last").id
    assert any("both read it" in warning for warning in answer.warnings)
    page = render(record_of(store, found.study))
    assert "variant+args: --cure=0.6" not in page  # the arm goes by its control's name
    assert "--bias=5.0 --cure=0.6" in page  # what to copy


def test_a_setting_that_costs_more_updates_is_above_the_limit(store: Store) -> None:
    answer = control(store, candidates=("args: --iters=128",)).answer
    (tried,) = answer.tried
    assert [one.reason.split(",")[0] for one in tried.over_limit][-1] == "updates 2.00 times the variant"
    assert [one.lever for one in answer.chosen] == [None, None]
    assert tried.cost_ratio["variant"].gradients is None, "what options do to it, nobody knows"
    wide = control(store, candidates=("args: --iters=128",), keep="none").answer
    assert wide.chosen[-1].lever == "args: --iters=128"


def test_stopped_anywhere_it_goes_on_to_the_same_answer(store: Store, quick: Quick) -> None:
    whole = comparable(control(store).answer.to_json())
    assert len(quick.done) > 30
    made = len(quick.done)
    for stop in (3, made - 2):
        store.remove_study(whole["study"])
        quick.done.clear()
        quick.stop_after = stop
        with pytest.raises(KeyboardInterrupt):
            control(store)
        quick.stop_after = None
        assert store.find_study(whole["study"]).status == "interrupted"
        assert comparable(control(store).answer.to_json()) == whole
        assert len(quick.done) == made, "no run is made twice"


def test_an_undo_is_never_proposed_and_said_where_it_is_named(store: Store) -> None:
    answer = control(store, only=("args: --bias=0 ",), candidates=()).answer
    (tried,) = answer.tried
    assert tried.undoes is not None
    assert tried.undoes.startswith("it takes the place of the change: with it baseline and variant are")
    assert answer.controls[0].general is None


def test_an_undo_that_only_the_runs_show_is_said(store: Store) -> None:
    """The script's own default of --bias does not stand in the command."""
    said = Said()
    answer = control(store, said, only=("args: --bias=0.0", "args: --cure=1"), candidates=()).answer
    undoes = {one.lever: one.undoes or "" for one in answer.tried}
    assert undoes["args: --cure=1"].startswith(
        "it undoes the change: with it every run of the variant ends as"
    )
    assert undoes["args: --bias=0.0"].startswith("it takes the place"), "its words told"
    assert any(text.startswith("args: --cure=1: it undoes the change") for text in said.texts)
    assert all(one.general is None for one in answer.controls)


def test_ranges_are_points_and_what_is_fixed_is_in_every_setting(store: Store) -> None:
    found = control(store, candidates=(), only=("args: --cure=0.25..1.0",), fix=("env: MODE=x",), rungs=(2,))
    texts = [setting.text for setting in found.settings]
    points = (f"args: --cure={point}+env: MODE=x" for point in ("0.25", "0.397", "0.63", "1"))
    assert texts == ["env: MODE=x", *points]
    assert found.answer.chosen[0].lever == "args: --cure=1+env: MODE=x"
    assert found.answer.controls[0].verdict == "recovered"


def test_the_plan_runs_nothing_and_knows_the_time_of_the_audit(store: Store, quick: Quick) -> None:
    row = audit_of(store, "last")
    told = forecast_control(row, control_spec(ASKED), store, Options(1))
    assert quick.done == []
    assert told.settings[:3] == ASKED["candidates"]
    assert told.rungs == (2, 3)
    assert 0 < (told.worst_case_seconds or 0) < 60
    assert told.control_of == row.id


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"candidates": (), "forbid": "sma"}, "forbid: 'sma' .*did you mean 'sam'"),
        ({"candidates": ("sam:0.1",)}, "a control that this script allows: no process of the command loads"),
        ({"candidates": ()}, "a setting by options, like --candidate .*no process of the command loads"),
        ({"candidates": ("args: 64",)}, "candidates: '64' .* options only"),
        ({"candidates": ("args: --iters=64",)}, "a control that changes the variant's command"),
        ({"candidates": ("samm:0.1",)}, "did you mean 'sam'"),
        ({"keep": "flops"}, "keep: 'flops' .* updates, gradients, seconds, or none"),
        ({"device": "cpu"}, "device: 'cpu' .* a command computes it says itself"),
        ({"fix": ("args: --bias=0",)}, "leave something of the change"),
        ({"fix": ("env: A=1",), "candidates": ("env: A=2",)}, r"leaves what is fixed as it is \(A\)"),
        ({"most": 2}, "most: 2 .* at least 3"),
    ],
)
def test_what_cannot_be_asked_of_a_command_is_told(store: Store, asked: dict[str, object], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        control(store, **asked)
    with pytest.raises(BadInput, match=told):
        forecast_control(audit_of(store, "last"), control_spec({**ASKED, **asked}), store, Options(1))


def test_a_range_no_point_of_which_can_be_is_refused_in_the_words_of_a_command(
    store: Store, quick: Quick
) -> None:
    spec = control_spec({"only": ("sam:1..2,until=0",)})
    told = "only: .* a range with a setting that changes the variant and is possible here"
    with pytest.raises(BadInput, match=told):
        forecast_control(audit_of(store, "last"), spec, store, Options(1))
    with pytest.raises(BadInput, match=told):
        run_control(audit_of(store, "last"), spec, store, Options(1))
    assert quick.done == []


def test_an_edited_script_is_audited_again_first(tmp_path: Path, quick: Quick) -> None:
    script = tmp_path / "mine.py"
    script.write_text(Path(question(aa=True).command[1]).read_text())
    words = ("python", str(script), "--seed={seed}")
    with Store(tmp_path / "store") as store:
        run_command(question(command=words, args=("--bias=5",), looks=(2,)), store)
        script.write_text(script.read_text() + "\n")
        with pytest.raises(BadInput, match="edited since, or PATH leads elsewhere; run it again"):
            control(store)


def test_the_search_may_choose_by_another_metric(store: Store, quick: Quick) -> None:
    other = r"stdout:update (?P<update>\d+) validation (?P<value>\S+)"
    found = control(store, candidates=(CURE, "args: --bias=4"), select=other).answer
    assert found.chosen[0].lever == "args: --bias=4", "by that metric the cure does harm"
    assert found.controls[0].recovered.mean == pytest.approx(0.2, abs=1e-6), (
        "it is confirmed by the test metric"
    )
    assert not any("both read it" in warning for warning in found.warnings)
    with pytest.raises(BadInput, match=r"--select: 'stdout:dev \(.*its output ends"):
        control(store, select=r"stdout:dev (\S+)")
    with pytest.raises(BadInput, match=r"select: 'tab:x' .* stdout:REGEX"):
        control(store, select="tab:x")


def test_a_loss_that_is_real_can_be_brought_back_without_a_training_loss(
    tmp_path: Path, quick: Quick
) -> None:
    with Store(tmp_path) as store:
        run_command(question(args=("--bias=5",), train_loss=None, looks=(3,)), store)
        answer = control(store).answer
    assert answer.chosen[0].lever == CURE
    assert answer.chosen[0].at == "planned_end"
    assert answer.controls[0].recovered.mean == pytest.approx(0.6, abs=1e-6)


def test_what_is_proposed_against_a_change(tmp_path: Path) -> None:
    asked = question(args=("--bias=5",))
    texts = [one.text for one in command_candidates(asked)]
    assert texts == ["lr:x0.5", "lr:x2", "ema:0.99", "weight_decay:1e-3", "sam:0.05", "sam:0.1", "sam:0.2"]
    halved = question(change=("lr:x0.5",))
    proposed = {one.text: one.why for one in command_candidates(halved)}
    assert "lr:x2" not in proposed, "it undoes the change"
    assert proposed["lr:x4"] == "against lr"
    late = [one.text for one in command_candidates(question(change=("delay:4",)))]
    assert "lr:x1.5" in late
    assert not any(text.startswith(("sam", "accumulate")) for text in late), "they cannot go together"
    assert [one.text for one in command_candidates(asked, forbid=("sam", "lr"), most=2)] == [
        "ema:0.99",
        "weight_decay:1e-3",
    ]
    fixed = [one.text for one in command_candidates(asked, fix=("clip:1+args: --x=1",), forbid=("sam",))]
    assert fixed[:2] == ["clip:1+args: --x=1", "clip:1+lr:x0.5+args: --x=1"]


def test_a_question_is_read_again_as_it_was_asked() -> None:
    asked = question(args=("--bias=5",), env=("A=1",), change=("lr:x2",), control=("args: --x=1",))
    assert CommandQuestion.from_store(asked.stored()) == asked


def test_the_audit_is_found_from_its_control_study(store: Store) -> None:
    found = control(store, candidates=(CURE,), rungs=(2,))
    assert audit_of(store, found.study).id == audit_of(store, "last").id
    archive = read_archive(store.find_study(found.study))
    assert set(archive.recipes) == {"baseline", "variant", f"variant+{CURE}", f"baseline+{CURE}"}
