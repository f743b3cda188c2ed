"""The tables of the report: seeds, costs, levels, decisions, as text."""

from __future__ import annotations

from collections.abc import Mapping

from algobias.answer.arm import ArmSummary
from algobias.answer.cost import Costs
from algobias.answer.gap import RateOnly
from algobias.answer.interval import Interval, Spread
from algobias.answer.measured.moved import MovedCoordinate
from algobias.answer.measured.readings import NO_CAUSE, NO_LOSS
from algobias.own.user_file import in_words
from algobias.reports import numerals, words
from algobias.reports.figures.points import Points
from algobias.reports.figures.series import planned_metric
from algobias.reports.record import StudyRecord
from algobias.reports.text_table import TextTable, text_table
from algobias.runs.outcome import Outcome


def seed_table(points: Points) -> TextTable[str]:
    """Test metric of every seed at the planned end: header and rows of text."""
    places = words.decimals(points.record)
    rows: dict[int, dict[str, Outcome]] = {}
    for arm, runs in points.planned_runs.items():
        for run in runs:
            rows.setdefault(run.replicate, {})[arm] = run.outcome

    def cell(outcome: Outcome | None) -> str:
        if outcome is None:
            return ""
        text = numerals.fixed(planned_metric(outcome), places)
        return text + (" (diverged)" if outcome.diverged else "")

    named = (
        (
            ", ".join(map(str, sorted({outcome.seed for outcome in row.values()}))),
            [cell(row.get(arm)) for arm in points.arms],
        )
        for _, row in sorted(rows.items())
    )
    return text_table(points.labels.values(), named)


def seeds_text(points: Points) -> str:
    """``0 to 8`` or ``0, 3, 7`` for each arm, arms with the same seeds together."""
    groups: dict[str, list[str]] = {}
    for arm, label in points.labels.items():
        seeds = sorted({run.outcome.seed for run in points.record.runs if run.arm == arm})
        whole = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1))
        text = f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(str(seed) for seed in seeds)
        groups.setdefault(text, []).append(label)
    if len(groups) == 1:
        return next(iter(groups)) + " (all arms)"
    return "; ".join(f"{text} ({', '.join(labels)})" for text, labels in groups.items())


def cost_table(record: StudyRecord) -> TextTable[tuple[str, str]]:
    """Cost vectors of all arms: one row per kind of cost, value and ratio to the baseline."""
    arms = record.answer.arms
    base = next((arm.cost for arm in arms if arm.name == "baseline"), Costs())

    def cell(axis: str, arm: ArmSummary) -> tuple[str, str]:
        value = arm.cost.on(axis)
        ratio = "" if arm.name == "baseline" else numerals.ratio(value, base.on(axis))
        return numerals.amount(axis, value), ratio

    return text_table(
        [words.arm_label(str(arm.name), record) for arm in arms],
        (
            (name, [cell(axis, arm) for arm in arms])
            for axis, (name, _) in numerals.COST_WORDS.items()
            if any(arm.cost.on(axis) is not None for arm in arms)
        ),
    )


def rate_only(record: StudyRecord) -> str:
    """What the arm with only the learning rate changed shows, in a sentence."""
    alone = record.answer.rate_only or RateOnly()
    own, whole = alone.gap, record.answer.gap
    if not own.known:
        return ""
    places = words.decimals(record)
    text = (
        "With only the learning rate of the variant, the gap to the baseline at the planned end is "
        f"{words.with_unit(numerals.estimate(own, places), record)}; with the whole change it is "
        f"{numerals.estimate(whole, places)}. "
    )
    matched = alone.at_level.there
    if matched.known:
        text += f"At the matched level it is {numerals.estimate(matched, places)}. "
    if words.rate_breaks(record):
        arm = next((arm for arm in record.answer.arms if arm.name == "rate_only"), None)
        gone = f" ({arm.diverged} of {len(arm.seeds)} runs diverged)" if arm and arm.diverged else ""
        text += f"{numerals.sentence(words.BREAKS_DOWN).removesuffix('.')}{gone}. "
    return text + "This describes, and never decides."


