"""What a study answers: the one object that ``--json`` prints and the report is made from (schema 1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from pydantic import Field

from algobias.answer.arm import ArmSummary
from algobias.answer.causes import DoseLeftOut, DoseResponse, InterventionEntry, PieceEntry, StatementEntry
from algobias.answer.control import ControlEntry
from algobias.answer.cost import Costs
from algobias.answer.evidence import FindingEntry
from algobias.answer.fit import Fit
from algobias.answer.form import Count, Form, JsonObject, Many, Number
from algobias.answer.gap import Failures, Gap, RateOnly
from algobias.answer.interval import Interval
from algobias.answer.logs import LogsRead
from algobias.answer.measured.moved import MovedCoordinate
from algobias.answer.measured.readings import ReadingsSummary
from algobias.answer.search import SAME_EXAMPLES, Chosen, ConfirmationLook, StudySeeds, Tried
from algobias.answer.single import SingleRuns
from algobias.judge.split import NO_BASELINE

SCHEMA = 1


class LeftOut(Form):
    """A run of a table that was killed, and so is not judged.

    Attributes:
        arm: Its arm.
        seed: Its seed.
        length: Multiple of the full schedule.
        column: The column that ends early.
        end: Its last update, or None.
        shared: The update that at least half of the seeds have.
    """

    arm: str = ""
    seed: int = 0
    length: Number = 1.0
    column: str = ""
    end: int | None = None
    shared: int | None = None


class Answer(Form):
    """What a study answers.

    Attributes:
        version: Schema of the JSON form.
        study: Id of the study; None for tables.
        task: The task.
        change: Levers that make the variant.
        base: Levers applied to both arms first.
        aa: The baseline is compared with itself.
        metric: Name of the test metric.
        metric_unit: Its unit, where it is not to be guessed from its name.
        lower_is_better: The metric of the tables is a loss, shown as minus the metric.
        tolerance_reason: Where the tolerance comes from.
        verdict: The verdict.
        reason: Why.
        warnings: What doubts the answer.
        doubts: What doubts the question; part of ``warnings``.
        tolerable: The gap is real and below the tolerance.
        would_decide: Number of seeds that would decide, or None.
        tolerance: Largest gap that does not matter.
        looks: Numbers of seeds at which is looked.
        gap: Baseline minus variant at the planned end.
        resolution: Smallest step of the metric.
        failures: Seeds of the variant that came to nothing, or None.
        claim: What the interval speaks of.
        population: The gap for the population of examples, or None.
        welch: The gap without pairing.
        correlation: Of the arms over seeds.
        sign_flip_p: One-sided p of the exact sign-flip test.
        alpha: One-sided error of each decision.
        fit: The match at equal training fit.
        moved: Coordinates of the bias, largest effect first.
        rate_only: What the learning rate alone does, or None.
        controls: What the controls recover.
        arms: Each arm at its planned end.
        differences: The variant's recipe against the baseline's, in words.
        readings: What was read of the networks, or None.
        left_out: Runs of the tables that were killed.
        control_of: The audit that a control study is about.
        chosen: What a control study chose within each limit.
        tried: What it tried.
        tuned_baseline: The setting that serves the baseline best, or None.
        confirmation: Looks of the confirmation.
        seeds: Seeds of search and confirmation.
        earlier_studies: Control studies of this audit that had been begun before.
        explain_of: The audit that an explanation is about.
        interventions: What was done to the change.
        dose_response: Gap and coordinates against the size of the change.
        doses_left_out: Doses that are not made.
        statements: What the interventions support.
        pieces: What each piece of the change does alone, and what undoing it alone brings back.
        evidence: Of a command, the level of evidence that was reached.
        preflight: Of a command, what was found out before anything was paid for.
        seconds: How long it took.
        store: The store's folder, or None.
        report: Where the report lies, or None.
        logs: How logs of other people's trainers were read.
        single: What one run of each arm shows, where there are no more; or None.
    """

    version: Count = Field(default=SCHEMA, alias="schema")
    study: str | None = None
    task: str | None = None
    change: Many[str] = ()
    base: Many[str] = ()
    aa: bool = False
    metric: str | None = None
    metric_unit: str | None = None
    lower_is_better: bool = False
    tolerance_reason: str | None = None
    verdict: str | None = None
    reason: str | None = None
    warnings: Many[str] = ()
    doubts: Many[str] = ()
    tolerable: bool = False
    would_decide: Count | None = None
    tolerance: Number | None = None
    looks: Many[Count] = ()
    gap: Gap = Gap()
    resolution: Number | None = None
    failures: Failures | None = None
    claim: str | None = None
    population: Interval | None = None
    welch: Interval = Interval()
    correlation: Number | None = None
    sign_flip_p: Number | None = None
    alpha: Number | None = None
    fit: Fit = Fit()
    moved: Many[MovedCoordinate] = ()
    rate_only: RateOnly | None = None
    controls: Many[ControlEntry] = ()
    arms: Many[ArmSummary] = ()
    differences: Many[str] = ()
    readings: ReadingsSummary | None = None
    left_out: Many[LeftOut] = ()
    control_of: str | None = None
    chosen: Many[Chosen] = ()
    tried: Many[Tried] = ()
    tuned_baseline: str | None = None
    confirmation: Many[ConfirmationLook] = ()
    seeds: StudySeeds | None = None
    earlier_studies: Count = 0
    explain_of: str | None = None
    interventions: Many[InterventionEntry] = ()
    dose_response: DoseResponse | None = None
    doses_left_out: Many[DoseLeftOut] = ()
    statements: Many[StatementEntry] = ()
    pieces: Many[PieceEntry] = ()
    evidence: str | None = None
    preflight: Many[FindingEntry] = ()
    seconds: Number | None = None
    store: str | None = None
    report: str | None = None
    logs: Many[LogsRead] = ()
    single: SingleRuns | None = None

    @property
    def no_baseline(self) -> bool:
        """No seed of the baseline ended well: what failed seeds are scored is no measurement."""
        return self.fit.reason == NO_BASELINE or self.baseline_diverged

    @property
    def baseline_diverged(self) -> bool:
        """Every seed of the baseline ended with a training loss that is not finite."""
        baseline = next((arm for arm in self.arms if arm.name == "baseline"), None)
        return baseline is not None and bool(baseline.seeds) and baseline.diverged == len(baseline.seeds)

    @property
    def one_look(self) -> bool:
        """Whether one look was planned, so that no error level is shared out."""
        return len(self.looks) == 1

    @property
    def hides_loss(self) -> bool:
        """Whether no gap is at the planned end, but one at matched fit, which a better fit outweighs."""
        bias = self.fit.bias_share
        return self.verdict == "no_gap" and bias is not None and bias.state == "present"

    @property
    def fresh_examples(self) -> bool:
        """Whether what a control study chose was confirmed on examples that no choice has seen."""
        return SAME_EXAMPLES not in self.warnings

    @property
    def saves_nothing(self) -> bool:
        """Whether costs of both arms are counted, and none of them falls with the change.

        Of tables most costs are not known: nothing is said of them. The clock counts of a command alone; in a
        task the levers are simulated, at a pace of their own.
        """
        axes = [axis for axis in Costs.model_fields if axis != "seconds" or self.evidence is not None]
        return bool(self.study) and self._spares(axes) is False

    @property
    def tables_show_no_saving(self) -> bool:
        """Whether tables tell how many updates both arms make, and the variant makes no fewer."""
        return not self.study and self._spares(["updates"]) is False

    def _spares(self, axes: Sequence[str]) -> bool | None:
        """Tell whether a cost falls with the change; None where none of both arms is known."""
        costs = {arm.name: arm.cost for arm in self.arms}
        if self.aa or not {"baseline", "variant"} <= costs.keys():
            return None
        return costs["variant"].spare(axes, costs["baseline"])


class Answered:
    """A finished study.

    Attributes:
        answer: What it answers.
    """

    answer: Answer

    @cached_property
    def result(self) -> JsonObject:
        """The object ``--json`` prints."""
        return self.answer.to_json()
