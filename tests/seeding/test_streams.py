"""Streams are stable across machines and versions, unrelated to each other, and start afresh."""

from __future__ import annotations

import itertools

import numpy as np

from algobias.seeding.streams import generator


def test_the_stream_is_a_fixed_function_of_its_arguments() -> None:
    # Written down once: a change here changes every stored run, so it must not happen by accident.
    assert generator(0, "order", 0).integers(0, 1000, 4).tolist() == [48, 280, 215, 396]
    assert (
        generator(0, "order", 0).permutation(5).tolist() == generator(0, "order", 0).permutation(5).tolist()
    )


def test_streams_of_close_arguments_are_unrelated() -> None:
    keys = list(itertools.product((0, 1, 2, -1, 2**63), ("order", "label_noise"), (0, 1, 10)))
    draws = np.array([generator(*key).standard_normal(4000) for key in keys])
    correlation = np.corrcoef(draws) - np.eye(len(keys))
    # 435 pairs of a correlation with sd 1/sqrt(4000) = 0.016: six sd is beyond chance.
    assert np.abs(correlation).max() < 6 * 4000**-0.5


def test_arguments_cannot_run_into_each_other() -> None:
    first = generator(1, "a", 23).random()
    assert first != generator(12, "a", 3).random()
    assert generator(1, "2|a", 3).random() != generator(1, "a", 32).random()
