"""How a program ends that is asked to, whose reader has gone, whose disk is full: in one sentence."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from algobias.kept.store import Store
from algobias.running import processes
from wide_tests import wide

STUDY = ("audit", "digits", "--change", "lr:x0.5", "--looks", "2", "--tolerance", "0.5", "--probes", "none")
LONG = (*STUDY, "--base", "budget:updates=30000", "--store", "store")
SHORT = (*STUDY, "--base", "budget:updates=15", "--store", "store", "--workers", "0")
PATIENCE = 600.0
TIMES = {"seconds", "report", "store"}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals, limits and devices of Unix")


@pytest.fixture
def long(command: Any) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start the long study with so many processes; it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(workers: str) -> subprocess.Popen[str]:
        started.append(command(*LONG, "--workers", workers))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until_trained(process: subprocess.Popen[str], store: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not any(path.stat().st_size for path in store.glob("runs/*/*/*/curve.jsonl")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def trainer(program: int) -> int:
    """The process that trains for a program."""
    children = Path(f"/proc/{program}/task/{program}/children")
    if not children.exists():
        pytest.skip("finds processes in Linux's /proc")
    (found,) = [pid for pid in children.read_text().split() if b"spawn_main" in command_line(pid)]
    return int(found)


def command_line(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def status(store: Path) -> list[str]:
    with Store(store, writing=False) as opened:
        return [study.status for study in opened.studies()]


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("workers", ["0", wide("1")])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), wide(signal.SIGINT, 130)])
def test_a_signal_saves_and_says_how_to_go_on(long, tmp_path, workers, number, code):
    process = long(workers)
    until_trained(process, tmp_path / "store")
    assert status(tmp_path / "store") == ["running"]
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, err
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    assert out == ""
    assert status(tmp_path / "store") == ["interrupted"]
    assert list((tmp_path / "store").glob("runs/*/*/*/snapshot.safetensors"))


@pytest.mark.wide
def test_sigterm_to_one_of_the_processes_ends_the_study_in_order(long, tmp_path):
    process = long("1")
    until_trained(process, tmp_path / "store")
    os.kill(trainer(process.pid), signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, err
    assert "goes on from there" in err
    assert status(tmp_path / "store") == ["interrupted"]
    assert list((tmp_path / "store").glob("runs/*/*/*/snapshot.safetensors"))


@pytest.mark.wide
def test_a_killed_process_is_one_sentence_and_no_log(long, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    process = long("1")
    until_trained(process, tmp_path / "store")
    os.kill(trainer(process.pid), signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3, err
    assert "was killed by signal 9" in err
    assert "goes on from there" in err
    assert "Internal error" not in err
    assert not list((tmp_path / "temporary").glob("algobias*"))  # torch makes a folder of its own there


def test_a_library_leaves_sigterm_as_it_is():
    before = signal.getsignal(signal.SIGTERM)
    with processes.asked_to_end():
        assert signal.getsignal(signal.SIGTERM) is before
    with processes.raise_on_sigterm():
        with processes.asked_to_end() as pressed:
            os.kill(os.getpid(), signal.SIGTERM)
            assert pressed.why is processes.Terminated
        with pytest.raises(processes.Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_study_that_runs_cannot_be_removed(run, long, tmp_path):
    process = long("0")
    until_trained(process, tmp_path / "store")
    found = run("studies", "rm", "last", "--store", "store")
    assert found.code == 2
    assert "running" in found.err
    process.kill()
    process.wait()
    assert status(tmp_path / "store") == ["interrupted"]
    assert run("studies", "rm", "last", "--store", "store").code == 0
    assert not list((tmp_path / "store").glob("runs/*/*/*"))


def test_an_empty_name_removes_nothing(run, tmp_path):
    with Store(tmp_path / "store") as store:
        store.save_study("a" * 12, {"task": "digits"})
    for name in ("", " ", "A"):
        found = run("studies", "rm", name, "--store", "store")
        assert found.code == 2
        assert "a" * 12 in found.err
    assert status(tmp_path / "store") == ["interrupted"]


# Standard streams


def program(tmp_path: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "algobias", *words],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        timeout=PATIENCE,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
    )


@pytest.mark.wide
def test_a_reader_that_has_gone_loses_nothing(tmp_path):
    read, write = os.pipe()
    os.close(read)
    found = program(tmp_path, *SHORT, "--json", "--fail-on", "no_gap,undecided,not_applied", stdout=write)
    os.close(write)
    assert found.returncode in (0, 1)
    assert "rror" not in found.stderr
    assert status(tmp_path / "store") == ["finished"]


@pytest.mark.wide
def test_nobody_listens_to_the_messages(tmp_path):
    read, write = os.pipe()
    os.close(read)
    found = program(tmp_path, *SHORT, "--json", stderr=write)
    os.close(write)
    assert found.returncode == 0
    assert json.loads(found.stdout)["verdict"]


def test_stdout_that_was_never_there(tmp_path):
    words = [sys.executable, "-m", "algobias", "levers"]
    found = subprocess.run(
        f"{' '.join(words)} >&-", shell=True, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_behind_stdout_is_told(tmp_path):
    with open("/dev/full", "w") as full:
        found = program(tmp_path, "levers", "--json", stdout=full)
    assert found.returncode == 2
    assert "No space left on device" in found.stderr
    assert "Traceback" not in found.stderr


# A full disk


@pytest.fixture
def whole(run, tmp_path):
    """The result of the study on a disk with space."""
    found = run(*SHORT[:-4], "--store", "reference", "--workers", "0", "--json", "--quiet")
    assert found.code == 0
    return without_times(found.json)


@pytest.mark.parametrize("most", [wide(0), wide(300), 5_000, wide(60_000), wide(200_000), wide(400_000)])
def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path, run, whole, most):
    """Every file may grow to so many bytes only, as on a disk that is about to be full."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    found = program(tmp_path, *SHORT, "--json", "--quiet", preexec_fn=limit)
    if found.returncode:
        assert found.returncode == 2, found.stderr
        assert found.stdout == ""
    assert "Traceback" not in found.stderr
    assert "Internal" not in found.stderr
    assert not list(tmp_path.rglob("*.tmp"))
    again = run(*SHORT, "--json", "--quiet")
    assert again.code == 0, again.err
    assert without_times(again.json) == whole


