"""An audit of a command as the start of another study: its question, and what runs more of its arms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from algobias.answer.answer import Answer
from algobias.commands.command import Command
from algobias.commands.question import CommandQuestion
from algobias.commands.runner import Runner
from algobias.errors import BadInput
from algobias.jobs.slots import Slots
from algobias.judge.design import Design, Request
from algobias.kept.archive import Archive
from algobias.kept.store import StudyRow
from algobias.studies.audited import audited_command, tolerance_of
from algobias.studies.study import Study


@dataclass(frozen=True)
class AuditedCommand:
    """An audit of a command that found a gap.

    Attributes:
        study: The study that begins with it.
        archive: The audit as it is stored.
        question: Its question.
        measured: The training loss of its runs is measured inside.
    """

    study: Study
    archive: Archive
    question: CommandQuestion
    measured: bool

    @classmethod
    def of(cls, row: StudyRow, study: Study) -> AuditedCommand:
        """Read an audit of a command, and see that it is still what was audited.

        Raises:
            BadInput: The audit found no gap, or its command was edited; what a command cannot be asked for.
        """
        archive, question = audited_command(row)
        _refuse(study)
        for measured in (True, False):
            audit = cls(study, archive, question, measured)
            runner = audit.runner(())
            arms = [arm for arm in archive.answer.arms if arm.name in ("baseline", "variant")]
            if all(runner.place(Request(str(arm.name), 0)).outcome == arm.address for arm in arms):
                return audit
        allowed = (
            "what was audited: a file that it names was edited since, or PATH leads elsewhere; run it again "
            "as it is now"
        )
        raise BadInput("command", question.shown_command(), allowed)

    @property
    def answer(self) -> Answer:
        """What the audit answered."""
        return self.archive.answer

    @cached_property
    def slots(self) -> Slots:
        """Who carries out commands."""
        options, sources = self.study.options, (self.question.metric_source, self.question.loss_source)
        shared = any(source is not None and source.shared for source in sources)
        deadline = None if options.max_time is None else self.study.started + options.max_time
        return Slots(1 if shared else options.workers, deadline=deadline)

    def runner(
        self,
        controls: Sequence[str],
        first_seed: int | None = None,
        commands: Mapping[str, Callable[[float], Command]] | None = None,
        metric: str | None = None,
    ) -> Runner:
        """Make what carries out runs of the audit's command under controls.

        Args:
            controls: Each as spelled.
            first_seed: First of their seeds; None: the audit's.
            commands: Commands of arms that are not the question's, by their length.
            metric: Source of the metric that is read instead of the test metric; None: that one.
        """
        question = self.question
        if metric is not None:
            question = CommandQuestion.from_store({**question.stored(), "metric": metric})
        return Runner(
            question.model_copy(update={"control": tuple(controls)}),
            self.study.store,
            self.study.id,
            self.slots,
            self.study.progress,
            measured=self.measured,
            first_seed=first_seed,
            commands=commands or {},
        )

    def design(self, looks: tuple[int, ...], controls: int) -> Design:
        """What the planner needs to know of the audit's arms and more of them.

        Args:
            looks: Numbers of seeds at which is looked.
            controls: Number of pairs of arms besides.
        """
        return Design(
            tolerance=tolerance_of(self.answer),
            looks=looks,
            decays=bool(self.archive.terms.decays),
            scalable=bool(self.question.scaling),
            controls=controls,
            resolution=self.answer.resolution,
            transplants=(),
        )


def _refuse(study: Study) -> None:
    """Refuse how a study cannot be carried out on a command.

    Raises:
        BadInput: It was asked for.
    """
    options = study.options
    if options.workers == 0:
        raise BadInput("workers", 0, "at least 1: each run of a command is a process of its own")
    if options.data is not None:
        raise BadInput("data", str(options.data), "nothing: a command finds its data itself")
    if options.task is not None:
        raise BadInput("task", options.task.name, "nothing: this is an audit of a command")
