"""A target: where a finished study can be sent to."""

from __future__ import annotations

import importlib
import importlib.util
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from algobias.errors import BadInput
from algobias.exports.content import ExportedStudy
from algobias.returns import Returns, of_type
from algobias.spelling import Spelled


@dataclass(frozen=True)
class Sent:
    """What was sent.

    Attributes:
        place: Where it is found: a folder, or an address.
        written: Runs written now, the study's own among them.
        kept: Runs that were there already, word for word.
    """

    place: str
    written: int
    kept: int


class Target(Spelled):
    """A tracker, or a kind of file, that a study can be sent to; its fields are its options.

    Sending the same study again changes nothing: what lies there has a mark, a hash of its content, which is
    set last. What has the same mark is kept; what has another, or none since the sending was cut off, is
    replaced.

    Class attributes:
        name: Its name on the command line.
        summary: One sentence for the catalogue.
        library: The package it needs, as it is imported; None: none.
    """

    promised: ClassVar[Mapping[str, Returns]] = {**Spelled.promised, "send": of_type("a Sent", Sent)}
    summary: ClassVar[str]
    library: ClassVar[str | None] = None

    @abstractmethod
    def send(self, study: ExportedStudy) -> Sent:
        """Send a study.

        Raises:
            BadInput: A place that cannot be written to.
            Exception: Whatever the tracker's library raises.
        """

    def check(self) -> None:
        """Refuse a target whose library is not installed.

        Raises:
            BadInput: It is not; says how to get it.
        """
        if self.library is not None and importlib.util.find_spec(self.library) is None:
            allowed = f"a tracker that is installed: pip install {self.library}, or 'algobias[trackers]'"
            raise BadInput("--to", self.name, allowed)


def library(name: str) -> Any:  # its types are the tracker's own
    """Import a tracker's library."""
    return importlib.import_module(name)


def file_name(text: str) -> str:
    """Spell a name so that it is one of a file on every system.

    Example:
        >>> file_name("variant+control:0")
        'variant+control-0'
    """
    return re.sub(r"[^A-Za-z0-9._=+-]+", "-", text).strip(".") or "-"


def folder_of(given: str | None, usual: str) -> Path:
    """The folder that an option names, or the usual one."""
    return Path(given if given is not None else usual)
