"""TensorBoard's event files, written: numbers and texts in records of protocol buffers, without TensorBoard.

The layout is the one that :mod:`algobias.logs.formats.events` reads.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from algobias.logs.crc import masked_crc

VERSION = "brain.Event:2"


def event_file(events: Iterable[bytes], begun: float) -> bytes:
    """The bytes of a file of events, the version of the format first.

    Args:
        events: Messages of :func:`number_event` and :func:`text_event`.
        begun: Time of the first record, seconds since 1970.
    """
    version = _double(1, begun) + _bytes(3, VERSION.encode())
    return b"".join(_record(event) for event in (version, *events))


def number_event(tag: str, value: float, step: int, time: float) -> bytes:
    """An event that tells a number; as TensorBoard has it, of 32 bits.

    Args:
        tag: Its name.
        value: The number.
        step: Updates made.
        time: Seconds since 1970.
    """
    content = _bytes(1, tag.encode()) + _key(2, 5) + struct.pack("<f", value)
    return _summary(content, step, time)


def text_event(tag: str, text: str, time: float) -> bytes:
    """An event that tells a text, shown as Markdown.

    Args:
        tag: Its name.
        text: The text.
        time: Seconds since 1970.
    """
    metadata = _bytes(1, _bytes(1, b"text"))
    one = _bytes(2, _whole(1, 1))
    tensor = _whole(1, 7) + _bytes(2, one) + _bytes(8, text.encode())
    content = _bytes(1, f"{tag}/text_summary".encode()) + _bytes(9, metadata) + _bytes(8, tensor)
    return _summary(content, 0, time)


def _summary(value: bytes, step: int, time: float) -> bytes:
    return _double(1, time) + _whole(2, step) + _bytes(5, _bytes(1, value))


def _record(data: bytes) -> bytes:
    """A record in its frame: length, checksum of the length, data, checksum of the data."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _crc(length), data, _crc(data)))


def _crc(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc(data))


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _whole(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _key(field, 1) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
