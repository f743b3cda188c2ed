"""What interventions on a change showed, as text: statements, transplants, doses, levers pulled."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from algobias.answer.causes import DoseResponse, InterventionEntry
from algobias.own.user_file import in_words
from algobias.reports import numerals, words
from algobias.reports.figures.interventions import KINDS
from algobias.reports.record import StudyRecord
from algobias.reports.text_table import TextTable, text_table
from algobias.reports.widths import longest_line

UNBOUNDED = (
    "unbounded: the gap itself is not clear of 0 in these seeds, so that they set no limit on a part of it"
)

ORDER = ("caused by", "accompanied by", "undecided", "not related")


def statements(record: StudyRecord) -> list[dict[str, str]]:
    """One entry for each coordinate: ``coordinate, word, because``; the strongest words first."""
    rows = [
        {
            "coordinate": in_words(statement.coordinate),
            "word": statement.word,
            "because": statement.because,
        }
        for statement in record.answer.statements
    ]
    return sorted(rows, key=lambda row: ORDER.index(row["word"]) if row["word"] in ORDER else len(ORDER))


def place_of(place: str | None) -> str:
    """Say where a gap is one, since an audit has two: at equal training loss and at the planned end."""
    return "at equal training loss" if place == "matched" else "at the planned end"


def pieces(record: StudyRecord) -> TextTable[str]:
    """Every piece of the change: what it makes of the gap alone, and what undoing it alone brings back."""
    rows = []
    for entry in record.answer.pieces:
        word = {True: "yes", False: "no", None: "unknown"}[entry.guilty]
        shares = [numerals.estimate(share, 2) for share in (entry.alone, entry.repaired)]
        rows.append((entry.piece, [*shares, word]))
    return text_table(["Part of the gap it makes alone", "Part gone where it is undone", "Guilty"], rows)


def about_pieces(record: StudyRecord) -> str:
    """Which pieces of the change are guilty, in a sentence; empty for a change without pieces."""
    entries = record.answer.pieces
    guilty = [entry.piece for entry in entries if entry.guilty]
    if not entries:
        return ""
    if not guilty:
        return (
            "No single piece of the change is guilty: none makes at least 0.7 of the gap alone and, undone "
            "alone, brings at least 0.7 of it back."
        )
    each = "it makes" if len(guilty) == 1 else "each makes"
    return (
        f"Guilty: {'; '.join(guilty)} ({each} at least 0.7 of the gap alone, and undone alone brings "
        "at least 0.7 of it back)."
    )


def about_change(record: StudyRecord) -> list[str]:
    """What transplants and doses say about the change itself, one sentence each."""
    entries = record.answer.interventions
    if not entries:
        return []
    response = record.answer.dose_response or DoseResponse()
    slope, line = response.gap_slope, ""
    if slope.known:
        text = numerals.estimate(slope, words.decimals(record), signed=True)
        if (slope.low or 0) > 0 or (slope.high or 0) < 0:
            grows = "grows" if (slope.low or 0) > 0 else "falls"
            line = (
                f"Over the doses the gap {place_of(response.place)} {grows} with the size of the change: "
                f"{text} from none to all of it."
            )
        else:
            line = (
                "That it is there is one question, how it grows with the size of the change another, which "
                f"these seeds leave open: {place_of(response.place)}, a straight line through the sizes "
                f"tried changes the gap by {text} from none to all of it, and that interval includes 0."
            )
    cause = (
        "The arms of the audit differ in the change and in nothing else, and share their seeds: the gap as a "
        "whole is caused by the change."
    )
    open_slope = slope.known and not line.startswith("Over")
    lines = [f"{cause} {line}" if open_slope else cause]
    for kind, said in (
        ("switch_off", "Switching it off brings back"),
        ("switch_on", "Switching it on late makes"),
    ):
        switched = [entry for entry in entries if entry.kind == kind]
        gone = _switched(switched, made=kind == "switch_on")
        if gone:
            places = {place_of(entry.place) for entry in switched}
            where = f" {places.pop()}" if len(places) == 1 else ""
            lines.append(f"{said} this part of the gap{where}: {gone} of the planned updates.")
    if line and not open_slope:
        lines.append(line)
    return [*lines, *(numerals.sentence(str(dose)) for dose in record.answer.doses_left_out)]


def _switched(entries: Sequence[InterventionEntry], *, made: bool) -> str:
    """The part of the gap that is gone (or made) after each share of the updates; "" if one is unknown."""
    said = []
    for entry in entries:
        gone = entry.recovered.mean
        if gone is None or entry.at is None:
            return ""
        afresh = " (schedule restarted)" if entry.restart else ""
        said.append(f"{numerals.fixed(1 - gone if made else gone, 2)} after {100 * entry.at:g} %{afresh}")
    return ", ".join(said)


def table(record: StudyRecord) -> TextTable[str]:
    """Every intervention: header and rows of text."""
    places = words.decimals(record)
    rows: list[tuple[str, list[str]]] = []
    entries = [entry for entry in record.answer.interventions if entry.kind in KINDS]
    matched = any(entry.place == "matched" for entry in entries)
    left = f"Gap that is left {place_of('matched' if matched else None)}"
    for entry in entries:
        apart = ", at the planned end" if matched and entry.place == "planned_end" else ""
        against = entry.against_treated_baseline
        apart += f"; {entry.undoes}" if entry.undoes else ""
        cells = [
            KINDS.get(entry.kind, ""),
            numerals.estimate(entry.gap, places, signed=True),
            numerals.estimate(entry.recovered, 2),
            numerals.estimate(against, 2) if against.known else "",
        ]
        rows.append((entry.text + apart, cells))
    return text_table(["What", left, "Part that is gone", "R*"], rows)


def _grid(shown: TextTable[str], first: str) -> Table:
    """A table of text for the terminal, with a name for its first column."""
    grid = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    grid.add_column(first, overflow="fold")
    for place, label in enumerate(shown["labels"]):
        part = longest_line([entry["cells"][place] for entry in shown["rows"]])
        grid.add_column(label, overflow="fold", min_width=part)
    for entry in shown["rows"]:
        grid.add_row(Text(entry["name"]), *(Text(cell) for cell in entry["cells"]))
    return grid


def panel(record: StudyRecord) -> RenderableType:
    """The terminal's summary."""
    grid = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    shown = table(record)
    where = shown["labels"][1].removeprefix("Gap that is left")
    part = longest_line([entry["cells"][2] for entry in shown["rows"]])
    for label in ("Intervention", f"Part of the gap{where} that is gone"):
        first = label == "Intervention"
        grid.add_column(label, overflow="fold", min_width=None if first else part)
    for entry in shown["rows"]:
        grid.add_row(Text(entry["name"]), Text(entry["cells"][2]))
    said: list[RenderableType] = [Text(line) for line in about_change(record)]
    named = about_pieces(record)
    said += [Text(""), Text(named)] if named else []
    said += [_grid(pieces(record), "Piece")] if named else []
    said += [Text(""), grid, Text("")]
    alike: dict[tuple[str, str], list[str]] = {}
    for row in statements(record):
        if row["word"] != "not related":
            alike.setdefault((row["word"], row["because"]), []).append(row["coordinate"])
    said += [Text(f"{', '.join(names)}: {word}; {because}.") for (word, because), names in alike.items()]
    quiet = [row["coordinate"] for row in statements(record) if row["word"] == "not related"]
    if quiet:
        said.append(Text(f"not related (moved by less than one seed sd): {', '.join(quiet)}"))
    if any("unbounded" in entry["cells"][2] for entry in shown["rows"]):
        said.append(Text(UNBOUNDED, style="dim"))
    if any("seed sd" in str(text) for text in said):
        said.append(Text(words.SEED_SD, style="dim"))
    return Panel(Group(*said), title="Cause by intervention")