def level_table(record: StudyRecord) -> list[dict[str, str]]:
    """The gap at further levels: ``level, gap, reached``; levels at which there is none are left out."""
    places = words.decimals(record)
    return [
        {
            "level": numerals.loss(at.level),
            "gap": numerals.estimate(at.gap, places),
            "reached": str(at.seeds_reached) if at.seeds_reached is not None else "",
        }
        for at in record.answer.fit.levels
        if at.gap.known
    ]


def moved_table(record: StudyRecord) -> list[dict[str, str]]:
    """Coordinates of the bias, largest first: ``probe, effect, status, baseline, variant, unit, mark``.

    ``mark`` is the number of the reason below the table, or nothing.
    """
    rows, reasons = [], moved_reasons(record)
    for shift in record.answer.moved:
        effect = Interval(mean=shift.effect, low=shift.low, high=shift.high)
        rows.append(
            {
                "probe": shift.name,
                "effect": numerals.estimate(effect, 1, signed=True),
                "status": shift.status.replace("_", " "),
                "baseline": _mean_and_sd(shift.baseline),
                "variant": _mean_and_sd(shift.variant),
                "unit": shift.unit or "",
                "mark": str(reasons.index(reason) + 1) if (reason := _reason(shift)) else "",
            }
        )
    return rows


def moved_reasons(record: StudyRecord) -> list[str]:
    """Why coordinates could not be compared, each reason once, in the order of the table."""
    reasons = map(_reason, record.answer.moved)
    return list(dict.fromkeys(reason for reason in reasons if reason))


def _reason(coordinate: MovedCoordinate) -> str:
    return words.without_code(coordinate.reason or "")


def _mean_and_sd(values: Spread) -> str:
    if values.mean is None:
        return ""
    spread = "" if values.sd is None else f" \u00b1 {numerals.significant(values.sd, 2)}"
    return numerals.significant(values.mean) + spread


def readings_table(record: StudyRecord) -> TextTable[str]:
    """Mean of every coordinate in every arm: header and rows; only where there are more than two arms."""
    arms = record.answer.readings.arms if record.answer.readings else ()
    names = dict.fromkeys(name for arm in arms for name in arm.values)
    if len(arms) < 3:
        return text_table([], [])
    rows = [("training loss there", [numerals.loss(arm.train_loss) for arm in arms])]
    for name in names:
        cells = [_mean_and_sd(arm.values[name]) if name in arm.values else "" for arm in arms]
        rows.append((in_words(name), cells))
    apart = ("" if arm.matched else " (not at matched fit)" for arm in arms)
    labels = (words.arm_label(arm.name, record) + text for arm, text in zip(arms, apart, strict=True))
    return text_table(labels, rows)


def moved_text(record: StudyRecord) -> str:
    """What moved, in a sentence; or why nothing was read."""
    readings = record.answer.readings
    if readings is not None and readings.probes:
        if record.answer.verdict == "no_gap":
            return readings.summary.replace(NO_CAUSE, NO_LOSS)
        return readings.summary
    if record.answer.has("readings"):
        why = "" if readings is None else readings.reason or ""
        said = f": {why}" if why else ""
        return f"No coordinates of the bias were read{said}."
    if record.answer.evidence in ("with replay", "with controls"):
        return (
            "No coordinates of the bias were read: ask the same with --probes cheap, which reads them inside "
            "of runs that are made anew."
        )
    return "No coordinates of the bias were read: only the curves of these runs are here, not their weights."


def decision_table(record: StudyRecord) -> list[dict[str, str]]:
    """The decision log: ``n, gap, states, decided``."""
    places, rows = words.decimals(record), []
    for look in record.looks:
        states = _states(look.states)
        decided = look.decided.replace("_", " ")
        rows.append(
            {
                "n": str(look.n) if look.n is not None else "",
                "gap": numerals.estimate(look.gap, places),
                "states": states,
                # The text of a look may begin with the states, which have a column of their own.
                "decided": decided.removeprefix(f"{states}: "),
            }
        )
    return rows


def _states(states: Mapping[str, str]) -> str:
    order = {"gap": 0, "bias_share": 1, "fit_share": 2}
    names = sorted(states, key=lambda name: order.get(name, len(order)))
    return ", ".join(f"{name.replace('_', ' ')} {states[name]}" for name in names)
