"""A store on a read-only folder, also where the tests run as the superuser, who may write everywhere."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from algobias.errors import BadInput
from algobias.kept.store import Store

NOBODY = 65534
REFUSED, OPENED, OTHER = 7, 8, 9

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a second process with fewer rights")


def as_nobody(action: Callable[[], object]) -> int:
    """How an action ends for a user without rights of their own: refused, done, or something else."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = OTHER
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        action()
        code = OPENED
    except BadInput as error:
        code = REFUSED if error.field == "store" else OTHER
    finally:
        os._exit(code)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:  # tmp_path lies in a folder that nobody else may enter
        path = Path(name)
        path.chmod(0o755)
        yield path
        for inside in (path, *path.glob("**/")):
            inside.chmod(0o755)


def test_a_folder_that_cannot_be_made(folder):
    folder.chmod(0o555)
    assert as_nobody(lambda: Store(folder / "store")) == REFUSED
    assert list(folder.iterdir()) == []


def test_a_store_that_cannot_be_written_to_keeps_what_it_has(folder):
    with Store(folder / "store") as store:
        store.save_study("abcabcabcabc", {"task": "digits"})
        kept = [study.id for study in store.studies()]
    for path in (folder / "store").glob("*"):
        path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o444)
    (folder / "store").chmod(0o555)
    assert as_nobody(lambda: Store(folder / "store").studies()) == REFUSED
    (folder / "store").chmod(0o755)
    with Store(folder / "store") as store:
        assert [study.id for study in store.studies()] == kept == ["abcabcabcabc"]


def test_a_folder_that_can_be_written_to_is_opened(folder):
    folder.chmod(0o777)
    assert as_nobody(lambda: Store(folder / "store").studies()) == OPENED
