"""A hundred kills: each study is then continued to its end, and compared with one that nobody disturbed.

Audits (with one and two processes, and with workers that are processes themselves), control studies,
explanations and measurements of small questions on digits are killed at random moments: by SIGKILL, SIGTERM
and SIGINT, sent to the program or to one of the processes that it has started. The same command is then given
again. Asked of every kill: no traceback; an exit code and a sentence that fit; no process that goes on for
nobody; after the second command the same result to the last digit (but for times), the same runs, and no file
outside of the store, nor a temporary one inside.

    python benchmarks/kills.py              # about 25 minutes on one idle core
    python benchmarks/kills.py --share 0.1  # a tenth of the kills
    python benchmarks/kills.py --table      # the committed results as text

Writes ``benchmarks/results/kills.json``. Needs Linux: it forks a process that has imported everything, so
that kills fall into the work, and finds processes in /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algobias.studies import reports
from machine import machine

RESULTS = Path(__file__).parent / "results" / "kills.json"
PATIENCE, LEAVING = 300.0, 30.0
"""Seconds after which a command, and a process that has lost its parent, are given up."""
TRAINING = 0.75
"""Share of the kills that wait until training has begun: starting takes longer than these small studies."""
FIRST_MOMENT = 0.05
"""Seconds after which the first kill may come: the program must have begun."""
TIMES = {"seconds", "report", "store"}
PROGRAM, PROCESS = "program", "process"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
GOES_ON = "goes on from there"

AUDIT = ["audit", "digits", "--change", "lr:x0.01", "--base", "budget:updates=200", "--looks", "4"]
AUDIT += ["--tolerance", "0.5", "--probes", "weight_norm,margin_input"]
CONTROL = ["control", "last", "--only", "lr:x50", "--rungs", "2", "--looks", "4"]
EXPLAIN = ["explain", "last", "--at", "0.5", "--doses", "0.5", "--most", "1"]
MEASURE = ["measure", "--run", "last:baseline:0", "--probes", "top_eigenvalue,trace,gradient_variance"]
APART = [
    "audit",
    "digits",
    "--change",
    "local_sgd:4,workers=2",
    "--base",
    "budget:updates=60",
    "--looks",
    "2",
]
APART += ["--tolerance", "0.5", "--probes", "none", "--engine", "processes", "--workers", "1"]


@dataclass(frozen=True)
class Case:
    """A command, and how often each of its kills is made.

    Attributes:
        name: What it is called in the results.
        words: The command.
        begins: It starts from the store of a finished audit.
        each: Kills for each signal and target.
        targets: Who is killed.
        signals: By what.
    """

    name: str
    words: list[str]
    begins: bool
    each: int
    targets: tuple[str, ...] = (PROGRAM, PROCESS)
    signals: tuple[signal.Signals, ...] = SIGNALS


CASES = (
    Case("audit, 1 process", [*AUDIT, "--workers", "1"], False, 4),
    Case("audit, 2 processes", [*AUDIT, "--workers", "2"], False, 4),
    Case("control, 1 process", [*CONTROL, "--workers", "1"], True, 2),
    Case("control, 2 processes", [*CONTROL, "--workers", "2"], True, 1),
    Case("explain, 1 process", [*EXPLAIN, "--workers", "1"], True, 2),
    Case("explain, 2 processes", [*EXPLAIN, "--workers", "2"], True, 1),
    Case("measure", MEASURE, True, 4, targets=(PROGRAM,)),
    Case("audit, workers are processes", APART, False, 1, signals=(signal.SIGKILL, signal.SIGTERM)),
)


class Place:
    """A folder with a store, and with room for what a command should not leave behind."""

    def __init__(self, folder: Path) -> None:
        self.store, self.here, self.temporary = folder / "store", folder / "here", folder / "temporary"
        for path in (self.here, self.temporary):
            path.mkdir(parents=True)

    def start(self, words: Sequence[str], name: str) -> int:
        """Give a command in a copy of this process; returns its id."""
        child = os.fork()
        if child:
            return child
        code = 70
        try:
            os.setsid()
            for number, stream in ((1, "out"), (2, "err")):
                target = os.open(self.path(name, stream), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(target, number)
            os.chdir(self.here)
            os.environ["TMPDIR"] = str(self.temporary)
            tempfile.tempdir = None
            sys.argv = ["algobias", *words, "--json", "--quiet", "--store", str(self.store)]
            from algobias.cli import main

            main()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        finally:
            sys.stdout.flush()
            os._exit(code)

    def path(self, name: str, stream: str) -> Path:
        """Where a command's output goes."""
        return self.store.with_name(f"{name}.{stream}")

    def said(self, name: str) -> str:
        """What a command wrote to stderr."""
        return self.path(name, "err").read_text(errors="replace")

    def answer(self, name: str) -> Any:
        """What a command wrote to stdout."""
        return without_times(json.loads(self.path(name, "out").read_text()))

    def runs(self) -> dict[str, Any]:
        """Outcomes in the store by run, as far as they do not depend on the clock."""
        found = {}
        for path in sorted(self.store.glob("runs/*/*/*/outcome.json")):
            record = json.loads(path.read_text())["outcome"]
            record["cost"].pop("seconds")
            found["/".join(path.parts[-3:-1])] = record
        return found

    def trained(self) -> int:
        """Bytes of all curves: it grows when training has begun."""
        total = 0
        for path in self.store.glob("runs/*/*/*/curve.jsonl"):
            with suppress(OSError):
                total += path.stat().st_size
        return total

    def statuses(self) -> list[str]:
        """Status of every study."""
        if not (self.store / "store.sqlite").exists():
            return []
        connection = sqlite3.connect(self.store / "store.sqlite")
        try:
            return [row[0] for row in connection.execute("SELECT status FROM studies ORDER BY created")]
        except sqlite3.OperationalError:  # killed before it had tables
            return []
        finally:
            connection.close()

    def leftovers(self) -> list[str]:
        """Files outside of the store, and temporary ones inside."""
        outside = [path for folder in (self.here, self.temporary) for path in folder.rglob("*")]
        inside = [*self.store.rglob(".*.tmp"), *self.store.rglob("meeting-*"), *self.store.rglob("*.study")]
        return sorted(str(path.relative_to(self.store.parent)) for path in (*outside, *inside))


