"""Which figures stand on the page: what each shows, how it is read, and remarks for this record only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from algobias.answer.fit import Fit
from algobias.own.user_file import in_file, in_words
from algobias.reports import figures, numerals, words
from algobias.reports.figures.base import Figure
from algobias.reports.figures.moved import CUT, MOST_ROWS, Against
from algobias.reports.figures.pareto import left_out
from algobias.reports.figures.points import Points
from algobias.reports.figures.series import numbers

TWIN = (
    "A twin is the coordinate of the same name in a form that rescaling the weights does not change; "
    "sentences leave twins out."
)

AGAINST: tuple[Against, ...] = ("updates", "loss")


@dataclass(frozen=True)
class FigureEntry:
    """One figure on the page.

    Attributes:
        key: Name inside the page.
        spec: Points (and a width) -> Vega-Lite spec.
        title: What it shows.
        read: How to read it.
        notes: Remarks that hold for this record only.
    """

    key: str
    spec: Callable[..., Figure]
    title: str
    read: str
    notes: tuple[str, ...] = ()


def figure_list(points: Points) -> list[FigureEntry]:
    """The figures that this record has data for."""
    record = points.record
    entries: list[FigureEntry] = []
    gone = ", ".join(str(row["arm"]) for row in points.off_scale if row["count"] == row["total"])
    far = (f"Off the scale, chosen for baseline and variant: {gone}.",) if gone else ()
    on_axis = points.level is not None and points.fit_axis.on == "train_loss"
    if points.seeds:
        entries += [
            FigureEntry(
                "seeds",
                figures.seed_dots,
                "Test metric of every seed at its planned end",
                "One mark per seed. Thin lines join baseline and variant runs of one seed. The bar below "
                "the marks is the mean with its own 95 % interval. Shaded: from the baseline\u2019s mean "
                "down to the tolerance.",
            ),
            FigureEntry(
                "loss",
                figures.training_loss,
                "Training loss",
                "Thin lines are seeds, thick lines geometric means; marks are the planned end. "
                + ("The dotted line is the matched level." if on_axis else ""),
                _curve_notes(points),
            ),
            FigureEntry("metric", figures.metric_curve, "Test metric", _metric_read(points), far),
            FigureEntry(
                "fit", figures.metric_against_fit, "Test metric at equal training fit", _fit_read(points), far
            ),
        ]
    if record.answer.gap.known:
        entries.append(
            FigureEntry(
                "split",
                figures.split,
                "The gap and its two shares",
                "Bars are estimates, lines 95 % intervals, small dots single seeds. The dashed line is the "
                "tolerance.",
                _share_notes(record.answer.fit),
            )
        )
    if record.answer.controls:
        entries.append(
            FigureEntry(
                "recovery",
                figures.recovery,
                "Part of the gap that comes back",
                "0: nothing recovered; 1: all of the gap. R measures against the untreated baseline, R* "
                "against the baseline with the same control. A dashed line is an unbounded interval.",
            )
        )
    if figures.returned_rows(points):
        entries.append(
            FigureEntry(
                "returned",
                figures.returned,
                "The coordinates that moved, without and with control",
                "0 is the baseline. Marks are the variant and the variant with each control at matched fit, "
                "lines their intervals, wide enough for all coordinates of one arm together. An arm that "
                "does not come down to the matched level is left out. What comes back together is not "
                f"thereby a cause. {CUT}",
            )
        )
    if figures.pareto_rows(points):
        entries.append(
            FigureEntry(
                "pareto",
                figures.pareto,
                "What was tried: recovery against cost",
                "One mark per setting on the selection seeds of its last rung; the stairs are what no "
                "cheaper setting beats. Estimates here are of the search: the best of many looks better than "
                "it is, and only the confirmation counts.",
                left_out(points),
            )
        )
    if figures.intervention_rows(record):
        entries.append(
            FigureEntry(
                "interventions",
                figures.interventions,
                "What each intervention does to the gap",
                "0: the gap stays; 1: all of it is gone. A dashed line is an unbounded interval. A change "
                "that is switched on late leaves less of the gap than one that was there from the start.",
            )
        )
    if figures.piece_rows(record):
        entries.append(
            FigureEntry(
                "pieces",
                figures.pieces,
                "What each piece of the change does",
                "Which part of the gap is there with this piece and nothing else, and which part is gone "
                "where this piece alone is undone. A guilty piece has both at 0.7 or more.",
            )
        )
    if figures.dose_rows(record):
        entries.append(
            FigureEntry(
                "doses",
                figures.dose_response,
                "Dose and response",
                "Gap and coordinates at other sizes of the change, each as a share of what the change as "
                "audited does: a coordinate whose line runs with that of the gap moves with it.",
            )
        )
    entries += moved_figures(points)
    if sum(look.gap.known for look in record.looks) > 1:
        entries.append(
            FigureEntry(
                "looks",
                figures.gap_by_look,
                "The gap at each look",
                "The estimate and its interval each time the study looked. The dashed line is the tolerance.",
            )
        )
    return entries


def moved_figures(points: Points) -> list[FigureEntry]:
    """What moved, and the coordinates that moved most along training."""
    if not figures.drawable(points):
        return []
    moved = points.record.answer.moved
    left_out = (
        f"The {len(moved) - MOST_ROWS} smallest are only in the table.",
    ) if len(moved) > MOST_ROWS else ()  # fmt: skip
    entries = [
        FigureEntry(
            "forest",
            figures.forest,
            "Coordinates of the bias at matched fit",
            "Marks are differences of the arms in units of the seed sd, lines their intervals, wide enough "
            "for all coordinates together. Filled circles moved, open circles were not shown to "
            "move, crosses cannot be compared. Below each name: mean of the baseline to mean of the variant. "
            + CUT
            + (f" {TWIN}" if any(coordinate.twin for coordinate in moved) else ""),
            left_out,
        )
    ]
    for probe in figures.along_probes(points):
        name = in_words(probe)
        limit = " Dashed: stability threshold." if figures.has_threshold(points, probe) else ""
        for against in AGAINST:
            entries.append(
                FigureEntry(
                    f"along-{against}-{_key(probe)}",
                    partial(figures.along, probe=probe, against=against),
                    f"{name[:1].upper()}{name[1:]} along training, against "
                    + ("updates" if against == "updates" else "training loss"),
                    f"Runs of two seeds of each arm, up to where they are compared.{limit}",
                )
            )
    return entries


def _curve_notes(points: Points) -> tuple[str, ...]:
    gone = {
        label: sum(run.outcome.diverged for run in points.planned_runs[arm])
        for arm, label in points.labels.items()
    }
    notes = [
        f"{count} of {len(points.planned_runs[arm])} seeds of {label} diverged: \u00d7 marks where the "
        "loss was last finite; they are not in the mean line, and score as a predictor that knows nothing."
        for (arm, label), count in zip(points.labels.items(), gone.values(), strict=True)
        if count
    ]
    most = max((len(runs) for runs in points.drawn_runs.values()), default=0)
    if most > points.lines_per_arm:
        notes.append(
            f"Lines of single seeds are drawn for the first {points.lines_per_arm} of each arm; means and "
            "marks count all."
        )
    if points.by_length:
        notes.append(
            "The learning rate decays, so runs of other lengths are separate full-schedule runs; only the "
            "planned length is drawn here."
        )
    return tuple(notes)


def _metric_read(points: Points) -> str:
    low, _ = figures.metric_window(points)
    below = any(metric < low for metric in numbers(points.curves, "metric"))
    text = "Thin lines are seeds, thick lines means; marks are the planned end."
    return text + (
        " The axis starts a little below where the arms end; earlier checks lie under it." if below else ""
    )


def _fit_read(points: Points) -> str:
    measure = words.FIT_WORDS[points.fit_axis.on]
    level, side = points.record.answer.fit.level, points.record.answer.fit.side
    text = f"Each arm\u2019s test metric when it has reached a given {measure}; training runs to the right. "
    if points.by_length:
        text += "Each mark is a run with its full schedule; a line joins the lengths of one seed. "
    if level is None:
        return text + "No matched level is available."
    text += (
        f"The dotted line is the matched level, {numerals.loss(level)}: the distance between the arms "
        "there is the bias share."
    )
    if side == "upward":
        text += (
            " The variant does not reach the baseline\u2019s loss, so the arms are compared at the loss "
            "that the variant ended with."
        )
    return text


def _share_notes(fit: Fit) -> tuple[str, ...]:
    notes = [numerals.sentence(note) for note in fit.notes]
    if fit.reason:
        notes.insert(0, f"The shares are {numerals.MISSING}: {fit.reason}.")
    return tuple(notes)


def _key(probe: str) -> str:
    """A probe as part of a figure's key: its name, or that of its file and its class."""
    named = in_file(probe)
    return probe.partition(":")[0] if named is None else f"{Path(named[0]).stem}-{named[1]}"
