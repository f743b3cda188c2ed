"""What somebody else wrote: regular files of a bounded size, YAML without its traps, harmless text."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

from algobias.errors import BadInput, shown

MOST_BYTES = 2**20
"""Text files that a user names are read up to this size."""

MOST_VALUES = 10_000
"""Values in a YAML file, those that an alias repeats counted again."""

DEEPEST = 20
"""Levels of lists and mappings inside each other in a YAML file."""

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_OTHER_BASE = re.compile(r"[-+]?(0[0-9_]+$|[0-9_.]+:)")
"""What YAML 1.1 takes for a number in base 8 (017) or 60 (1:30), and nobody means so."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def possible_path(text: str | os.PathLike[str], field: str) -> Path:
    """Check that a file system can have a path at all, whether or not there is something.

    Args:
        text: As the user gave it.
        field: What it is, for the message.

    Returns:
        The path with ``~`` spelled out.

    Raises:
        BadInput: A name that is too long, a NUL in it, a circle of links, the home of nobody.
    """
    try:
        path = Path(text).expanduser()
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise BadInput(field, str(text), f"a path that there can be ({reason})") from error
    return path


def regular_file(path: Path, field: str) -> Path:
    """Check that a path names a regular file: reading anything else may never end.

    Args:
        path: As the user gave it; links are followed.
        field: What the file is, for the message.

    Raises:
        BadInput: There is no such file, or it is a folder, a device, a pipe or a socket.
    """
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(field, str(path), f"a file that can be read ({reason})") from error
    if kind != stat.S_IFREG:
        raise BadInput(field, str(path), f"a regular file; this is {_KINDS.get(kind, 'something else')}")
    return path


def read_text(path: Path, field: str, most: int = MOST_BYTES) -> str:
    """Read a text file in UTF-8.

    Args:
        path: The file.
        field: What the file is, for the message.
        most: Bytes it may have.

    Raises:
        BadInput: Not a regular file, not readable, larger than ``most``, not UTF-8.
    """
    try:
        with open(regular_file(path, field), "rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise BadInput(field, str(path), f"a file that can be read ({error.strerror})") from error
    if len(data) > most:
        raise BadInput(field, str(path), f"a file of at most {most:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(field, str(path), f"text in UTF-8 ({error.reason} at byte {error.start})") from error


def parse_yaml(text: str, field: str, source: str) -> Any:
    """Read one YAML document by the safe loader, without what makes YAML a trap.

    A key given twice is an error and not the last one, as is a number in base 8 or 60 (017, 1:30); dates are
    text. Values that aliases repeat are counted before they are built, so that a few lines cannot become
    gigabytes. Cost: linear in the text.

    Args:
        text: The document.
        field: What it is, for the message.
        source: Where it lies, for the message.

    Raises:
        BadInput: Not YAML; a key given twice (with its line), a number in base 8 or 60, a value that cannot
            be built (a number of 5,000 digits), more than :data:`MOST_VALUES` values, or more than
            :data:`DEEPEST` levels.
    """
    try:
        _check_depth(text)
        return yaml.load(text, _Strict)
    except yaml.MarkedYAMLError as error:
        told = error.problem or error.context or "not YAML"
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f", line {mark.line + 1}"
        raise BadInput(field, source, f"YAML ({told}{place})") from error
    except yaml.YAMLError as error:
        raise BadInput(field, source, f"YAML ({' '.join(str(error).split())})") from error


def _check_depth(text: str) -> None:
    """Parsing into events keeps no stack of calls: deep nesting is seen before anything recurses into it."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise _problem(f"more than {DEEPEST} levels inside each other", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Strict(yaml.SafeLoader):
    """The safe loader, with every key once, numbers as written, and a bound on what aliases repeat."""

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _problem(f"the key {shown(key.value)} is given twice", key)
                seen.add(key.value)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            raise _problem(str(error), node) from error
        if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and _OTHER_BASE.match(node.value):
            raise _problem(f"{shown(node.value)} is {value} in YAML: write that, or quotes around it", node)
        return value


# A date is text like any other.
_Strict.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _count(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Values that a node stands for once its aliases are followed."""
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise _problem("a value that contains itself", node)
        return sizes[id(node)]
    sizes[id(node)] = 0
    total = 1
    if isinstance(node, yaml.CollectionNode):
        for entry in node.value:
            for child in entry if isinstance(entry, tuple) else (entry,):
                total += _count(child, sizes)
    if total > MOST_VALUES:
        raise _problem(f"more than {MOST_VALUES:,} values", node)
    sizes[id(node)] = total
    return total


def _problem(told: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=told, problem_mark=place.start_mark)
