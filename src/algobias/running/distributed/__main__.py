"""One process of a run. ``torchrun --nproc-per-node 4 -m algobias.running.distributed TASK --change ...``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

import torch
import torch.distributed as dist

from algobias.errors import BadInput
from algobias.kept.outcomes import outcome_json
from algobias.levers.registry import parse_many
from algobias.own.user_code import told_as_bad_input
from algobias.recipe import Recipe, recipe_from
from algobias.running.distributed.launch import BAD_INPUT, ORPHANED, STOPPED
from algobias.runs.observer import Interrupted
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.processes.parts import divided, sharing_part
from algobias.training.processes.rank import SNAPSHOT_SECONDS, train_rank
from algobias.whole_files import replace_file, write_whole


def main(arguments: list[str] | None = None) -> int:
    """Train one seed as one of the processes that ``RANK`` and ``WORLD_SIZE`` name; the exit code."""
    parser = argparse.ArgumentParser(
        prog="torchrun --nproc-per-node W -m algobias.running.distributed",
        description="Train one seed of a recipe over several processes; rank 0 writes OUT/outcome.json.",
    )
    parser.add_argument("task", help="built-in task with options, or path/to/file.py:name")
    parser.add_argument("--recipe", type=Path, help="a whole recipe as JSON, instead of --change")
    parser.add_argument("--change", action="append", default=[], help="a lever; repeat for several, in order")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for snapshots and the outcome")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--meeting", type=Path, help=argparse.SUPPRESS)  # given by the launcher alone
    parser.add_argument("--snapshot-seconds", type=float, default=SNAPSHOT_SECONDS)
    given = parser.parse_args(arguments)
    rank = int(os.environ.get("RANK", "0"))
    if given.meeting is not None:
        end_with_parent()
    try:
        with told_as_bad_input():
            return _run(given, rank)
    except Interrupted:
        return STOPPED
    except BadInput as error:
        given.out.mkdir(parents=True, exist_ok=True)
        said = given.out / f"process{rank}.error.json"
        replace_file(said, json.dumps(error.plain()).encode())
        print(f"Error {error}", file=sys.stderr)
        return BAD_INPUT


def _run(given: argparse.Namespace, rank: int) -> int:
    torch.set_num_threads(1)
    task = load_task(given.task, given.data)
    recipe = _recipe(given, task)
    base, parallel = divided(recipe)
    part = sharing_part(recipe)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world != parallel.processes:
        allowed = f"{parallel.processes} for {parallel.workers} workers" + (
            " and a server" if parallel.kind == "server" else ""
        )
        raise BadInput("processes", world, allowed)
    on_gpu = given.device.partition(":")[0] == "cuda"
    device = f"cuda:{int(os.environ.get('LOCAL_RANK', rank))}" if on_gpu else "cpu"
    if on_gpu:
        torch.cuda.set_device(device)
    where = None if given.meeting is None else f"file://{given.meeting.absolute()}"
    dist.init_process_group(backend(on_gpu), init_method=where, rank=rank, world_size=world)
    try:
        stop = given.out / "stop"
        outcome = train_rank(
            base,
            task,
            given.seed,
            parallel,
            device=device,
            folder=given.out,
            should_stop=stop.exists,
            snapshot_seconds=given.snapshot_seconds,
            sent=lambda layout, updates: part.bytes_sent(layout, updates, recipe),
        )
        if rank == 0:
            written = json.dumps(outcome_json(outcome), allow_nan=False).encode()
            write_whole(given.out / "outcome.json", written)
        leave_in_order(rank, world)
    finally:
        dist.destroy_process_group()
    return 0


def end_with_parent() -> None:
    """Leave signals to the process that started this one, and end when its end of stdin is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

    def wait_for_end() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock Python wants for itself when it ends
            pass
        os._exit(ORPHANED)

    threading.Thread(target=wait_for_end, daemon=True).start()


def backend(on_gpu: bool) -> str:
    """What carries tensors from process to process.

    NCCL carries those on a GPU only; orders and counts are on the CPU, so both are needed there.
    """
    return "cpu:gloo,cuda:nccl" if on_gpu else "gloo"


def leave_in_order(rank: int, world: int) -> None:
    """Process 0 leaves last: it may hold the store that the others still need."""
    dist.barrier()
    store = dist.distributed_c10d._get_default_store()
    if rank:
        store.set(f"left {rank}", "1")
    else:
        store.wait([f"left {other}" for other in range(1, world)])


def _recipe(given: argparse.Namespace, task: Task) -> Recipe:
    if given.recipe is not None:
        return recipe_from(json.loads(given.recipe.read_text(encoding="utf-8")))
    recipe = task.recipe()
    for text in given.change:
        for lever in parse_many(text):
            recipe = lever.apply(recipe)
    return recipe


if __name__ == "__main__":
    raise SystemExit(main())
