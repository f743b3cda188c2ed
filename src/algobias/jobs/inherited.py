"""The environment that a run inherits: which variables there were, and whether they are as they were."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from pathlib import Path

from algobias.whole_files import write_whole

INHERITED = "inherited.json"
"""The file of a run's folder that keeps them."""

PASSING = frozenset(
    {
        "_", "PWD", "OLDPWD", "SHLVL", "COLUMNS", "LINES", "DISPLAY", "WAYLAND_DISPLAY", "COLORTERM",
        "LS_COLORS", "PS1", "PS2", "PROMPT_COMMAND", "TMPDIR", "HOSTNAME", "WINDOWID", "STY", "INVOCATION_ID",
        "JOURNAL_STREAM", "MAIL", "EDITOR", "VISUAL", "PAGER", "VIRTUAL_ENV_PROMPT", "NO_COLOR",
        "FORCE_COLOR", "CUDA_VISIBLE_DEVICES",
    }
)  # fmt: skip
"""Variables that shells, terminals, schedulers and slots change by themselves."""

PASSING_FAMILIES = (
    "TERM", "HIST", "LESS", "SSH_", "XDG_", "DBUS_", "TMUX", "VSCODE_", "GPG_", "ITERM_", "VTE_", "KITTY_",
    "JPY_", "PYTEST_", "SLURM_", "GITHUB_", "CI_", "RUNNER_", "ALGOBIAS_",
)  # fmt: skip
"""How the names of more of them begin."""

SHOWN = 5
"""Names that a message shows."""


def keep(folder: Path) -> None:
    """Keep in a run's folder which variables this process has: names, and no value of any.

    A value is a hash of 32 bits, by which it can be told from another and not found: it may be a secret.
    """
    write_whole(folder / INHERITED, json.dumps(_marks()).encode())


def changed_since(folder: Path, given: Collection[str] = ()) -> list[str]:
    """Name the variables that are not as they were when a run was made; nothing where nobody kept them.

    Args:
        folder: The folder of the run.
        given: Variables that its command sets itself.
    """
    try:
        then = json.loads((folder / INHERITED).read_bytes())
    except (OSError, ValueError):
        return []
    if not isinstance(then, dict):
        return []
    now = _marks()
    return sorted(
        name for name in then.keys() | now.keys() if then.get(name) != now.get(name) and name not in given
    )


def _marks() -> dict[str, str]:
    return {
        name: hashlib.sha256(f"{name}={text}".encode(errors="surrogateescape")).hexdigest()[:8]
        for name, text in os.environ.items()
        if name not in PASSING and not name.startswith(PASSING_FAMILIES)
    }
