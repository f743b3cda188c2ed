"""Scripts of somebody else's: where they lie in a checkout, how they are run, edits of them by hand."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from own_data import SHARED

Edits = tuple[tuple[str, str], ...]
"""Texts that a script has once each, and what takes their place."""

BY_HAND = Path(__file__).with_name("by_hand.py")


@dataclass(frozen=True)
class Source:
    """A script in a checkout.

    Attributes:
        name: What it is called in results.
        checkout: Folder of the checkout.
        expected: The commit that was looked at before.
        script: The script, from the folder it is run in.
        options: Its options; ``{out}`` is a folder of the run's own.
        inside: The folder it is run in, inside of the checkout.
        needs: Packages it needs besides torch.
        data: Files it needs below :data:`SHARED`.
        prepare: Lays its data out in a copy of the folder.
        sharp: What SAM of radius .05 by hand makes of it; none: that is not tried.
        refusal: Why gradients cannot be taken a second time; None: they can.
    """

    name: str
    checkout: str
    expected: str
    script: str
    options: tuple[str, ...]
    inside: str = "."
    needs: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    prepare: Callable[[Path], None] | None = None
    sharp: Edits = ()
    refusal: str | None = None

    def missing(self, sources: Path) -> str | None:
        """Say what is not there, or None."""
        if not (sources / self.checkout / self.inside / self.script).is_file():
            return f"no checkout {self.checkout}, looked at before as of {self.expected}"
        absent = [need for need in self.needs if importlib.util.find_spec(need) is None]
        if absent:
            return f"{' and '.join(absent)} not installed"
        absent = [name for name in self.data if not (SHARED / name).exists()]
        return f"no data {', '.join(absent)} below ALGOBIAS_DATA" if absent else None

    def commit(self, sources: Path) -> str:
        """The commit of the checkout."""
        words = ["git", "-C", str(sources / self.checkout), "rev-parse", "--short=7", "HEAD"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.stdout.strip() or "unknown"

    def prepared(self, sources: Path, folder: Path) -> Path:
        """A copy of the folder it is run in, with its data."""
        shutil.copytree(sources / self.checkout / self.inside, folder, ignore=shutil.ignore_patterns(".git"))
        if self.prepare is not None:
            self.prepare(folder)
        return folder

    def words(self, out: Path, more: tuple[str, ...] = ()) -> list[str]:
        """The command; ``more`` goes to its end."""
        options = (option.replace("{out}", str(out)) for option in (*self.options, *more))
        return [sys.executable, self.script, *options]

    def edited_copy(self, place: Path, folder: Path, edits: Edits) -> Path:
        """A copy of a prepared folder with the script edited; its data stay where they are seen.

        Raises:
            RuntimeError: The script does not have the texts that are replaced.
        """
        shutil.copytree(place, folder)
        shutil.copy(BY_HAND, folder)
        path = folder / self.script
        text = path.read_text(encoding="utf-8")
        for old, new in edits:
            if text.count(old) != 1:
                raise RuntimeError(f"{self.script} has {text.count(old)} times, not once: {old.strip()[:60]}")
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
        return folder
