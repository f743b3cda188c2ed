"""Training scripts that nobody edited, with something inside: seen to the last bit, and left as they are?

    python benchmarks/own_scripts.py                       # shapes of trainers, each in processes of its own
    python benchmarks/own_scripts.py --only Lightning      # those whose name has this; other rows stay
    python benchmarks/own_scripts.py --sources DIR         # also nanoGPT, pytorch/examples, timm in DIR
    python benchmarks/own_scripts.py --table               # the committed results as tables

Each script runs up to four times: plainly; with its training loss taken and every gradient taken a second
time (the null control), where each backward pass is compared with its replay; with SAM injected; and with the
same SAM written into it by hand. Then levers against the scripts' own options and edits by hand, and what
must be refused. Weights are compared by hash. ``DIR`` holds checkouts named ``nanoGPT``, ``examples`` and
``pytorch-image-models``; what is missing is said. Written: ``results/own_scripts.json``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "own_scripts.json"
sys.path.insert(0, str(HERE.parent / "tests"))

from algobias.attached.events import Applied, Metric, Refused, TrainLoss  # noqa: E402
from algobias.attached.orders import FitOrders  # noqa: E402
from attached.trainers import SHAPES, SLOW_SHAPES, Shape  # noqa: E402
from machine import machine  # noqa: E402
from own_checkouts import SOURCES  # noqa: E402
from own_levers import CASES, lever_row, name_of  # noqa: E402
from own_refusals import REFUSALS, coarse_row, refusal_row  # noqa: E402
from own_runs import Ran, launch, orders_in  # noqa: E402
from own_sources import Source  # noqa: E402

PACKAGES = ("transformers", "accelerate", "lightning", "timm", "torchvision")
ALL_EXAMPLES = 10**9
"""Examples of a fit set that is never complete: every pass is captured, also of gradients taken once."""

SECTIONS = ("rows", "levers", "refusals")


@dataclass
class Row:
    """What was seen of a script.

    Attributes:
        script: Its name.
        commit: Of a checkout; None: the script is one of ours.
        updates: Updates that it made, as its main process counted them.
        passes: Backward passes of all its processes.
        equal: Those whose loss and gradient a replay has given again, bit for bit.
        left_alone: The run with all this ended with the weights of the plain run.
        twice: Updates whose gradient was taken twice.
        losses: Evaluations at which the training loss was taken on the kept examples.
        sam: SAM injected against SAM by hand: ``equal``, ``not equal``, ``not tried``, or why it is refused.
        heard: Numbers of an evaluation that its loggers were handed.
        refused: What was not done in the run with all this, and why.
        seconds: Of each run.
    """

    script: str
    commit: str | None = None
    updates: int = 0
    passes: int = 0
    equal: int = 0
    left_alone: bool | None = None
    twice: int = 0
    losses: int = 0
    sam: str = "not tried"
    heard: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Skipped(Exception):
    """Something that cannot be tried here; says why."""


def shape_row(name: str, shape: Shape, folder: Path) -> Row:
    """Look at a script of ours."""
    missing = [need for need in shape.needs if importlib.util.find_spec(need) is None]
    if missing:
        raise Skipped(f"{' and '.join(missing)} not installed")
    start = [sys.executable]
    if "torchrun" in name:
        start += ["-m", "torch.distributed.run", "--nproc_per_node", "2"]

    def ran(kind: str, source: str, *, compare: bool = False, **orders: object) -> Ran:
        place = folder / kind
        place.mkdir(parents=True)
        (place / "script.py").write_text(source, encoding="utf-8")
        given = orders_in(place, **orders) if orders else None
        return launch([*start, "script.py"], place, place, given, compare=compare)

    fit = FitOrders(keep=str(folder / "fit.pt"), examples=32)
    runs = {
        "plain": ran("plain", shape.plain),
        "null": ran("null", shape.plain, compare=True, fit=fit, replay=True, null_control=True),
    }
    if shape.sharp is not None:
        runs["by hand"] = ran("hand", shape.sharp)
        runs["injected"] = ran("injected", shape.plain, levers=("sam:0.1",))
    row = seen_in(Row(name), runs["null"])
    row.left_alone = runs["null"].printed == runs["plain"].printed
    if shape.sharp is not None:
        row.sam = _compared(*(runs[kind].printed for kind in ("injected", "by hand", "plain")))
    elif shape.refusal is not None:
        row.sam = row.refused.get("sam:0", "not refused")
    row.seconds = {kind: run.seconds for kind, run in runs.items()}
    return row


def source_row(source: Source, sources: Path, folder: Path) -> Row:
    """Look at a script of somebody else's, in a checkout."""
    missing = source.missing(sources)
    if missing is not None:
        raise Skipped(missing)
    row = Row(source.name, source.commit(sources))
    place = source.prepared(sources, folder / "work")

    def ran(kind: str, cwd: Path, *, compare: bool = False, **orders: object) -> Ran:
        given = orders_in(folder / kind, seed=0, **orders)
        return launch(source.words(folder / kind / "out"), folder / kind, cwd, given, compare=compare)

    fit = FitOrders(examples=32 if source.refusal is None else ALL_EXAMPLES)
    runs = {
        "plain": ran("plain", place, metrics=False),
        "null": ran("null", place, compare=True, fit=fit, replay=True, null_control=True),
        "injected": ran("injected", place, levers=("sam:0.05",)),
    }
    seen_in(row, runs["null"])
    row.left_alone = runs["null"].weights == runs["plain"].weights != [None]
    why = runs["injected"].refused.get("sam:0.05")
    if why is not None:
        untouched = runs["injected"].weights == runs["plain"].weights
        row.sam = f"refused: {why}" if untouched else f"changed the run, then refused: {why}"
    elif source.sharp:
        edited = source.edited_copy(place, folder / "edited", source.sharp)
        runs["by hand"] = ran("hand", edited, metrics=False)
        row.sam = _compared(*(runs[kind].weights for kind in ("injected", "by hand", "plain")))
    row.seconds = {kind: run.seconds for kind, run in runs.items()}
    return row


