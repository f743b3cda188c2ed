"""A Python file of the user's own: found and read first, announced, and only then executed."""

from __future__ import annotations

import ast
import contextlib
import difflib
import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from algobias.errors import BadInput, clean_text, unknown_name
from algobias.own.local_imports import NO_PYTHON, local_imports
from algobias.own.user_code import FILE_KIND, TASK_MODULE, where_and_what
from algobias.own.user_imports import FolderImports
from algobias.untrusted import possible_path

_FILE = re.compile(r"(?P<file>.+?\.py)(?::(?P<name>[^:]*))?(?::(?P<options>.*))?", re.DOTALL)

_LEVER = re.compile(r"(?:^|(?<=\+))[^+:]*\.py:([^\W\d]\w*)")
"""A lever of a user's file, alone or within a sum of levers; its class is what is kept of it."""

_announced: set[str] = set()
"""What has been said in this process, or the one that started it, about files that are executed."""


@dataclass(frozen=True)
class UserFile:
    """A name in a Python file, neither of them executed yet.

    Attributes:
        path: The file, absolute.
        name: What is used from it.
        source: Its bytes.
    """

    path: Path
    name: str
    source: bytes

    @property
    def text(self) -> str:
        """How it is spelled, from wherever one is: ``/path/to/file.py:name``."""
        return f"{self.path}:{self.name}"

    def announcement(self) -> str:
        """What executing it means, in one line to be printed first."""
        lines, digest = self.source.count(b"\n") + 1, hashlib.sha256(self.source).hexdigest()[:12]
        return f"will execute {self.path} ({lines} lines, sha256 {digest}...) and use {self.name!r} from it"

    def files(self) -> tuple[Path, ...]:
        """The file, and the modules beside it that it imports."""
        return (self.path, *local_imports(self.path))

    def digest(self) -> str:
        """Hash of the file and of what it imports from its own folder."""
        pieces = sorted({hashlib.sha256(_bytes(path)).hexdigest() for path in self.files()[1:]})
        pieces = [hashlib.sha256(self.source).hexdigest(), *pieces]
        return hashlib.sha256("\n".join(pieces).encode()).hexdigest()


def in_file(text: str) -> tuple[str, str, str] | None:
    """Split ``path/to/file.py:name:options``; None where ``text`` names no Python file.

    Example:
        >>> in_file("levers/mine.py:Jitter:0.1,kind=flat")
        ('levers/mine.py', 'Jitter', '0.1,kind=flat')
        >>> in_file("batch:x16") is None
        True
    """
    match = _FILE.fullmatch(text.strip())
    if match is None:
        return None
    return match["file"], (match["name"] or "").strip(), match["options"] or ""


def absolute(text: str, base_dir: Path | None = None) -> str:
    """``text`` with the path of the file it names made absolute; any other text as it is.

    Args:
        text: What may be ``path/to/file.py:name:options``.
        base_dir: Folder that a relative path starts from; the current one without it.
    """
    parts = in_file(text)
    if parts is None or Path(parts[0]).is_absolute():
        return text
    file, name, options = parts
    spelled = f"{_located(file, base_dir)}:{name}" if name else str(_located(file, base_dir))
    return f"{spelled}:{options}" if options else spelled


def without_folder(text: str) -> str:
    """``text`` with the file that it names, if it does, named without its folder: as it is shown.

    Example:
        >>> without_folder("/home/me/mine.py:task"), without_folder("digits")
        ('mine.py:task', 'digits')
    """
    parts = in_file(text)
    return text if parts is None else Path(parts[0]).name + text.strip().removeprefix(parts[0])


def without_files(text: str) -> str:
    """The spelling of levers with those of a user's file called by their class alone: as they are shown.

    Example:
        >>> without_files("/home/me/mine.py:Jitter:0.1"), without_files("lr:x2+mine.py:Jitter:0.1,kind=flat")
        ('Jitter:0.1', 'lr:x2+Jitter:0.1,kind=flat')
        >>> without_files("batch:x16,lr=sqrt")
        'batch:x16,lr=sqrt'
    """
    return _LEVER.sub(r"\1", text)


def in_words(text: str) -> str:
    """The spelling of a probe or a lever as people read it; the names of a user's file stay as they are.

    Example:
        >>> in_words("top_eigenvalue:tolerance=0.1"), in_words("/home/my_self/my_probe.py:Above")
        ('top eigenvalue:tolerance=0.1', 'my_probe.py:Above')
    """
    return text.replace("_", " ") if in_file(text) is None else without_folder(text)


