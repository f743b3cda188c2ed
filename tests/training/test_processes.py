"""Real processes: each strategy against a plain program that does the same in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from algobias.errors import BadInput
from algobias.levers.parallel.local_sgd import LocalUpdates
from algobias.levers.registry import parse, parse_many
from algobias.recipe import Recipe
from algobias.running.distributed.launch import ProcessLost, local_only, run_processes
from algobias.runs.observer import Interrupted
from algobias.tasks.registry import load_task
from algobias.training.loop import train
from algobias.training.processes.rank import train_rank
from algobias.training.processes.strategies import Parallel
from algobias.training.setup import Setup
from real_processes import start
from wide_tests import wide

UPDATES = 24


def recipe(**changes: Any) -> Recipe:
    base = load_task("digits").recipe().edit(batch=16, budget={"updates": UPDATES}, engine="looped")
    return base.edit(**changes)


def process(
    rank: int, count: int, meeting: str, made: Recipe, parallel: Parallel, folder: str, stop: int
) -> None:
    torch.set_num_threads(1)
    os.environ |= local_only()
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == stop

    try:
        outcome = train_rank(
            made, load_task("digits"), 3, parallel, folder=Path(folder), should_stop=should_stop
        )
        told = {"loss": outcome.curve.train_loss.tolist(), "test": outcome.curve.test_metric.tolist()}
        told["cost"] = outcome.cost.gradients
        Path(folder, f"outcome{rank}.json").write_text(json.dumps(told))
    except Interrupted:
        pass
    dist.destroy_process_group()


def run(made: Recipe, parallel: Parallel, folder: Path, stop: int = 0) -> list[dict[str, Any]]:
    count = parallel.processes
    with tempfile.TemporaryDirectory() as private:
        arguments = (count, f"{private}/meeting", made, parallel, str(folder), stop)
        start(process, arguments, count)
    paths = [folder / f"outcome{rank}.json" for rank in range(count)]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def plain(made: Recipe, workers: int, every: int) -> np.ndarray:
    """Local SGD as a plain program: W networks, averaged with their momentum after every so many updates."""
    task = load_task("digits")
    setup = Setup(made, task, torch.device("cpu"))
    states = [setup.initial((3,)) for _ in range(workers)]
    memories = [setup.transform.init(state) for state in states]
    losses = []
    for update in range(UPDATES):
        batch, key = setup.sampler(update, (3,))
        size = made.batch // workers
        for worker in range(workers):
            rows = slice(worker * size, (worker + 1) * size)
            grads, _ = setup.grad(states[worker], tuple(leaf[rows] for leaf in batch), key)
            states[worker], memories[worker] = setup.transform.update(grads, memories[worker], states[worker])
        mean = torch.stack([state.params for state in states]).mean(0)
        if (update + 1) % every == 0:
            velocity = torch.stack([memory["velocity"] for memory in memories]).mean(0)
            states = [state.with_params(mean) for state in states]
            memories = [{**memory, "velocity": velocity} for memory in memories]
        if update + 1 in setup.horizon.checks:
            losses.append(float(setup.network.loss(states[0].with_params(mean), setup.fit_examples)))
    return np.array(losses)


FIFTH = LocalUpdates(every=5, workers=2)


def test_local_processes_are_local_sgd_and_go_on_after_a_stop(tmp_path: Path) -> None:
    expected = plain(recipe(), workers=2, every=5)
    whole = run(recipe(), Parallel("local", 2, FIFTH), tmp_path / "whole")
    np.testing.assert_allclose(whole[0]["loss"], expected, rtol=2e-5)
    assert not run(recipe(), Parallel("local", 2, FIFTH), tmp_path / "cut", stop=6)
    again = run(recipe(), Parallel("local", 2, FIFTH), tmp_path / "cut")
    np.testing.assert_array_equal(again[0]["loss"], whole[0]["loss"])


def test_the_outer_optimizer_goes_on_after_a_stop(tmp_path: Path) -> None:
    outer = Parallel("local", 2, LocalUpdates(every=3, workers=2, outer="nesterov"))
    (simulated,) = train(
        parse("local_sgd:3,workers=2,outer=nesterov").apply(recipe()), load_task("digits"), (3,)
    )
    assert not run(recipe(), outer, tmp_path, stop=7)
    again = run(recipe(), outer, tmp_path)
    np.testing.assert_allclose(again[0]["loss"], simulated.curve.train_loss, rtol=2e-5)


@pytest.mark.parametrize(
    ("lever", "count"),
    [
        wide("local_sgd:3,workers=4,post=0.5", 4),
        wide("local_sgd:1,workers=2,alpha=0.12,post=2", 2),
        wide("local_sgd:4,workers=2,outer=nesterov,post=6", 2),
        wide("delay:1,kind=workers,momentum=0", 3),
        wide("drop_compute:p=0.5+workers:4", 4),
        wide("drop_compute:0.9,sigma=1,workers=2,scale=worker+workers:2", 2),
    ],
)
def test_started_by_the_tool_they_agree_with_the_simulation_step_for_step(
    tmp_path: Path, lever: str, count: int
) -> None:
    """The checks of 24 updates within 2e-5 of each other: rounding in another order, and nothing else."""
    made = recipe()
    for one in parse_many(lever):
        made = one.apply(made)
    (simulated,) = train(made, load_task("digits"), (3,))
    found = run_processes(made, "digits", 3, count, tmp_path)
    np.testing.assert_array_equal(found.curve.update, simulated.curve.update)
    np.testing.assert_allclose(found.curve.train_loss, simulated.curve.train_loss, rtol=2e-5)
    assert found.cost.gradients == simulated.cost.gradients
    assert found.cost.bytes_sent == simulated.cost.bytes_sent
    assert not list(tmp_path.glob("process*"))


@pytest.mark.wide
def test_a_lost_process_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    made = parse("local_sgd:5,workers=2").apply(recipe(budget={"updates": 1500}))
    killed = False

    def kill_one() -> bool:
        nonlocal killed
        there = list(tmp_path.glob("process1-*.safetensors"))
        if there and not killed:
            killed = True
            subprocess.run(
                ["pkill", "-9", "-f", f"running.distributed digits --recipe {tmp_path}"], check=False
            )
        return False

    with pytest.raises(ProcessLost, match=r"process \d of 2 was killed by signal 9; .* goes on"):
        run_processes(made, "digits", 3, 2, tmp_path, should_stop=kill_one, snapshot_seconds=0.1)
    saved = max(int(path.stem.partition("-")[2]) for path in tmp_path.glob("process0-*.safetensors"))
    assert 0 < saved < 1500
    again = run_processes(made, "digits", 3, 2, tmp_path)
    (simulated,) = train(made, load_task("digits"), (3,))
    np.testing.assert_array_equal(again.curve.update, simulated.curve.update)
    assert again.curve.train_loss[-1] == pytest.approx(simulated.curve.train_loss[-1], rel=0.05)


def test_what_they_cannot_do_is_one_message(tmp_path: Path) -> None:
    made = parse("local_sgd:5,workers=2,shards=classes").apply(recipe())
    with pytest.raises(BadInput, match="shared over real processes"):
        run_processes(made, "digits", 3, 2, tmp_path)


@pytest.mark.wide
def test_started_by_torchrun(tmp_path: Path) -> None:
    torchrun = Path(sys.executable).with_name("torchrun")
    if not torchrun.exists():
        pytest.skip("torchrun is not installed beside this Python")
    command = [str(torchrun), "--standalone", "--nproc-per-node", "2", "-m", "algobias.running.distributed"]
    command += ["digits", "--change", "batch:16", "--change", f"budget:updates={UPDATES}"]
    command += ["--change", "workers:2", "--seed", "3", "--out", str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = json.loads((tmp_path / "outcome.json").read_text())["curve"]
    (one,) = train(recipe(), load_task("digits"), (3,))
    np.testing.assert_allclose(found["train_loss"], one.curve.train_loss, rtol=2e-5)
