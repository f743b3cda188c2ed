"""A user's own task: a Python file that is executed, and told about before it is."""

from __future__ import annotations

import ast
from pathlib import Path

from algobias.errors import BadInput
from algobias.own.one_version import check_version
from algobias.own.user_file import executed, read_user_file
from algobias.tasks.rehearsal import rehearse
from algobias.tasks.task import Task


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
    return read_user_file(text, "task", _may_be_tasks, base_dir).announcement()


def load_user_task(text: str, base_dir: Path | None = None) -> Task:
    """Execute the file and return its task, rehearsed on a few examples.

    The file and the modules it imports from its folder belong to the task's fingerprint.

    Args:
        text: ``path/to/file.py:name``.
        base_dir: Folder that a relative path starts from.

    Raises:
        BadInput: No such file or name, an error raised in it (file, line, message), not a task.
    """
    file = read_user_file(text, "task", _may_be_tasks, base_dir)
    check_version(file, "task")
    with executed(file, "task") as named:
        task = named if isinstance(named, Task) or not callable(named) else named()
        if not isinstance(task, Task):
            raise BadInput(
                f"{file.path.name}:{file.name}", type(task).__name__, "a Task, or a function that returns one"
            )
        task.files = file.files()
        rehearse(task)
    task.text = file.text
    return task


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
