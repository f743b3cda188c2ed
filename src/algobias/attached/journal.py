"""The journal of a process: its events, written line by line to a file of its own."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

from algobias.attached.events import Event, ProbeReading, Refused, as_line


class Journal:
    """Write the events of this process, and of children forked from it, each to the file of its number.

    A line is handed to the operating system whole, in one call, before training goes on: a kill at any moment
    leaves whole lines.

    Args:
        folder: Where the files go; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pid = 0
        self._file = -1

    def write(self, event: Event) -> None:
        """Append one event."""
        if self._pid != os.getpid():  # the first event of all, or of a forked child
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"events-{os.getpid()}.jsonl"
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._pid = os.getpid()
        os.write(self._file, as_line(event).encode("utf-8"))

    @property
    def begun(self) -> bool:
        """Whether this very process has written anything."""
        return self._pid == os.getpid()


class ReadingsFile(Journal):
    """Keep readings alone, in a file of the user's; what is refused is a warning.

    Args:
        file: Appended to.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file.parent)
        self.file = file

    def write(self, event: Event) -> None:
        """Append a reading, or warn."""
        self._pid = os.getpid()
        if isinstance(event, ProbeReading):
            line = {"update": event.update, **json.loads(event.reading)}
            with open(self.file, "a", encoding="utf-8") as opened:
                opened.write(json.dumps(line, ensure_ascii=False) + "\n")
        elif isinstance(event, Refused):
            warnings.warn(f"algobias: {event.what}: {event.why}", stacklevel=2)


class Notes(Journal):
    """Keep the events of this very process in memory, and hand them on to the journal that there was.

    Args:
        onward: Where else they go; None: nowhere.

    Attributes:
        events: In order.
    """

    def __init__(self, onward: Journal | None = None) -> None:
        self.events: list[Event] = []
        self.onward = onward
        self._pid = os.getpid()

    def write(self, event: Event) -> None:
        """Keep one event."""
        if self._pid == os.getpid():
            self.events.append(event)
        if self.onward is not None:
            self.onward.write(event)

    @property
    def begun(self) -> bool:
        """Whether this very process has written anything."""
        return super().begun if self.onward is None else self.onward.begun
