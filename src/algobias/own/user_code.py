"""What a user's own code raised: told as one sentence with what it is, its file and its line."""

from __future__ import annotations

import functools
import inspect
import signal
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType
from typing import Any

from algobias.errors import BadInput

PACKAGE = Path(__file__).resolve().parents[1]
TASK_MODULE = "algobias_user_"
"""How modules made of a user's task files are named: code in them is the user's."""

FILE_KIND = "__algobias_kind__"
"""Global of such a module that says what it is the file of: a task, a lever, a probe, a lab."""

_LIBRARY = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
_MARK = "_algobias_raised_in"


class UserFunction:
    """A user's function that notes on what it raises which function it was; the exception stays as it is.

    Whoever handles exceptions of a kind (a missing batching rule, say) still sees that kind; where nobody
    does, :func:`told_as_bad_input` makes one message of it.

    Args:
        what: Its name in messages: ``loss``.
        function: The function.
    """

    def __init__(self, what: str, function: Callable[..., Any]) -> None:
        self.what, self.function = what, function
        self.__wrapped__ = function  # where inspect finds the source

    def __call__(self, *given: Any, **named: Any) -> Any:
        """What the function returns."""
        with raised_in(self.what):
            return self.function(*given, **named)


def of_user(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, wrapped as a :class:`UserFunction` unless it is one of this package's own."""
    code = _code_of(function)
    own = code is not None and PACKAGE in Path(code.co_filename).resolve().parents
    return function if own or isinstance(function, UserFunction) else UserFunction(what, function)


@contextmanager
def raised_in(what: str) -> Iterator[None]:
    """Note on whatever is raised inside that it comes from the user's ``what``; the innermost note counts."""
    try:
        yield
    except BaseException as error:
        if not hasattr(error, _MARK):
            with suppress(Exception):
                setattr(error, _MARK, what)
        raise


def guarded(what: str, call: Callable[[], Any], allowed: str = "a function that runs on this data") -> Any:
    """Call a user's function; what it raises becomes one message with file and line.

    Raises:
        BadInput: Whatever is raised, ``SystemExit`` too; only Ctrl-C stays what it is.
    """
    try:
        return call()
    except BadInput:
        raise
    except BaseException as error:
        if _is_ctrl_c(error):
            raise
        raise BadInput(what, where_and_what(error), allowed) from error


@contextmanager
def told_as_bad_input() -> Iterator[None]:
    """Make one message of what a user's code raises inside; everything else passes.

    A user's code is what :class:`UserFunction` and :func:`raised_in` have noted, and the modules made of
    task files.
    """
    try:
        yield
    except BadInput:
        raise
    except BaseException as error:
        what = getattr(error, _MARK, None) or _task_file(error)
        if what is None or _is_ctrl_c(error):
            raise
        raise BadInput(what, where_and_what(error), "code that runs without an error") from error


def where_and_what(error: BaseException, folder: Path | None = None) -> str:
    """``file.py:12: ValueError: message`` for the last line of the user's own code that was running.

    Args:
        error: The exception.
        folder: Where the user's code lies; without it, the last line outside installed packages.
    """
    try:
        text = str(error)
    except Exception:
        text = ""
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}: {type(error).__name__}: {error.msg}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if not _installed(path) and (folder is None or folder in path.parents):
            return f"{path.name}:{frame.lineno}: {told}"
    return told


def _installed(path: Path) -> bool:
    """Whether a file belongs to this package, to another installed one, or to Python itself."""
    named = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(named) or path.name.startswith("<frozen") or not {PACKAGE, *_LIBRARY}.isdisjoint(path.parents)


def _task_file(error: BaseException) -> str | None:
    """The task file whose code was running when ``error`` was raised, or None."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__", "")).startswith(TASK_MODULE):
            kind = frame.f_globals.get(FILE_KIND, "task")
            return f"{kind} file {Path(frame.f_code.co_filename).name}"
    return None


def _is_ctrl_c(error: BaseException) -> bool:
    """Worker processes are deaf to Ctrl-C: there it is the user's code that raises KeyboardInterrupt."""
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def _code_of(function: Any) -> CodeType | None:
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not (inspect.isroutine(function) or inspect.isclass(function)):
        function = type(function).__call__
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None
