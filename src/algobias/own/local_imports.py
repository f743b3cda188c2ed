"""Modules that a Python file imports from its own folder: read off its text, nothing is executed."""

from __future__ import annotations

import ast
from pathlib import Path

NO_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What Python raises of text that is no Python, or is nested too deeply for its parser."""


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
