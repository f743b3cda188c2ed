"""Which files of a folder have been written, and by whom."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from algobias.commands.writes import files_of, written


@pytest.mark.parametrize("number", [1, 2])
def test_what_the_tools_own_outputs_go_to_is_no_write_of_a_run(tmp_path: Path, number: int) -> None:
    store = tmp_path / ".algobias"
    kept, opened = os.dup(number), os.open(tmp_path / "o.json", os.O_WRONLY | os.O_CREAT)
    try:
        os.dup2(opened, number)
        before = dict(files_of(tmp_path, store))
        os.write(number, b"told")
        (tmp_path / "o.txt").write_text("of a run")
        names = written(before, tmp_path, store)
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(opened)
    assert names == ["o.txt"]
    assert (tmp_path / "o.json").read_text() == "told"


def test_a_closed_input_is_left_out_and_a_file_written_before_is_found(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("1")
    kept = os.dup(0)
    try:
        os.close(0)
        before = dict(files_of(tmp_path, tmp_path / "store"))
        (tmp_path / "log.csv").write_text("1\n2")
        assert written(before, tmp_path, tmp_path / "store") == ["log.csv"]
    finally:
        os.dup2(kept, 0)
        os.close(kept)