def without_times(value: Any) -> Any:
    """A result without what the clock, or the place of the store, decides."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES | {"checkpoint"}}
    return [without_times(item) for item in value] if isinstance(value, list) else value


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


def offspring(session: int) -> dict[int, str]:
    """Processes that a program has started, and theirs: process -> what it was started as."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if int(fields[3]) == session and int(entry.name) != session and fields[0] != "Z":
            found[int(entry.name)] = words
    return found


def workers(session: int, kind: str) -> list[int]:
    """Processes that train."""
    return sorted(pid for pid, words in offspring(session).items() if kind in words)


def whole(place: Place, words: Sequence[str], name: str) -> tuple[float, float | None]:
    """Give a command to its end; its seconds, and those since it began to train, if it did."""
    begun, there = time.monotonic(), place.trained()
    child, training = place.start(words, name), None
    while (code := ended(child, 0.01)) is None and time.monotonic() < begun + PATIENCE:
        if training is None and place.trained() != there:
            training = time.monotonic()
    if code != 0:
        raise RuntimeError(f"{name}: exit code {code}: {place.said(name)[-2000:]}")
    now = time.monotonic()
    return now - begun, None if training is None else now - training


@dataclass
class Reference:
    """What an undisturbed command gives.

    Attributes:
        seconds: How long it takes.
        answer: Its JSON.
        runs: The runs in its store.
        training: Seconds from its first line of a curve to its end; None where it trains nothing.
    """

    seconds: float
    answer: Any
    runs: dict[str, Any]
    training: float | None


def kill(
    case: Case,
    target: str,
    number: signal.Signals,
    reference: Reference,
    audited: Path | None,
    folder: Path,
    chance: random.Random,
) -> dict[str, Any] | None:
    """One kill and what came of it; None where the program had ended before."""
    place = Place(folder)
    if audited is not None:
        shutil.copytree(audited, place.store)
    there = place.trained()
    child = place.start(case.words, "killed")
    began = time.monotonic()
    victim: int | None = child
    if target == PROCESS:
        victim = first(child, "algobias.running.distributed" if case.words is APART else "spawn_main")
    training = reference.training is not None and chance.random() < TRAINING
    if training:
        while place.trained() == there and time.monotonic() < began + PATIENCE:
            if ended(child, 0.005) is not None:
                return None
    left = max(FIRST_MOMENT, reference.seconds - (time.monotonic() - began))
    span = reference.training if training and reference.training is not None else left
    if victim is None or ended(child, chance.uniform(FIRST_MOMENT, span)) is not None:
        return None
    moment = time.monotonic() - began
    try:
        os.kill(victim, number)
    except ProcessLookupError:  # another one trains by now
        os.kill(child, signal.SIGKILL)
        ended(child, PATIENCE)
        return None
    code = ended(child, PATIENCE)
    orphans = lonely(child)
    stored = place.runs()
    said = place.said("killed")
    statuses = place.statuses()
    whole(place, case.words, "continued")
    return {
        "case": case.name,
        "target": target,
        "signal": number.name,
        "moment": round(moment / reference.seconds, 3),
        "code": code,
        "stored": len(stored) / max(1, len(reference.runs)),
        "fits": fits(case, target, number, code, said, statuses),
        "traceback": "Traceback" in said + place.said("continued"),
        "orphans": orphans,
        "lost": sum(place.runs().get(run) != record for run, record in stored.items()),
        "identical": place.answer("continued") == reference.answer and place.runs() == reference.runs,
        "leftovers": place.leftovers(),
    }


