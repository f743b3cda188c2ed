"""One run of a command: its outputs, its end, and that nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from algobias.commands.numbers.curves import arrivals
from algobias.errors import BadInput
from algobias.jobs.job import JOB, OUTPUT, Job, Result
from algobias.jobs.slots import Slots, Task
from algobias.jobs.worker import carry_out, environment

SLEEPER = "import os, time; print(os.getpid(), flush=True); time.sleep(100)"


def job(folder: Path, code: str, **changes: object) -> Job:
    fields = {
        "words": (sys.executable, "-c", code),
        "environment": {},
        "cwd": folder,
        "folder": folder / "run",
    }
    return Job(**{**fields, **changes})


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # a zombie nobody has waited for
    return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def waited(condition, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def first_number(path: Path) -> int:
    assert waited(lambda: path.exists() and path.read_text().strip().isdigit())
    return int(path.read_text())


def test_outputs_marks_and_the_exit_code(tmp_path: Path) -> None:
    code = "import sys, time; print('one'); time.sleep(.3); print('two'); sys.exit('bad')"
    result = carry_out(job(tmp_path, code).write())
    assert (result.code, result.signal, result.reason) == (1, None, None)
    assert not result.well
    assert Result.read(tmp_path / "run") == result
    assert (tmp_path / "run" / OUTPUT).read_text() == "one\ntwo\n"
    assert (tmp_path / "run" / "stderr.txt").read_text() == "bad\n"
    marks = arrivals(tmp_path / "run")
    assert marks[-1][0] == 8
    assert marks[-1][1] - marks[0][1] > 0.2


def test_a_signal_is_told(tmp_path: Path) -> None:
    result = carry_out(job(tmp_path, "import os; os.kill(os.getpid(), 11)").write())
    assert (result.code, result.signal) == (None, 11)


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = carry_out(job(tmp_path, "", words=("no-such-program",)).write())
    assert result.reason == "no-such-program cannot be started: No such file or directory"


def test_what_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    child = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}])"
    code = f"{child}; time.sleep(100)"
    result = carry_out(job(tmp_path, code, max_seconds=2.0).write())
    assert result.reason == "it took longer than 2 s"
    assert gone(first_number(tmp_path / "run" / OUTPUT))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
def test_what_leaves_the_group_of_the_run_ends_with_it_too(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], start_new_session=True)\n"
        "import time; time.sleep(1)"
    )
    result = carry_out(job(tmp_path, code).write())
    assert result.well
    assert waited(lambda: gone(first_number(tmp_path / "run" / OUTPUT)))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to another process than init")
def test_what_hides_its_session_and_its_variables_ends_with_the_worker(tmp_path: Path) -> None:
    """A daemon: its parent has gone at once, and it has no variable of the run's."""
    start = "import subprocess, sys, time; subprocess.{}([sys.executable, '-c', {!r}], env={{}}{})"
    daemon = start.format("Popen", SLEEPER, ", start_new_session=True")
    code = start.format("run", daemon, "") + "; time.sleep(1)"
    path = job(tmp_path, code).write()
    done = subprocess.run([sys.executable, "-m", "algobias.jobs.worker", str(path)], timeout=60, check=True)
    assert done.returncode == 0
    assert gone(first_number(tmp_path / "run" / OUTPUT))


def test_variables_and_what_sits_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    plain = environment(job(tmp_path, ""))
    assert plain["PYTHONPATH"] == "/theirs"
    assert plain["OMP_NUM_THREADS"] == "3"
    assert plain["MKL_NUM_THREADS"] in ("1", os.environ.get("MKL_NUM_THREADS"))
    attached = environment(job(tmp_path, "", orders={"schema": 1}, environment={"A": "b"}))
    assert attached["PYTHONPATH"].endswith(f"attached/site{os.pathsep}/theirs")
    assert attached["ALGOBIAS_ATTACH"] == str(tmp_path / "run" / "orders.json")
    assert attached["A"] == "b"


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    whole = job(tmp_path, "x", orders={"schema": 1, "events": "e"}, max_seconds=3.0, environment={"A": "b"})
    assert Job.read(whole.write()) == whole
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(BadInput, match="a job as algobias writes it"):
        Job.read(tmp_path / "other.json")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_run_ends_with_who_started_it(tmp_path: Path, number: int) -> None:
    """A process that carries out jobs is killed: nothing of the command is left."""
    path = job(tmp_path, SLEEPER)
    code = (
        "from pathlib import Path; from algobias.jobs.job import Job; "
        "from algobias.jobs.slots import Slots, Task\n"
        "class Lock:\n def acquire(self, *, blocking): pass\n def release(self): pass\n"
        f"job = Job.read(Path({str(path.write())!r}))\n"
        "Slots(1).run([Task(job, Lock())], print)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        pid = first_number(tmp_path / "run" / OUTPUT)
        parent.send_signal(number)
        parent.wait(30)
    assert waited(lambda: gone(pid))


class Lock:
    """Counts who holds it."""

    def __init__(self, taken: int = 0) -> None:
        self.taken = taken

    def acquire(self, *, blocking: bool) -> None:
        assert not blocking
        if self.taken > 0:
            self.taken -= 1
            raise TimeoutError

    def release(self) -> None:
        pass


def carried_out(task: Task, slots: Slots | None = None) -> list[Result]:
    ended: list[Result] = []
    (slots or Slots(2)).run([task], lambda task, result: ended.append(result))
    return ended


def test_a_signal_from_outside_is_tried_again_and_is_then_the_outcome(tmp_path: Path) -> None:
    count = tmp_path / "count"
    code = f"import os; open({str(count)!r}, 'a').write('x'); os.kill(os.getpid(), 9)"
    (result,) = carried_out(Task(job(tmp_path, code), Lock()))
    assert result.signal == 9
    assert count.read_text() == "xxx"


def test_an_exception_is_the_outcome_at_once(tmp_path: Path) -> None:
    count = tmp_path / "count"
    (result,) = carried_out(Task(job(tmp_path, f"open({str(count)!r}, 'a').write('x'); 1 / 0"), Lock()))
    assert result.code == 1
    assert count.read_text() == "x"


def test_a_run_that_somebody_else_does_is_waited_for(tmp_path: Path) -> None:
    asked = iter([True])
    assert carried_out(Task(job(tmp_path, "1 / 0"), Lock(taken=3), lambda: next(asked))) == []


def test_cards_are_shared_out(tmp_path: Path) -> None:
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    assert carried_out(Task(job(tmp_path, code), Lock()), Slots(2, cards=("4", "5", "6", "7")))
    assert (tmp_path / "run" / OUTPUT).read_text() in ("4,5\n", "6,7\n")
    assert Slots(cards=("0", "1", "2")).places == 3


def test_the_command_carries_out_a_job_file(tmp_path: Path) -> None:
    path = job(tmp_path, "print(7)").write()
    command = [sys.executable, "-m", "algobias", "worker", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert Result.read(path.parent).well
    assert path.name == JOB
    missing = subprocess.run(
        [*command[:-1], str(tmp_path / "none")], capture_output=True, text=True, timeout=60
    )
    assert missing.returncode == 2
    assert "that 'algobias run' wrote" in missing.stderr
