"""Measuring stored runs: kept weights and replays give the same readings; nothing is measured twice."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest
import torch

from algobias.answer.measured.reading import Interval, Reading
from algobias.coordinates import measuring
from algobias.coordinates.measuring import Measuring, Target
from algobias.kept import database
from algobias.kept.store import Store
from algobias.probes.registry import parse_many
from algobias.running.job import Job
from algobias.running.pool import start_executor
from algobias.runs.observer import Interrupted
from algobias.tasks.registry import load_task
from algobias.training.checkpoints import load_weights

TASK = load_task("digits")
RECIPE = TASK.recipe().edit(budget={"updates": 24})
ADDRESS = RECIPE.address("test")
PROBES = ("weight_norm", "distance_from_init", "top_eigenvalue")
SEEDS = (0, 1, 2)


def go_on() -> bool:
    return False


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("measuring") / "store"
    with Store(path) as store, start_executor(store, workers=0) as executor:
        executor.run([Job("baseline", RECIPE, "digits", ADDRESS, SEEDS)])
    return path


@pytest.fixture
def store(trained: Path, tmp_path: Path):
    """A copy of the store with the runs, and no readings."""
    import shutil

    shutil.copytree(trained, tmp_path / "s")
    with Store(tmp_path / "s") as opened:
        yield opened


def target(store: Store, seed: int, row: int) -> Target:
    curve = store.get(ADDRESS, seed).curve
    return Target(seed, int(curve.update[row]), float(curve.train_loss[row]), (ADDRESS,))


def block(*targets: Target, probes: tuple[str, ...] = PROBES) -> Measuring:
    return Measuring("baseline", "digits", TASK.fingerprint(), ADDRESS, targets, probes)


READING = Reading("weight_norm", 2.5, "1", monte_carlo=Interval(2.0, 3.0, 0.95, "random"), details={"k": 1})


def stored(store: Store, one: Target) -> list[float | None]:
    found = []
    for probe in parse_many(PROBES):
        reading = store.reading(ADDRESS, one.seed, one.update, probe.spelling(), probe.revision)
        assert reading is not None
        found.append(reading.value)
    return found


def not_kept(store: Store) -> list[Target]:
    """Checks in the middle whose weights are not there, two for each of two seeds."""
    found = []
    for seed in SEEDS[:2]:
        rows = range(len(store.get(ADDRESS, seed).curve))
        kept = store.folder(ADDRESS, seed).weights()
        found += [one for row in rows if (one := target(store, seed, row)).update not in kept][2:4]
    return found


def test_a_replay_reads_what_the_run_itself_had(store: Store, tmp_path: Path) -> None:
    """Weights of a replay of stacked seeds are those that a run watched alone shows, to the last bit."""
    targets = not_kept(store)
    assert len(targets) == 4
    measuring.measure_moments(block(*targets), store, TASK, go_on)

    from algobias.training.loop import train

    class Watch(measuring._Replay):
        def on_check(self, seed, check):
            seen[seed, check.update] = self._held.pop((seed, check.update), None)

    seen: dict = {}
    for one in targets:
        train(RECIPE, TASK, [one.seed], observers=(Watch([one], store, ADDRESS, go_on),))
        folder = store.folder(ADDRESS, one.seed)
        again = load_weights(folder.weights_path(one.update), address=ADDRESS)
        alone = seen[one.seed, one.update]
        assert again.keys() == alone.keys()
        assert all(torch.equal(again[name], alone[name]) for name in again)
        flat = torch.cat([tensor.reshape(-1).double() for tensor in alone.values()])
        assert stored(store, one)[0] == pytest.approx(float(flat.norm()), rel=1e-6)


def test_kept_weights_are_not_trained_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    end = target(store, 0, -1)
    monkeypatch.setattr(measuring, "train", lambda *args, **more: pytest.fail("trained"))
    measuring.measure_moments(block(end), store, TASK, go_on)
    assert all(value is not None for value in stored(store, end))


def test_nothing_is_measured_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = measuring.take
    monkeypatch.setattr(
        measuring, "take", lambda subject, probes: asked.append(len(probes)) or real(subject, probes)
    )
    ends = [target(store, seed, -1) for seed in SEEDS]
    measuring.measure_moments(block(*ends, probes=PROBES[:1]), store, TASK, go_on)
    measuring.measure_moments(block(*ends, probes=PROBES[:1]), store, TASK, go_on)
    assert asked == [1, 1, 1]
    measuring.measure_moments(block(*ends), store, TASK, go_on)
    assert asked == [1, 1, 1, 2, 2, 2], "only the two that are new"


def test_a_replay_that_differs_gives_no_number(store: Store) -> None:
    """A stored loss that is off by more than rounding: unavailable, and tried again the next time."""
    one = not_kept(store)[0]
    off = dataclasses.replace(one, train_loss=one.train_loss * 1.005)
    measuring.measure_moments(block(off), store, TASK, go_on)
    reading = store.reading(ADDRESS, off.seed, off.update, "weight_norm", 1)
    assert reading.value is None
    assert reading.status == "unavailable"
    assert reading.reason.startswith("replay differs")
    assert off.update not in store.folder(ADDRESS, off.seed).weights(), "weights in doubt are not kept"
    measuring.measure_moments(block(one), store, TASK, go_on)
    assert stored(store, one)[0] is not None


def test_a_replay_that_is_rounded_otherwise_is_the_run(store: Store) -> None:
    """In a stack of other seeds products of unevenly shaped matrices have other last bits."""
    one = not_kept(store)[0]
    rounded = dataclasses.replace(one, train_loss=one.train_loss * (1 + 1e-6))
    measuring.measure_moments(block(rounded), store, TASK, go_on)
    assert stored(store, rounded)[0] is not None


def test_weights_of_the_shorter_run_are_found(store: Store) -> None:
    """A run that was gone on with has the weights of its first part in the other folder."""
    kept = target(store, 0, -1)
    longer = RECIPE.edit(budget__extension={"level": 1e-9, "factor": 2.0}).address("test")
    moved = dataclasses.replace(kept, addresses=(longer, ADDRESS))
    assert measuring.kept_folder(store, moved).address == ADDRESS


def test_interrupted_between_moments_and_while_training(store: Store) -> None:
    calls = iter([False, True])
    ends = [target(store, seed, -1) for seed in SEEDS]
    with pytest.raises(Interrupted):
        measuring.measure_moments(block(*ends), store, TASK, lambda: next(calls))
    assert stored(store, ends[0])[0] is not None
    assert store.reading(ADDRESS, 1, ends[1].update, "weight_norm", 1) is None
    with pytest.raises(Interrupted):
        measuring.measure_moments(block(*not_kept(store)), store, TASK, lambda: True)


@pytest.mark.wide
def test_worker_processes_measure_the_same(store: Store) -> None:
    targets = [*not_kept(store), target(store, 2, -1)]
    with start_executor(store, workers=1) as executor:
        events = []
        executor.carry_out([block(*targets)], events.append)
    assert [event.kind for event in events] == ["measured"] * len(targets)
    there = [stored(store, one) for one in targets]
    store._db.execute("DELETE FROM readings")
    for folder in store.path.glob("runs/*/*/*"):
        for path in folder.glob("weights-*.safetensors"):
            if int(path.stem.removeprefix("weights-")) in {one.update for one in targets[:-1]}:
                path.unlink()
    measuring.measure_moments(block(*targets), store, TASK, go_on)
    assert [stored(store, one) for one in targets] == there


def test_a_store_of_the_first_schema_opens_and_keeps_what_it_has(store: Store) -> None:
    path = store.path
    store.save_study("abcabcabcabc", {"task": "digits"})
    store.close()
    with sqlite3.connect(path / "store.sqlite") as old:
        old.execute("DROP TABLE readings")
        old.execute("PRAGMA user_version = 1")
    with Store(path) as opened:
        assert opened.find_study("abc").spec == {"task": "digits"}
        assert opened.get(ADDRESS, 0) is not None
        opened.save_reading(ADDRESS, 0, 5, "weight_norm", 1, READING)
        assert opened._db.rows("PRAGMA user_version") == [(database.SCHEMA_VERSION,)]
    with Store(path) as again:
        assert again.reading(ADDRESS, 0, 5, "weight_norm", 1) == READING
        assert again.reading(ADDRESS, 0, 5, "weight_norm", 2) is None, "of another revision"


def test_readings_go_with_their_run(store: Store) -> None:
    store.save_study("abcabcabcabc", {})
    store.use_runs("abcabcabcabc", [(ADDRESS, 0)])
    store.save_reading(ADDRESS, 0, 5, "weight_norm", 1, READING)
    store.save_reading(ADDRESS, 1, 5, "weight_norm", 1, READING)
    store.remove_study("abc")
    assert store.reading(ADDRESS, 0, 5, "weight_norm", 1) is None
    assert store.reading(ADDRESS, 1, 5, "weight_norm", 1) == READING
