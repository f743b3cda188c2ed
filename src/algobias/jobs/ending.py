"""How a run of a command ended, in words, with the script's own last ones."""

from __future__ import annotations

from pathlib import Path

from algobias.jobs.job import ERRORS, OUTPUT, Result

LAST_LINES = 8
"""Lines of an output that a message shows."""


def why(result: Result, folder: Path) -> str:
    """Say why a run did not end well, with the script's last words."""
    if result.reason is not None:
        return result.reason
    end = f"exit code {result.code}" if result.signal is None else f"ended by signal {result.signal}"
    words = last_lines(folder / ERRORS) or last_lines(folder / OUTPUT)
    return f"{end}: {words}" if words else end


def last_lines(path: Path, most: int = LAST_LINES) -> str:
    """Read the last lines of an output, joined by bars."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4000))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return " | ".join(line.strip() for line in lines[-most:] if line.strip())
