"""Classes beside a catalogue of ours: from a Python file of the user's, or from another installed package."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import inspect
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from algobias.errors import BadInput, unknown_name
from algobias.own.local_imports import local_imports
from algobias.own.one_version import check_version
from algobias.own.returns import is_own
from algobias.own.user_code import TASK_MODULE, guarded
from algobias.own.user_file import executed, in_file, read_user_file, say_once
from algobias.spelling import Spelled

S = TypeVar("S", bound=Spelled)

_loaded: dict[tuple[str, str, str], type[Spelled]] = {}


def split(text: str) -> tuple[str, str]:
    """Split a spelling into what names a class, ``batch`` or ``mine.py:Jitter``, and its options.

    Example:
        >>> split("batch:x16,lr=sqrt"), split("mine.py:Jitter:0.1")
        (('batch', 'x16,lr=sqrt'), ('mine.py:Jitter', '0.1'))
    """
    parts = in_file(text)
    if parts is None:
        name, _, options = text.strip().partition(":")
        return name.strip(), options
    file, name, options = parts
    return (f"{file}:{name}" if name else file), options


def from_file(base: type[S], kind: str, text: str, taken: Collection[str]) -> type[S] | None:
    """Execute the file that ``text`` names, after saying so on stderr, and return the class in it.

    The class gets the file as its ``source`` and a hash of it, and of what it imports from its own folder, as
    its ``revision``: results of another version of the file are other results. A file is executed once for
    each of its versions.

    Args:
        base: What it must be a class of.
        kind: What that is called: ``lever``.
        text: ``path/to/file.py:Name``; where it names no Python file, the answer is None.
        taken: Names it may not have.

    Raises:
        BadInput: No such file or class, an error raised in it, a class that lacks something, a name taken.
    """
    if in_file(text) is None:
        return None
    file = read_user_file(text, kind, _classes, classes=True)
    check_version(file, kind)
    digest = file.digest()
    known = _loaded.get((kind, file.text, digest))
    if known is None:
        with executed(file, kind) as named:
            known = _checked(base, kind, named, f"{file.path.name}:{file.name}", taken)
        known.source = file.text
        known.revision = int(digest[:12], 16)
        _loaded[kind, file.text, digest] = known
    assert issubclass(known, base)
    return known


_looked_for: dict[str, Offered[Any]] = {}


@dataclass(frozen=True)
class Offered(Generic[S]):
    """What installed packages offer of one kind.

    Attributes:
        classes: By name.
        faults: What is wrong with the others, by the names that they would have.
    """

    classes: dict[str, type[S]]
    faults: dict[str, BadInput]


def from_packages(base: type[S], kind: str, taken: Collection[str]) -> dict[str, type[S]]:
    """Load the classes that installed packages offer under the entry point group ``algobias.levers``.

    One that cannot be imported, lacks something, or has a name that is taken is left out, after a line on
    stderr that says why: a package that is broken must not take the others away.

    Args:
        base: What they must be classes of.
        kind: What that is called, in the singular: ``lever``.
        taken: Names they may not have.
    """
    offered = _offered(base, kind, taken)
    for fault in dict.fromkeys(map(str, offered.faults.values())):
        say_once(f"left out: {fault}")
    return offered.classes


def _offered(base: type[S], kind: str, taken: Collection[str]) -> Offered[S]:
    if kind in _looked_for:  # what failed is not imported again
        return _looked_for[kind]
    classes: dict[str, type[S]] = {}
    faults: dict[str, BadInput] = {}
    for point in _points(kind):
        try:
            cls = _imported(base, kind, point, taken)
        except BadInput as error:
            faults[point.name] = error
            continue
        other = classes.pop(cls.name, None)
        if cls.name in faults or (other is not None and other is not cls):
            what = f"{kind} {cls.name} of the package {_package(point)}"
            faults[cls.name] = BadInput(f"{what}.name", cls.name, f"a name that no other {kind} has")
        else:
            classes[cls.name] = cls
    _looked_for[kind] = Offered(classes, faults)
    return _looked_for[kind]


def class_named(base: type[S], kind: str, name: str, catalogue: Mapping[str, type[S]], *more: str) -> type[S]:
    """Find a class: of the catalogue, of ``path/to/file.py:Name``, or of an installed package.

    Args:
        base: What it must be a class of.
        kind: What that is called: ``lever``.
        name: Its name, or its file.
        catalogue: Ours, by name.
        more: Further words that may stand here, to be proposed.

    Raises:
        BadInput: There is none; the nearest name is proposed. A file or a package that raises, or lacks
            something. Options behind the name.
    """
    alone, options = split(name)
    if options:
        raise BadInput(kind, name, f"a name without options: {alone}")
    ours = catalogue.get(name) or from_file(base, kind, name, catalogue)
    if ours is not None:
        return ours
    offered = _offered(base, kind, catalogue)
    if name in offered.faults:
        raise offered.faults[name]
    if name not in offered.classes:
        from_packages(base, kind, catalogue)  # says which are left out
        raise unknown_name(kind, name, [*catalogue, *offered.classes, *more, "path/to/file.py:Name"])
    return offered.classes[name]


def spelled(base: type[S], kind: str, item: S, taken: Collection[str]) -> str:
    """Spell an object made in Python so that other processes find its class: by its name, or by its file.

    Args:
        base: What it is an object of.
        kind: What that is called: ``lever``.
        item: The object.
        taken: Names that its class may not have.

    Raises:
        BadInput: Its class is not at the top level of a Python file; or that file asks for itself while it is
            executed.
    """
    cls = type(item)
    if is_own(cls) or vars(cls).get("source") or cls in _offered(base, kind, taken).classes.values():
        return item.spelling()
    if cls.__module__.startswith(TASK_MODULE):
        allowed = "a class of a file that asks for nothing while it is executed: if __name__ == '__main__':"
        raise BadInput(kind, cls.__name__, allowed)
    file = None
    with contextlib.suppress(TypeError, OSError):
        file = inspect.getsourcefile(cls)
    if file is None or not Path(file).is_file() or "." in cls.__qualname__:
        allowed = "a class at the top level of a Python file, where other processes find it: mine.py:Name"
        raise BadInput(kind, cls.__name__, allowed)
    return item.spelled_as(f"{Path(file).resolve()}:{cls.__name__}")


@functools.cache
def _points(kind: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=f"algobias.{kind}s"))


def _imported(base: type[S], kind: str, point: EntryPoint, taken: Collection[str]) -> type[S]:
    what = f"{kind} {point.name} of the package {_package(point)}"
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for what was asked for, JSON perhaps
        named = guarded(what, point.load, "a package that can be imported")
    cls = _checked(base, kind, named, what, taken)
    path = inspect.getsourcefile(cls)
    if path is not None and "revision" not in cls.__dict__:
        cls.revision = int(_package_digest(cls.__module__, Path(path))[:12], 16)
    return cls


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.module


def _package_digest(module: str, path: Path) -> str:
    """Hash of all source files of the package a class comes from, or of its file and what that imports."""
    top = getattr(sys.modules.get(module.partition(".")[0]), "__file__", None)
    whole = top is not None and Path(top).name == "__init__.py"
    files = sorted(Path(str(top)).parent.rglob("*.py")) if whole else [path, *local_imports(path)]
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _checked(base: type[S], kind: str, named: object, what: str, taken: Collection[str]) -> type[S]:
    if not (isinstance(named, type) and issubclass(named, base)):
        given = named.__name__ if isinstance(named, type) else type(named).__name__
        raise BadInput(what, given, f"a class of {base.__module__}.{base.__qualname__}")
    if not hasattr(named, "name"):
        raise BadInput(f"{what}.name", None, "a class attribute, its name on the command line")
    if named.name in taken:
        raise BadInput(f"{what}.name", named.name, f"a name that no other {kind} has")
    return named


def _classes(tree: ast.Module) -> set[str]:
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
