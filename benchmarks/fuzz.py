"""Ten thousand wrong inputs to the command line, and whether each ends as the contract says.

    python benchmarks/fuzz.py                       # all 10,000, about half an hour on one core
    python benchmarks/fuzz.py --kinds specs,tables  # some kinds; the results of the others stay
    python benchmarks/fuzz.py --share 0.03          # a share of each kind; writes no results
    python benchmarks/fuzz.py --only specs:17       # one input again, with what it prints

Input ``KIND:NUMBER`` is a pure function of the seed. The promise, for each: the exit code is 0, 1 or 2; no
traceback and no internal error; with 2 nothing on stdout and a message that names the field; with ``--json``
and 0 or 1, one JSON object on stdout; no control character on stderr; nothing written outside the store; at
most :data:`MOST_SECONDS` of processor time and :data:`MOST_MEMORY` more memory. Every input runs in one
process per chunk, and one in :data:`SAMPLED` once more as a command of its own, with the same exit code.
Counts are written to ``results/fuzz.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from algobias.cli import main as program
from fuzz_inputs import KINDS, Input, prepare
from fuzz_texts import tiny_task
from machine import machine

RESULTS = Path(__file__).parent / "results" / "fuzz.json"
SEED = 14
MOST_SECONDS, MOST_MEMORY, STUCK_SECONDS = 20.0, 2**30, 180.0
SAMPLED = 200
CHUNK = 100
STORED = ("stores", "options")
"""Kinds whose inputs work on a store with a finished study."""

_USAGE = re.compile(
    r"No such (option|command)|Missing (argument|command|option)|Invalid value|Got unexpected|Option '[^']+' "
)
_NAMED = re.compile(
    r"^Error \S.*?( is missing; needed: |: .* is not possible( \(did you mean .*?\?\))?; allowed: )",
    re.DOTALL,
)
_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Watch:
    """Notes what is written outside of a folder, while it is told to."""

    def __init__(self) -> None:
        self.inside: tuple[str, ...] = ()
        self.outside: list[str] = []
        self.on = False
        sys.addaudithook(self._hear)

    @contextlib.contextmanager
    def only(self, *inside: str) -> Iterator[None]:
        self.inside, self.outside, self.on = inside, [], True
        try:
            yield
        finally:
            self.on = False

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, mode, flags = given
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            touched = [path] if writes or set(mode or "") & set("wax+") else []
        elif event in ("os.rename", "os.link", "os.symlink"):
            touched = list(given[:2])
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "sqlite3.connect"):
            touched = [given[0]] if given[0] != ":memory:" else []
        else:
            return
        beside = given[-1] if event in ("os.mkdir", "os.remove", "os.rmdir") else -1  # a folder that is open
        for path in touched:
            if isinstance(path, str | bytes | os.PathLike):
                where = os.readlink(f"/proc/self/fd/{beside}") if beside >= 0 else os.getcwd()
                place = os.path.normpath(os.path.join(where, os.fsdecode(path)))
                # torch makes an empty folder of that name when it first differentiates a mapped function
                allowed = place in ("/dev/null", "/dev/tty") or "/torchinductor_" in place
                if not allowed and not place.startswith(self.inside):
                    self.outside.append(f"{event} {place}")


_watch = Watch()


class Stuck(BaseException):
    """An input takes too long."""


def run(given: Input, folder: Path) -> tuple[int, str, str, list[str]]:
    """Exit code, stdout, stderr, and what was written outside of the store."""
    prepare(given, folder)
    out, err = io.StringIO(), io.StringIO()
    before = os.getcwd()
    os.chdir(folder)
    kept, sys.argv = sys.argv, ["algobias", *given.words]
    inside = [str(folder / name) for name in (".algobias", *given.writes)]
    inside = [str(folder)] if "*" in given.writes else inside
    code: Any = 0
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
            _watch.only(*inside),
        ):
            program()
    except SystemExit as end:
        code = end.code
    except Stuck:
        code = "stuck"
    except BaseException as error:
        code = f"{type(error).__name__}: {error}"
    finally:
        os.chdir(before)
        sys.argv = kept
    return (
        (code if isinstance(code, int) else -1),
        out.getvalue(),
        err.getvalue() + ("" if isinstance(code, int) else f"\nnot an exit code: {code}"),
        list(_watch.outside),
    )


def broken(given: Input, code: int, out: str, err: str, outside: Sequence[str]) -> list[str]:
    """Which promises an input broke, in words."""
    told = []
    if code not in (0, 1, 2):
        told.append(f"exit code {code}")
    if "Traceback" in err or "Internal error" in err:
        told.append("internal error")
    if _STEERS.search(err):
        told.append("control characters on stderr")
    if code == 2:
        message = next((line for line in err.splitlines() if line.startswith("Error ")), err)
        if out:
            told.append("something on stdout with exit code 2")
        if not _NAMED.search(message) and not _USAGE.search(err):
            told.append("no message that names the field")
    if given.json and code in (0, 1):
        try:
            json.loads(out)
        except ValueError:
            told.append("stdout is not one JSON object")
    return told + [f"written outside of the store: {item}" for item in outside[:3]]


def generate(kind: str, number: int, seed: int, good: Path) -> Input:
    """Input ``kind:number``: the same for the same seed, in whatever order they are made."""
    rng = random.Random(f"{seed} {kind} {number}")
    torch.manual_seed(rng.randrange(2**31))
    make = KINDS[kind][0]
    return make(rng, good) if kind in STORED else make(rng)


def attempt(kind: str, number: int, seed: int, root: Path, good: Path) -> dict[str, Any]:
    """Make one input, run it, and judge it."""
    folder = root / f"{kind}{number}"
    folder.mkdir(parents=True)
    given = generate(kind, number, seed, good)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    clock = time.process_time()
    signal.signal(signal.SIGALRM, _stuck)
    signal.alarm(int(STUCK_SECONDS))
    code, out, err, outside = run(given, folder)
    signal.alarm(0)
    seconds = time.process_time() - clock
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - memory
    told = broken(given, code, out, err, outside)
    told += [f"{seconds:.0f} s of processor time"] if seconds > MOST_SECONDS else []
    told += [f"{grown / 2**20:.0f} MiB more memory"] if grown > MOST_MEMORY else []
    if number % SAMPLED == 0 and given.store is None:
        shutil.rmtree(folder)
        folder.mkdir()
        alone = _as_command(given, folder)
        told += [] if alone == code else [f"exit code {alone} as a command of its own, {code} in here"]
    shutil.rmtree(folder, ignore_errors=True)
    last = err.strip().splitlines()[-1:] or [""]
    return {
        "input": f"{kind}:{number}",
        "code": code,
        "seconds": seconds,
        "memory": grown,
        "broken": told,
        "words": [word[:200] for word in given.words],
        "said": last[0][:300],
    }


def _stuck(number: int, frame: FrameType | None) -> None:
    raise Stuck


def _as_command(given: Input, folder: Path) -> int:
    prepare(given, folder)
    words = [word.replace("\0", "") for word in given.words]
    command = [sys.executable, "-m", "algobias", *words]
    ended = subprocess.run(command, cwd=folder, capture_output=True, timeout=STUCK_SECONDS, check=False)
    return ended.returncode


def good_store(folder: Path) -> Path:
    """A store with a finished study of the tiny task, to be copied and damaged."""
    words = [
        "audit",
        "mine.py:task",
        "--base",
        "lr:0.5",
        "--base",
        "budget:updates=60",
        "--change",
        "lr:1e-6",
    ]
    words += ["--control", "clip:1", "--looks", "6", "--tolerance", "1", "--workers", "0", "--quiet"]
    words += ["--probes", "weight_norm"]
    folder.mkdir(parents=True)
    code, _, err, _ = run(Input(words, {"mine.py": tiny_task().encode()}), folder)
    if code != 0:
        raise RuntimeError(f"no store to damage: {err}")
    return folder / ".algobias"


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """An empty folder that is also the home and the place of temporary files; nothing is compiled to disk."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        root = Path(name).resolve()
        kept = {
            key: os.environ.get(key)
            for key in ("HOME", "XDG_CACHE_HOME", "TMPDIR", "ALGOBIAS_DATA", "COLUMNS")
        }
        compiled, threads, temporary = sys.dont_write_bytecode, torch.get_num_threads(), tempfile.tempdir
        os.environ |= {"HOME": name, "XDG_CACHE_HOME": name, "TMPDIR": name, "COLUMNS": "100"}
        os.environ.pop("ALGOBIAS_DATA", None)
        sys.dont_write_bytecode, tempfile.tempdir = True, name
        torch.set_num_threads(1)
        try:
            yield root
        finally:
            sys.dont_write_bytecode, tempfile.tempdir = compiled, temporary
            torch.set_num_threads(threads)
            for key, value in kept.items():
                os.environ.pop(key, None) if value is None else os.environ.update({key: value})


