"""A user's own task: a Python file that is executed, and told about before it is."""

from __future__ import annotations

import ast
import contextlib
import difflib
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from algobias.errors import BadInput
from algobias.tasks.rehearsal import rehearse
from algobias.tasks.task import Task
from algobias.user_code import PACKAGE, TASK_MODULE, where_and_what

NO_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What Python raises of text that is no Python, or is nested too deeply for its parser."""

_siblings: set[str] = set()
"""Modules that task files imported from their folders: loaded anew with every task file."""


def is_user_task(text: str) -> bool:
    """Whether ``text`` names a Python file and not a built-in task."""
    path, colon, _ = text.rpartition(":")
    return text.endswith(".py") or (bool(colon) and path.endswith(".py"))


def describe_user_task(text: str, base_dir: Path | None = None) -> str | None:
    """What loading ``text`` will execute, in one line to be printed first; None for a built-in task.

    Raises:
        BadInput: There is no such file, or no such name in it.
    """
    if not is_user_task(text):
        return None
    path, name, source = _read(text, base_dir)
    lines, digest = source.count(b"\n") + 1, hashlib.sha256(source).hexdigest()[:12]
    return f"will execute {path} ({lines} lines, sha256 {digest}...) and use {name!r} from it"


def load_user_task(text: str, base_dir: Path | None = None) -> Task:
    """Execute the file and return its task, rehearsed on a few examples.

    While the file runs, its folder is the first on ``sys.path`` and what it prints goes to stderr. Modules it
    imports from its folder, also relatively (``from .data import x``), are loaded anew and belong to the
    task's fingerprint.

    Args:
        text: ``path/to/file.py:name``.
        base_dir: Folder that a relative path starts from.

    Raises:
        BadInput: No such file or name, an error raised in it (file, line, message), not a task.
    """
    path, name, source = _read(text, base_dir)
    module = ModuleType(f"{TASK_MODULE}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}")
    module.__file__ = str(path)
    module.__path__ = [str(path.parent)]  # a package of its folder, for relative imports
    module.__package__ = module.__name__
    with _imports_from(path.parent, module), contextlib.redirect_stdout(sys.stderr):
        try:
            exec(compile(source, str(path), "exec"), module.__dict__)
            found = getattr(module, name)
            made = found if isinstance(found, Task) or not callable(found) else found()
            if not isinstance(made, Task):
                raise BadInput(
                    f"{path.name}:{name}", type(made).__name__, "a Task, or a function that returns one"
                )
            made.files = (path, *local_imports(path))
            rehearse(made)
        except KeyboardInterrupt:
            raise
        except BadInput as error:
            raise _located(error, path) from error
        except BaseException as error:  # SystemExit too: a file that exits must not end the program
            told = where_and_what(error, path.parent)
            raise BadInput(f"task file {path.name}", told, "a file that runs without an error") from error
    made.text = f"{path}:{name}"
    return made


def _read(text: str, base_dir: Path | None) -> tuple[Path, str, bytes]:
    """Path, name and bytes of the file, checked without executing it."""
    location, _, name = ("", "", "") if text.endswith(".py") else text.rpartition(":")
    location = location or text
    path = Path(location).expanduser()
    path = (path if path.is_absolute() else (base_dir or Path.cwd()) / path).resolve()
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], 1, 0.5)
        raise BadInput("task", location, "an existing Python file", near[0] if near else None)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise BadInput("task", location, f"a file that can be read ({error.strerror})") from error
    try:
        tree = ast.parse(source, str(path))
        names = _top_level_names(tree)
    except NO_PYTHON as error:
        raise BadInput(f"task file {path.name}", where_and_what(error), "a Python file") from error
    if names is not None and name not in names:
        offered = names & _may_be_tasks(tree)
        close = difflib.get_close_matches(name, offered, 1, 0.5)
        shown = ", ".join(sorted(offered)) or "none in this file"
        raise BadInput("task", text, f"{location}:name with a name of: {shown}", close[0] if close else None)
    return path, name, source


def _top_level_names(tree: ast.Module) -> set[str] | None:
    """Functions and variables a file defines; None where a star import leaves it open."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return None
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.If | ast.Try | ast.With):
            waiting += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr)]
        elif isinstance(node, ast.ExceptHandler):
            waiting += node.body
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif not isinstance(node, ast.ClassDef):
            stored = [n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
            names.update(n.id for n in stored)
    return names


def _may_be_tasks(tree: ast.Module) -> set[str]:
    """Names that may be meant: functions that are called without arguments, and what a call gives a name."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            given = node.args
            filled = len(given.defaults) >= len(given.posonlyargs) + len(given.args)
            if filled and None not in given.kw_defaults:
                names.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


@contextlib.contextmanager
def _imports_from(folder: Path, module: ModuleType) -> Iterator[None]:
    for name in _siblings:
        sys.modules.pop(name, None)
    _siblings.clear()
    before = set(sys.modules)
    written = sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True  # nothing is left behind in the user's folder
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = written
        _siblings.update(name for name in set(sys.modules) - before if _lies_in(name, folder))


def local_imports(path: Path) -> list[Path]:
    """Modules beside a task file that it imports, and those they import; found in the text, not by executing.

    So the list does not depend on what else has been imported before.
    """
    folder, found, waiting = path.parent, set[Path](), [path]
    while waiting:
        current = waiting.pop()
        try:
            tree = ast.parse(current.read_bytes())
        except (*NO_PYTHON, OSError):
            continue
        for stem in _imported(tree, folder, current.parent):
            for module in (stem.with_suffix(".py"), stem / "__init__.py"):
                if module.is_file() and module != path and module not in found:
                    found.add(module)
                    waiting.append(module)
    return sorted(found)


def _imported(tree: ast.Module, folder: Path, here: Path) -> set[Path]:
    """Where imports would lie, without suffix: ``from a.b import c`` gives a, a/b and a/b/c.

    Plain imports start from the task file's folder, relative ones from the importing module's.
    """
    places: set[Path] = set()
    for node in ast.walk(tree):
        base, names = folder, list[str]()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = here.joinpath(*[".."] * (node.level - 1)).resolve()
            names = [".".join(filter(None, (node.module, alias.name))) for alias in node.names]
        for name in names:
            pieces = name.split(".")
            places.update(base.joinpath(*pieces[:end]) for end in range(1, len(pieces) + 1))
    return {place for place in places if folder in place.parents}


def _lies_in(name: str, folder: Path) -> bool:
    written: Any = getattr(sys.modules.get(name), "__file__", None)
    if not isinstance(written, str):
        return False
    path = Path(written)
    return folder in path.parents and PACKAGE not in path.parents and "site-packages" not in path.parts


def _located(error: BadInput, path: Path) -> BadInput:
    """The same complaint, with the line of the user's file that led to it."""
    told = where_and_what(error, path.parent)
    line = told.split(": ", 1)[0] if told.startswith(path.name) else path.name
    field = error.field if error.field.startswith(path.name) else f"{line}: {error.field}"
    return BadInput(field, error.value, error.allowed, error.nearest)