@pytest.mark.wide
def test_a_small_disk(tmp_path, run, whole):
    """A real one, where mounting is allowed: it fills up in the middle of the study."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=700k"]
    if (
        shutil.which("mount") is None
        or subprocess.run(["mount", *options, "tmpfs", disk], capture_output=True).returncode
    ):
        pytest.skip("may not mount")
    try:
        words = ["disk/store" if word == "store" else word for word in SHORT]
        found = program(tmp_path, *words, "--json", "--quiet")
        assert found.returncode == 2, found.stderr
        assert "free space" in found.stderr or "full" in found.stderr
        assert "Traceback" not in found.stderr
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        again = run(*words, "--json", "--quiet")
        assert again.code == 0, again.err
        assert without_times(again.json) == whole
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        listed = run("studies", "--store", "disk/store", "--json")
        assert [item["status"] for item in listed.json["items"]] == ["finished"]
        assert run("report", "last", "--store", "disk/store").code == 0
        assert list(tmp_path.glob("*.html"))
        assert (
            run(
                "measure", "--run", "last:baseline:0", "--store", "disk/store", "--probes", "weight_norm"
            ).code
            == 0
        )
        assert run(*words).code == 2
        assert run("studies", "rm", "last", "--store", "disk/store").code == 2
    finally:
        subprocess.run(["umount", disk], check=True)


def test_no_space_while_a_report_is_written(run, tmp_path, monkeypatch):
    assert run(*SHORT, "--quiet").code == 0
    from algobias import whole_files

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(whole_files.os, "fsync", full)
    found = run("report", "last", "--store", "store")
    assert found.code == 2
    assert "No space left" in found.err
    monkeypatch.undo()
    assert status(tmp_path / "store") == ["finished"]
