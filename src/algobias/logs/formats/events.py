"""TensorBoard's event files: scalars out of records of protocol buffers, without TensorBoard."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from algobias.errors import BadInput
from algobias.logs.crc import masked_crc
from algobias.logs.formats.common import COMMON
from algobias.logs.raw import Format, Piece, Point, nothing_in
from algobias.untrusted import regular_file

_MOST_SCALAR = 2**13
"""Bytes of a record that may be a scalar; larger ones (pictures, histograms, graphs) are passed by."""

_MOST_BYTES = 2**32
_MOST_FILES = 1_000

Field = tuple[int, int | bytes]
"""Number of a field and its value: a whole number, or bytes as they lie in the message."""

_FIXED64, _BYTES, _FIXED32 = 1, 2, 5


class Broken(ValueError):
    """A record, or a message inside of one, that is not what it must be."""


def is_events(name: str) -> bool:
    """Whether a file is called as event files are."""
    return "tfevents" in name


class TensorBoard(Format):
    """Event files of TensorBoard: those in one folder are one run."""

    key = "tensorboard"
    words = "TensorBoard event files"
    names = COMMON

    def confidence(self, path: Path, head: bytes) -> int:
        """A folder with event files, or a file that begins with a length and its right checksum."""
        if os.path.isdir(path):
            return 2 if self.files(path) else 0
        if len(head) < 12:
            return 2 * is_events(path.name)
        length = head[:8]
        (crc,) = struct.unpack("<I", head[8:12])
        return 2 if masked_crc(length) == crc else 0

    def read(self, path: Path, name: str) -> list[Piece]:
        """Read the scalars of all files, those of later ones last."""
        points: list[Point] = []
        notes: list[str] = []
        for file in self.files(path):
            regular_file(file, "log")
            if file.stat().st_size > _MOST_BYTES:
                raise BadInput("log", str(file), f"a file of at most {_MOST_BYTES:,} bytes")
            source = name if file == path else f"{file.name} of {name}"
            try:
                with file.open("rb") as stream:
                    points += _points(stream, source, notes)
            except OSError as error:
                raise BadInput("log", str(file), f"a file that can be read ({error.strerror})") from error
        if not points:
            raise nothing_in(name, "scalars")
        return [Piece("", name, tuple(points), notes=tuple(notes))]

    def files(self, path: Path) -> list[Path]:
        """The event files of a folder, in the order of the times in their names."""
        if not os.path.isdir(path):
            return [path]
        try:
            names = [name for name in os.listdir(path) if is_events(name)]
        except OSError as error:
            raise BadInput("log", str(path), f"a folder that can be read ({error.strerror})") from error
        files = [path / name for name in names if os.path.isfile(path / name)]
        if len(files) > _MOST_FILES:
            raise BadInput("log", str(path), f"a run of at most {_MOST_FILES:,} event files")
        return sorted(files, key=_order)


def _order(path: Path) -> tuple[int, str]:
    match = re.search(r"tfevents\.(\d{1,18})", path.name)
    return (int(match[1]) if match else 0, path.name)


def _points(stream: BinaryIO, name: str, notes: list[str]) -> Iterator[Point]:
    """Scalars of a file; what follows a record that is cut off or damaged is left out, with a note."""
    place = 0
    try:
        for record in records(stream):
            place += 1
            if record:
                yield from _scalars(place, record)
    except Broken as error:
        if place == 0:
            raise BadInput("log", name, f"an event file of TensorBoard ({error})") from error
        notes.append(f"{name} {error} after record {place}: what follows is left out")


def records(stream: BinaryIO) -> Iterator[bytes]:
    """Read framed records: length, checksum of the length, data, checksum of the data.

    Records that are too large for a scalar come as empty bytes, and their data are not checked.

    Raises:
        Broken: A record that is cut off, or that has another checksum than it says.
    """
    while head := stream.read(12):
        if len(head) < 12:
            raise Broken("is cut off")
        (length,) = struct.unpack("<Q", head[:8])
        if masked_crc(head[:8]) != struct.unpack("<I", head[8:])[0]:
            raise Broken("is damaged")
        if length > _MOST_BYTES:
            raise Broken("is damaged")
        if length > _MOST_SCALAR:
            stream.seek(length, 1)
            if len(stream.read(4)) < 4:
                raise Broken("is cut off")
            yield b""
            continue
        data = stream.read(length + 4)
        if len(data) < length + 4:
            raise Broken("is cut off")
        if masked_crc(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
            raise Broken("is damaged")
        yield data[:-4]


def _scalars(place: int, record: bytes) -> Iterator[Point]:
    """The scalars of an Event: its step (2), and of its summary (5) the values (1) with their tags."""
    step, values = 0, list[bytes]()
    for number, value in fields(record):
        if number == 2 and isinstance(value, int):
            step = value
        elif number == 5 and isinstance(value, bytes):
            values += [inner for field, inner in fields(value) if field == 1 and isinstance(inner, bytes)]
    for message in values:
        tag, text = "", None
        for number, value in fields(message):
            if number == 1 and isinstance(value, bytes):
                tag = value.decode("utf-8", errors="replace")
            elif number == 2 and isinstance(value, bytes) and len(value) == 4:
                text = _shortest(value)
            elif number == 8 and isinstance(value, bytes):
                text = _tensor(value)
        if tag and text is not None:
            yield Point(place, {"step": str(step), tag: text})


def _tensor(message: bytes) -> str | None:
    """The number in a TensorProto of one number; None where it has another type or more numbers.

    Its type (1) is 1 for float, 2 for double, 3 and 9 for whole numbers; the numbers are the bytes of
    content (4), or a list of their own for each type (5, 6, 7, 10).
    """
    sizes = {1: 4, 2: 8}
    kind, content, listed, whole = 0, b"", b"", list[int]()
    for number, value in fields(message):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 4 and isinstance(value, bytes):
            content = value
        elif number in (5, 6) and isinstance(value, bytes):
            listed += value
        elif number in (7, 10):
            whole += [value] if isinstance(value, int) else list(_varints(value))
    data = content or listed
    if kind in sizes and len(data) == sizes[kind]:
        return _shortest(data) if kind == 1 else repr(float(struct.unpack("<d", data)[0]))
    if kind in (3, 9) and len(whole) == 1:
        return str(whole[0] - 2**64 if whole[0] >= 2**63 else whole[0])
    return None


def _shortest(data: bytes) -> str:
    """A float of 32 bits by the fewest digits that tell it from its neighbours."""
    return str(np.float32(struct.unpack("<f", data)[0]))


def fields(message: bytes) -> Iterator[Field]:
    """The fields of a message of protocol buffers, in their order.

    Raises:
        Broken: A message that ends inside of a field, or has a kind of field that there is not.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            whole, place = _varint(message, place)
            yield key >> 3, whole
            continue
        if kind == _BYTES:
            length, place = _varint(message, place)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise Broken("has a record that is no event")
        if place + length > len(message):
            raise Broken("has a record that ends inside of a field")
        yield key >> 3, message[place : place + length]
        place += length


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise Broken("has a record that ends inside of a number")
        byte = message[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value, place
    raise Broken("has a record with a number of more than 64 bits")


def _varints(data: bytes) -> Iterator[int]:
    place = 0
    while place < len(data):
        value, place = _varint(data, place)
        yield value