def _compared(injected: object, by_hand: object, plain: object) -> str:
    return "equal" if injected == by_hand and injected != plain else "not equal"


def seen_in(row: Row, ran: Ran) -> Row:
    """Note what was seen inside of a run."""
    row.passes, row.equal = ran.passes, ran.equal
    main = ran.events.main
    if main is None:
        return row
    row.updates = main.updates
    row.twice = max((event.count for event in main.of(Applied)), default=0)
    row.losses = len(main.of(TrainLoss))
    row.refused = {event.what: event.why for event in main.of(Refused)}
    row.heard = tuple(dict.fromkeys(event.name for event in main.of(Metric)))
    return row


Look = tuple[str, str, Callable[[Path], Any]]
"""Section of the results, name, and what makes a row of it in a folder."""


def looks(sources: Path | None) -> Iterator[Look]:
    """All that there is to look at."""
    for name, shape in (SHAPES | SLOW_SHAPES).items():
        yield "rows", name, lambda folder, n=name, s=shape: shape_row(n, s, folder)
    for refusal in REFUSALS:
        name = f"refusal: {refusal.name}, {refusal.lever or 'replay'}"
        yield "refusals", name, lambda folder, r=refusal: refusal_row(r, folder)
    yield "refusals", "refusal: grid", coarse_row
    if sources is None:
        print("--sources DIR not given: nanoGPT, pytorch/examples and timm are left out", file=sys.stderr)
        return
    for source in SOURCES:
        yield "rows", source.name, lambda folder, s=source: source_row(s, sources, folder)
    for case in CASES:
        yield "levers", name_of(case), lambda folder, c=case: lever_row(c, sources, folder)


