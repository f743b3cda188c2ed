"""Arm a process: wait for torch, and sit inside of what is trained with it from then on."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from algobias.attached.arrival import when_imported
from algobias.attached.journal import Journal, ReadingsFile
from algobias.attached.orders import VARIABLE, FitOrders, Orders, read_orders
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
    from algobias.attached.attachment import Attachment
    from algobias.attached.probed import check_probes

    check_probes(probes)
    orders = _Armed.orders = Orders(
        "", fit=FitOrders(examples=fit), replay=True, metrics=False, probes=probes
    )
    attached = Attachment(orders, ReadingsFile(Path(file)))
    attached.install()
    _Armed.attachment = attached


def is_ordered() -> bool:
    """Whether whoever started this process has ordered anything."""
    return bool(os.environ.get(VARIABLE))


def attachment() -> Attachment | None:
    """What sits inside of this process; None: nothing does, or torch has not been imported."""
    return _Armed.attachment


def _attach(torch: ModuleType) -> None:
    orders = _Armed.orders
    if orders is None:
        return
    strip_tracebacks()
    from algobias.attached.attachment import Attachment
    from algobias.attached.events import Refused

    journal = Journal(Path(orders.events))
    attached = Attachment(orders, journal)
    try:
        attached.install()
    except Exception as error:  # a run must not fail because of what watches it
        journal.write(Refused(0, "attach", f"{type(error).__name__}: {error}"))
    else:
        _Armed.attachment = attached
