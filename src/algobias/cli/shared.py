"""What all commands share: options, output, exit codes."""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec

import typer
from rich.console import Console

from algobias.errors import BadInput

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, no panels: only errors, and JSON where asked for.")
]
StoreFolder = Annotated[
    Path, typer.Option("--store", help="Workspace folder for runs and studies.", show_default=True)
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Folder of the public data sets; then ALGOBIAS_DATA, then the user's cache folder."
    ),
]
Device = Annotated[str, typer.Option(help="Torch device: cpu, cuda, cuda:1.")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Processes; default: one per core; 0: train in this one.")
]

P = ParamSpec("P")

DEFAULT_STORE = Path(".algobias")


class ExitCode:
    """Exit codes of every command."""

    done = 0
    asked_for = 1
    bad_input = 2
    internal = 3
    interrupted = 130


def messages() -> Console:
    """Where everything but JSON goes."""
    return Console(stderr=True, highlight=False)


def print_json(data: dict[str, Any]) -> None:
    """One JSON object on stdout; no NaN, no infinity."""
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def fail(error: BadInput) -> NoReturn:
    """Say what is wrong, in one message, and leave with code 2."""
    messages().print(f"[bold red]Error[/] {_escaped(str(error))}", soft_wrap=True)
    raise SystemExit(ExitCode.bad_input)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def internal(error: BaseException) -> NoReturn:
    """Write the traceback into a log file, name it, and leave with code 3."""
    text = "".join(traceback.format_exception(error))
    handle, name = tempfile.mkstemp(prefix="algobias-error-", suffix=".log", text=True)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    told = f"{type(error).__name__}: {error}".splitlines()[0]
    messages().print(
        f"[bold red]Internal error[/] {_escaped(told)}; the traceback is in {name}", soft_wrap=True
    )
    raise SystemExit(ExitCode.internal)


def interruptible(command: Callable[P, None], *, resumes: bool = False) -> Callable[P, None]:
    """A command that says, when interrupted, how to go on.

    Args:
        command: The command.
        resumes: It has stored what was done, and goes on from there.
    """

    @functools.wraps(command)
    def run(*args: P.args, **options: P.kwargs) -> None:
        try:
            command(*args, **options)
        except KeyboardInterrupt:
            text = "Interrupted."
            if resumes:
                text += " What is done is stored; the same command goes on from there."
            messages().print(text, soft_wrap=True)
            raise SystemExit(ExitCode.interrupted) from None

    return run


def guarded(run: Callable[[], None]) -> None:
    """Run a program with the exit codes of the contract."""
    try:
        run()
    except BadInput as error:
        fail(error)
    except BrokenPipeError:
        # The reader of stdout has gone (``| head``): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(ExitCode.done) from None
    except Exception as error:
        internal(error)
