"""Training scripts that nobody edited, with something inside: seen to the last bit, and left as they are?

    python benchmarks/own_scripts.py                       # shapes of trainers, each in processes of its own
    python benchmarks/own_scripts.py --only Lightning      # those whose name has this; other rows stay
    python benchmarks/own_scripts.py --sources DIR         # also nanoGPT, pytorch/examples, timm in DIR
    python benchmarks/own_scripts.py --table               # the committed results as a table

Each script runs four times: plainly; with its training loss taken and every gradient taken a second time (the
null control); with SAM injected; and with the same SAM written into it by hand. Weights are compared by hash.
``DIR`` holds checkouts named ``nanoGPT``, ``examples`` and ``pytorch-image-models``; what is missing is said.
Written: ``results/own_scripts.json``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "own_scripts.json"
sys.path.insert(0, str(HERE.parent / "tests"))

import algobias.attached  # noqa: E402
from algobias.attached.events import Applied, End, Events, Metric, Refused, TrainLoss, read  # noqa: E402
from algobias.attached.orders import VARIABLE, FitOrders, Orders  # noqa: E402
from attached.trainers import SHAPES, SLOW_SHAPES, Shape  # noqa: E402
from machine import machine  # noqa: E402
from own_sources import SOURCES, Source  # noqa: E402

SITE = Path(algobias.attached.__file__).parent / "site"
PACKAGES = ("transformers", "accelerate", "lightning", "timm")


@dataclass
class Row:
    """What was seen of a script.

    Attributes:
        script: Its name.
        commit: Of a checkout; None: the script is one of ours.
        updates: Updates that it made.
        left_alone: Probed and with the null control it ended with the weights of the plain run.
        twice: Updates whose gradient was taken twice.
        losses: Evaluations at which the training loss was taken on the kept examples.
        sam: SAM injected against SAM by hand: ``equal``, ``not equal``, ``not tried``, or why it is refused.
        heard: Numbers of an evaluation that its loggers were handed.
        refused: What was not done, and why.
        seconds: Of each run.
        skipped: Why it was not tried; None: it was.
    """

    script: str
    commit: str | None = None
    updates: int = 0
    left_alone: bool | None = None
    twice: int = 0
    losses: int = 0
    sam: str = "not tried"
    heard: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: str | None = None


@dataclass
class Ran:
    """How a script ran: what it printed, and what was written inside."""

    out: str
    events: Events
    seconds: float

    @property
    def weights(self) -> tuple[list[str], list[str | None]]:
        """The hashes that it prints, and those that were taken inside."""
        printed = sorted(line for line in self.out.splitlines() if "weights " in line)
        return printed, [event.weights for event in self.events.of(End)]


def launch(words: list[str], folder: Path, cwd: Path, orders: Orders | None) -> Ran:
    """Run a command, with orders for what sits inside, or without anything.

    Raises:
        RuntimeError: It did not end well; has its last lines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    variables = {k: v for k, v in os.environ.items() if k != VARIABLE} | {"OMP_NUM_THREADS": "1"}
    if orders is not None:
        orders.write(folder / "orders.json")
        variables[VARIABLE] = str(folder / "orders.json")
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SITE), os.environ.get("PYTHONPATH"))))
    begun = time.perf_counter()
    done = subprocess.run(words, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError("; ".join(done.stderr.strip().splitlines()[-3:]))
    events = read(folder / "events") if orders is not None else Events()
    return Ran(done.stdout, events, round(time.perf_counter() - begun, 2))


def shape_row(name: str, shape: Shape, folder: Path) -> Row:
    """Look at a script of ours."""
    missing = [need for need in shape.needs if importlib.util.find_spec(need) is None]
    if missing:
        return Row(name, skipped=f"{' and '.join(missing)} not installed")
    start = [sys.executable]
    if "torchrun" in name:
        start += ["-m", "torch.distributed.run", "--nproc_per_node", "2"]

    def ran(kind: str, source: str, **orders: object) -> Ran:
        place = folder / kind
        place.mkdir(parents=True)
        (place / "script.py").write_text(source, encoding="utf-8")
        given = Orders(str(place / "events"), **orders) if orders else None  # type: ignore[arg-type]
        return launch([*start, "script.py"], place, place, given)

    fit = FitOrders(keep=str(folder / "fit.pt"), examples=32)
    runs = {
        "plain": ran("plain", shape.plain),
        "null": ran("null", shape.plain, fit=fit, replay=True, null_control=True),
    }
    if shape.sharp is not None:
        runs["by hand"] = ran("hand", shape.sharp)
        runs["injected"] = ran("injected", shape.plain, levers=("sam:0.1",))
    row = seen_in(Row(name), runs["null"])
    row.left_alone = runs["null"].weights[0] == runs["plain"].weights[0]
    if shape.sharp is not None:
        equal = runs["injected"].weights[0] == runs["by hand"].weights[0] != runs["plain"].weights[0]
        row.sam = "equal" if equal else "not equal"
    elif shape.refusal is not None:
        row.sam = row.refused.get("sam:0", "not refused")
    row.seconds = {kind: run.seconds for kind, run in runs.items()}
    return row


def source_row(source: Source, sources: Path, folder: Path) -> Row:
    """Look at a script of somebody else's, in a checkout."""
    row = Row(source.name)
    row.skipped = source.missing(sources)
    if row.skipped is not None:
        return row
    row.commit = source.commit(sources)
    place = source.prepared(sources, folder / "work")
    runs = {}
    for kind, orders in (
        ("plain", {"metrics": False}),
        ("null", {"fit": FitOrders(examples=32), "replay": True, "null_control": True}),
        ("injected", {"levers": ("sam:0.05",)}),
    ):
        given = Orders(str(folder / kind / "events"), seed=0, **orders)  # type: ignore[arg-type]
        runs[kind] = launch(source.words(folder / kind / "out"), folder / kind, place, given)
    seen_in(row, runs["null"])
    row.left_alone = runs["null"].weights[1] == runs["plain"].weights[1]
    refused = {event.what: event.why for event in runs["injected"].events.of(Refused)}
    row.sam = refused.get("sam:0.05", "not tried")
    if source.edited and "sam:0.05" not in refused:
        edited = source.edited_copy(place, folder / "edited")
        given = Orders(str(folder / "hand" / "events"), seed=0, metrics=False)
        by_hand = launch(source.words(folder / "hand" / "out"), folder / "hand", edited, given)
        equal = runs["injected"].weights[1] == by_hand.weights[1] != runs["plain"].weights[1]
        row.sam = "equal" if equal else "not equal"
    row.seconds = {kind: run.seconds for kind, run in runs.items()}
    return row


def seen_in(row: Row, ran: Ran) -> Row:
    """Note what was seen inside of a run."""
    main = ran.events.main
    if main is None:
        return row
    row.updates = main.updates
    row.twice = max((event.count for event in main.of(Applied)), default=0)
    row.losses = len(main.of(TrainLoss))
    row.refused = {event.what: event.why for event in main.of(Refused)}
    row.heard = tuple(dict.fromkeys(event.name for event in main.of(Metric)))
    return row


def table(rows: list[dict[str, object]]) -> str:
    """The rows in Markdown."""
    lines = ["| script | gradient taken twice | left as it is | training loss | SAM |", "|" + "---|" * 5]
    for row in rows:
        if row["skipped"]:
            lines.append(f"| {row['script']} | skipped: {row['skipped']} | | | |")
            continue
        left = {True: "yes", False: "no"}.get(row["left_alone"], "")  # type: ignore[call-overload]
        cells = (
            row["script"],
            f"{row['twice']}/{row['updates']}",
            left,
            f"{row['losses']} times",
            row["sam"],
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def keep(rows: list[dict[str, object]]) -> None:
    """Write rows in the place of those of the same scripts; others stay, and what was skipped is left out."""
    known: dict[str, dict[str, object]] = {}
    if RESULTS.exists():
        known = {row["script"]: row for row in json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]}
    known |= {str(row["script"]): row for row in rows if row["skipped"] is None}
    content = {"machine": versions(), "rows": list(known.values())}
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


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
        print(table(json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]))
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as top:
        looks = [
            (name, lambda f, n=name, s=s: shape_row(n, s, f)) for name, s in (SHAPES | SLOW_SHAPES).items()
        ]
        if options.sources is None:
            print("--sources DIR not given: nanoGPT, pytorch/examples and timm are left out", file=sys.stderr)
        else:
            looks += [(s.name, lambda f, s=s: source_row(s, options.sources, f)) for s in SOURCES]
        for number, (name, look) in enumerate(looks):
            if options.only not in name:
                continue
            try:
                row = look(Path(top, str(number)))
            except RuntimeError as error:
                row = Row(name, skipped=f"it failed: {error}")
            rows.append(asdict(row))
            print(json.dumps(rows[-1]), flush=True)
    keep(rows)
    print(table(rows))
    wrong = [row["script"] for row in rows if row["left_alone"] is False or row["sam"] == "not equal"]
    if wrong:
        print(f"not as it must be: {', '.join(map(str, wrong))}", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