KEYS = {"rows": ("script",), "levers": ("script", "lever"), "refusals": ("words", "script", "asked")}
"""What a row of each section is known by."""


def tables(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    lines = [
        "| script | captured | left as it is | gradient taken twice | training loss | SAM |",
        "|" + "---|" * 6,
    ]
    for row in results["rows"]:
        left = {True: "yes", False: "no"}.get(row["left_alone"], "")
        twice, losses = f"{row['twice']}/{row['updates']}", f"{row['losses']} times"
        captured = f"{row['equal']}/{row['passes']}"
        lines.append(f"| {row['script']} | {captured} | {left} | {twice} | {losses} | {row['sam']} |")
    lines += ["", "| lever | script | against | equal | acted |", "|" + "---|" * 5]
    for row in results["levers"]:
        equal = row["refused"] or ("yes" if row["equal"] and row["acts"] else "no")
        lines.append(
            f"| `{row['lever']}` | {row['script']} | {row['against']} | {equal} | {row['applied']} |"
        )
    lines += ["", "| refused in these words | where | asked | run left as it is |", "|" + "---|" * 4]
    for row in results["refusals"]:
        said = row["words"] if row["said"] and row["words"] in row["said"] else f"not refused: {row['words']}"
        left = {True: "yes", False: "no"}.get(row["left_alone"], "none is made")
        lines.append(f"| {said} | {row['script']} | {row['asked']} | {left} |")
    return "\n".join(lines)


def broken(results: dict[str, Any]) -> list[str]:
    """What does not hold of what is promised: named."""
    said = []
    for row in results["rows"]:
        held = row["left_alone"] is True and row["sam"] != "not equal" and "changed" not in row["sam"]
        if not held:
            said.append(row["script"])
    said += [
        f"{row['lever']} in {row['script']}"
        for row in results["levers"]
        if not (row["equal"] and row["acts"])
    ]
    for row in results["refusals"]:
        if not row["said"] or row["words"] not in row["said"] or row["left_alone"] is False:
            said.append(f"{row['words']} ({row['script']}, {row['asked']})")
    return said


def kept(made: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Results with new rows in the place of those of the same name; others stay."""
    content: dict[str, Any] = {}
    if RESULTS.exists():
        content = json.loads(RESULTS.read_text(encoding="utf-8"))
    content["machine"] = versions()
    for section in SECTIONS:
        known = {_key(section, row): row for row in content.get(section, [])}
        known |= {_key(section, row): row for row in made[section]}
        content[section] = list(known.values())
    return content


def _key(section: str, row: dict[str, Any]) -> tuple[object, ...]:
    return tuple(row[name] for name in KEYS[section])


def versions() -> dict[str, str | int]:
    """The machine, and versions of what was looked into."""
    found = machine()
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def main() -> int:
    """Look at every script, and write what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sources", type=Path, help="folder with checkouts")
    parser.add_argument("--only", default="", help="part of the names of those wanted")
    parser.add_argument("--table", action="store_true", help="print the committed results")
    options = parser.parse_args()
    if options.table:
        print(tables(json.loads(RESULTS.read_text(encoding="utf-8"))))
        return 0
    made: dict[str, list[dict[str, Any]]] = {section: [] for section in SECTIONS}
    failed = []
    with tempfile.TemporaryDirectory() as top:
        for number, (section, name, look) in enumerate(looks(options.sources)):
            if options.only not in name:
                continue
            try:
                row = asdict(look(Path(top, str(number))))
            except Skipped as why:
                print(f"skipped: {name}: {why}", file=sys.stderr, flush=True)
            except RuntimeError as error:
                failed.append(f"{name} ({error})")
            else:
                made[section].append(row)
                print(json.dumps(row), flush=True)
    results = kept(made)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(tables(made))
    for text in (*failed, *broken(made)):
        print(f"not as it must be: {text}", file=sys.stderr)
    return int(bool(failed or broken(made)))


if __name__ == "__main__":
    raise SystemExit(main())
