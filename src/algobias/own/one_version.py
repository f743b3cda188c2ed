"""One version of each of a user's files, as long as a study works."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from algobias.errors import BadInput
from algobias.own.user_file import UserFile

_versions: ContextVar[dict[Path, str] | None] = ContextVar("_versions", default=None)
"""Hashes of the files that a study has read so far; None outside of a study."""


@contextlib.contextmanager
def files_stay() -> Iterator[None]:
    """Refuse a file, inside, that is no longer as it was when it was first read."""
    token = _versions.set({}) if _versions.get() is None else None
    try:
        yield
    finally:
        if token is not None:
            _versions.reset(token)


def check_version(file: UserFile, what: str) -> None:
    """Refuse a file that has changed while a study works.

    Args:
        file: The file.
        what: What it is, in messages: ``task``, ``lever``.

    Raises:
        BadInput: It has another version than when the study first read it.
    """
    known, digest = _versions.get(), file.digest()
    if known is not None and known.setdefault(file.path, digest) != digest:
        allowed = "a file that stays as it is while a study works; ask again: its runs are stored"
        raise BadInput(what, file.text, allowed)
