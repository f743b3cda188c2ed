"""Errors that come from another process say there and here the same."""

from __future__ import annotations

import json
import pickle

import pytest

from algobias.errors import BadInput, StoreError, Unfit, from_plain


@pytest.mark.parametrize(
    "error",
    [
        BadInput("batch", 0, "a number from 1"),
        BadInput("lever", "clipp", "clip, lr", "clip"),
        BadInput("tolerance", None, "a number"),
        BadInput("levels", [float("inf")] * 50, "numbers"),
        BadInput("task", "\u202e" + "x" * 1000, "a name"),
        Unfit("preflight (variant)", "the variant fails: \u202e it says 'no'", "a command that ends well"),
        StoreError("/tmp/store/store.sqlite", "a database that can be written (database is locked)"),
    ],
)
def test_an_error_of_another_process_keeps_its_kind_and_its_words(error: BadInput) -> None:
    for message in (json.loads(json.dumps(error.plain())), pickle.loads(pickle.dumps(error.plain()))):
        again = from_plain(message)
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert (again.field, again.allowed, again.nearest) == (error.field, error.allowed, error.nearest)


def test_a_store_error_is_told_as_bad_input_is() -> None:
    error = StoreError("/tmp/s", "a folder that you may write to")
    assert isinstance(error, BadInput)
    assert str(error) == str(BadInput("store", "/tmp/s", "a folder that you may write to"))


def test_what_was_seen_is_told_as_a_sentence() -> None:
    error = Unfit("preflight (variant)", "the variant fails: no such option", "a command that ends well")
    assert (
        str(error)
        == "preflight (variant): the variant fails: no such option; needed: a command that ends well"
    )
    assert "is not possible" not in str(error)
