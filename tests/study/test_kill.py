"""``kill -9`` at any moment of an audit, then the same command again: the same JSON but for times.

Kills hit the whole command in a forked copy of a process that has already imported everything (so that they
fall into the work and not into imports), training in that one process and saving snapshots all the time:
four of them, and twenty in the wide test, where a few more hit the command as a user starts it, with its
pool of processes.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked copies of a process")

FEW, KILLS = 4, 20
POOL_KILLS = 2
TIMES = {"seconds", "report", "store"}
# The smaller rate learns more slowly: runs are extended from snapshots of their parents.
STUDY = ["audit", "digits", "--change", "lr:x0.4", "--base", "budget:updates=30"]
# Readings too: of kept weights, and of moments that are trained again.
STUDY += ["--probes", "weight_norm,margin_input"]
OPTIONS = ["--looks", "4", "--tolerance", "0.5", "--json", "--quiet"]
PATIENCE = 120.0


def command(store: Path) -> list[str]:
    return [*STUDY, *OPTIONS, "--store", str(store)]


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


# In the template process


def forked(arguments: list[str], output: Path) -> int:
    """Run the command line in a copy of this process; returns its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(written, 1)
        sys.argv = ["algobias", *arguments]
        from algobias.cli import main

        main()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    finally:
        sys.stdout.flush()
        os._exit(code)


def ended(child: int, seconds: float) -> int | None:
    """Exit code of a child that ends within so many seconds, else None."""
    deadline = time.monotonic() + seconds
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.002)


def template(folder: Path, most: int) -> None:
    """Kill the command ``most`` times and bring every store to its end; writes ``kills.json``."""
    import sympy  # noqa: F401
    import torch
    import torch._dynamo
    import torch._inductor.lowering

    from algobias.cli import app, audit  # noqa: F401
    from algobias.kept import runfiles
    from algobias.running import pool
    from algobias.studies import audit as _audit  # noqa: F401
    from algobias.studies import reports

    torch.set_num_threads(1)
    reports.write_report = lambda store, study: (
        store.path
    )  # comes after the result; takes longer than the rest
    pool.available_cores = lambda: 0  # train in the process itself
    runfiles.SNAPSHOT_SECONDS, runfiles.SNAPSHOT_SHARE = 0.03, 1.0
    chance = random.Random(0)

    def whole(store: Path, output: Path) -> None:
        code = ended(forked(command(store), output), PATIENCE)
        assert code == 0, f"exit code {code}"

    start = time.time()
    whole(folder / "reference", folder / "reference.json")
    runs = list((folder / "reference").glob("runs/*/*/*/outcome.json"))
    trained = max(path.stat().st_mtime for path in runs) - start
    kills: list[dict[str, Any]] = []
    stores = 0
    while len(kills) < most:
        store = folder / f"s{stores}"
        found = {"outcome.json": 0}
        while len(kills) < most and found["outcome.json"] < len(runs):
            moment = chance.uniform(0.0, 1.6 * trained)  # on a busy machine all is later
            child = forked(command(store), folder / "cut.json")
            code = ended(child, moment)
            if code is not None:
                assert code == 0, f"exit code {code}"
                break
            os.kill(child, signal.SIGKILL)
            if ended(child, PATIENCE) != -signal.SIGKILL:  # it ended by itself in the last instant
                break
            kinds = "curve.jsonl", "snapshot.safetensors", "outcome.json"
            found = {kind: len(list(store.glob(f"runs/*/*/*/{kind}"))) for kind in kinds}
            kills.append({"store": store.name, "moment": moment, **found})
        whole(store, folder / f"s{stores}.json")
        stores += 1
    (folder / "kills.json").write_text(json.dumps({"trained": trained, "stores": stores, "kills": kills}))


# The test


def killed(folder: Path, most: int) -> dict[str, Any]:
    """What the kills hit, after all results were compared with that of the undisturbed command."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, __file__, str(folder), str(most)]
    subprocess.run(words, env=environment, check=True, timeout=5 * PATIENCE)
    told = json.loads((folder / "kills.json").read_text())
    assert len(told["kills"]) == most
    reference = without_times(json.loads((folder / "reference.json").read_text()))
    assert reference["verdict"]
    for number in range(told["stores"]):
        assert without_times(json.loads((folder / f"s{number}.json").read_text())) == reference
    return told | {"reference": reference}


@pytest.mark.wide
def test_killed_and_started_again(tmp_path: Path) -> None:
    told = killed(tmp_path, FEW)
    assert any(kill["curve.jsonl"] for kill in told["kills"]), "a kill fell into training"


@pytest.mark.wide
def test_killed_at_random_moments_and_started_again(tmp_path: Path) -> None:
    told = killed(tmp_path, KILLS)
    kills = told["kills"]
    # the kills fell into training, not only before and after it
    assert sum(kill["snapshot.safetensors"] > kill["outcome.json"] for kill in kills) >= 3, kills
    assert len({kill["outcome.json"] for kill in kills}) >= 2, kills
    assert without_times(killed_with_its_processes(tmp_path / "pool")) == told["reference"]


def killed_with_its_processes(store: Path) -> Any:
    """The result after only the parent is killed: its processes must end and let go of their runs."""
    arguments = [sys.executable, "-m", "algobias", *command(store), "--workers", "1"]
    chance = random.Random(1)
    for _ in range(POOL_KILLS):
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        before = written(store)
        while written(store) == before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.6))
        process.kill()
        process.wait()
    return json.loads(subprocess.run(arguments, stdout=subprocess.PIPE, timeout=PATIENCE, check=True).stdout)


def written(store: Path) -> float:
    """Changes when training writes a line of a curve."""
    return max((path.stat().st_mtime for path in store.glob("runs/*/*/*/curve.jsonl")), default=0.0)


if __name__ == "__main__":
    template(Path(sys.argv[1]), int(sys.argv[2]))
