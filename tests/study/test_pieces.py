"""Pieces of a change of precision: which there are, and which are guilty."""

from __future__ import annotations

import pytest
from torch import nn

from algobias.answer.causes import InterventionEntry
from algobias.answer.interval import Interval
from algobias.explanations.pieces import piece_entries
from algobias.levers.registry import parse
from algobias.recipe import Recipe
from algobias.treatments.interventions import Intervention, pieces

SPEC = {"task": "digits", "examples": 800, "optimizer": {"lr": 0.1}, "batch": 16, "budget": {"epochs": 1}}
RECIPE = Recipe(**SPEC)  # type: ignore[arg-type]


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def made(text: str) -> dict[tuple[str, str], str]:
    """Spelling of the treated change, by piece and by what is done to it."""
    found = {}
    for one in pieces([parse(text)], RECIPE, net()):
        (part,) = one.recipe.parts
        found[one.piece or "", one.kind] = (
            parse(f"precision:{part.options['format']}").with_options(**part.options).spelling()
        )
    return found


def test_of_two_gradients_each_is_rounded_alone_and_undone_alone() -> None:
    found = made("precision:grad-int4,high=none,smp=2")
    dg, wg = (
        "precision:float32,smp=2,rht=none,high=none,dg=int4",
        "precision:float32,smp=2,rht=none,high=none,wg=int4",
    )
    assert found["input's gradient (dg)", "alone"] == dg
    assert found["input's gradient (dg)", "repaired"] == wg
    assert found["weight's gradient (wg)", "alone"] == wg
    assert found["layer 2", "alone"] == "precision:grad-int4,smp=2,high=none,layers=2"
    assert found["layer 2", "repaired"] == "precision:grad-int4,smp=2,high=2"
    assert {piece for piece, _ in found} == {
        "input's gradient (dg)", "weight's gradient (wg)", "layer 0", "layer 2", "layer 4"
    }  # fmt: skip


def test_products_and_operands_of_all_six_and_layers_beside_high_ones() -> None:
    found = made("precision:mxfp4")
    products = {"forward product (fx, fw)", "input's gradient (dg, dw)", "weight's gradient (wg, wx)"}
    assert products < {piece for piece, _ in found}
    assert len({piece for piece, _ in found}) == 3 + 6 + 2
    assert found["layer 0", "repaired"] == "precision:mxfp4,high=ends:0"
    operands = found["forward product (fx, fw)", "repaired"]
    assert operands == "precision:float32,rht=none,dg=mxfp4,dw=mxfp4,wg=mxfp4,wx=mxfp4"


def test_sums_in_few_bits_are_of_the_forward_product() -> None:
    found = made("precision:fp8,acc=e4m7-chunk16")
    alone, repaired = (found["forward product (fx, fw)", kind] for kind in ("alone", "repaired"))
    assert "acc=e4m7-chunk16" in alone
    assert "acc" not in repaired


def test_other_levers_of_the_change_stay_and_have_no_pieces() -> None:
    levers = [parse("lr:x0.5"), parse("precision:grad-int4,high=none"), parse("clip:1")]
    for one in pieces(levers, RECIPE, net()):
        assert one.recipe.optimizer.lr == pytest.approx(0.05)
        assert [part.name for part in one.recipe.parts] == ["precision", "clip"]
    assert pieces([parse("lr:x0.5")], RECIPE, net()) == []


def test_layers_come_in_at_most_eight_groups() -> None:
    deep = nn.Sequential(*[nn.Linear(2, 2) for _ in range(19)])
    texts = {one.piece for one in pieces([parse("precision:int8,high=none")], RECIPE, deep)}
    groups = [text for text in texts if text is not None and text.startswith("layer")]
    assert len(groups) == 8
    assert "layers 0 to 1" in groups


@pytest.mark.parametrize(
    ("alone", "repaired", "guilty"),
    [(0.1, 0.9, True), (0.3, 0.7, True), (0.31, 0.9, False), (0.1, 0.69, False), (None, 0.9, None)],
)
def test_guilty_is_what_is_enough_and_what_nothing_does_without(
    alone: float | None, repaired: float, guilty: bool | None
) -> None:
    """``recovered`` of the arm with the piece alone is what is not there of the gap."""
    done = [Intervention(kind, "", RECIPE, RECIPE, piece="p") for kind in ("alone", "repaired")]
    entries = [
        InterventionEntry(kind="alone", recovered=Interval(mean=alone, low=-0.1, high=0.2, n=6)),
        InterventionEntry(kind="repaired", recovered=Interval(mean=repaired, low=0.5, high=1.1, n=6)),
    ]
    (entry,) = piece_entries(done, entries)
    assert entry.guilty is guilty
    assert (entry.alone.low, entry.alone.high) == (0.8, 1.1)
    assert entry.alone.mean == (None if alone is None else pytest.approx(1 - alone))
    assert piece_entries([], []) == ()
