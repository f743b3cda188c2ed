"""The catalogue of targets: one entry for each, and the way from text to objects."""

from __future__ import annotations

from algobias.errors import BadInput, unknown_name
from algobias.exports.mlflow import MLflow
from algobias.exports.tables import Tables
from algobias.exports.target import Target
from algobias.exports.tensorboard import TensorBoard
from algobias.exports.trackio import Trackio
from algobias.exports.wandb import Wandb
from algobias.spelling import parse_options

TARGETS: dict[str, type[Target]] = {
    target.name: target for target in (MLflow, Wandb, TensorBoard, Trackio, Tables)
}
"""Every target by its name on the command line."""


def parse(text: str) -> Target:
    """Read a target as spelled on the command line, ``mlflow:http://127.0.0.1:5000,experiment=batches``.

    Args:
        text: Name, then options behind a colon.

    Raises:
        BadInput: Unknown name, malformed text, an unknown option.

    Example:
        >>> parse("csv:results").folder
        'results'
    """
    name, _, rest = text.partition(":")
    if not name:
        raise BadInput("--to", text, ", ".join(TARGETS))
    if name not in TARGETS:
        raise unknown_name("--to", name, TARGETS)
    return parse_options(TARGETS[name], rest)
