"""Readings as a table in the terminal: value, how sure it is, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from algobias.probes.reading import Cost, Reading

KINDS = {"numerical": "numerical bound", "monte_carlo": "random vectors", "subset": "sample of examples"}
"""Sources of error, in the words of the table."""

STYLES = {"ok": "green", "not converged": "yellow", "unavailable": "red", "mind": "yellow"}


def readings_table(readings: Sequence[Reading], seconds: float) -> RenderableType:
    """A row for each reading, its scale-invariant twin below it; then reasons and warnings.

    Args:
        readings: What was measured.
        seconds: How long it took, all in all.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("probe", style="bold", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("interval", no_wrap=True)
    table.add_column("error from")
    table.add_column("unit")
    table.add_column("status", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    for one in readings:
        table.add_row(
            Text(one.probe),
            _number(one.value),
            _interval(one.low, one.high),
            Text(_sources(one)),
            Text(one.unit),
            Text(one.status.replace("_", " "), style=STYLES[one.status.replace("_", " ")]),
            f"{one.cost.gradient_equivalents:.1f}",
        )
        if one.twin is not None:
            twin = one.twin
            name = Text(f"  {twin.name}", style="not bold dim", overflow="fold", no_wrap=False)
            table.add_row(
                name, _number(twin.value), _interval(twin.low, twin.high), Text(""), Text(""), "", ""
            )
    total = total_cost(readings)
    told = (
        f"cost: {total.gradient_equivalents:.1f} gradient-equivalents over the examples read, {seconds:.1f} s"
    )
    return Group(table, *_notes(readings), Text(told, style="dim"))


def total_cost(readings: Sequence[Reading]) -> Cost:
    """What all readings cost together."""
    costs = [one.cost for one in readings]
    return Cost(
        sum(c.forwards for c in costs),
        sum(c.gradients for c in costs),
        sum(c.products for c in costs),
        sum(c.seconds for c in costs),
    )


def _notes(readings: Sequence[Reading]) -> list[RenderableType]:
    """Reasons and warnings, each once, with the probes it is about."""
    told: dict[tuple[str, str], list[str]] = {}
    for one in readings:
        if one.reason:
            told.setdefault((one.status.replace("_", " "), one.reason), []).append(one.probe)
        for warning in one.warnings:
            told.setdefault(("mind", warning), []).append(one.probe)
        if one.value is not None and one.low is None and one.no_interval:
            told.setdefault(("no interval", one.no_interval), []).append(one.probe)
    return [
        Text(f"{', '.join(names)}: {kind}: {text}", style=STYLES.get(kind, "dim"))
        for (kind, text), names in told.items()
    ]


def _sources(one: Reading) -> str:
    if one.value is None:
        return ""
    return " + ".join(words for field, words in KINDS.items() if getattr(one, field) is not None)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _interval(low: float | None, high: float | None) -> Text:
    if low is None or high is None:
        return Text("")
    return Text(f"{low:.4g} to {high:.4g}")