def read_user_file(
    text: str,
    field: str,
    meant: Callable[[ast.Module], set[str]],
    base_dir: Path | None = None,
    *,
    classes: bool = False,
) -> UserFile:
    """Find the file that ``path/to/file.py:name`` names and check it without executing it.

    Args:
        text: The file and a name in it.
        field: What it is, in messages.
        meant: Names in a file that may be meant, to propose them.
        base_dir: Folder that a relative path starts from; the current one without it.
        classes: A class may be meant.

    Raises:
        BadInput: There is no such file, it is no Python, or has no such name at its top level.
    """
    location, _, name = ("", "", "") if text.endswith(".py") else text.rpartition(":")
    location = location or text
    possible_path(location, field)
    path = _located(location, base_dir)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], 1, 0.5)
        raise BadInput(field, location, "an existing Python file", near[0] if near else None)
    source = _bytes(path, field, location)
    try:
        tree = ast.parse(source, str(path))
        names = _top_level_names(tree, classes)
    except NO_PYTHON as error:
        raise BadInput(f"{field} file {path.name}", where_and_what(error), "a Python file") from error
    if names is not None and name not in names:
        offered = names & meant(tree)
        close = difflib.get_close_matches(name, offered, 1, 0.5)
        listed = ", ".join(sorted(offered)) or "none in this file"
        raise BadInput(field, text, f"{location}:name with a name of: {listed}", close[0] if close else None)
    return UserFile(path, name, source)


@contextlib.contextmanager
def executed(file: UserFile, what: str) -> Iterator[Any]:
    """Execute a user's file, after saying so on stderr, and hand out the object it is read for.

    While the file runs, and inside the ``with``, its folder is the first on ``sys.path`` and what it prints
    goes to stderr. Modules it imports from its folder, also relatively (``from .data import x``), are loaded
    anew, and are its own.

    Args:
        file: The file.
        what: What it is, in messages: ``task``, ``lever``.

    Raises:
        BadInput: An error raised in it, or inside the ``with`` (file, line, message); ``SystemExit`` too.
    """
    _announce(file)
    path = file.path
    name = f"{TASK_MODULE}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    module.__path__ = [str(path.parent)]  # a package of its folder, for relative imports
    module.__package__ = module.__name__
    setattr(module, FILE_KIND, what)
    sys.modules[name] = module
    imports = FolderImports(path.parent, module)
    with imports.first(stay=True), contextlib.redirect_stdout(sys.stderr):
        try:
            exec(compile(file.source, str(path), "exec"), module.__dict__)
            if not hasattr(module, file.name):
                # Names that the file makes as it runs are not seen before.
                names = [name for name in vars(module) if not name.startswith("_")]
                raise unknown_name(f"{what} of {path.name}", file.name, names)
            yield getattr(module, file.name)
        except KeyboardInterrupt:
            raise
        except BadInput as error:
            raise _with_line(error, path) from error
        except BaseException as error:  # SystemExit too: a file that exits must not end the program
            message = where_and_what(error, path.parent)
            raise BadInput(
                f"{what} file {path.name}", message, "a file that runs without an error"
            ) from error


def announced() -> frozenset[str]:
    """What has been said of files that are executed, for processes started from here."""
    return frozenset(_announced)


def already_announced(said: frozenset[str]) -> None:
    """Leave out what the process that started this one has said."""
    _announced.update(said)


def say_once(line: str, about: str | None = None) -> None:
    """Print a line on stderr, once in this process and those that it starts.

    Args:
        line: The line.
        about: What it is about, where that may be another thing although the line is the same.
    """
    if (about or line) not in _announced:
        _announced.add(about or line)
        # in one line: what a path with line breaks holds must not pass for a message of ours
        print(clean_text(" ".join(line.splitlines())), file=sys.stderr, flush=True)


def _announce(file: UserFile) -> None:
    """Say once of each version of a file that it will be executed, and of each name that is used from it."""
    say_once(file.announcement(), f"{file.text} {file.digest()}")


def _located(location: str, base_dir: Path | None) -> Path:
    with contextlib.suppress(RuntimeError):  # the home of nobody: said where the file is read
        location = str(Path(location).expanduser())
    path = Path(location)
    return (path if path.is_absolute() else (base_dir or Path.cwd()) / path).resolve()


def _bytes(path: Path, field: str = "file", location: str | None = None) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        allowed = f"a file that can be read ({error.strerror})"
        raise BadInput(field, location or str(path), allowed) from error


def _top_level_names(tree: ast.Module, classes: bool) -> set[str] | None:
    """Functions, variables and classes a file defines; None where a star import leaves it open."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return None
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {node.name} if classes else set()
        elif isinstance(node, ast.If | ast.Try | ast.With):
            waiting += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr)]
        elif isinstance(node, ast.ExceptHandler):
            waiting += node.body
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        else:
            stored = [n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
            names.update(n.id for n in stored)
    return names


def _with_line(error: BadInput, path: Path) -> BadInput:
    """The same complaint, with the line of the user's file that led to it."""
    where = where_and_what(error, path.parent)
    line = where.split(": ", 1)[0] if where.startswith(path.name) else path.name
    field = error.field if error.field.startswith(path.name) else f"{line}: {error.field}"
    return BadInput(field, error.value, error.allowed, error.nearest)
