"""What a script has printed, read by whoever listens before anything is told that comes after it."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import termios
import time

LONGEST = 0.05
"""Seconds that are waited for a reader at most."""

STDOUT = 1


def drain(pipe: int = STDOUT, longest: float = LONGEST) -> bool:
    """Wait until what has been written to a pipe has been read; nothing where it is no pipe.

    Numbers of the standard output are joined with losses by the times at which they were read: on a busy
    machine a reader may come later than the next evaluation.

    Args:
        pipe: File descriptor of its end that is written to.
        longest: Seconds.

    Returns:
        Whether nothing is left in it.
    """
    try:
        if not stat.S_ISFIFO(os.fstat(pipe).st_mode):
            return True
        end = time.monotonic() + longest
        while _left_in(pipe):
            if time.monotonic() > end:
                return False
            time.sleep(0.0005)
    except OSError:  # closed, or a kind of pipe that does not tell
        return True
    return True


def _left_in(pipe: int) -> int:
    answer = fcntl.ioctl(pipe, termios.FIONREAD, struct.pack("i", 0))
    left: int = struct.unpack("i", answer)[0]
    return left