def first(session: int, kind: str) -> int | None:
    """The first process of a kind that a program starts; None where it ends without."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = workers(session, kind)
        if found:
            return found[-1]
        if ended(session, 0.01) is not None:
            return None
    raise RuntimeError(f"no process {kind!r} was started")


def lonely(session: int) -> int:
    """Processes that are still there long after their program has gone; they are ended."""
    deadline = time.monotonic() + LEAVING
    while (left := offspring(session)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return len(left)


def fits(
    case: Case, target: str, number: signal.Signals, code: int | None, said: str, statuses: Sequence[str]
) -> bool:
    """Whether exit code, message and status say what has happened."""
    if target == PROGRAM and number == signal.SIGKILL:
        return code == -signal.SIGKILL
    if code == 0:  # a process leaves Ctrl-C to its program; or the end was nearer than the signal
        return not said
    resumes = case.words[0] == "measure" or GOES_ON in said
    if target == PROCESS and number == signal.SIGKILL:
        return code == 3 and "was killed by signal 9" in said and "running" not in statuses
    expected = 143 if number == signal.SIGTERM else 130
    return code == expected and resumes and "running" not in statuses


@contextmanager
def prepared() -> Iterator[None]:
    """Everything imported, one thread, and reports without pictures, which come after the result."""
    import sympy  # noqa: F401
    import torch._dynamo
    import torch._inductor.lowering

    from algobias import cli  # noqa: F401
    from algobias.running import executor  # noqa: F401
    from algobias.studies import audit  # noqa: F401

    torch.set_num_threads(1)
    drawn = reports.render
    reports.render = lambda record: "a report"
    try:
        yield
    finally:
        reports.render = drawn


def measure_all(share: float) -> dict[str, Any]:
    """All kills, in random order of their moments."""
    chance = random.Random(0)
    found: list[dict[str, Any]] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as name, prepared():
        root = Path(name)
        audited = Place(root / "audited")
        whole(audited, CASES[0].words, "audit")
        for case in CASES:
            place = Place(root / case.name)
            if case.begins:
                shutil.copytree(audited.store, place.store)
            seconds, training = whole(place, case.words, "reference")
            reference = Reference(seconds, place.answer("reference"), place.runs(), training)
            for target in case.targets:
                for number in case.signals:
                    made, missed = 0, 0
                    while made < max(1, round(share * case.each)) and missed < 20:
                        folder = root / f"{case.name} {target} {number.name} {made} {missed}"
                        start = audited.store if case.begins else None
                        one = kill(case, target, number, reference, start, folder, chance)
                        shutil.rmtree(folder, ignore_errors=True)
                        made, missed = made + (one is not None), missed + (one is None)
                        if one is not None:
                            found.append(one)
                            print(json.dumps(one), file=sys.stderr, flush=True)
    return {"machine": machine(), "seconds": time.monotonic() - began, "kills": found, **summary(found)}


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts over all kills."""
    return {
        "count": len(found),
        "identical": sum(one["identical"] for one in found),
        "tracebacks": sum(one["traceback"] for one in found),
        "codes_that_fit": sum(one["fits"] for one in found),
        "orphans": sum(one["orphans"] for one in found),
        "runs_lost": sum(one["lost"] for one in found),
        "files_left_behind": sum(len(one["leftovers"]) for one in found),
    }


def table(data: dict[str, Any]) -> str:
    """The results as text, one line for each kind of kill."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in data["kills"]:
        groups.setdefault((one["case"], one["target"], one["signal"]), []).append(one)
    lines = ["| command | killed | by | kills | identical | exit codes |", "|---|---|---|---|---|---|"]
    for (case, target, number), ones in groups.items():
        codes = ", ".join(f"{code} ({n})" for code, n in sorted(Counter(one["code"] for one in ones).items()))
        same = sum(one["identical"] for one in ones)
        lines.append(f"| {case} | {target} | {number} | {len(ones)} | {same} | {codes} |")
    counts = {key: data[key] for key in summary([])}
    return "\n".join([*lines, "", ", ".join(f"{key} {value}" for key, value in counts.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="part of the kills that is made")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if not given.table:
        data = measure_all(given.share)
        given.out.write_text(json.dumps(data, indent=1) + "\n")
    print(table(json.loads(given.out.read_text())))


if __name__ == "__main__":
    main()
