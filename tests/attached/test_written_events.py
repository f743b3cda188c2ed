from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from algobias.attached.events import (
    Applied,
    Counters,
    End,
    Metric,
    ProbeReading,
    Refused,
    Start,
    TrainLoss,
    read,
)
from algobias.attached.journal import Journal
from algobias.attached.orders import FitOrders, Orders, read_orders
from algobias.errors import BadInput

EVERY = (
    Start(0, 7, 0, ("train.py", "--lr", "1"), "2.13.0", 2),
    Metric(3, "accuracy", 0.1 + 0.2, "wandb", 12),
    TrainLoss(3, 0.25, None, 2000, "ab", True),
    ProbeReading(3, "trace", None, '{"value": null}', "ab"),
    Applied(3, "sam:0.05", 3),
    Refused(3, "replay", "No backward seen"),
    Counters(3, 1e-3, 3, 1, 0),
    End(3, 3, "cd", "exit"),
)


def test_events_are_read_as_they_were_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for event in EVERY:
        journal.write(event)
    (process,) = read(tmp_path).processes
    assert process.events == EVERY
    assert process.of(Metric)[0].value == 0.30000000000000004


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_a_torn_last_line_is_left_out(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path)
    for event in EVERY:
        journal.write(event)
    (path,) = tmp_path.glob("events-*.jsonl")
    path.write_bytes(path.read_bytes()[:-cut])
    (process,) = read(tmp_path).processes
    assert process.events == EVERY[:-1]


def test_nothing_written_reads_as_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "nowhere").processes == ()
    assert read(tmp_path).main is None


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"[1]",
        b'{"event": "other"}',
        b'{"event": "end", "update": 1}',
        b'{"event": "applied", "update": 1, "lever": "sam:1", "count": "many"}',
        b'{"event": "applied", "update": true, "lever": "sam:1", "count": 1}',
        b"\xff\xfe",
    ],
)
def test_a_whole_line_that_is_no_event_is_refused(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "events-3.jsonl").write_bytes(line + b"\n")
    with pytest.raises(BadInput, match=r"events-3\.jsonl, line 1"):
        read(tmp_path)


def test_the_main_process_is_of_the_lowest_rank_that_trained(tmp_path: Path) -> None:
    for pid, rank, updates in ((11, 1, 5), (12, 0, 5), (13, 0, 0)):
        lines = [Start(0, pid, rank, (), "2", 1), End(updates, updates, None, "exit")]
        from algobias.attached.events import as_line

        (tmp_path / f"events-{pid}.jsonl").write_text("".join(as_line(event) for event in lines))
    main = read(tmp_path).main
    assert main is not None
    assert main.pid == 12


def test_reading_needs_no_torch() -> None:
    code = "import sys, algobias.attached.events, algobias.attached.orders; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_orders_are_read_as_they_were_written(tmp_path: Path) -> None:
    fit = FitOrders("/a/keep", None, 100)
    orders = Orders("/a/b", 3, ("sam:0.05",), fit, True, True, False, 4, ("trace",))
    orders.write(tmp_path / "orders.json")
    assert read_orders(tmp_path / "orders.json") == orders


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("{", "orders"),
        ("[]", "orders"),
        ('{"events": "/a"}', "orders.schema"),
        ('{"schema": 1, "events": "a"}', "orders.events"),
        ('{"schema": 1, "events": "/a", "seed": 1.5}', "orders.seed"),
        ('{"schema": 1, "events": "/a", "stop_after": 0}', "orders.stop_after"),
        ('{"schema": 1, "events": "/a", "levers": "sam:1"}', "orders.levers"),
        ('{"schema": 1, "events": "/a", "replay": 1}', "orders.replay"),
        ('{"schema": 1, "events": "/a", "fit": {"examples": 0}}', "orders.fit.examples"),
        ('{"schema": 1, "events": "/a", "fit": {"keep": 3}}', "orders.fit.keep"),
    ],
)
def test_misshapen_orders_are_refused_by_field(tmp_path: Path, content: str, field: str) -> None:
    path = tmp_path / "orders.json"
    path.write_text(content)
    with pytest.raises(BadInput) as refusal:
        read_orders(path)
    assert refusal.value.field == field
