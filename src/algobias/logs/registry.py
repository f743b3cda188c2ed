"""All formats, and which of them a file has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from algobias.errors import BadInput, unknown_name
from algobias.logs.formats.events import TensorBoard
from algobias.logs.formats.exports import TensorBoardExport, WandbExport
from algobias.logs.formats.mlflow import MLflow
from algobias.logs.formats.objects import TrainerState, WandbHistory
from algobias.logs.formats.stdout import Megatron, NanoGPT, TorchTitan
from algobias.logs.formats.tables import Fastai, Keras, Lightning, Own, Table, Timm
from algobias.logs.raw import Format, head_of

OWN = Own()
"""The tool's own table."""

FORMATS: tuple[Format, ...] = (
    *(OWN, Keras(), Lightning(), Fastai(), Timm(), WandbExport(), TensorBoardExport()),
    *(TrainerState(), WandbHistory(), MLflow(), TensorBoard(), NanoGPT(), Megatron(), TorchTitan()),
)
"""Formats that are recognised by what a file holds."""

ANY = Table()
"""A table of which somebody has said what its columns are."""


def format_named(name: str) -> Format:
    """The format of a word.

    Raises:
        BadInput: There is none of that name.
    """
    known = {kind.key: kind for kind in (*FORMATS, ANY)}
    if name not in known:
        raise unknown_name("--format", name, known)
    return known[name]


def recognise(path: Path) -> Format | None:
    """Find the format of a file by its beginning and its name; None where no format fits.

    Raises:
        BadInput: Several formats fit equally well; the file cannot be read.
    """
    head = head_of(path)
    sure = {kind: kind.confidence(path, head) for kind in FORMATS}
    most = max(sure.values())
    if most == 0:
        return None
    best = [kind for kind, level in sure.items() if level == most]
    if len(best) > 1:
        several = " and ".join(kind.words for kind in best)
        options = which_format(kind.key for kind in best)
        raise BadInput("log", str(path), f"a log of one format; this may be a {several}: {options}")
    return best[0]


def which_format(keys: Iterable[str]) -> str:
    """Say how to choose one of several formats, for both arms or for each."""
    options = " or ".join(f"--format {key}" for key in keys)
    return f"{options} (twice where the arms differ, the baseline's first)"
