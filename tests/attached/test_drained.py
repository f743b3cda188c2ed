"""What is printed before an evaluation is read before its loss is told."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from algobias.attached.drained import drain


def test_a_pipe_is_waited_for_until_it_is_read_and_not_longer_than_that() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"accuracy 93\n")
    assert not drain(writing, longest=0.01)
    late = threading.Timer(0.05, os.read, (reading, 100))
    late.start()
    began = time.monotonic()
    assert drain(writing, longest=10)
    assert 0.03 < time.monotonic() - began < 5
    os.close(reading)
    os.close(writing)
    assert drain(writing), "closed"


def test_what_is_no_pipe_is_not_waited_for(tmp_path: Path) -> None:
    with open(tmp_path / "out.txt", "w") as file:
        file.write("accuracy 93\n")
        file.flush()
        began = time.monotonic()
        assert drain(file.fileno(), longest=5)
        assert time.monotonic() - began < 1
