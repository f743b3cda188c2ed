"""Traffic signs and drives as they are published: what is read, and what damage is told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from algobias.errors import BadInput
from algobias.tasks import gtsrb, steering
from algobias.tasks.registry import load_task

CLASSES, TRACKS, LENGTH = 3, 8, 7
TURN = 0.3


def colour(label: int, track: int, frame: int) -> tuple[int, int, int]:
    return 20 + 60 * label, 10 + 20 * track, 5 + 30 * frame


@pytest.fixture
def signs(tmp_path: Path) -> Path:
    """Plain pictures of several sizes; the test pictures are red on the left and green on the right."""
    for label in range(CLASSES):
        folder = tmp_path / "GTSRB" / "Final_Training" / "Images" / f"{label:05d}"
        folder.mkdir(parents=True)
        (folder / f"GT-{label:05d}.csv").write_text("Filename;Width;Height;ClassId\n")
        for track in range(TRACKS):
            for frame in range(LENGTH):
                made = Image.new("RGB", (20 + 3 * frame, 25 + track), colour(label, track, frame))
                made.save(folder / f"{track:05d}_{frame:05d}.ppm")
    folder = tmp_path / "GTSRB" / "Final_Test" / "Images"
    folder.mkdir(parents=True)
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for number in range(6):
        pixels = np.zeros((40, 64, 3), np.uint8)
        pixels[:, :32, 0], pixels[:, 32:, 1] = 255, 255
        Image.fromarray(pixels).save(folder / f"{number:05d}.ppm")
        rows.append(f"{number:05d}.ppm;64;40;5;5;60;35;{number % CLASSES}")
    (tmp_path / "GTSRB" / "GT-final_test.csv").write_text("\r\n".join(rows) + "\r\n")
    return tmp_path


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Frames whose road is as light as their number, under a black sky; names as two systems write them."""
    frames = tmp_path / "driving_sim" / "IMG"
    frames.mkdir(parents=True)
    rows = ["center,left,right,steering,throttle,reverse,speed"]
    for number in range(820):
        pixels = np.zeros((160, 320, 3), np.uint8)
        pixels[35:141] = number % 100
        kept = number if number < 12 else 500 + number % 4
        if number < 12 or 500 <= number < 504:
            Image.fromarray(pixels).save(frames / f"center_{number}.jpg", quality=95)
        where = f"C:\\drive\\IMG\\center_{kept}.jpg" if number % 2 else f"/home/me/IMG/center_{kept}.jpg"
        rows.append(f"{where}, l.jpg, r.jpg, {TURN if number % 90 < 30 else -TURN}, 0.5, 0, 20")
    (tmp_path / "driving_sim" / "driving_log.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_signs_as_published(signs: Path) -> None:
    data = gtsrb.read(signs)
    expected = [
        (label, track, frame) for label in range(CLASSES) for track in range(TRACKS) for frame in (2, 5)
    ]
    assert data["y_train"].tolist() == [label for label, _, _ in expected]
    assert data["track_train"].tolist() == [track for _, track, _ in expected]
    assert data["x_train"].shape == (len(expected), 3, 32, 32)
    for picture, (label, track, frame) in zip(data["x_train"], expected, strict=True):
        assert (picture == np.array(colour(label, track, frame), np.uint8)[:, None, None]).all()
    assert data["y_test"].tolist() == [0, 1, 2, 0, 1, 2]
    red, green, blue = data["x_test"][0]
    assert (red[:, :15] == 255).all()
    assert (red[:, 17:] == 0).all()
    assert (green[:, 17:] == 255).all()
    assert (blue == 0).all()
    task = load_task("gtsrb", signs)
    assert task.name == "gtsrb"
    assert len(task.train) == len(expected) - CLASSES * 2  # one track in eight is for validation


def test_a_drive_as_recorded(drive: Path) -> None:
    data, path = steering.read(drive)
    assert path.name == "driving_log.csv"
    assert data["x"].shape == (820, 1, 32, 96)
    assert data["y"][:, 0].tolist() == [TURN if number % 90 < 30 else -TURN for number in range(820)]
    for number in range(820):  # JPEG is not exact
        light = number if number < 12 else number % 4
        assert np.abs(data["x"][number].astype(int) - light).max() <= 2
    assert len(load_task("steering", drive).train) > 0


def test_arrays_come_first(signs: Path) -> None:
    (signs / "gtsrb32.npz").write_bytes(b"not an archive")
    with pytest.raises(BadInput, match=r"gtsrb32\.npz"):
        load_task("gtsrb", signs)


PPM = "GTSRB/Final_Training/Images/00001/00003_00002.ppm"
LABELS = "GTSRB/GT-final_test.csv"
DAMAGES: dict[str, tuple[str, Any, str]] = {
    "cut off": (PPM, lambda data: data[: len(data) // 2], "00003_00002.ppm"),
    "empty picture": (PPM, lambda data: b"", "00003_00002.ppm"),
    "another magic": (PPM, lambda data: b"Q9" + data[2:], "00003_00002.ppm"),
    "header of a huge picture": (PPM, lambda data: b"P6 99999999 99999999 255\n" + data[:99], "00003_00002"),
    "header of a wide picture": (PPM, lambda data: b"P6 9000 10 255\n" + data[:99], "9000 x 10 pixels"),
    "not a number": (PPM, lambda data: b"P6 x y 255\n", "00003_00002.ppm"),
    "other columns": (LABELS, lambda data: b"a;b\n1;2\n", "Filename;...;ClassId"),
    "uneven rows": (LABELS, lambda data: data + b"00009.ppm;3\n", "Filename;...;ClassId"),
    "a class that is no number": (LABELS, lambda data: data.replace(b";1\r", b";one\r"), "'one'"),
    "a class too many": (LABELS, lambda data: data.replace(b";1\r", b";77\r"), "up to 77"),
    "another encoding": (LABELS, lambda data: b"\xff\xfe" + data, "utf-8"),
    "no labels": (LABELS, lambda data: b"", "empty"),
    "a picture that is not there": (
        LABELS,
        lambda data: data.replace(b"00002.ppm", b"00200.ppm"),
        "00200.ppm",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_signs_are_told(signs: Path, damage: str) -> None:
    name, change, told = DAMAGES[damage]
    path = signs / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BadInput, match=r"data of gtsrb") as caught:
        load_task("gtsrb", signs)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda log, frames: log.write_text("a,b\n"), "row 1"),
        (lambda log, frames: log.write_text(log.read_text() + "c.jpg,l,r,fast,0,0,0\n"), "row 822"),
        (lambda log, frames: log.write_text(log.read_text() + "c.jpg,l,r,nan,0,0,0\n"), "row 822"),
        (lambda log, frames: log.write_text("center,left,right,steering\n"), "no rows"),
        (lambda log, frames: log.write_bytes(b"\0\1" * 99), "not a text"),
        (lambda log, frames: (frames / "center_7.jpg").unlink(), "center_7.jpg missing"),
        (lambda log, frames: (frames / "center_7.jpg").write_bytes(b"\xff\xd8\xff\xe0"), "center_7.jpg"),
        (lambda log, frames: Image.new("L", (32, 16)).save(frames / "center_7.jpg"), "not 320x160"),
    ],
)
def test_damaged_drives_are_told(drive: Path, change: Any, told: str) -> None:
    change(drive / "driving_sim" / "driving_log.csv", drive / "driving_sim" / "IMG")
    with pytest.raises(BadInput, match="data of steering") as caught:
        load_task("steering", drive)
    assert told in str(caught.value)


def test_without_pillow_the_extra_is_named(signs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(BadInput, match=r"algobias\[images\]"):
        load_task("gtsrb", signs)
