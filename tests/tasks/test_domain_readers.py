"""Damaged files of every format: one clear message, no traceback, no memory reserved on a header's word."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from algobias.errors import BadInput
from algobias.tasks.readers.lines import read_lines, read_text
from algobias.tasks.readers.npz import read_npz
from algobias.tasks.readers.wav import read_wav

WANTED = {"x": ("u", 2), "y": ("f", 1)}


def npy(shape: str, dtype: str = "|u1", data: bytes = b"") -> bytes:
    head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    head = head.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + data


def packed(x: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", x)
        archive.writestr("y.npy", npy("(2,)", "<f8", bytes(16)))
    return out.getvalue()


def good_npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, x=np.arange(6, dtype=np.uint8).reshape(2, 3), y=np.zeros(2))
    return out.getvalue()


NPZ: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "zip"),
    "not a zip": (b"hello" * 100, "zip"),
    "cut off": (good_npz()[:-40], "zip"),
    "no array": (packed(npy("(2, 3)", data=bytes(6))).replace(b"x.npy", b"z.npy"), "no array x"),
    "wrong magic": (packed(b"\x92NUMPY" + bytes(100)), "magic"),
    "wrong type": (packed(npy("(2, 3)", "<i8", bytes(48))), "int64"),
    "wrong dimensions": (packed(npy("(6,)", data=bytes(6))), r"\[6\]"),
    "oversized header": (packed(npy("(4000000000, 400000000)", data=bytes(6))), "promises"),
    "fewer bytes": (packed(npy("(2, 300)", data=bytes(6))), "promises"),
    "objects": (packed(npy("(2, 3)", "|O", bytes(48))), "objects"),
    "nonsense header": (packed(npy("(2, 3", data=bytes(6))), "whole .npz"),
}


def told(read: Callable[[], object], says: str) -> None:
    """One message within five seconds' patience and 30 MB of memory."""
    tracemalloc.start()
    with pytest.raises(BadInput, match=says) as raised:
        read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("name", NPZ)
def test_npz(name: str, tmp_path: Path) -> None:
    data, says = NPZ[name]
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    told(lambda: read_npz(path, WANTED, "task"), says)


def test_npz_that_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(good_npz())
    found = read_npz(path, WANTED, "task")
    assert found["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    told(lambda: read_npz(tmp_path / "b.npz", WANTED, "task"), "No such file")


def sound(rate: int = 8000, channels: int = 1, width: int = 2, samples: int = 400) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(bytes(range(256)) * (samples * channels * width // 256 + 1))
    return out.getvalue()


def promising(size: int) -> bytes:
    """A header that promises so many bytes of sound."""
    data = bytearray(sound())
    place = data.index(b"data") + 4
    data[place : place + 4] = size.to_bytes(4, "little")
    return bytes(data)


WAV: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "whole .wav"),
    "not a wav": (b"RIFX" + bytes(200), "RIFF"),
    "stereo": (sound(channels=2), "2 channels"),
    "8 bits": (sound(width=1), "8 bits"),
    "other rate": (sound(rate=16000), "16000 per second"),
    "cut off": (sound()[:200], "promised"),
    "promises 4 GB": (promising(2**32 - 2), "samples"),
    "promises 20 s more": (promising(320_000), "promised"),
    "no samples": (promising(0), "0 samples"),
    "too long": (sound(samples=8000 * 40), "bytes"),
}


@pytest.mark.parametrize("name", WAV)
def test_wav(name: str, tmp_path: Path) -> None:
    data, says = WAV[name]
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    told(lambda: read_wav(path, 8000, "task"), says)


def test_wav_that_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(sound())
    samples = read_wav(path, 8000, "task")
    assert samples[0] == pytest.approx((0 + 256 * 1) / 32768)
    assert np.abs(samples).max() <= 1


TEXT: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.txt", b"", "empty"),
    "only space": ("a.txt", b" \n\n", "empty"),
    "other encoding": ("a.txt", "läuft".encode("latin-1"), "not utf-8"),
    "binary": ("a.txt", b"abc\0def", "zero bytes"),
    "too long": ("a.txt", b"ab" * 600_000, "more than"),
    "not gzip": ("a.txt.gz", b"hello", "gzip"),
    "cut-off gzip": ("a.txt.gz", gzip.compress(b"ein mann " * 5000)[:-20], "whole text"),
    "gzip bomb": ("a.txt.gz", gzip.compress(bytes(200_000_000 // 2).replace(b"\0", b"a")), "more than"),
}


@pytest.mark.parametrize("name", TEXT)
def test_text(name: str, tmp_path: Path) -> None:
    file, data, says = TEXT[name]
    path = tmp_path / file
    path.write_bytes(data)
    told(lambda: read_text(path, "task", largest=1_000_000), says)


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"eins\r\nzwei\n\ndrei\n"))
    assert read_lines(path, "task") == ["eins", "zwei", "", "drei"]
