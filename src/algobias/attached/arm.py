"""Arm a process: wait for torch, and sit inside of what is trained with it from then on."""

from __future__ import annotations

import contextlib
import importlib
import os
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from algobias.attached.arrival import when_imported
from algobias.attached.journal import Journal, Notes, ReadingsFile
from algobias.attached.orders import ARMED, VARIABLE, FitOrders, Orders, read_orders
from algobias.attached.seeds import SeedOffset
from algobias.attached.tracebacks import install as strip_tracebacks
from algobias.errors import BadInput

if TYPE_CHECKING:
    from algobias.attached.attachment import Attachment


class _Armed:
    """The attachment of this process, if any."""

    orders: Orders | None = None
    attachment: Attachment | None = None


def arm() -> None:
    """Do in this process what the file of orders says that the environment names; nothing where none does.

    A second call does nothing. Torch is not imported: what the script never imports never runs.

    Raises:
        BadInput: The orders cannot be read.
    """
    path = os.environ.get(VARIABLE)
    if not path or _Armed.orders is not None:
        return
    orders = _Armed.orders = read_orders(Path(path))
    with contextlib.suppress(OSError):  # a run must not fail because of what watches it
        Path(orders.events).mkdir(parents=True, exist_ok=True)
        Path(orders.events, ARMED).touch()
    if orders.seed is not None:
        SeedOffset(orders.seed).install()
    when_imported("torch", _attach)


def arm_by_itself(probes: tuple[str, ...], file: str | PathLike[str] | None, fit: int) -> None:
    """Read probes in this process, without orders of anybody.

    Args:
        probes: As spelled.
        file: Where readings go.
        fit: Training examples on which is read.

    Raises:
        BadInput: No file, an unknown probe.
    """
    if file is None:
        raise BadInput("file", None, "the file that readings go to, like file='readings.jsonl'")
    from algobias.attached.probed import check_probes

    check_probes(probes)
    orders = _Armed.orders = Orders(
        "", fit=FitOrders(examples=fit), replay=True, metrics=False, probes=probes
    )
    _sit(orders, ReadingsFile(Path(file)))


def is_ordered() -> bool:
    """Whether whoever started this process has ordered anything."""
    return bool(os.environ.get(VARIABLE))


def attachment() -> Attachment | None:
    """What sits inside of this process; None: nothing does, or torch has not been imported."""
    return _Armed.attachment


def watched(orders: Orders) -> tuple[Attachment, Notes, int]:
    """Sit inside of this process's next training by its own orders, and note what happens.

    Where whoever started the process has given orders, those count. A process may train several times, one
    after the other: each call begins another training.

    Args:
        orders: What to do; events go to the notes alone.

    Returns:
        What sits in the process, its notes, and how many of them are of earlier trainings.

    Raises:
        BadInput: The orders of whoever started the process cannot be read.
        RuntimeError: Nothing can sit in this process; says why.
    """
    importlib.import_module("torch")
    before = _Armed.attachment.journal if _Armed.attachment is not None else None
    earlier = len(before.events) if isinstance(before, Notes) else 0
    why: str | None = "what it wrote says why"
    if is_ordered():
        arm()
    elif _Armed.attachment is None:
        _Armed.orders = orders
        why = _sit(orders, Notes())
    else:
        _Armed.attachment.begin_again(orders)
    run = _Armed.attachment
    if run is None:
        raise RuntimeError(f"algobias cannot sit in this process: {why}")
    if not isinstance(run.journal, Notes):
        run.journal = Notes(run.journal)
    return run, run.journal, earlier


def _attach(torch: ModuleType) -> None:
    if _Armed.orders is not None:
        _sit(_Armed.orders, Journal(Path(_Armed.orders.events)))


def _sit(orders: Orders, journal: Journal) -> str | None:
    """Sit in this process; why that cannot be, or None."""
    strip_tracebacks()
    from algobias.attached.attachment import Attachment
    from algobias.attached.events import Refused

    attached = Attachment(orders, journal)
    try:
        attached.install()
    except Exception as error:  # a run must not fail because of what watches it
        why = f"{type(error).__name__}: {error}"
        journal.write(Refused(0, "attach", why))
        return why
    _Armed.attachment = attached
    return None
