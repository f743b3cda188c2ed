"""What looks odd about two tables: a metric that falls as training goes on, percent beside fractions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from algobias.errors import BadInput
from algobias.judge.design import Run
from algobias.kept.csvfile import Row
from algobias.kept.logged import Killed, Log, killed_among, without_losses
from algobias.kept.tables import Terms

_LOSSES = {"loss", "error", "err", "nll", "perplexity", "ppl", "mse", "rmse", "mae", "wer", "cer", "bpc"}
"""Words that name metrics of which lower is better."""

_NEGATED = {"minus", "neg", "negative"}

_HUNDRED = 10.0
"""Two tables whose final metrics differ by this factor may be fractions and percent of one thing."""

_WIDE = 0.1
"""A tolerance that would be 10 points of a metric in fractions."""


def doubts(tables: Sequence[tuple[str, Sequence[Log]]], terms: Terms) -> list[str]:
    """Doubt what is asked: numbers of two scales, a metric of which lower is better.

    Where one of these is right, the verdict answers another question than the one that was meant.

    Args:
        tables: Name of each table, and its runs; the baseline's first.
        terms: How they are to be compared.
    """
    return [*_direction(tables, terms), *_scales(tables, terms)]


def oddities(tables: Sequence[tuple[str, Sequence[Log]]]) -> list[str]:
    """Warn of holes in tables and of runs that end apart; arguments as for :func:`doubts`."""
    return [
        *(text for name, logs in tables for text in _holes(name, logs)),
        *(text for name, logs in tables for text in _ends(name, logs)),
    ]


def scored_diverged(runs: Sequence[Run], lowest: float, terms: Terms) -> list[str]:
    """Say what diverged runs score where nobody told what a predictor that knows nothing does.

    Args:
        runs: Runs of both arms.
        lowest: The worst metric that was seen, in the tool's sign; what diverged runs score.
        terms: How the tables are compared.
    """
    if not any(run.outcome.diverged for run in runs):
        return []
    return [f"diverged runs are scored {_seen(lowest, terms)}; --trivial sets it"]


def near_nothing(runs: Sequence[Run], lowest: float, terms: Terms) -> list[str]:
    """Doubt that a variant was trained at all, where nobody told what a predictor that knows nothing scores.

    The worst metric that was seen is no such predictor: it may be that of a good run that was logged late.
    Arguments as for :func:`scored_diverged`.
    """
    baseline, variant = (
        float(np.mean([run.outcome.end_metric for run in runs if run.arm == arm and run.length == 1] or [0]))
        for arm in ("baseline", "variant")
    )
    if not variant < (lowest + baseline) / 2:
        return []
    return [
        f"the variant ends nearer to {_seen(lowest, terms)}, than to the baseline: if that is what a "
        "predictor that knows nothing scores, ask again with --trivial, and a change that broke training is "
        "called so"
    ]


def killed_warnings(name: str, killed: Sequence[Killed], as_is: bool) -> list[str]:
    """Warn of killed runs, once for each length and column.

    Args:
        name: The table.
        killed: Its killed runs.
        as_is: They are judged nevertheless.
    """
    warnings = []
    for column, length in dict.fromkeys((one.column, one.log.length) for one in killed):
        those = [one for one in killed if (one.column, one.log.length) == (column, length)]
        seeds = ", ".join(str(one.log.seed) for one in those[:10]) + (", ..." if len(those) > 10 else "")
        who = f"seed {seeds}" if len(those) == 1 else f"seeds {seeds}"
        ends = [one.end for one in those if one.end is not None]
        where = f"at update {min(ends)}" if ends and min(ends) == max(ends) else "early"
        if ends and min(ends) < max(ends):
            where = f"at updates {min(ends)} to {max(ends)}"
        run = f" at length {length:g}" if length != 1 else ""
        done = "kept as they are" if as_is else "left out as killed (--as-is keeps them)"
        warnings.append(
            f"the {column} of {who}{run} in {name} ends {where}, and at least half of the seeds there have "
            f"update {those[0].shared}: {done}; a run that diverged ends with nan"
        )
    return warnings


def worst_metric(logs: Sequence[Log], terms: Terms) -> float:
    """Find the worst test metric: what a diverged run scores where nobody says what that is.

    Raises:
        BadInput: There is no finite one.
    """
    seen = [
        terms.sign * row.test_metric
        for log in logs
        for row in log.rows
        if row.test_metric is not None and math.isfinite(row.test_metric)
    ]
    if not seen:
        raise BadInput("test_metric", "no finite number", "at least one finite test metric in the two tables")
    return min(seen)


def _seen(lowest: float, terms: Terms) -> str:
    return f"{terms.sign * lowest:g}, the {'highest' if terms.lower_is_better else 'lowest'} test metric seen"


def _direction(tables: Sequence[tuple[str, Sequence[Log]]], terms: Terms) -> list[str]:
    seen = [_against(logs, terms.sign) for _, logs in tables]
    against, falling = (sum(counts) for counts in zip(*seen, strict=True))
    moves, better, option = (
        ("rises", "higher", "no --lower-is-better")
        if terms.lower_is_better
        else ("falls", "lower", "--lower-is-better")
    )
    if any(2 * odd > all_of_them for odd, all_of_them in seen):
        return [
            f"in {against} of {falling} runs {terms.metric} {moves} while the training loss falls: where "
            f"{better} is better, ask again with {option}"
        ]
    words = set(re.split(r"[^a-z]+", terms.metric.lower()))
    if words & _LOSSES and not words & _NEGATED and not terms.lower_is_better:
        return [f"the metric {terms.metric} is read as one of which higher is better: if lower is, {option}"]
    return []


def _against(logs: Sequence[Log], sign: int) -> tuple[int, int]:
    """Of the runs whose training loss falls from first to last check: whose metric gets worse, and all."""
    worse, falling = 0, 0
    for log in logs:
        both = [row for row in log.rows if _finite(row)]
        if len(both) > 1 and _number(both[-1].train_loss) < _number(both[0].train_loss):
            falling += 1
            worse += sign * (_number(both[-1].test_metric) - _number(both[0].test_metric)) < 0
    return worse, falling


def _scales(tables: Sequence[tuple[str, Sequence[Log]]], terms: Terms) -> list[str]:
    warnings = []
    for column in ("test_metric", "train_metric"):
        ranges = {}
        for name, logs in tables:
            values = [_number(row.value(column)) for log in logs for row in log.rows]
            known = [value for value in values if math.isfinite(value)]
            ends = [_number(end.value(column)) for log in logs if (end := log.last(column)) is not None]
            ends = [value for value in ends if math.isfinite(value)]
            if ends:
                ranges[name] = (min(known), max(known), float(np.median(ends)))
        small = [name for name, (low, high, _) in ranges.items() if low >= 0 and high <= 1]
        large = [name for name, (low, high, _) in ranges.items() if low >= 0 and 1 < high <= 100]
        if small and large and ranges[large[0]][2] > _HUNDRED * ranges[small[0]][2]:
            shown = " and ".join(
                f"from {low:g} to {high:g} in {name}" for name, (low, high, _) in ranges.items()
            )
            warnings.append(
                f"the {column} goes {shown}: one table seems to be in fractions, the other in percent"
            )
        if column == "test_metric" and len(small) == len(tables) and (terms.tolerance or 0) >= _WIDE:
            low, high = min(one[0] for one in ranges.values()), max(one[1] for one in ranges.values())
            warnings.append(
                f"a tolerance of {terms.tolerance:g} beside metrics from {low:g} to {high:g}: if they are "
                f"fractions, it is {100 * (terms.tolerance or 0):g} points"
            )
    return warnings


def _holes(name: str, logs: Sequence[Log]) -> list[str]:
    """Where blank cells were probably meant, and where they were filled."""
    warnings = []
    holes = [(log.seed, row.line) for log in logs for row in log.holes]
    if holes:
        seed, line = holes[0]
        warnings.append(
            f"{len(holes)} rows of {name} (first: line {line}, seed {seed}) have nan as train_loss before "
            "finite ones: they are skipped as not recorded"
        )
    apart = [
        (log.seed, loss.update, metric.update)
        for log in logs
        if not log.diverged
        and (loss := log.last("train_loss")) is not None
        and (metric := log.last("test_metric")) is not None
        and loss.update != metric.update
    ]
    if apart:
        seed, loss_end, metric_end = apart[0]
        warnings.append(
            f"{len(apart)} runs of {name} end in different rows, seed {seed} with train_loss at update "
            f"{loss_end} and test_metric at {metric_end}: the last values of both make the end"
        )
    healthy = [log.seed for log in logs if log.diverged and _healthy(log)]
    if healthy:
        warnings.append(
            f"{len(healthy)} runs of {name} (seeds {', '.join(map(str, healthy[:5]))}) end with a train_loss "
            "that is not finite beside a test metric as good as before: they count as diverged; leave cells "
            "blank that were not recorded"
        )
    alone = [
        log.seed
        for log in logs
        if len(log.rows) > 2 and not log.diverged and not any(_finite(row) for row in log.rows[:-1])
    ]
    if alone and not without_losses(logs):
        warnings.append(
            f"{len(alone)} runs of {name} have no row before the last with both a train_loss and a "
            "test_metric: there is nothing to match the fit by"
        )
    return warnings


def _ends(name: str, logs: Sequence[Log]) -> list[str]:
    """Runs of one length that are judged at different updates: some may have been cut off, or not marked.

    Runs that end before most others are left out as killed, and named elsewhere.
    """
    warnings = []
    for length in dict.fromkeys(log.length for log in logs):
        alike = [log for log in logs if log.length == length and not log.diverged]
        early = {(one.log.seed, one.log.length) for one in killed_among(alike)}
        ends = {log.seed: log.judged_end for log in alike if (log.seed, log.length) not in early}
        if len(set(ends.values())) < 2:
            continue
        last = max(ends.values())
        longest = sum(end == last for end in ends.values())
        marked = {log.marked for log in alike if log.seed in ends}
        unmarked = ", ".join(str(log.seed) for log in alike if log.seed in ends and not log.marked)
        mixed = f" (no planned end is marked in seed {unmarked})" if len(marked) > 1 else ""
        warnings.append(
            f"the seeds of {name} end at different updates: {longest} of {len(ends)} at {last}, the others "
            f"at {_between([end for end in ends.values() if end < last])}{mixed}. Each is judged where it "
            "ends; a run that was cut off looks like one that fits worse"
        )
    return warnings


def _between(ends: Sequence[int]) -> str:
    return f"{ends[0]}" if min(ends) == max(ends) else f"{min(ends)} to {max(ends)}"


def _healthy(log: Log) -> bool:
    """The last test metric is no worse than the middle of those seen at finite losses."""
    seen = [_number(row.test_metric) for row in log.rows if _finite(row)]
    end = log.rows[-1]
    if not seen or end.train_loss is None or end.test_metric is None or not math.isfinite(end.test_metric):
        return False
    towards = math.copysign(1.0, seen[-1] - seen[0])
    return towards * (end.test_metric - (seen[0] + seen[-1]) / 2) > 0


def _finite(row: Row) -> bool:
    return math.isfinite(_number(row.train_loss)) and math.isfinite(_number(row.test_metric))


def _number(value: float | None) -> float:
    return math.nan if value is None else value
