"""Whole studies of scripts that nobody edited: nanoGPT's, mnist of pytorch/examples, one around a Trainer.

    python benchmarks/script_cases.py --sources DIR               # every study, over one store; resumable
    python benchmarks/script_cases.py --sources DIR mnist         # those whose names begin so
    python benchmarks/script_cases.py --sources DIR --kill mnist  # the short one, killed half way, continued
    python benchmarks/script_cases.py --table                     # the committed results as tables

``DIR`` holds checkouts of nanoGPT and pytorch/examples (``own_sources`` names the commits). A study is
``cases/scripts/NAME.yaml``: the words after ``algobias``, as they are typed in the folder of the script.
Written beside it are ``NAME.json`` (what ``--json`` prints, without paths) and ``NAME.svg``. The Python that
runs this file runs the scripts: it needs torchvision and transformers. Data are looked for below
``ALGOBIAS_DATA``; of MNIST the first 256 training and 500 test images are taken.

``--kill`` asks for a study again, over a store of its own, kills the program by SIGKILL when some of its runs
have ended and one is under way, gives the same command again, and compares with the committed result: all of
it but times must be the same. Written to ``benchmarks/results/script_kills.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

import own_sources
from own_checkouts import SOURCES

HERE = Path(__file__).parent
CASES = HERE.parent / "cases" / "scripts"
KILLS = HERE / "results" / "script_kills.json"
KINDS = ("aa", "short", "batch", "control")
ENDED = 5
"""Runs that have ended when a study is killed; it has 8 at least."""
INTO_A_RUN = 2.0
"""Seconds from the end of a run to the kill: Python has begun the next one."""
PATIENCE, LEAVING = 3600.0, 30.0
"""Seconds for a study, and for processes that have lost their program."""
TRAINING_IMAGES, TEST_IMAGES = 256, 500
NANOGPT = next(source for source in SOURCES if source.checkout == "nanoGPT")


def names(asked: Sequence[str]) -> list[str]:
    """Every study asked for, a control after the audit that it is about."""
    every = sorted(path.stem for path in CASES.glob("*.yaml"))
    wanted = [name for name in every if not asked or any(name.startswith(prefix) for prefix in asked)]
    return sorted(wanted, key=lambda name: (name.rpartition("_")[0], KINDS.index(name.rpartition("_")[2])))


def spec(name: str) -> dict[str, str]:
    """A study as it is written down: ``source``, ``algobias``, and, of some, ``verdict`` and ``of``."""
    loaded: dict[str, str] = yaml.safe_load((CASES / f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded


def words(name: str) -> list[str]:
    """What is typed after ``algobias``."""
    return shlex.split(spec(name)["algobias"])


def result(name: str) -> dict[str, Any]:
    """The committed result of a study."""
    loaded: dict[str, Any] = json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def _nanogpt(sources: Path, folder: Path) -> None:
    NANOGPT.prepared(sources, folder)


def _mnist(sources: Path, folder: Path) -> None:
    """Lay out the script, and the first images of MNIST one folder above, where it looks for them."""
    shutil.copytree(sources / "examples" / "mnist", folder)
    raw = folder.parent / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", TRAINING_IMAGES), ("t10k", TEST_IMAGES)):
        for kind, magic, sides in (("images-idx3", 2051, (28, 28)), ("labels-idx1", 2049, ())):
            name, head = f"{part}-{kind}-ubyte", struct.pack(f">{2 + len(sides)}i", magic, count, *sides)
            each = 1
            for side in sides:
                each *= side
            body = (own_sources.SHARED / "MNIST" / "raw" / name).read_bytes()[len(head) :]
            (raw / name).write_bytes(head + body[: count * each])


def _trainer(sources: Path, folder: Path) -> None:
    folder.mkdir()
    shutil.copy(CASES / "polarity_trainer.py", folder)
    data = own_sources.SHARED / "sentence_polarity"
    shutil.copytree(data, folder / data.name, copy_function=shutil.copyfile)


PREPARE: dict[str, Callable[[Path, Path], None]] = {
    "nanoGPT": _nanogpt,
    "mnist": _mnist,
    "trainer": _trainer,
}


def prepared(source: str, sources: Path, place: Path) -> Path:
    """The folder that a script is run in, laid out once below ``place``."""
    folder = place / source / source
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        PREPARE[source](sources, folder)
    return folder


def environment() -> dict[str, str]:
    """Variables of a study: this Python is ``python``, one thread for each run."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}


