"""Short recordings from ``.wav`` files (16-bit, one channel); sizes are checked before anything is read."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from algobias.errors import BadInput

LONGEST_SECONDS = 30
HEADER_BYTES = 4096


def read_wav(path: Path, rate: int, name: str) -> np.ndarray:
    """Samples between -1 and 1, [n] float32.

    Args:
        path: The file.
        rate: Samples per second it must have.
        name: Of the task, for messages.

    Raises:
        BadInput: Not such a file, another format, too long, empty, or cut off.
    """
    try:
        size = path.stat().st_size
        if size > 2 * rate * LONGEST_SECONDS + HEADER_BYTES:
            raise _damaged(path, name, rate, f"{size} bytes")
        with wave.open(str(path), "rb") as file:
            told = file.getnchannels(), 8 * file.getsampwidth(), file.getframerate()
            frames = file.getnframes()
            if told != (1, 16, rate):
                raise _damaged(path, name, rate, "{} channels, {} bits, {} per second".format(*told))
            if not 0 < frames <= rate * LONGEST_SECONDS:
                raise _damaged(path, name, rate, f"{frames} samples")
            data = file.readframes(frames)
    except (OSError, EOFError, wave.Error) as error:
        raise _damaged(path, name, rate, str(error) or type(error).__name__) from error
    if len(data) < 2 * frames:
        raise _damaged(path, name, rate, f"{frames} samples are promised and {len(data) // 2} are there")
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768


def _damaged(path: Path, name: str, rate: int, reason: str) -> BadInput:
    allowed = (
        f"a whole .wav file with one channel of 16 bits at {rate} per second, at most {LONGEST_SECONDS} s"
    )
    return BadInput(f"data of {name}", str(path), f"{allowed} ({reason})")
