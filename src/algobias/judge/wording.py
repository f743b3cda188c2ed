"""The plain words of a verdict: what was found, with numbers, and what would decide."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from algobias.inference.bounds import Bounds, State, deciding_bound
from algobias.inference.power import MOST_SEEDS, POWER, seeds_needed
from algobias.inference.statistics import Estimate, Interval, t_quantile
from algobias.judge.split import NO_LOSS, Split

SHARED_ERROR = (
    "Part of it is the error of training losses that are measured on other examples, which seeds do not "
    "lower: a larger --fit does."
)


class Words:
    """Says what a split shows, in units of the metric.

    Args:
        split: The gap and its shares.
        tolerance: delta; numbers are shown to a tenth of it or finer.
    """

    def __init__(self, split: Split, tolerance: float) -> None:
        self.split = split
        self.tolerance = tolerance
        places = max(0, 2 - math.ceil(math.log10(tolerance)))
        self.places = places if 1e-6 <= tolerance < 1e6 else None

    def no_gap(self) -> str:
        """The gap is absent."""
        gap, bounds = self.split.gap, self.split.gap_bounds
        ahead = f"On this test set the variant is {self._apart(gap)}, over {gap.n} seeds"
        if max(bounds.high, gap.high) < 0:
            return f"{ahead}."
        if bounds.high < 0:
            return f"{ahead}; a loss of any size is ruled out by the one-sided bound."
        # The bound is one-sided, so that it may lie within the interval: said, since both stand side by side.
        most = (
            f"it is worse by at most {self._number(bounds.high)} (one-sided bound), below the tolerance of "
            f"{self.tolerance:g}"
        )
        if bounds.low > 0:
            clear = self._decided("present", gap, bounds)
            most = f"{most}: real{f' ({clear})' if clear else ''} but tolerable"
        return f"{ahead}; {most}."

    def bias(self, alters_data: bool) -> str:
        """The gap remains at matched fit."""
        if alters_data:
            end = "The gap remains at matched fit: the training data that were removed carried information."
        else:
            end = "The gap remains at matched fit: the algorithmic bias moved, the fit is not the reason."
        return f"{self._gap()} {self._shares()} {end}"

    def optimization(self) -> str:
        """The gap is explained by the fit."""
        return (
            f"{self._gap()} {self._shares()} The gap comes from the fit: the variant does not fit the "
            "training data as the baseline does, and at matched fit less than the tolerance remains."
        )

    def both(self) -> str:
        """Both shares count."""
        return f"{self._gap()} {self._shares()} Both count: the variant fits worse, and its bias moved."

    def neither(self) -> str:
        """The gap is there, and neither share is."""
        return f"{self._gap()} {self._shares()} Each share is below the tolerance, together they are not."

    def undecided(self) -> tuple[int | None, str]:
        """How many seeds would decide (None where no number would), and the reason in words."""
        split = self.split
        if split.gap_state == "present" and split.unavailable_because is not None:
            why = split.unavailable_because
            if why == NO_LOSS:
                known = "The loss is real; fit or bias cannot be told without a training loss."
                return None, f"{self._gap()} {known}"
            return None, f"{self._gap()} What it consists of cannot be told: {why}."
        unknown = [("the gap", split.gap)] if split.gap_state == "unknown" else []
        needed = [(split.gap, split.gap_bounds)]
        # A gap that more seeds would show to be absent needs no shares.
        if split.gap_state == "present" or split.gap.mean >= self.tolerance:
            for name, state, interval, bounds in (
                ("the gap at matched fit", split.bias_state, split.bias_share, split.bias_bounds),
                ("the share of the fit", split.fit_state, split.fit_share, split.fit_bounds),
            ):
                if interval is not None and bounds is not None:
                    needed.append((interval, bounds))
                    unknown += [(name, interval)] if state == "unknown" else []
        shown = " and ".join(f"{name} is {self._shown(interval)}" for name, interval in unknown)
        limits = f"neither below the tolerance of {self.tolerance:g} nor clear of 0"
        known = f"{self._gap()} Of what it consists is open: " if split.gap_state == "present" else ""
        text = f"{known}after {split.gap.n} seeds {shown}: {limits}."
        text = text[:1].upper() + text[1:]
        would = self._needed(needed) if unknown else None
        if would is None and self.split.level_error and len(needed) > 1:
            return None, f"{text} {SHARED_ERROR}"
        if would is None:
            return None, f"{text} More than {MOST_SEEDS} seeds would be needed; a larger test set may help."
        power = f"{100 * POWER:.0f} %"
        return would, f"{text} If the estimates are right, {would} seeds decide with a chance of {power}."

    def _needed(self, quantities: Sequence[tuple[Interval, Bounds]]) -> int | None:
        """How many seeds would decide: more than there are, which have not, and enough for their skewness."""
        errors, spreads, more = self.split.errors, [], self.split.gap.n + 1
        if self.split.level_error and len(quantities) > 1:
            return None  # an error that all seeds share: what more of them do to the shares is not known
        for one, bounds in quantities:
            if one.n < 2 or not one.bounded:
                return None
            se = (one.high - one.mean) / t_quantile(errors.printed, one.n - 1)
            spreads.append((one.mean, se * math.sqrt(one.n)))
            if one.mean < self.tolerance:
                seen = Estimate(one.mean, se, one.n - 1, one.n, bounds.skew)
                more = next(n for n in itertools.count(more) if self._is_low(seen.over(n)) or n > MOST_SEEDS)
        would = seeds_needed(spreads, self.tolerance, errors.decision, self.split.fewest)
        return None if would is None or max(would, more) > MOST_SEEDS else max(would, more)

    def _is_low(self, estimate: Estimate) -> bool:
        return estimate.upper(self.split.errors.decision) < self.tolerance

    def _number(self, value: float) -> str:
        text = f"{value:.3g}" if self.places is None else f"{value:.{self.places}f}"
        # What rounds to zero has no sign.
        return text.removeprefix("-") if not float(text) else text

    def _shown(self, interval: Interval, decided: str = "") -> str:
        low, high = self._number(interval.low), self._number(interval.high)
        beside = f"; {decided}" if decided else ""
        return f"{self._number(interval.mean)} (95 % interval {low} to {high}{beside})"

    def _apart(self, interval: Interval, state: State = "unknown", bounds: Bounds | None = None) -> str:
        """Who is ahead, and by how much; with the bound that decided where the interval looks otherwise."""
        decided = self._decided(state, interval, bounds)
        if interval.mean < 0:
            turned = Interval(-interval.mean, -interval.high, -interval.low, interval.n)
            return f"better by {self._shown(turned, decided and f'the loss is {decided}')}"
        return f"worse by {self._shown(interval, decided)}"

    def _decided(self, state: State, interval: Interval, bounds: Bounds | None) -> str:
        if bounds is None:
            return ""
        places = 3 if self.places is None else self.places
        ends = (interval.low, interval.high), (bounds.low, bounds.high)
        return deciding_bound(state, *ends, self.tolerance, places)

    def _gap(self) -> str:
        split = self.split
        apart = self._apart(split.gap, split.gap_state, split.gap_bounds)
        return (
            f"On this test set the variant is {apart} at the planned end, over {split.gap.n} "
            f"seeds; the tolerance is {self.tolerance:g}."
        )

    def _shares(self) -> str:
        split = self.split
        assert split.bias_share is not None
        assert split.fit_share is not None
        measure = "training loss" if split.on == "train_loss" else "distance from a perfect training metric"
        if split.side == "upward":
            where = f"At the {measure} where the variant ended ({split.level:.2g}, from the baseline's curve)"
        else:
            where = f"At equal {measure} ({split.level:.2g})"
        seeds = (
            ""
            if split.seeds_reached == split.gap.n
            else f", over {split.seeds_reached} of {split.gap.n} seeds"
        )
        fit = split.fit_share
        decided = self._decided(split.fit_state, fit, split.fit_bounds)
        accounts = f"the difference in fit accounts for {self._shown(fit, decided)}"
        if fit.mean < 0:
            turned = Interval(-fit.mean, -fit.high, -fit.low, fit.n)
            shown = self._shown(turned, decided and f"a loss by it is {decided}")
            accounts = f"the difference in fit is in its favour, by {shown}"
        apart = self._apart(split.bias_share, split.bias_state, split.bias_bounds)
        return f"{where} it is {apart}; {accounts}{seeds}."
