"""The executor: same results however runs are shared out, stopped, killed or asked for twice."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from algobias.errors import BadInput
from algobias.kept.store import Store
from algobias.recipe import Recipe
from algobias.recipe_fields import Extension
from algobias.running.executor import Executor, InternalError, OutOfTime, WorkerDied
from algobias.running.job import Job
from algobias.running.pool import start_executor
from algobias.running.sharing import share_out
from algobias.running.work import Event
from algobias.runs.outcome import Outcome
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.loop import train
from wide_tests import wide

HERE = Path(__file__).parent
DIGITS = load_task("digits")
RECIPE = DIGITS.recipe().edit(task="digits", budget={"updates": 150})


def job(seeds: int | tuple[int, ...] = 2, recipe: Recipe = RECIPE, tag: str = "", **more: Any) -> Job:
    """A job on digits; ``tag`` gives it an address of its own and picks the fault (see ``faulty``)."""
    seeds = tuple(range(seeds)) if isinstance(seeds, int) else seeds
    return Job(tag or "baseline", recipe, tag or "digits", recipe.address(tag), seeds, **more)


def load_tagged(text: str, data_dir: Path | None) -> Task:
    task = load_task("digits", data_dir)
    task.text = text
    return task


def faulty(recipe: Recipe, task: Task, seeds: Any, **more: Any) -> list[Outcome]:
    """The real loop, with faults planted by the task's text."""
    if task.text == "dies" and 1 in seeds:
        os.kill(os.getpid(), signal.SIGKILL)
    if task.text == "divides":
        raise ZeroDivisionError("planted fault")
    if task.text == "tells":
        told = (
            torch.get_num_threads(),
            os.environ.get("OMP_NUM_THREADS"),
            "pytest" in sys.modules["__main__"].__name__,
        )
        raise BadInput("threads", told, "a look at this message", "threads")
    return train(recipe, task, seeds, **more)


