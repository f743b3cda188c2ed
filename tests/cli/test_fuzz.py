"""A sample of the fuzzed inputs: each ends as the contract says, and the sample is the same every time."""

from __future__ import annotations

import json

import pytest

import fuzz
from fuzz_inputs import KINDS, Input
from wide_tests import wide

NUMBERS = {
    "levers": 60,
    "tasks": 40,
    "specs": 60,
    "tables": 40,
    "task_files": 20,
    "checkpoints": 40,
    "stores": 20,
    "options": 30,
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    with fuzz.workplace() as root:
        yield fuzz.good_store(root / "good"), root


SLOW = "stores", "levers", "specs", "task_files"
"""Samples of these are wide; 10,000 inputs of all are in ``benchmarks/results/fuzz.json``."""


@pytest.mark.parametrize("kind", [wide(kind) if kind in SLOW else kind for kind in KINDS])
def test_a_sample_keeps_every_promise(good, kind):
    store, root = good
    rows = [fuzz.attempt(kind, number, fuzz.SEED, root, store) for number in range(1, 1 + NUMBERS[kind])]
    assert not [row for row in rows if row["broken"]]
    assert {row["code"] for row in rows} == {0, 2}


def test_the_committed_counts_are_of_ten_thousand_inputs_that_kept_every_promise():
    counts = json.loads(fuzz.RESULTS.read_text(encoding="utf-8"))
    assert counts["inputs"] == sum(number for _, number in KINDS.values()) == 10_000
    assert (counts["broken"], counts["failures"]) == (0, [])
    assert {kind: one["inputs"] for kind, one in counts["kinds"].items()} == {
        kind: number for kind, (_, number) in KINDS.items()
    }
    assert {code for one in counts["kinds"].values() for code in one["codes"]} == {"0", "2"}


def test_an_input_is_the_same_whenever_it_is_made(good):
    for kind in KINDS:
        one, two = (fuzz.generate(kind, 7, fuzz.SEED, good[0]) for _ in range(2))
        assert (one.words, one.files) == (two.words, two.files)
        other = fuzz.generate(kind, 7, fuzz.SEED + 1, good[0])
        assert (one.words, one.files) != (other.words, other.files)


@pytest.mark.parametrize(
    ("code", "out", "err", "outside", "says"),
    [
        (3, "", "Internal error", [], "exit code 3"),
        (2, "", "Error it failed", [], "no message that names the field"),
        (2, "x", "Error a: 1 is not possible; allowed: 2", [], "something on stdout"),
        (0, "{}{}", "", [], "not one JSON object"),
        (0, "{}", "\x1b[2J", [], "control characters"),
        (0, "{}", "", ["open /etc/x"], "written outside"),
    ],
)
def test_a_broken_promise_is_seen(code, out, err, outside, says):
    assert says in " ".join(fuzz.broken(Input(["studies", "--json"]), code, out, err, outside))


def test_what_is_written_outside_is_seen(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    with fuzz._watch.only(str(inside)):
        inside.mkdir()
        (inside / "a").write_text("")
        outside.mkdir()
        (outside / "b").write_text("")
        (outside / "b").read_text()
        (outside / "b").unlink()
    assert [line.rpartition("/")[2] for line in fuzz._watch.outside] == ["outside", "b", "b"]
