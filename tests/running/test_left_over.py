"""An epoch is whole batches: what is left out of it is said where it is a good part."""

from __future__ import annotations

import pytest

from algobias.levers.registry import parse
from algobias.running.arms import build_arms
from algobias.running.left_over import left_over
from algobias.running.spec import spec_from
from algobias.tasks.registry import load_task


@pytest.mark.parametrize(
    ("batch", "edits", "said"),
    [
        (256, (), "an epoch is 3 batches of 256; the other 32 of the 800 training examples (4 %)"),
        (500, (), "an epoch is 1 batch of 500; the other 300 of the 800 training examples (38 %)"),
        (200, (), None),
        (500, ("repeat:2,keep=batch",), None),
        (300, ("budget:updates=1",), None),
        (
            300,
            (),
            "the other 200 of the 800 training examples (25 %) are left out of it, others in each epoch",
        ),
    ],
)
def test_what_makes_no_whole_batch_is_told_where_it_is_much(batch, edits, said):
    recipe = load_task("digits").recipe()
    for text in (f"batch:{batch}", *edits):
        recipe = parse(text).apply(recipe)
    told = left_over({"variant": recipe, "variant+control:0": recipe})
    if said is None or "(4 %)" in said:
        assert told == []
    else:
        (line,) = told
        assert line.startswith("variant: ")
        assert said in line


def test_it_is_a_remark_of_the_study():
    spec = spec_from({"task": "digits", "change": ("batch:500",), "probes": "none"})
    (remark,) = build_arms(spec, load_task("digits")).remarks
    assert remark.startswith("variant: an epoch is 1 batch of 500")