def started(typed: Sequence[str], store: Path, folder: Path) -> subprocess.Popen[str]:
    """Give a command of algobias in the folder of a script."""
    command = [sys.executable, "-m", "algobias", *_with_options(typed, "--store", str(store), "--json")]
    return subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def _with_options(typed: Sequence[str], *options: str) -> list[str]:
    """Put options in front of ``--``."""
    end = typed.index("--") if "--" in typed else len(typed)
    return [*typed[:end], *options, *typed[end:]]


def answer_of(process: subprocess.Popen[str], name: str) -> dict[str, Any]:
    """Wait for a study; what it answers."""
    printed, _ = process.communicate(timeout=PATIENCE)
    if process.returncode != 0:
        raise RuntimeError(f"{name}: exit code {process.returncode}")
    answered: dict[str, Any] = json.loads(printed)
    return answered


def carry_out(name: str, sources: Path, store: Path) -> dict[str, Any]:
    """Carry out a study, and write its result and its picture."""
    import cases
    from algobias.kept.store import Store
    from algobias.reports.figures import case_svg
    from algobias.studies.reports import record_of

    written = spec(name)
    folder = prepared(written["source"], sources, store.parent)
    typed = words(name)
    if "of" in written:
        typed[1] = result(written["of"])["study"]
    answered = answer_of(started(typed, store, folder), name)
    text = json.dumps(cases.without_paths(answered), indent=1, allow_nan=False, ensure_ascii=False)
    (CASES / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    with Store(store) as opened:
        (CASES / f"{name}.svg").write_text(case_svg(record_of(opened, answered["study"])), encoding="utf-8")
    return answered


def killed(name: str, sources: Path, store: Path) -> dict[str, Any]:
    """Kill a study while it runs, go on with it, and compare.

    The committed result must have been made here: where scripts lie is part of what a study is.
    """
    from kills import without_times

    folder = prepared(spec(name)["source"], sources, store.parent)
    apart = store.parent / "killed" / name
    shutil.rmtree(apart, ignore_errors=True)
    process = started(words(name), apart, folder)
    deadline = time.monotonic() + PATIENCE
    while len(outcomes(apart)) < ENDED and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(INTO_A_RUN)
    under_way = len(inside(apart, process.pid))
    before = outcomes(apart)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    code = process.returncode
    left = leaving(apart)
    answered = answer_of(started(words(name), apart, folder), name)
    after = outcomes(apart)
    expected, found = (without_times(one) for one in (result(name), answered))
    return {
        "study": name,
        "code": code,
        "runs_ended_at_the_kill": len(before),
        "processes_under_way": under_way,
        "processes_left": left,
        "runs_in_the_end": len(after),
        "runs_made_again": sum(after.get(path) != stamp for path, stamp in before.items()),
        "identical": expected == found,
        "differing": sorted(key for key in {*expected, *found} if expected.get(key) != found.get(key)),
    }


def outcomes(store: Path) -> dict[str, int]:
    """Outcomes in a store and when they were written."""
    found = {}
    for path in store.glob("runs/*/*/*/outcome.json"):
        found[str(path.relative_to(store))] = path.stat().st_mtime_ns
    return found


def inside(store: Path, but: int | None = None) -> list[int]:
    """Processes whose words or variables name a store: workers, and the scripts that they run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(store) in told and int(entry.name) != but:
            found.append(int(entry.name))
    return found


def leaving(store: Path) -> int:
    """Processes that still work for a store long after their program has gone."""
    deadline = time.monotonic() + LEAVING
    while (left := inside(store)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return len(left)


def _bounds(interval: dict[str, Any], digits: str) -> str:
    sides = [format(interval[side], digits) for side in ("low", "high") if interval[side] is not None]
    return f"{interval['mean']:{digits}} [{', '.join(sides) or 'unbounded'}]"


def row(name: str, found: dict[str, Any]) -> str:
    """One row of the table of audits."""
    base, share = found["arms"][0]["metric"], found["fit"]["bias_share"]
    cells = (
        f"[{name}](scripts/{name}.svg)",
        found["metric"],
        f"{base['mean']:.4g} ± {base['sd']:.2g}",
        "none" if found["aa"] else f"`{', '.join(found['change'])}`",
        _bounds(found["gap"], ".3g"),
        "" if share["mean"] is None else _bounds(share, ".3g"),
        f"`{found['verdict']}`",
        str(found["gap"]["n"]),
    )
    return "| " + " | ".join(cells) + " |"


def control_rows(name: str, found: dict[str, Any]) -> list[str]:
    """One row for each place at which a study has compared a control that it confirmed."""
    rows = []
    for entry in (one for control in found["controls"] for one in (control, control.get("other")) if one):
        costs = entry["cost_ratio"]["variant"]
        cells = (
            f"[{name}](scripts/{name}.svg)",
            f"`{entry['lever']}`",
            entry["at"].replace("_", " "),
            f"`{entry['verdict']}`",
            _bounds(entry["recovered"], ".2f"),
            _bounds(entry["treated_gap"], ".3g"),
            ", ".join(f"{axis} x{costs[axis]:.3g}" for axis in ("updates", "gradients") if costs.get(axis)),
            str(found["gap"]["n"]),
        )
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def tables(asked: Sequence[str]) -> str:
    """The committed results as two tables in Markdown."""
    audits = ["| study | metric | baseline | change | gap | bias share | verdict | seeds |", "|" + "---|" * 8]
    controls = [
        "| study | control | compared | verdict | R | what is left | cost against the variant | seeds |"
    ]
    controls.append("|" + "---|" * 8)
    for name in asked:
        if (CASES / f"{name}.json").exists():
            found = result(name)
            if "of" in spec(name):
                controls += control_rows(name, found)
            else:
                audits.append(row(name, found))
    return "\n".join([*audits, "", *controls])


def kills_table() -> str:
    """The committed kills as a table in Markdown."""
    lines = ["| study | runs ended at the kill | in the end | made again | processes left | same result |"]
    lines.append("|" + "---|" * 6)
    for one in sorted(json.loads(KILLS.read_text(encoding="utf-8"))["kills"], key=lambda one: one["study"]):
        cells = (
            f"[{one['study']}](../cases/scripts/{one['study']}.svg)",
            *(one[key] for key in ("runs_ended_at_the_kill", "runs_in_the_end", "runs_made_again")),
            one["processes_left"],
            "yes" if one["identical"] else f"no: {', '.join(one['differing'])}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*")
    parser.add_argument("--sources", type=Path, help="folder of the checkouts")
    parser.add_argument("--store", type=Path, default=Path(".script_cases/store"))
    parser.add_argument("--kill", action="store_true", help="kill a study of each script, and go on with it")
    parser.add_argument("--table", action="store_true", help="show what is committed, train nothing")
    given = parser.parse_args()
    asked = names(given.names)
    if not given.table and given.sources is None:
        parser.error("--sources: the folder of the checkouts")
    sources, store = (given.sources or Path()).resolve(), given.store.resolve()
    if given.kill:
        for name in (one for one in asked if one.endswith("_short")):
            made = killed(name, sources, store)
            print(json.dumps(made), file=sys.stderr, flush=True)
            there = json.loads(KILLS.read_text(encoding="utf-8"))["kills"] if KILLS.exists() else []
            kills = [*(one for one in there if one["study"] != name), made]
            KILLS.write_text(json.dumps({"kills": kills}, indent=1) + "\n", encoding="utf-8")
        print(kills_table())
        return
    for name in () if given.table else asked:
        begun = time.monotonic()
        verdict = carry_out(name, sources, store)["verdict"]
        print(f"{name}: {verdict} ({time.monotonic() - begun:.0f} s)", file=sys.stderr, flush=True)
    print(tables(asked))


if __name__ == "__main__":
    main()
