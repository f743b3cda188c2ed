"""What determines the runs of a command, as far as can be seen from outside: words, files, place, levers."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from algobias.commands.command import Command
from algobias.json_values import JsonObject
from algobias.own.local_imports import local_imports

REVISION = 1
"""Raised by hand where the same command is run or read in another way."""

MOST_SOURCE = 2**20
"""Bytes of a file named in a command up to which its content counts; larger ones are data, which stay."""


def sources(command: Command, folder: Path) -> dict[str, str]:
    """Hash the files that a command names, and what Python files among them import from beside them.

    Args:
        command: The command.
        folder: The folder it is started in.

    Returns:
        Path as seen from the folder -> SHA-256 of the content.
    """
    named = [folder / word for word in _paths(command.words)]
    files = {path for path in named if path.is_file()}
    for path in [path for path in files if path.suffix == ".py"]:
        files.update(local_imports(path))
    hashes = {}
    for path in sorted(files):
        if path.stat().st_size <= MOST_SOURCE and os.access(path, os.R_OK):
            hashes[os.path.relpath(path, folder)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashes


def _paths(words: tuple[str, ...]) -> list[str]:
    """Words that may name files, values behind an = and modules behind ``-m`` among them."""
    names = [part for word in words for part in (word, word.partition("=")[2]) if part and "\0" not in part]
    for flag, module in itertools.pairwise(words):
        if flag == "-m":
            stem = module.replace(".", "/")
            names += [f"{stem}.py", f"{stem}/__main__.py"]
    return [name for name in names if len(name) < 1000]


def program(command: Command) -> str:
    """Find what the first word of a command starts: a bare one by PATH, as it will be.

    Links are not followed: the Python of an environment is a link to another.
    """
    word = command.words[0]
    if os.path.dirname(word):
        return word
    return shutil.which(word, path=command.environment.get("PATH")) or word


def run_address(command: Command, hashes: Mapping[str, str], orders: JsonObject, folder: Path) -> str:
    """Address of the runs of a command.

    Args:
        command: The command, places not filled.
        hashes: Of its files, from :func:`sources`.
        orders: What is asked of what sits inside, but for places and seeds.
        folder: The folder it is started in: data with relative names, and files that nobody named, lie there.
    """
    started = {"program": program(command), "folder": str(folder)}
    told: JsonObject = {"run": command.resolved(), "sources": {**hashes}, "orders": orders}
    return _address({**told, "started": {**started}})


def outcome_address(run: str, reading: JsonObject) -> str:
    """Address of the outcomes of runs: the runs, and where their numbers are read.

    Args:
        run: Address of the runs.
        reading: Sources and signs.
    """
    return _address({"of": run, "reading": reading})


def _address(told: JsonObject) -> str:
    text = json.dumps({**told, "revision": REVISION}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
