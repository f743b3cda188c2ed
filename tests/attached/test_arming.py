"""A script that nobody edited runs as it does without anything inside of it."""

from __future__ import annotations

import functools
import signal
from pathlib import Path

import pytest

from algobias.attached.events import Counters, Start
from algobias.attached.orders import ARMED
from attached import scripts
from attached.scripts import CLASSIFIER, HEAD
from wide_tests import wide

run = functools.partial(scripts.run, fresh=True)


def test_the_run_is_the_plain_run(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", CLASSIFIER, attach=False)
    inside = run(tmp_path / "inside", CLASSIFIER)
    assert inside.out == plain.out
    assert (inside.code, inside.err) == (plain.code, plain.err)
    assert plain.events.processes == ()
    assert inside.end.updates == 6
    assert inside.end.reason == "exit"


@pytest.mark.wide
def test_weights_at_the_end_are_hashed_over_every_bit(tmp_path: Path) -> None:
    ends = [
        run(tmp_path / str(n), CLASSIFIER.replace("lr=0.1", f"lr={lr}"))
        for n, lr in enumerate((0.1, 0.1, 0.10001))
    ]
    first, again, other = (ran.end.weights for ran in ends)
    assert first is not None
    assert first == again != other


def test_arguments_paths_and_exit_codes_are_the_scripts_own(tmp_path: Path) -> None:
    source = "import sys, torch\nprint(sys.argv, __file__, sys.path[0])\nsys.exit(7)"
    plain = run(tmp_path, source, "--lr", "1", attach=False)
    inside = run(tmp_path, source, "--lr", "1")
    assert (inside.code, inside.out) == (7, plain.out)


def test_a_traceback_is_the_scripts_own(tmp_path: Path) -> None:
    source = HEAD + "nn.Sequential(nn.Linear(3, 4))(X)"
    plain = run(tmp_path, source, attach=False)
    inside = run(tmp_path, source)
    assert inside.code == plain.code == 1
    assert inside.err == plain.err


def test_a_script_that_never_imports_torch_is_left_alone(tmp_path: Path) -> None:
    ran = run(tmp_path, "import sys\nprint('torch' in sys.modules, sys.meta_path[0])")
    assert ran.out.startswith("False")
    assert ran.events.processes == ()
    assert list(tmp_path.rglob(ARMED)), "it tells that it could have been seen"


@pytest.mark.wide
def test_the_users_own_sitecustomize_still_runs(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("print('own', __name__)")
    source = "import sys, sitecustomize, torch\nprint(sitecustomize.__file__)"
    plain = run(tmp_path, source, attach=False, environment={"PYTHONPATH": str(own)})
    inside = run(tmp_path, source, environment={"PYTHONPATH": str(own)})
    assert inside.out == plain.out
    assert inside.out.startswith("own sitecustomize")
    assert inside.events.of(Start)


@pytest.mark.wide
def test_models_and_optimizers_are_pickled_and_copied(tmp_path: Path) -> None:
    source = CLASSIFIER + (
        "import copy, pickle, io\n"
        "copy.deepcopy((net, optimizer)); pickle.loads(pickle.dumps((net, optimizer)))\n"
        "pickle.loads(pickle.dumps([torch.nn.utils.clip_grad_norm_, torch.autograd.backward]))\n"
        "buffer = io.BytesIO(); torch.save((net, optimizer, torch.amp.GradScaler('cpu')), buffer)\n"
        "print(b'algobias' in buffer.getvalue())\n"
    )
    ran = run(tmp_path, source, seed=1)
    assert ran.code == 0, ran.err
    assert ran.out.endswith("False\n")


@pytest.mark.parametrize(
    "way", ["os._exit(3)", wide("os.kill(os.getpid(), signal.SIGTERM)"), "os.kill(os.getpid(), 9)"]
)
def test_whatever_ends_a_process_what_it_wrote_is_there(tmp_path: Path, way: str) -> None:
    source = HEAD + (
        "import os, signal\nnet = nn.Linear(12, 4); optimizer = torch.optim.SGD(net.parameters(), 0.1)\n"
        "for step in range(205):\n    net(X).sum().backward(); optimizer.step()\n" + way
    )
    ran = run(tmp_path, source)
    assert ran.code in (3, -signal.SIGTERM, -9)
    noted = [counters.steps for counters in ran.events.of(Counters)]
    assert noted == [1, 2, 4, 8, 16, 32, 64, 100, 200]


def test_a_run_is_ended_after_so_many_updates(tmp_path: Path) -> None:
    ran = run(tmp_path, CLASSIFIER, stop_after=2)
    assert ran.code == 0
    assert ran.out.count("accuracy") == 1
    assert (ran.end.updates, ran.end.reason) == (2, "stop_after")
    assert ran.end.weights is not None


@pytest.mark.wide
def test_steps_inside_of_steps_count_once(tmp_path: Path) -> None:
    source = HEAD + (
        "class Outer(torch.optim.Optimizer):\n"
        "    def __init__(self, base):\n"
        "        super().__init__(base.param_groups, {})\n"
        "        self.base = base; self.param_groups = base.param_groups\n"
        "    def step(self, closure=None):\n"
        "        self.base.step(); self.base.step()\n"
        "net = nn.Linear(12, 4); optimizer = Outer(torch.optim.SGD(net.parameters(), 0.1))\n"
        "for step in range(5):\n    net(X).sum().backward(); optimizer.step()\n"
    )
    ran = run(tmp_path, source)
    assert ran.code == 0, ran.err
    assert ran.end.updates == 5
    assert ran.events.of(Counters)[-1].steps == 5


@pytest.mark.wide
def test_a_step_that_fails_does_not_count_and_the_next_one_does(tmp_path: Path) -> None:
    source = HEAD + (
        "class Failing(torch.optim.SGD):\n"
        "    def step(self, closure=None):\n"
        "        if self.param_groups[0]['lr'] > 1: raise ValueError\n"
        "        return super().step(closure)\n"
        "net = nn.Linear(12, 4); optimizer = Failing(net.parameters(), 0.1)\n"
        "for lr in (0.1, 2, 0.1, 0.1):\n"
        "    optimizer.param_groups[0]['lr'] = lr; net(X).sum().backward()\n"
        "    try: optimizer.step()\n"
        "    except ValueError: pass\n"
    )
    assert run(tmp_path, source).end.updates == 3


def test_skipped_steps_and_losses_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    source = HEAD + (
        "net = nn.Linear(12, 4); optimizer = torch.optim.SGD(net.parameters(), 0.1)\n"
        "scaler = torch.amp.GradScaler('cpu')\n"
        "for step in range(6):\n"
        "    optimizer.zero_grad(); factor = float('inf') if step == 3 else 1\n"
        "    scaler.scale(factor * net(X).square().sum()).backward()\n"
        "    scaler.step(optimizer); scaler.update()\n"
    )
    counters = run(tmp_path, source).events.of(Counters)[-1]
    assert (counters.steps, counters.skipped, counters.non_finite) == (5, 1, 1)


@pytest.mark.wide
def test_seeds_are_moved_as_if_the_script_had_set_others(tmp_path: Path) -> None:
    source = HEAD + (
        "import random, numpy as np\nrandom.seed(1); np.random.seed(2)\n"
        "print(random.random(), np.random.rand(), torch.rand(2).tolist())\n"
        "torch.cuda.manual_seed_all(4); random.seed('a'); np.random.seed([1, 2]); print(torch.initial_seed())"
    )
    plain = source.replace("seed(0)", "seed(5)").replace("seed(1)", "seed(6)").replace("seed(2)", "seed(7)")
    by_hand = run(tmp_path / "hand", plain, attach=False)
    moved = run(tmp_path / "moved", source, seed=5)
    unmoved = run(tmp_path / "unmoved", source, seed=0)
    assert moved.out == by_hand.out
    assert unmoved.out == run(tmp_path / "plain", source, attach=False).out != moved.out


@pytest.mark.wide
def test_a_script_without_seeds_is_repeatable(tmp_path: Path) -> None:
    source = (
        "import random, numpy as np, torch\nprint(random.random(), np.random.rand(), torch.rand(2).tolist())"
    )
    first, again, other = (run(tmp_path / str(n), source, seed=seed).out for n, seed in enumerate((1, 1, 2)))
    assert first == again != other


def test_spawned_and_forked_children_write_files_of_their_own(tmp_path: Path) -> None:
    source = HEAD + (
        "import multiprocessing\n"
        "def train():\n"
        "    net = nn.Linear(12, 4); optimizer = torch.optim.SGD(net.parameters(), 0.1)\n"
        "    for step in range(3): net(X).sum().backward(); optimizer.step()\n"
        "if __name__ == '__main__':\n"
        "    for method in ('fork', 'spawn'):\n"
        "        child = multiprocessing.get_context(method).Process(target=train)\n"
        "        child.start(); child.join()\n"
        "        print(child.exitcode)\n"
    )
    ran = run(tmp_path, source)
    assert ran.out == "0\n0\n", ran.err
    assert len(ran.events.processes) == 3
    assert sorted(process.updates for process in ran.events.processes) == [0, 3, 3]
