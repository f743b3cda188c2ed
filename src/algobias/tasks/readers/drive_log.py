"""A recording of the Udacity driving simulator as it is written: ``driving_log.csv`` and its JPEG frames."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from algobias.errors import BadInput
from algobias.tasks.pictures import read_pictures
from algobias.tasks.readers.lines import read_lines

LOG, FRAMES = "driving_sim/driving_log.csv", "driving_sim/IMG"
LAYOUT = f"{LOG} and {FRAMES}/center_*.jpg"
TOP, BOTTOM = 35, 141
"""Rows of a frame of 160 that show the road: neither sky nor bonnet."""

HEIGHT, WIDTH = 32, 96
COLUMNS = 4
"""Columns of the log up to the steering: centre, left and right camera, steering."""


def find_drive(folder: Path) -> tuple[Path, Path] | None:
    """The log and the folder of its frames, where both lie there."""
    log, frames = folder / LOG, folder / FRAMES
    return (log, frames) if log.is_file() and frames.is_dir() else None


def read_drive(log: Path, frames: Path) -> dict[str, np.ndarray]:
    """The centre camera's road as 32x96 grey pictures (means over boxes), and steering in [-1, 1].

    The log names frames by paths on the recorder's machine, of which only the last part counts.

    Returns:
        ``x`` uint8 [N, 1, 32, 96] and ``y`` [N, 1], in order of time.

    Raises:
        BadInput: A row without four columns or with a steering that is no number; a frame is missing,
            damaged, or not 320x160.
    """
    names, steering = [], []
    for number, line in enumerate(read_lines(log, "steering")):
        row = line.split(",")
        if not line.strip() or (number == 0 and row[0].strip() == "center"):
            continue
        try:
            value = float(row[COLUMNS - 1])
        except (IndexError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            told = f"row {number + 1} of {log}: {line[:80]}"
            raise BadInput("data of steering", told, "center,left,right,steering,... with steering a number")
        names.append(re.split(r"[\\/]", row[0].strip())[-1])
        steering.append(value)
    missing = next((name for name in names if not (frames / name).is_file()), None)
    if missing is not None or not names:
        told = f"{missing} missing in {frames}" if names else f"no rows in {log}"
        raise BadInput("data of steering", told, LAYOUT)

    def made(picture: Any) -> Any:
        from PIL.Image import Resampling

        if picture.size != (320, 160):
            raise ValueError(f"{picture.size[0]}x{picture.size[1]} pixels, not 320x160")
        road = picture.convert("L").crop((0, TOP, 320, BOTTOM))
        return road.resize((WIDTH, HEIGHT), Resampling.BOX)

    x = read_pictures([frames / name for name in names], "steering", made)
    return {"x": x[:, None], "y": np.array(steering, dtype=np.float64)[:, None]}