def never(*args: Any, **more: Any) -> list[Outcome]:
    raise AssertionError("trained twice")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    store = Store(tmp_path_factory.mktemp("pool") / "s")
    with start_executor(store, workers=2, train=faulty, load=load_tagged) as executor:
        yield executor
    store.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Outcomes of uninterrupted runs, trained here."""
    with Store(tmp_path_factory.mktemp("plain") / "s") as store:
        start_executor(store, workers=0).run([job(5), job(2, EXTENDED)])
        yield store


EXTENDED = RECIPE.edit(budget__extension=Extension(level=1e-3, factor=2.0))


def same(left: Outcome | None, right: Outcome | None) -> bool:
    """Equal to the last bit, but for seconds."""
    if left is None or right is None or left.per_example is None or right.per_example is None:
        return False
    curves = all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(*map(_columns, (left, right)), strict=True)
    )
    plain = (left.seed, left.planned, left.diverged, left.trivial_metric, _cost(left))
    other = (right.seed, right.planned, right.diverged, right.trivial_metric, _cost(right))
    return curves and plain == other and np.array_equal(left.per_example, right.per_example)


def _columns(outcome: Outcome) -> list[Any]:
    return list(vars(outcome.curve).values())


def _cost(outcome: Outcome) -> dict[str, float]:
    return {key: value for key, value in asdict(outcome.cost).items() if key != "seconds"}


# Sharing out


@given(
    st.lists(st.tuples(st.integers(0, 21), st.integers(1, 5000), st.booleans()), max_size=5),
    st.integers(1, 9),
)
def test_every_run_is_in_exactly_one_block(sizes: list[tuple[int, int, bool]], workers: int) -> None:
    jobs = [
        job(seeds, RECIPE.edit(budget={"updates": updates}), f"{place}", stacked=stacked)
        for place, (seeds, updates, stacked) in enumerate(sizes)
    ]
    blocks = share_out(jobs, workers)
    assert all(block.seeds for block in blocks)
    for one in jobs:
        assert sorted(s for block in blocks if block.job is one for s in block.seeds) == sorted(one.seeds)
    assert [block.cost for block in blocks] == sorted((block.cost for block in blocks), reverse=True)


def test_division_follows_the_cost_of_stacking() -> None:
    def sizes(jobs: list[Job], workers: int) -> list[int]:
        return sorted(len(block.seeds) for block in share_out(jobs, workers))

    assert sizes([job(20)], 1) == [20]
    assert sizes([job(20)], 2) == [10, 10]
    assert sizes([job(20)], 3) == [6, 7, 7]
    assert sizes([job(4)], 64) == [1, 1, 1, 1]
    # two equal jobs for two processes stay whole: 4 + 7 units each, where dividing both makes 2 x (2 + 7)
    assert sizes([job(4), job(4, tag="b")], 2) == [4, 4]
    # a short job fills the gap that the division of a long one leaves
    short = job(4, RECIPE.edit(budget={"updates": 20}), "short")
    assert sizes([job(5), short], 2) == [2, 3, 4]
    # runs that are not stacked lose nothing by being divided
    assert sizes([job(8, stacked=False)], 3) == [2, 3, 3]
    assert max(sizes([job(3, stacked=False), job(3, tag="b", stacked=False)], 4)) == 2
    assert sizes([job(20, device="cuda:0")], 4) == [20]


# Results


@pytest.mark.wide
def test_results_do_not_depend_on_the_division(pool: Executor, plain: Store) -> None:
    events: list[Event] = []
    pool.run([job(5)], on_event=events.append)
    assert all(same(pool.store.get(job().address, seed), plain.get(job().address, seed)) for seed in range(5))
    assert sorted(event.seed for event in events if event.kind == "finished") == list(range(5))
    shown = [event for event in events if event.kind == "progress" and event.seed == 3]
    assert [event.update for event in shown] == plain.get(job().address, 3).curve.update.tolist()
    assert {event.total for event in shown} == {150}
    assert all(torch.isfinite(torch.tensor([event.train_loss, event.test_metric])).all() for event in shown)


def test_a_stored_run_is_not_trained_again(plain: Store) -> None:
    events: list[Event] = []
    start_executor(plain, workers=0, train=never).run([job(5)], on_event=events.append)
    assert [event.kind for event in events] == ["finished"] * 5
    start_executor(plain, workers=2, train=never).run([job(5)])
    with pytest.raises(AssertionError, match="trained twice"):
        start_executor(plain, workers=0, train=never).run([job(6)])


def test_an_extension_goes_on_from_its_parent(tmp_path: Path, plain: Store) -> None:
    with Store(tmp_path / "s") as store:
        executor = start_executor(store, workers=0)
        executor.run([job(2)])
        events: list[Event] = []
        executor.run([job(2, EXTENDED, parent=job().address)], on_event=events.append)
        assert [(e.seed, e.update) for e in events if e.kind == "resumed"] == [(0, 150), (1, 150)]
        assert min(event.update for event in events if event.kind == "progress") > 150
        address = EXTENDED.address("")
        for seed in range(2):
            outcome = store.get(address, seed)
            assert same(outcome, plain.get(address, seed))
            assert len(store.folder(address, seed).curve()) == len(outcome.curve)


def test_a_decaying_run_leaves_no_snapshot_and_a_constant_one_does(tmp_path: Path) -> None:
    cosine = RECIPE.edit(schedule__name="cosine", budget={"updates": 5})
    constant = RECIPE.edit(budget={"updates": 5})
    with Store(tmp_path / "s") as store:
        start_executor(store, workers=0).run([job(1, cosine), job(1, constant)])
        assert store.snapshot(cosine.address(""), 0) is None
        assert store.snapshot(constant.address(""), 0).update == 5
        assert list(store.folder(constant.address(""), 0).weights())[-1] == 5


def test_runs_are_noted_for_the_study(tmp_path: Path) -> None:
    short = RECIPE.edit(budget={"updates": 3})
    with Store(tmp_path / "s") as store:
        store.save_study("a" * 12, {})
        start_executor(store, workers=0).run([job(2, short)], study="a" * 12)
        assert store.remove_study("a" * 12) == 2
        assert store.get(short.address(""), 0) is None


# Stopping


@pytest.mark.parametrize("how", ["stopped", "deadline", "ctrl-c"])
def test_stopped_runs_go_on_to_the_same_end(pool: Executor, plain: Store, how: str) -> None:
    longer = RECIPE.edit(budget={"updates": 20_000})
    tag = f"stop {how}"
    started = threading.Event()

    def note(event: Event) -> None:
        if event.update >= 20 and not started.is_set():
            started.set()
            if how == "ctrl-c":
                os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(OutOfTime if how == "deadline" else KeyboardInterrupt):
        pool.run(
            [job(2, longer, tag)],
            on_event=note,
            stopped=(lambda: how == "stopped" and started.is_set()),
            deadline=time.monotonic() + 1.5 if how == "deadline" else None,
        )
    assert signal.getsignal(signal.SIGINT) is handler
    snapshots = [pool.store.snapshot(longer.address(tag), seed) for seed in range(2)]
    assert all(snapshot is not None and 0 < snapshot.update < 20_000 for snapshot in snapshots)
    assert pool.store.get(longer.address(tag), 0) is None


@pytest.mark.parametrize("workers", [wide(0), 2])
def test_a_resumed_run_is_the_run_that_never_stopped(
    pool: Executor, plain: Store, workers: int, tmp_path: Path
) -> None:
    tag = f"resume {workers}"
    with Store(tmp_path / "s") if workers == 0 else contextlib.nullcontext(pool.store) as store:
        executor = start_executor(store, workers=0, train=faulty, load=load_tagged) if workers == 0 else pool
        stops = 0
        while stops < 50:
            trained: list[Event] = []

            def note(event: Event, trained: list[Event] = trained) -> None:
                trained += [event] if event.kind == "progress" else []

            with contextlib.suppress(KeyboardInterrupt):
                executor.run([job(2, RECIPE, tag)], on_event=note, stopped=lambda t=trained: bool(t))
                break
            stops += 1
        assert 0 < stops < 50
        assert all(
            same(store.get(RECIPE.address(tag), s), plain.get(RECIPE.address(""), s)) for s in range(2)
        )


def test_only_missing_seeds_of_a_block_are_trained(tmp_path: Path, plain: Store) -> None:
    with Store(tmp_path / "s") as store:
        executor = start_executor(store, workers=0)
        executor.run([job((1, 3))])
        executor.run([job(5)])
        assert all(same(store.get(job().address, seed), plain.get(job().address, seed)) for seed in range(5))


# Faults


def test_bad_input_is_the_same_from_a_worker(pool: Executor) -> None:
    wrong = RECIPE.edit(examples=700)
    messages = []
    for executor in (pool, start_executor(pool.store, workers=0)):
        with pytest.raises(BadInput) as caught:
            executor.run([job(1, wrong)])
        messages.append((str(caught.value), caught.value.field, caught.value.allowed, caught.value.nearest))
    assert messages[0] == messages[1]
    assert "700" in messages[0][0]


def test_a_worker_has_one_thread(pool: Executor) -> None:
    with pytest.raises(BadInput, match=r"\(1, '1', False\).*did you mean 'threads'"):
        pool.run([job(1, tag="tells")])


def test_another_exception_brings_its_traceback(pool: Executor) -> None:
    with pytest.raises(InternalError) as caught:
        pool.run([job((4,), tag="divides")])
    first, *rest = str(caught.value).splitlines()
    assert "divides, seed 4" in first
    assert "ZeroDivisionError: planted fault" in first
    assert any("in faulty" in line for line in rest)


def test_a_killed_worker_is_named_and_the_rest_is_stored(pool: Executor) -> None:
    dying = job(2, tag="dies")
    with pytest.raises(WorkerDied, match=r"dies, seed 1 was killed by signal 9.*goes on from there"):
        pool.run([dying])
    assert pool.store.get(dying.address, 1) is None
    with start_executor(pool.store, workers=0, load=load_tagged) as healthy:
        healthy.run([dying])
    assert pool.store.get(dying.address, 1) is not None
    pool.run([job(1, RECIPE.edit(budget={"updates": 4}), "after")])


def test_a_task_that_has_changed_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store:
        executor = start_executor(store, workers=0)
        short = RECIPE.edit(budget={"updates": 2})
        with pytest.raises(BadInput, match="stay as they are"):
            executor.run([job(1, short, fingerprint="of another day")])
        executor.run([job(1, short, fingerprint=DIGITS.fingerprint())])


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store:
        executor = start_executor(store, workers=0)
        executor.run([job(1, RECIPE.edit(budget={"updates": 5}))])
        other = RECIPE.edit(budget={"updates": 6})
        folder = store.folder(other.address(""), 0)
        folder.make()
        source = store.folder(RECIPE.edit(budget={"updates": 5}).address(""), 0).snapshot_path
        folder.snapshot_path.write_bytes(source.read_bytes())
        with pytest.raises(BadInput, match="another recipe's checkpoint"):
            executor.run([job(1, other)])
        folder.snapshot_path.write_bytes(source.read_bytes()[:1000])
        with pytest.raises(BadInput, match="remove it"):
            executor.run([job(1, other)])
        folder.snapshot_path.unlink()
        executor.run([job(1, other)])


def test_an_error_of_the_listener_ends_the_work(pool: Executor) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("view")

    with pytest.raises(RuntimeError, match="view"):
        pool.run([job(1, RECIPE.edit(budget={"updates": 100_000}), "view")], on_event=broken)
    assert not pool._pool  # nobody goes on training unseen


# Several processes


def test_a_run_that_somebody_else_trains_is_waited_for(tmp_path: Path, plain: Store) -> None:
    outcome = plain.get(job().address, 0)
    with Store(tmp_path / "s") as store:
        lock = store.lock(job().address, 0)
        lock.acquire()
        events: list[Event] = []

        def listen(event: Event) -> None:
            events.append(event)
            if event.kind == "waiting":  # the other one finishes just now
                store.put(job().address, 0, outcome, RECIPE, "digits")
                lock.release()

        start_executor(store, workers=0, train=never).run([job(1)], on_event=listen)
        assert [event.kind for event in events] == ["waiting", "finished"]


SCRIPT = """
import os, sys
sys.path[:0] = [{here!r}, {tests!r}]
from test_executor import job, RECIPE
from algobias.running.pool import start_executor
from algobias.kept.store import Store

