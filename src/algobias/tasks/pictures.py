"""Pictures in the formats data sets come in (PPM, PNG, JPEG), decoded by Pillow; sizes are checked first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from algobias.errors import BadInput

LARGEST_SIDE = 4096
"""Pixels of a side of a picture that is decoded at most."""


def read_pictures(paths: list[Path], name: str, make: Callable[[Any], Any]) -> np.ndarray:
    """Decode pictures one after the other.

    Args:
        paths: The files.
        name: Of the task, for messages.
        make: Turns each picture of Pillow into one of a common mode and size.

    Returns:
        uint8, [N, H, W] of grey or [N, H, W, C] of coloured pictures.

    Raises:
        BadInput: Pillow is missing; a file is no picture, too large, or not wholly there.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        allowed = "the arrays as .npz, or the library Pillow: pip install 'algobias[images]'"
        raise BadInput(f"data of {name}", "pictures, without Pillow", allowed) from error
    found = []
    for path in paths:
        try:
            with Image.open(path) as picture:
                if max(picture.size) > LARGEST_SIDE or min(picture.size) < 1:
                    told = f"{picture.size[0]} x {picture.size[1]} pixels in {path}"
                    raise BadInput(f"data of {name}", told, f"pictures of at most {LARGEST_SIDE} a side")
                picture.load()
                found.append(np.asarray(make(picture), dtype=np.uint8))
        except (
            OSError,
            ValueError,
            SyntaxError,
            EOFError,
            OverflowError,
            Image.DecompressionBombError,
            UnidentifiedImageError,
        ) as error:
            raise BadInput(f"data of {name}", f"{path}: {error}", "pictures that can be decoded") from error
    return np.stack(found)