def chunk(kind: str, numbers: range, seed: int) -> None:
    """Run inputs one after the other; a line of JSON for each, before (its number) and after."""
    with open(os.dup(1), "w", encoding="utf-8") as report, workplace() as root:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what inputs print must not get among the reports
        good = good_store(root / "good") if kind in STORED else root
        for number in numbers:
            print(json.dumps({"begun": number}), file=report, flush=True)
            print(json.dumps(attempt(kind, number, seed, root, good)), file=report, flush=True)


def chunk_of_its_own(kind: str, first: int, last: int, seed: int) -> Iterator[dict[str, Any]]:
    """Run a chunk in a process of its own; where that dies, the input is told and the next one goes on."""
    while first < last:
        command = [sys.executable, __file__, "--chunk", f"{kind}:{first}:{last}", "--seed", str(seed)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            begun = first
            for line in process.stdout:
                told = json.loads(line)
                if "begun" in told:
                    begun = told["begun"]
                else:
                    yield told
                    first = begun + 1
            code = process.wait()
        if first < last:
            said = {"broken": [f"the process ended with code {code}"], "words": [], "said": ""}
            yield {"input": f"{kind}:{begun}", "code": code, "seconds": 0.0, "memory": 0, **said}
            first = begun + 1


def summary(kind: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts of one kind."""
    return {
        "inputs": len(rows),
        "codes": {str(code): count for code, count in sorted(Counter(row["code"] for row in rows).items())},
        "most_seconds": round(max((row["seconds"] for row in rows), default=0.0), 2),
        "most_memory_mib": round(max((row["memory"] for row in rows), default=0) / 2**20),
        "as_commands": sum(int(row["input"].rpartition(":")[2]) % SAMPLED == 0 for row in rows)
        * (kind != "stores"),
        "broken": sum(bool(row["broken"]) for row in rows),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; exit code 1 where a promise is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--share", type=float, default=1.0, help="share of each kind")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds, joined by commas")
    parser.add_argument("--only", help="one input, KIND:NUMBER")
    parser.add_argument("--chunk", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.chunk:
        kind, first, last = asked.chunk.split(":")
        chunk(kind, range(int(first), int(last)), asked.seed)
        return 0
    if asked.only:
        return _again(*asked.only.split(":"), asked.seed)
    found, failures = {}, []
    for kind in asked.kinds.split(","):
        count, rows = max(1, round(KINDS[kind][1] * asked.share)), []
        for first in range(0, count, CHUNK):
            for row in chunk_of_its_own(kind, first, min(first + CHUNK, count), asked.seed):
                rows.append(row)
                if row["broken"]:
                    failures.append({key: row[key] for key in ("input", "code", "broken", "words", "said")})
                    print(json.dumps(failures[-1]), flush=True)
        found[kind] = summary(kind, rows)
        print(kind, json.dumps(found[kind]), flush=True)
    if asked.share == 1:
        _write(asked.seed, found, failures)
    return int(bool(failures))


def _write(seed: int, found: dict[str, Any], failures: list[dict[str, Any]]) -> None:
    """Put the counts of these kinds into the results, beside those of the others."""
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if kept.get("seed") == seed:
        failures += [one for one in kept["failures"] if one["input"].partition(":")[0] not in found]
        found = {**kept["kinds"], **found}
    kinds = {kind: found[kind] for kind in KINDS if kind in found}
    total = sum(one["inputs"] for one in kinds.values())
    written = {"schema": 1, "seed": seed, "inputs": total, "broken": len(failures), "kinds": kinds}
    text = json.dumps({**written, "failures": failures, "machine": machine()}, indent=2) + "\n"
    RESULTS.write_text(text, encoding="utf-8")


def _again(kind: str, number: str, seed: int) -> int:
    with workplace() as root:
        given = generate(kind, int(number), seed, good_store(root / "good"))
        (root / "again").mkdir()
        code, out, err, outside = run(given, root / "again")
        for name, data in given.files.items():
            print(f"--- {name}\n{data[:3000]!r}")
        told = broken(given, code, out, err, outside)
        print(
            given.words,
            f"--- exit code {code}",
            f"--- stdout\n{out[:3000]}",
            f"--- stderr\n{err}",
            told,
            sep="\n",
        )
        for log in root.glob("algobias-error-*.log"):
            print(log.read_text())
    return int(bool(told))


if __name__ == "__main__":
    raise SystemExit(main())