def show(event):
    print(event.kind, event.seed, event.update, flush=True)

with start_executor(Store(sys.argv[1]), workers=int(sys.argv[2])) as executor:
    executor.run([job(int(sys.argv[3]))], on_event=show)
"""


def start_script(folder: Path, workers: int, seeds: int) -> "subprocess.Popen[str]":
    """A program of somebody's own, without ``if __name__ == "__main__"``, read from stdin."""
    process = subprocess.Popen(
        [sys.executable, "-", str(folder), str(workers), str(seeds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdin.write(SCRIPT.format(here=str(HERE), tests=str(HERE.parent)))
    process.stdin.close()
    return process


@pytest.mark.wide
def test_two_programs_at_once_train_each_run_once(tmp_path: Path, plain: Store) -> None:
    programs = [start_script(tmp_path / "s", workers, 3) for workers in (0, 0)]
    told = [program.stdout.read().splitlines() for program in programs]
    errors = [program.stderr.read() for program in programs]
    assert [program.wait(60) for program in programs] == [0, 0], errors
    trained = [line for lines in told for line in lines if line.startswith("progress")]
    assert len(trained) == len(set(trained)) == 3 * len(plain.get(job().address, 0).curve)
    with Store(tmp_path / "s") as store:
        assert all(same(store.get(job().address, seed), plain.get(job().address, seed)) for seed in range(3))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker by way of /proc")
def test_killing_the_parent_ends_the_workers_and_frees_their_runs(tmp_path: Path, plain: Store) -> None:
    program = start_script(tmp_path / "s", 1, 2)
    assert program.stdout.readline().startswith("progress")
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    program.kill()
    program.wait()
    deadline = time.monotonic() + 20
    while any(alive(child) for child in children):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)
    with Store(tmp_path / "s") as store:
        start_executor(store, workers=0).run([job(2)])
        assert all(same(store.get(job().address, seed), plain.get(job().address, seed)) for seed in range(2))


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
