"""The German Traffic Sign Recognition Benchmark as published: a folder of PPM pictures for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from algobias.errors import BadInput
from algobias.tasks.pictures import read_pictures
from algobias.tasks.readers.lines import read_lines

SIDE = 32
FRAMES = slice(2, None, 3)
"""Frames of a track that are used: neighbours are nearly the same picture."""

TRAIN = ("GTSRB/Final_Training/Images", "GTSRB/Training", "gtsrb/GTSRB/Training")
TEST = ("GTSRB/Final_Test/Images", "gtsrb/GTSRB/Final_Test/Images")
LABELS = ("GTSRB/GT-final_test.csv", "GT-final_test.csv", "gtsrb/GT-final_test.csv")
LAYOUT = f"{TRAIN[0]}/00000/00000_00000.ppm, ..., {TEST[0]}/00000.ppm, ..., {LABELS[0]}"


def find_signs(folder: Path) -> tuple[Path, Path, Path] | None:
    """Folders of the training and the test pictures, and the file of the test labels, where all lie there."""
    train, test, labels = (_first(folder, candidates) for candidates in (TRAIN, TEST, LABELS))
    return None if train is None or test is None or labels is None else (train, test, labels)


def read_signs(train: Path, test: Path, labels: Path) -> dict[str, np.ndarray]:
    """Every third frame of every track, and the whole official test set, as 32x32 RGB pictures.

    Returns:
        ``x_train`` [N, 3, 32, 32], ``y_train``, ``track_train`` [N], ``x_test``, ``y_test``: as the arrays of
        ``gtsrb32.npz``, there resized by another library.

    Raises:
        BadInput: A folder or a file is not named as published, a picture or a label is missing or damaged.
    """
    chosen: list[tuple[Path, int, int]] = []
    for folder in sorted(path for path in train.iterdir() if path.is_dir()):
        label = _number(folder.name, folder, "class folders 00000 to 00042")
        tracks: dict[int, list[Path]] = {}
        for path in sorted(folder.glob("*.ppm")):
            parts = [_number(part, path, "pictures TRACK_FRAME.ppm") for part in path.stem.split("_")]
            tracks.setdefault(parts[0], []).append(path)
        for track, frames in sorted(tracks.items()):
            chosen += [(path, label, track) for path in frames[FRAMES] or frames[-1:]]
    answers = _answers(labels)
    if not chosen or not answers:
        raise BadInput("data of gtsrb", f"no pictures in {train}, or no labels in {labels}", LAYOUT)
    missing = next((name for name in answers if not (test / name).is_file()), None)
    if missing is not None:
        raise BadInput("data of gtsrb", f"{missing} missing in {test}", f"every picture that {labels} names")
    return {
        "x_train": _pictures([path for path, _, _ in chosen]),
        "y_train": np.array([label for _, label, _ in chosen], dtype=np.int64),
        "track_train": np.array([track for _, _, track in chosen], dtype=np.int64),
        "x_test": _pictures([test / name for name in answers]),
        "y_test": np.array(list(answers.values()), dtype=np.int64),
    }


def _first(folder: Path, candidates: tuple[str, ...]) -> Path | None:
    return next((folder / one for one in candidates if (folder / one).exists()), None)


def _answers(path: Path) -> dict[str, int]:
    """Class of every test picture by its file name."""
    head, *rows = [line.split(";") for line in read_lines(path, "gtsrb") if line.strip()]
    if not {"Filename", "ClassId"} <= set(head) or any(len(row) != len(head) for row in rows):
        raise BadInput("data of gtsrb", f"columns {';'.join(head)[:80]} in {path}", "Filename;...;ClassId")
    name, label = head.index("Filename"), head.index("ClassId")
    return {Path(row[name]).name: _number(row[label].strip(), path, "classes 0 to 42") for row in rows}


def _number(text: str, path: Path, allowed: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise BadInput("data of gtsrb", f"{text!r} in {path}", allowed)
    return int(text)


def _pictures(paths: list[Path]) -> np.ndarray:
    def made(picture: Any) -> Any:
        from PIL.Image import Resampling

        return picture.convert("RGB").resize((SIDE, SIDE), Resampling.BILINEAR)

    return read_pictures(paths, "gtsrb", made).transpose(0, 3, 1, 2)
