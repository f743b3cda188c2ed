"""Readings in the terminal: nothing is cut off, whatever the probe; errors, reasons and warnings are told."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from algobias.probes.reading import Cost, Interval, Reading, Twin
from algobias.probes.registry import PROBES
from algobias.reports.readings import readings_table, total_cost


def shown(readings, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(readings_table(readings, 1.5, "800 train examples"))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_off(width):
    bounds = Interval(-1234567.0, -1134567.0, 0.95, "always")
    readings = [
        Reading(
            f"{name}:tolerance=0.001",
            -1184567.0,
            cls.card.unit,
            subset=bounds,
            cost=Cost(products=1234.5),
            twin=Twin("a scale-invariant companion with a long name", 0.123456, None, None, "scale"),
        )
        for name, cls in PROBES.items()
    ]
    text = shown(readings, width)
    assert "…" not in text
    flat = " ".join(text.split())
    for name in PROBES:
        assert name in flat
    assert "-1.185e+06 -1.23e+06 to -1.13e+06 s" in text
    assert "2469.0" in text
    assert max(map(len, text.splitlines())) <= width


def test_kinds_of_error_reasons_and_warnings():
    readings = [
        Reading("a", 1.0, "x", numerical=Interval(0.9, 1.2, None, "c"), subset=Interval(0.5, 2, 0.95, "c")),
        Reading("b", None, "x", status="unavailable", reason="no class labels"),
        Reading("c", None, "x", status="unavailable", reason="no class labels"),
        Reading("d", 2.0, "x", status="not_converged", reason="too few steps", warnings=("beware",)),
        Reading("e", 3.0, "x", no_interval="exact"),
    ]
    text = shown(readings)
    assert "0.4 to 2.2 ns" in text  # both errors added up
    assert "error from n: numerical bound, s: sample of examples, 95 %" in text
    assert "random vectors" not in text
    assert "b, c: unavailable: no class labels" in text
    assert "d: not converged: too few steps" in text
    assert "d: mind: beware" in text
    assert "e: no interval: exact" in text
    assert "over 800 train examples, 1.5 s" in text


def test_parts_where_they_are_asked_for():
    reading = Reading("a", 1.0, "x", parts={"layer.weight": 0.25, "layer.bias": 0.75})
    assert "layer" not in shown([reading])
    console = Console(file=io.StringIO(), width=80)
    console.print(readings_table([reading], 0.1, "3 examples", parts=True))
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["layer.weight", "0.25"] in lines
    assert ["layer.bias", "0.75"] in lines


def test_costs_add_up():
    readings = [
        Reading("a", 1.0, "x", cost=Cost(3, 2, 1, 0.5)),
        Reading("b", 1.0, "x", cost=Cost(3, 0, 0, 0.5)),
    ]
    assert total_cost(readings) == Cost(6, 2, 1, 1.0)
    assert total_cost(readings).gradient_equivalents == 6
