"""Probes inside of a run: found by name, so that nobody loads them who has not asked for any.

The environment of a script may lack the packages that they need.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from algobias.attached.fit.loss import Reader
from algobias.errors import BadInput

if TYPE_CHECKING:
    from algobias.attached.watched_run import WatchedRun

READER = "algobias.probes.captured.reader"
"""The module that reads; a room below this one, which therefore is not imported here."""


def check_probes(probes: tuple[str, ...]) -> None:
    """Refuse what cannot be read.

    Raises:
        BadInput: An unknown probe, or an option that it does not have; a package that probes need is missing.
    """
    _readers(probes).parse_many(probes)


def reader_of(run: WatchedRun) -> Reader:
    """Make what reads the ordered probes.

    Raises:
        BadInput: As :func:`check_probes`.
    """
    reader: Reader = _readers(run.orders.probes).CapturedReader(run, run.orders.probes)
    return reader


def _readers(probes: tuple[str, ...]) -> ModuleType:
    try:
        return importlib.import_module(READER)
    except ImportError as error:
        needed = f"an environment of the script with what probes need ({error})"
        raise BadInput("probes", ",".join(probes), needed) from error
