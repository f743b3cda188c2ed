"""What is asked of a command: its two arms, where its numbers come from, how often it is looked at."""

from __future__ import annotations

import shlex
from functools import cached_property
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from algobias.commands.command import Command, checked
from algobias.commands.injected import check_injected
from algobias.commands.numbers.sources import Source
from algobias.commands.options import Option, read_options
from algobias.commands.treated.treatment import OPTIONS, VARIABLES, Treatment
from algobias.errors import BadInput
from algobias.json_values import JsonObject
from algobias.probes.base import Probe
from algobias.probes.registry import parse_many
from algobias.running.asked import NO_PROBES, AuditQuestion, validated
from algobias.runs.arm_name import ArmName
from algobias.runs.outcome import MOST_METRIC


class CommandQuestion(AuditQuestion):
    """A question about a command; its probes are read at every evaluation of every run.

    Attributes:
        command: The baseline, word for word.
        args: Options that make the variant; each text holds one or several.
        env: Variables that make the variant, ``NAME=VALUE``.
        change: Levers that are injected to make the variant.
        control: Fixed controls; levers joined by ``+``, ``args: OPTIONS``, ``env: NAME=VALUE``, or several.
        scale: Options that make the schedule longer or shorter, or None.
        decays: The learning rate decays; None: taken to, where there is a scale.
        metric: Source of the test metric.
        train_loss: Source of the training loss; None: measured inside, on examples that all runs share.
        lower_is_better: The metric is a loss or an error.
        trivial: Metric of a predictor that knows nothing.
        name: Name of the metric in reports; None: that of its source.
        fit: Training examples on which the loss is measured; 0: it is not.
        preflight: Updates of the short runs beforehand; 0: none.
        cwd: The folder the command is started in.
    """

    command: tuple[str, ...]
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    change: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    scale: str | None = None
    decays: bool | None = None
    metric: str = "auto"
    train_loss: str | None = None
    lower_is_better: bool = False
    trivial: float | None = Field(default=None, ge=-MOST_METRIC, le=MOST_METRIC)
    name: str | None = None
    fit: int = Field(default=2000, ge=0, le=10**6)
    preflight: int = Field(default=20, ge=0, le=10**6)
    cwd: str = Field(default=".", validate_default=True)

    @field_validator("command")
    @classmethod
    def _can_be(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked(value)

    @field_validator("env")
    @classmethod
    def _variables(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            name, equals, _ = text.partition("=")
            if not equals or not name.strip() or "\0" in text:
                raise BadInput("--env", text, "NAME=VALUE")
        return value

    @field_validator("cwd")
    @classmethod
    def _absolute(cls, value: str) -> str:
        return str(Path(value).absolute())

    @model_validator(mode="after")
    def _a_question(self) -> CommandQuestion:
        changes = bool(self.args or self.env or self.change)
        if self.aa and changes:
            raise BadInput("--aa", True, "either --aa or a change, not both")
        if not self.aa and not changes:
            raise BadInput(
                "change",
                None,
                "what makes the variant: --args '--batch_size=64', --env K=V or --change LEVER",
            )
        # Everything that can be refused is refused here, before anything is run.
        for source in (self.metric_source, self.loss_source):
            if (
                source is not None
                and source.kind == "auto"
                and source is self.loss_source
                and not source.where
            ):
                raise BadInput("--train-loss", "auto", "auto:NAME, the name under which the script logs it")
        if self.probes != NO_PROBES and (self.train_loss is not None or not self.fit):
            allowed = (
                "none without a training loss that is measured inside: leave out --train-loss and --fit 0"
            )
            raise BadInput("--probes", self.probes, allowed)
        Command(self.command).check_planned(self.scaling)
        for arm in self.arms:
            levers = self.command_of(arm, 2.0 if self.scale else 1.0).levers
            for lever in levers:
                check_injected(lever)
            if levers:
                check_injected("+".join(levers))  # some cannot be injected together
        return self

    @cached_property
    def metric_source(self) -> Source:
        """Where the test metric is read."""
        return Source.parse(self.metric, "--metric")

    @cached_property
    def loss_source(self) -> Source | None:
        """Where the training loss is read; None: it is measured inside, or not at all."""
        return None if self.train_loss is None else Source.parse(self.train_loss, "--train-loss")

    @property
    def sources(self) -> tuple[tuple[Source, str], ...]:
        """Where numbers are read, each with the option that names it."""
        loss = () if self.loss_source is None else ((self.loss_source, "--train-loss"),)
        return ((self.metric_source, "--metric"), *loss)

    @cached_property
    def asked_probes(self) -> tuple[Probe, ...]:
        """The probes that are read."""
        return () if self.probes == NO_PROBES else parse_many(self.probes)

    @property
    def spelled_probes(self) -> tuple[str, ...]:
        """The probes as every process can read them."""
        return tuple(probe.spelling() for probe in self.asked_probes)

    @property
    def read_besides(self) -> JsonObject:
        """Say what is read besides the loss, for the address of runs; nothing where nothing is."""
        kept = [f"{probe.kept_as()} {probe.revision}" for probe in self.asked_probes]
        return {"probes": [*kept]} if kept else {}

    @cached_property
    def scaling(self) -> tuple[Option, ...]:
        """The options that set the length of the schedule."""
        return () if self.scale is None else read_options(self.scale, "--scale")

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of all arms."""
        under = (
            str(ArmName(kind, number))
            for number, _ in enumerate(self.control)
            for kind in ("variant", "baseline")
        )
        return ("baseline", "variant", *under)

    def command_of(self, arm: str, length: float = 1.0) -> Command:
        """Make the command of an arm.

        Args:
            arm: One of :attr:`arms`.
            length: Multiple of the planned schedule.

        Raises:
            BadInput: Options that cannot be set.
        """
        kind, control = ArmName.parse(arm)
        command = Command(self.command)
        if kind == "variant":
            for text in self.args:
                command = command.edited(read_options(text, "--args"), "--args")
            pairs = (text.partition("=") for text in self.env)
            command = command.with_environment({name: value for name, _, value in pairs})
            for lever in self.change:
                command = command.injected(lever)
        if control is not None:
            command = self.treatment(control).applied(command, "--control")
        return command.scaled(length, self.scaling)

    def spoken(self, arm: str) -> str:
        """An arm's name as people read it: a control as it is spelled instead of its number."""
        kind, control = ArmName.parse(arm)
        return arm if control is None else f"{kind}+{self.control[control]}"

    def treatment(self, control: int) -> Treatment:
        """Read one of the controls, by its number."""
        return Treatment.parse(self.control[control], "--control")

    @property
    def sign(self) -> int:
        """What the metric is multiplied by so that higher is better."""
        return -1 if self.lower_is_better else 1

    def shown_metric(self, logged: str | None = None) -> str:
        """Name of the metric as it is judged and shown.

        Args:
            logged: The name under which the script logs it, where it was found.
        """
        source = self.metric_source
        name = self.name or logged or source.name or "metric"
        return f"minus {name}" if self.lower_is_better else name

    def question(self) -> str:
        """The comparison in a few words."""
        if self.aa:
            return "baseline against itself"
        return " then ".join(self.spelled_change)

    @property
    def sets_options(self) -> bool:
        """Whether options or variables of the command make the variant, alone or with levers."""
        return bool(self.args or self.env)

    @property
    def length_alone(self) -> tuple[str, ...]:
        """The options that make the variant, where all of them set the length of the schedule; else none."""
        lengths = {option.name for option in self.scaling}
        names = [option.name for text in self.args for option in read_options(text, "--args")]
        return tuple(names) if not self.env and not self.change and lengths.issuperset(names) else ()

    @property
    def spelled_change(self) -> tuple[str, ...]:
        """What makes the variant, a text each."""
        return (
            *(f"{OPTIONS} {text}" for text in self.args),
            *(f"{VARIABLES} {text}" for text in self.env),
            *self.change,
        )

    def stored(self) -> JsonObject:
        """Write it as a store has it: what every study has, in the words of every study."""
        plain: JsonObject = self.model_dump(mode="json")
        return plain | {"task": self.shown_command(), "change": list(self.spelled_change)}

    @classmethod
    def from_store(cls, spec: JsonObject) -> CommandQuestion:
        """Read what :meth:`stored` wrote.

        Raises:
            BadInput: It can no longer be asked.
        """
        known = {key: value for key, value in spec.items() if key in cls.model_fields}
        change = spec.get("change")
        texts = [str(text) for text in change] if isinstance(change, list) else []
        known["change"] = [text for text in texts if not text.startswith((OPTIONS, VARIABLES))]
        return validated(cls, known)

    def shown_command(self) -> str:
        """The baseline as it is typed."""
        return shlex.join(self.command)
