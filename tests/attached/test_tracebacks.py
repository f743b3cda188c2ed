"""Tracebacks lose the frames of what sits inside, and nothing else."""

from __future__ import annotations

import traceback
from types import TracebackType

import pytest

from algobias.attached.tracebacks import FOLDER, _strip_all, stripped


def raised(*files: str) -> BaseException:
    """An exception raised by functions that call each other, each defined in the file named."""
    names: dict[str, object] = {}
    inner = "raise KeyError('inner')"
    for number, file in reversed(list(enumerate(files))):
        exec(compile(f"def f{number}():\n    {inner}", file, "exec"), names)
        inner = f"f{number}()"
    with pytest.raises(KeyError) as caught:
        names["f0"]()  # type: ignore[operator]
    own = caught.value.__traceback__
    return caught.value.with_traceback(None if own is None else own.tb_next)  # without this very frame


def files_of(given: TracebackType | None) -> list[str]:
    return [frame.filename for frame in traceback.extract_tb(given)]


def test_frames_of_ours_go_wherever_they_lie() -> None:
    ours = f"{FOLDER}capture/calls.py"
    error = raised("script.py", ours, "torch.py", ours, ours)
    assert files_of(stripped(error.__traceback__)) == ["script.py", "torch.py"]
    untouched = raised("script.py", "torch.py")
    assert files_of(stripped(untouched.__traceback__)) == ["script.py", "torch.py"]


def test_an_exception_that_never_left_us_has_no_frame_left() -> None:
    inside = raised(f"{FOLDER}capture/recorder.py", f"{FOLDER}capture/backwards.py")
    error = raised("script.py")
    error.__context__ = inside
    _strip_all(error)
    assert files_of(error.__traceback__) == ["script.py"]
    assert inside.__traceback__ is None
