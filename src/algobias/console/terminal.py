"""What the terminal shows: the plan before, the live view during, the verdict after a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from algobias.answer.forecast import Forecast, ForecastArm, ForecastReadings
from algobias.console.live import LiveView, arm_in_words
from algobias.json_values import clean
from algobias.own.user_file import without_files
from algobias.reports import controls, glance, page, searched, tables
from algobias.reports.evidence import evidence_lines
from algobias.reports.logs import read_lines
from algobias.reports.numerals import COST_WORDS, amount, ratio, sentence, shortened, times
from algobias.reports.record import StudyRecord
from algobias.reports.verdicts import doubts, verdict_name, verdict_words, warnings
from algobias.reports.words import (
    SEED_SD,
    arm_label,
    change_text,
    claim,
    task_text,
)

NARROW = 64
"""Below this many columns, names stand above their values instead of beside them."""

STATES = "present: clear of 0; absent: below the tolerance. Decided one-sided"

_STYLES = {"good": "green", "bad": "red", "warn": "yellow", "open": "cyan"}


def verdict_panel(record: StudyRecord) -> RenderableType:
    """The final panel: verdict, reason, shares, controls, costs, where the report lies.

    Fits any width from 40 columns. Text from the record is never read as markup.
    """
    return _VerdictPanel(record)


def plan_panel(plan: Mapping[str, object]) -> RenderableType:
    """What a study may cost at worst, before anything is trained.

    Args:
        plan: What ``--plan --json`` prints.
    """
    return _PlanPanel(Forecast.from_json(clean(plan), "plan"))


@dataclass(frozen=True)
class _VerdictPanel:
    record: StudyRecord

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        record, answer = self.record, self.record.answer
        narrow = options.max_width < NARROW
        words = verdict_words(record)
        style = _STYLES.get(words.tone, "cyan")
        task = shortened(
            ": ".join(part for part in (task_text(answer.task), change_text(record)) if part), 200
        )
        parts: list[RenderableType] = [Text(task, style="dim", overflow="fold")]
        parts.append(Text(words.title, style="bold"))
        if answer.reason:
            parts += ["", Text(answer.reason, overflow="fold")]
        if page.would_decide(record):
            parts.append(Text(f"What would decide: {page.would_decide(record)}", overflow="fold"))
        parts += ["", _facts(_numbers(record), narrow)]
        if any(tile["state"] in ("present", "absent") for tile in glance.tiles(record)):
            shared = "" if answer.one_look else ", at a level shared over the looks"
            parts.append(
                Text(
                    f"{STATES}{shared}, so the two-sided interval may look otherwise.",
                    style="dim",
                    overflow="fold",
                )
            )
        for note in answer.fit.notes:
            parts.append(Text(sentence(note), overflow="fold"))
        if answer.has("readings"):
            moved = tables.moved_text(record)
            parts += ["", Text(f"What moved: {moved}", overflow="fold")]
            if "seed sd" in moved:
                parts.append(Text(SEED_SD, style="dim", overflow="fold"))
        parts += self._controls(narrow)
        costs = _costs(record, narrow)
        if costs is not None:
            parts += ["", costs]
        for line in read_lines(record) + evidence_lines(record)[:1]:
            parts.append(Text(sentence(line), style="dim", overflow="fold"))
        for warning in warnings(record):
            parts.append(Text(f"Warning: {sentence(warning)}", style="yellow", overflow="fold"))
        parts += ["", Text(claim(record), style="dim", overflow="fold")]
        if answer.report:
            parts.append(Text(f"Report: {answer.report}", overflow="fold"))
        for doubt in doubts(record):
            yield Text(f"Is this the question? {sentence(doubt)}", style="bold yellow", overflow="fold")
        yield Panel(
            Group(*parts),
            title=Text(f" Verdict: {verdict_name(record)} ", style=f"bold {style}"),
            title_align="left",
            border_style=style,
            padding=(0, 1) if narrow else (1, 2),
            width=min(options.max_width, 110),
        )

    def _controls(self, narrow: bool) -> list[RenderableType]:
        parts: list[RenderableType] = []
        for row in searched.chosen(self.record):
            found = row["lever"] or "nothing that was tried helps"
            said = f" ({row['confirmed']}, {row['at']})" if row["confirmed"] else ""
            line = Text(f"Chosen within {row['axes']}: ", overflow="fold")
            parts += ["", line.append(f"{found}{said}", style="bold")]
            parts += [
                Text(f"But {row[but]}.", overflow="fold") for but in ("undoes", "doubt", "over") if row[but]
            ]
            if row["tuned"]:
                parts.append(Text(f"{row['tuned']}.", overflow="fold"))
        if searched.again(self.record):
            parts += ["", Text(searched.again(self.record), overflow="fold")]
        for card in controls.control_cards(self.record):
            said = f"{card['verdict']}: {card['meaning']}" if card["meaning"] else card["verdict"]
            at = f"; compared {card['at']}" if card["at"] else ""
            facts = [("verdict", said + at), *card["facts"]]
            for place, reference in enumerate(card["costs"]["labels"]):
                cells = [(row["name"].lower(), row["cells"][place]) for row in card["costs"]["rows"]]
                changed = ", ".join(f"{name} {cell}" for name, cell in cells if cell != times(1))
                facts.append((f"cost against {reference}", changed or "the same"))
            title = Text(f"{card['name'].capitalize()}: {card['lever']}", style="bold", overflow="fold")
            parts += ["", title, _facts(facts, narrow)]
        return parts


@dataclass(frozen=True)
class _PlanPanel:
    plan: Forecast

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        plan, narrow = self.plan, options.max_width < NARROW
        change = " then ".join(without_files(lever) for lever in plan.change) or "the baseline against itself"
        looks = ", ".join(map(str, plan.looks))
        totals = [
            ("looks", f"{looks} seeds"),
            ("processes", str(plan.workers or 1)),
            *_at_worst(plan),
        ]
        if plan.rungs:
            rungs = ", ".join(map(str, plan.rungs))
            tried = f"{len(plan.settings)} settings, each on both arms, on {rungs} seeds"
            totals.insert(0, ("search", tried))
        readings = plan.readings or ForecastReadings()
        if readings.probes:
            said = (
                f"{len(readings.probes)} coordinates at up to {readings.moments} moments, about "
                f"{readings.gradient_equivalents or 0.0:.0f} gradient-equivalents each; at worst "
                f"{amount('seconds', readings.worst_case_seconds)}, counted below"
            )
            totals.insert(2, ("readings", said))
        totals += [("learning rate", line) for line in plan.derivations]
        totals += [("remark", line) for line in plan.remarks]
        totals += [("replaced", line) for line in plan.replaced]
        yield Text(f"{plan.task}: {change}", style="bold", overflow="fold")
        usual = (
            "A study usually stops at an early look, well below these limits."
            if len(plan.looks) != 1
            else "Most runs end as planned; the limits allow for training on to equal fit."
        )
        for command in plan.commands:
            yield Text(command, overflow="fold")
        yield Text(f"Nothing is trained. {usual}")
        yield Text("")
        yield _arms_at_worst(plan.arms, narrow)
        yield Text("")
        yield _facts(totals, narrow)


def _at_worst(plan: Forecast) -> list[tuple[str, str]]:
    """Sums over all arms, those that are known; the others in one line."""
    sums = {
        "updates": ("updates", plan.worst_case_updates),
        "time": ("seconds", plan.worst_case_seconds),
        "disk": ("peak_memory", plan.worst_case_bytes),
    }
    rows = [
        (f"{name} at worst", amount(unit, value)) for name, (unit, value) in sums.items() if value is not None
    ]
    unknown = [name for name, (_, value) in sums.items() if value is None]
    if not unknown:
        return rows
    tells = "; how long it takes is said after the preflight, once the baseline has run"
    return [*rows, ("not known", ", ".join(unknown) + (tells if plan.commands and "time" in unknown else ""))]


def _arms_at_worst(arms: Sequence[ForecastArm], narrow: bool) -> RenderableType:
    """Each arm with its seeds, and what is known of its updates and time."""
    # A row may stand for two arms, whose updates are then those of both.
    columns = {
        "seeds": [f"{arm.seeds:.0f}" if arm.seeds is not None else "" for arm in arms],
        "updates per seed": _known("updates", [arm.worst_case_updates for arm in arms]),
        "time": _known("seconds", [arm.worst_case_seconds for arm in arms]),
    }
    shown = {title: cells for title, cells in columns.items() if cells}
    rows = [(_label(arm), [cells[at] for cells in shown.values()]) for at, arm in enumerate(arms)]
    return _grid(["arm", *shown], rows, narrow)


def _known(unit: str, values: Sequence[float | None]) -> list[str]:
    """A column of amounts; nothing where none of them is known."""
    return [amount(unit, value) for value in values] if any(value is not None for value in values) else []


def _label(arm: ForecastArm) -> str:
    """What an arm of the plan is called."""
    head, plus, control = arm_in_words(arm.name).partition("+")
    return arm.label or head.replace("_", " ") + plus + control


def _numbers(record: StudyRecord) -> list[tuple[str, str]]:
    rows = []
    for tile in glance.tiles(record):
        notes = ", ".join(part for part in (tile["said"], tile["note"]) if part)
        rows.append((tile["label"], tile["value"] + (f" ({notes})" if notes else "")))
    return rows


def _costs(record: StudyRecord, narrow: bool) -> RenderableType | None:
    """Costs of baseline and variant with their ratio; kinds that cost nothing in either are left out."""
    costs = {arm.name: arm.cost for arm in record.answer.arms}
    if "baseline" not in costs or "variant" not in costs:
        return None
    base, variant = costs["baseline"], costs["variant"]
    rows = []
    for key, (name, _) in COST_WORDS.items():
        one, other = base.on(key), variant.on(key)
        if one is not None and other is not None and (one or other):
            rows.append((name, [amount(key, one), amount(key, other), ratio(other, one)]))
    labels = [arm_label(arm, record) for arm in ("baseline", "variant")]
    return _grid(["cost of one run", *labels, "ratio"], rows, narrow) if rows else None


def _facts(rows: Sequence[tuple[str, str]], narrow: bool) -> RenderableType:
    """Names and values: side by side, or one above the other where there is no room."""
    if narrow:
        lines: list[RenderableType] = []
        for name, value in rows:
            lines.append(Text(name, style="dim", overflow="fold"))
            if value:
                lines.append(Padding(Text(value, overflow="fold"), (0, 0, 0, 2)))
        return Group(*lines)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", max_width=30, overflow="fold")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table


def _grid(header: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], narrow: bool) -> RenderableType:
    """A table whose first column holds names; in a narrow terminal, one block of lines per name."""
    if narrow:
        blocks = []
        for name, cells in rows:
            said = ", ".join(f"{title} {cell}" for title, cell in zip(header[1:], cells, strict=True) if cell)
            blocks.append((name, said))
        return Group(Text(f"{header[0].capitalize()}:", style="bold"), _facts(blocks, narrow=True))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, title in enumerate(header):
        # Names are wrapped before a number is.
        first = place == 0
        table.add_column(title, justify="left" if first else "right", overflow="fold", no_wrap=not first)
    for name, cells in rows:
        table.add_row(Text(name), *(Text(cell) for cell in cells))
    return table


__all__ = ["LiveView", "plan_panel", "verdict_panel"]
