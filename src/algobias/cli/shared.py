"""What all commands share: options, output, exit codes."""

from __future__ import annotations

import functools
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, NoReturn, ParamSpec

import typer
from rich.text import Text

from algobias.cli.output import messages, one_line, only_json
from algobias.cli.streams import lasting_streams
from algobias.errors import BadInput, CutOff
from algobias.own.user_code import told_as_bad_input
from algobias.untrusted import possible_path


def path_of(option: str) -> Callable[[str | Path], Path]:
    """Reads the path that follows an option; an empty one is refused, where ``Path`` would take it for ``.``.

    Raises:
        BadInput: By the function returned: no path, or one that there cannot be.
    """

    def path(text: str | Path) -> Path:
        if not str(text).strip():
            raise BadInput(option, str(text), "a path")
        possible_path(text, option)
        return Path(text)

    return path


def number_of(option: str) -> Callable[[str | float], float]:
    """Reads the number that follows an option.

    Raises:
        BadInput: By the function returned: no number; a decimal comma is named as what is wrong.
    """

    def number(text: str | float) -> float:
        try:
            return float(text)
        except ValueError:
            pointed = str(text).replace(",", ".", 1)
            comma = re.fullmatch(r"[+-]?\d*\.\d+", pointed)
            wanted = f"a number with a decimal point: {pointed}" if comma else "a number"
            raise BadInput(option, str(text), wanted) from None

    return number


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout (exit codes 0 and 1).")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, no panels: only errors, and JSON where asked for.")
]
StoreFolder = Annotated[
    Path,
    typer.Option(
        "--store",
        parser=path_of("--store"),
        metavar="PATH",
        help="Workspace folder for runs and studies.",
        show_default=True,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        parser=path_of("--data"),
        metavar="PATH",
        help="Folder of the public data sets; then ALGOBIAS_DATA, then the user's cache folder.",
    ),
]
Device = Annotated[str, typer.Option(help="Torch device: cpu, cuda, cuda:1.")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Processes; default: one per core; 0: train in this one.")
]
Itself = Annotated[bool, typer.Option("--aa", help="Compare the baseline with itself on other seeds.")]
Tolerance = Annotated[
    float | None,
    typer.Option(
        parser=number_of("--tolerance"),
        metavar="NUMBER",
        help="Largest gap that does not matter; default: suggested from the seed spread.",
    ),
]
Looks = Annotated[
    str | None,
    typer.Option(help="Seeds at each look, like 4,6,9; or one number.", show_default="4,6,9,13,20"),
]

P = ParamSpec("P")

DEFAULT_STORE = Path(".algobias")


class ExitCode:
    """Exit codes of every command.

    ``asked_for``: done, and what the caller wanted to hear of has come about: a verdict of ``--fail-on``, a
    tracker that failed while a study was sent to it.
    """

    done = 0
    asked_for = 1
    bad_input = 2
    internal = 3
    interrupted = 130
    terminated = 143


def fail(error: BadInput) -> NoReturn:
    """Say what is wrong, in one message, and leave with code 2."""
    _tell("Error", str(error))
    raise SystemExit(ExitCode.bad_input)


def _tell(title: str, text: str) -> None:
    # in one line: what a name with line breaks holds must not pass for a message of ours
    messages().print(Text.assemble((f"{title} ", "bold red"), one_line(text)), soft_wrap=True)


def internal(error: BaseException) -> NoReturn:
    """Write the traceback into a log file, name it, and leave with code 3."""
    text = "".join(traceback.format_exception(error))
    handle, name = tempfile.mkstemp(prefix="algobias-error-", suffix=".log", text=True)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    told = f"{type(error).__name__}: {error}".splitlines()[0]
    _tell("Internal error", f"{told}; the traceback is in {name}")
    raise SystemExit(ExitCode.internal)


def interruptible(command: Callable[P, None], *, resumes: bool = False) -> Callable[P, None]:
    """A command that says, when interrupted, how to go on, and of a user's code what it raised.

    With ``--json`` nothing but the JSON object gets to stdout.

    Args:
        command: The command.
        resumes: It has stored what was done, and goes on from there.
    """

    @functools.wraps(command)
    def run(*args: P.args, **options: P.kwargs) -> None:
        output = only_json() if options.get("json") else nullcontext()
        try:
            with output, told_as_bad_input():
                command(*args, **options)
        except KeyboardInterrupt as asked:
            raise SystemExit(_interrupted(asked, resumes)) from None

    return run


def _interrupted(asked: KeyboardInterrupt, resumes: bool = False) -> int:
    """Say how to go on; the exit code for Ctrl-C, or for SIGTERM."""
    from algobias.running.processes import Terminated

    terminated = isinstance(asked, Terminated)
    text = "Terminated." if terminated else "Interrupted."
    if resumes:
        text += " What is done is stored; the same command goes on from there."
    messages().print(text, soft_wrap=True)
    return ExitCode.terminated if terminated else ExitCode.interrupted


def guarded(run: Callable[[], None]) -> None:
    """Run a program with the exit codes of the contract."""
    from algobias.running.processes import raise_on_sigterm

    with raise_on_sigterm(), lasting_streams():
        try:
            try:
                run()
            finally:
                sys.stdout.flush()  # a full disk behind stdout is found here at the latest
        except BadInput as error:
            fail(error)
        except KeyboardInterrupt as asked:
            raise SystemExit(_interrupted(asked)) from None
        except CutOff as error:
            _tell("Error", str(error))
            raise SystemExit(ExitCode.internal) from None
        except Exception as error:
            internal(error)
