"""What is done to a command on top of an arm: levers injected, options set, variables set."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from algobias.attached.levers.spelling import singles
from algobias.commands.command import Command
from algobias.commands.options import read_options
from algobias.errors import BadInput

OPTIONS, VARIABLES = "args:", "env:"
"""What the parts of a control begin with that sets options or variables instead of injecting a lever."""

_PART = re.compile(r"(?:^|\+)\s*(args|env):")


@dataclass(frozen=True)
class Treatment:
    """A control of a command: ``sam:0.05+args: --warmup=100+env: MODE=slow``, each part once at most.

    Attributes:
        levers: Levers that are injected, joined by ``+``; empty: none.
        options: Options that are set, as typed; empty: none.
        variables: Variables that are set, ``NAME=VALUE``.
    """

    levers: str = ""
    options: str = ""
    variables: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, field: str) -> Treatment:
        """Read a control as it is typed.

        Args:
            text: Levers joined by ``+``, then ``args: OPTIONS``, then ``env: NAME=VALUE ...``; each may be
                left out.
            field: What it is given with, for messages.

        Raises:
            BadInput: Nothing, a part twice, options or variables that are none. Levers are not read here.
        """
        levers, *rest = _PART.split(text.strip())
        parts = dict(zip(rest[::2], rest[1::2], strict=True))
        if 2 * len(parts) != len(rest):
            raise BadInput(field, text, "levers, then args: OPTIONS and env: NAME=VALUE, each once at most")
        if not levers and not parts:
            raise BadInput(field, text or None, "a lever such as sam:0.05, or 'args: --lr=1e-3'")
        options, variables = parts.get("args", "").strip(), parts.get("env", "")
        if "args" in parts:
            read_options(options, field)
        return cls(levers, options, _variables(variables, field) if "env" in parts else ())

    @property
    def text(self) -> str:
        """Spell it in one way, however it was typed."""
        options = f"{OPTIONS} {self.options}" if self.options else ""
        variables = f"{VARIABLES} {shlex.join(self.variables)}" if self.variables else ""
        return "+".join(part for part in (self.levers, options, variables) if part)

    def applied(self, command: Command, field: str) -> Command:
        """Do it to a command.

        Raises:
            BadInput: Options that cannot be set.
        """
        if self.options:
            command = command.edited(read_options(self.options, field), field)
        if self.variables:
            pairs = (text.partition("=") for text in self.variables)
            command = command.with_environment({name: value for name, _, value in pairs})
        return command.injected(self.levers) if self.levers else command

    def parts(self) -> tuple[Treatment, ...]:
        """Take it apart: each lever, the options, the variables."""
        found = [Treatment(levers=lever) for lever in singles(self.levers) if lever]
        found += [Treatment(options=self.options)] if self.options else []
        return (*found, *([Treatment(variables=self.variables)] if self.variables else []))

    def followed_by(self, other: Treatment) -> Treatment:
        """Do both, this one first."""
        return Treatment(
            "+".join(part for part in (self.levers, other.levers) if part),
            " ".join(part for part in (self.options, other.options) if part),
            (*self.variables, *other.variables),
        )


def by_words(text: str) -> bool:
    """Whether a control sets options or variables, whose words are somebody else's."""
    return _PART.search(text) is not None


def _variables(text: str, field: str) -> tuple[str, ...]:
    try:
        variables = tuple(shlex.split(text))
    except ValueError as error:
        raise BadInput(field, text, f"words as a shell splits them ({error})") from error
    for variable in variables:
        name, equals, _ = variable.partition("=")
        if not name or not equals or "\0" in variable:
            raise BadInput(field, variable, "NAME=VALUE")
    if not variables:
        raise BadInput(field, f"{VARIABLES}{text}", "NAME=VALUE after env:")
    return variables
