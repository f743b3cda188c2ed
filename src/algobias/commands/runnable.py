"""Whether the program of a command, and its script, are there at all."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Sequence
from pathlib import Path

from algobias.errors import BadInput


def check_runnable(command: Sequence[str], folder: Path) -> None:
    """Refuse a program that is not there, or a script that is given to Python and is not.

    Args:
        command: Its words; what has places to be filled is not looked at.
        folder: Where it is started.

    Raises:
        BadInput: Which of them is missing.
    """
    program, rest = command[0], command[1:]
    known = shutil.which(program) is not None or (folder / program).is_file()
    if not known and "{" not in program:
        raise BadInput("command", program, "a program that can be executed here")
    script = rest[0] if rest and rest[0].endswith(".py") else None
    if script is None or "{" in script or not Path(program).name.startswith("python"):
        return
    if not (folder / script).is_file():
        near = difflib.get_close_matches(script, [path.name for path in folder.glob("*.py")], 1)
        raise BadInput("command", script, "a script that is there", near[0] if near else None)
