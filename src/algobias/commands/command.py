"""The command of one arm: its words, its environment, what is injected, and the places that are filled."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from algobias.commands.options import ARGS, Option, value_of, with_options
from algobias.errors import BadInput
from algobias.json_values import JsonObject

PLACES = ("seed", "out", "arm")
"""What is filled into a command for each run."""

_PLACE = re.compile(r"\{([A-Za-z_]+)\}")


@dataclass(frozen=True)
class Command:
    """What is run for one arm.

    Attributes:
        words: The command; ``{seed}``, ``{out}`` and ``{arm}`` are filled for each run.
        environment: Variables that are set besides, by name.
        levers: Levers that are injected, as spelled.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    levers: tuple[str, ...] = ()

    def has(self, place: str) -> bool:
        """Whether ``{place}`` stands in a word or a variable."""
        return any("{" + place + "}" in text for text in (*self.words, *self.environment.values()))

    def edited(self, options: tuple[Option, ...], source: str) -> Command:
        """Set options."""
        return replace(self, words=tuple(with_options(self.words, options, source)))

    def injected(self, lever: str) -> Command:
        """Inject one more lever."""
        return replace(self, levers=(*self.levers, lever))

    def with_environment(self, variables: Mapping[str, str]) -> Command:
        """Set variables."""
        return replace(self, environment={**self.environment, **variables})

    def scaled(self, length: float, scale: tuple[Option, ...]) -> Command:
        """Make the schedule ``length`` times as long.

        Args:
            length: Multiple of the planned schedule.
            scale: Options that set how long it is; a value that stands in the command counts, else the one
                given. Whole numbers stay whole, and at least 1.

        Raises:
            BadInput: A value that is no number above 0, or none at all.
        """
        if length == 1:
            return self
        options = tuple(
            Option(option.name, (times(self._planned(option), length, option.name),), option.joined)
            for option in scale
        )
        return self.edited(options, "--scale")

    def check_planned(self, scale: tuple[Option, ...]) -> None:
        """Check that options of the schedule are said with no other value than they have here.

        Args:
            scale: The options.

        Raises:
            BadInput: Another value than the command's, which would not be used.
        """
        for option in scale:
            planned = value_of(self.words, option.name, "--scale")
            if planned is not None and option.values and not _alike(planned, option.values[0]):
                raise BadInput(
                    "--scale",
                    " ".join(option.words()),
                    f"{option.name} alone: the command sets it, to {planned}",
                )

    def _planned(self, option: Option) -> str:
        value = value_of(self.words, option.name, "--scale") or (option.values[0] if option.values else None)
        if value is None:
            raise BadInput(
                "--scale", option.name, f"its planned value, like {option.name}=2000: the command has none"
            )
        return value

    def filled(self, places: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Fill what a run has of its own into words and variables; ``{args}`` that nobody used goes.

        Args:
            places: Text for each of :data:`PLACES`.
        """
        words = [_filled(word, places) for word in self.words if word != ARGS]
        return words, {name: _filled(text, places) for name, text in self.environment.items()}

    def resolved(self) -> JsonObject:
        """Say all that determines its runs but the seed, as plain data."""
        return {
            "command": list(self.words),
            "environment": dict(self.environment),
            "levers": list(self.levers),
        }

    def to_yaml(self) -> str:
        """Write it for a reader of the report."""
        lines = [f"{name}={shlex.quote(text)} \\" for name, text in self.environment.items()]
        lines.append(shlex.join(self.words))
        return "\n".join(lines + [f"# injected: {lever}" for lever in self.levers]) + "\n"


def checked(words: tuple[str, ...]) -> tuple[str, ...]:
    """Check that a command can be one.

    Raises:
        BadInput: No words, a NUL in one, a place that is misspelt.
    """
    if not words or not words[0].strip():
        raise BadInput("command", None, "what to run, after --: -- python train.py")
    for word in words:
        if "\0" in word:
            raise BadInput("command", word, "words without NUL")
        for name in _PLACE.findall(word):
            if name.lower() in (*PLACES, "args") and name not in (*PLACES, "args"):
                raise BadInput("command", word, "{seed}, {out}, {arm} or {args}", "{" + name.lower() + "}")
    return words


def times(value: str, length: float, name: str) -> str:
    """Multiply a number as it is written; whole numbers stay whole.

    Args:
        value: Such as ``2000`` or ``0.5``.
        length: What it is multiplied by.
        name: The option, for messages.

    Raises:
        BadInput: Not a number above 0.
    """
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise BadInput("--scale", f"{name} {value}", "an option whose value is a number above 0")
    if re.fullmatch(r"\+?[\d_]+", value):
        return str(max(1, round(int(value) * length)))
    return repr(number * length)


def _alike(one: str, other: str) -> bool:
    """Whether two values are the same text or the same number."""
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False


def _filled(text: str, places: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda match: places.get(match[1], match[0]), text)
