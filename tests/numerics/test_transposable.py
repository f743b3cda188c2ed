"""Masks sparse both ways: against enumeration, the linear programme and a minimum-cost flow (O23)."""

from __future__ import annotations

import itertools
import math

import networkx
import pytest
import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.numerics.masks import (
    admissible,
    blocks_of,
    completed,
    from_blocks,
    greedy_mask,
    magnitude_mask,
    mask_diversity,
    matrix_of,
    programme_mask,
    retained_share,
    transposable_mask,
    weight_mask,
)
from algobias.numerics.masks.transposable import candidates

EVERY = [(n, m) for m in (2, 3, 4, 8) for n in range(1, m)] + [(2, 5), (3, 6)]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def kept(x: Tensor, mask: Tensor, m: int) -> Tensor:
    """What each block keeps, in double precision."""
    return (blocks_of(x, m).double().abs() * blocks_of(mask, m)).sum((-1, -2))


def by_flow(block: Tensor, n: int) -> int:
    """The most that is kept of whole numbers: source, rows, columns, sink, N through each."""
    m = len(block)
    graph = networkx.DiGraph()
    graph.add_node("source", demand=-n * m)
    graph.add_node("sink", demand=n * m)
    for i in range(m):
        graph.add_edge("source", f"row {i}", capacity=n, weight=0)
        graph.add_edge(f"column {i}", "sink", capacity=n, weight=0)
        for j in range(m):
            graph.add_edge(f"row {i}", f"column {j}", capacity=1, weight=-int(block[i, j]))
    return -networkx.min_cost_flow_cost(graph)


def test_counts_of_masks_are_o23() -> None:
    assert [admissible(2, 4), admissible(1, 4), admissible(4, 8)] == [90, 24, 116_963_796_250]
    for n, m in itertools.product(range(1, 5), range(1, 5)):
        if n <= m:
            every = candidates(n, m)
            assert admissible(n, m) == len(every) == len({tuple(one.flatten().tolist()) for one in every})
            assert every.sum(1).eq(n).all()
            assert every.sum(2).eq(n).all()


def test_diversity_is_the_logarithm_of_the_count() -> None:
    assert mask_diversity(32, 2, 4) == pytest.approx(8 * math.log(6))
    assert mask_diversity(32, 2, 4, "transposable") == pytest.approx(2 * math.log(90))
    assert mask_diversity(16, 2, 4, "free") == pytest.approx(math.log(12870))
    assert mask_diversity(64, 4, 8) == pytest.approx(math.log(5.76e14), rel=1e-3)
    assert mask_diversity(64, 4, 4) == 0
    with pytest.raises(BadInput, match="entries"):
        mask_diversity(6, 2, 4)


@pytest.mark.parametrize(("n", "m"), EVERY)
def test_rows_and_columns_are_sparse_and_as_much_is_kept_as_by_the_programme(n: int, m: int) -> None:
    x = drawn(2, 2 * m, 3 * m)
    mask = transposable_mask(x, n, m)
    assert blocks_of(mask, m).sum(-1).eq(n).all()
    assert blocks_of(mask, m).sum(-2).eq(n).all()
    torch.testing.assert_close(kept(x, mask, m), kept(x, programme_mask(x, n, m), m), rtol=1e-12, atol=0)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_4x4_is_the_best_of_all_masks(n: int) -> None:
    x = drawn(40, 4, 4, seed=n)
    best = (candidates(n, 4).double() * x.abs().double().unsqueeze(1)).sum((-1, -2)).amax(1)
    torch.testing.assert_close(kept(x, transposable_mask(x, n, 4), 4).flatten(), best, rtol=1e-12, atol=0)


@pytest.mark.parametrize("law", ["uniform", "few values", "heavy"])
@pytest.mark.parametrize("n", [2, 4, 5])
def test_8x8_is_the_minimum_cost_flow(n: int, law: str) -> None:
    """Whole numbers, so that both are exact; few values make most cycles worth nothing."""
    g = torch.Generator().manual_seed(n)
    whole = {
        "uniform": torch.randint(0, 10_000, (12, 8, 8), generator=g),
        "few values": torch.randint(0, 4, (12, 8, 8), generator=g),
        "heavy": (torch.randn(12, 8, 8, generator=g).mul(3).exp() * 100).round().long(),
    }[law]
    mask = transposable_mask(whole.float(), n, 8)
    assert kept(whole.float(), mask, 8).flatten().tolist() == [by_flow(block, n) for block in whole]


def test_equal_magnitudes_have_one_mask_whatever_lies_beside_them() -> None:
    for n, m in ((2, 4), (1, 4), (4, 8), (3, 8)):
        few = torch.randint(0, 3, (3, 64, 64), generator=torch.Generator().manual_seed(m)).float() * 0.1
        together = transposable_mask(few, n, m)
        assert torch.equal(together, torch.stack([transposable_mask(one, n, m) for one in few]))
        single = blocks_of(few, m)[1, 2, 3]
        assert torch.equal(transposable_mask(single, n, m), blocks_of(together, m)[1, 2, 3])
        assert torch.equal(transposable_mask(-few, n, m), together)
    assert torch.equal(transposable_mask(torch.zeros(4, 4), 2, 4), candidates(2, 4)[0])


def test_rows_and_columns_change_places_with_the_matrix() -> None:
    x = drawn(24, 16)
    for n, m in ((2, 4), (3, 8)):
        assert torch.equal(transposable_mask(x.T, n, m), transposable_mask(x, n, m).T)


def test_half_precision_double_precision_and_large_numbers() -> None:
    x = drawn(16, 16)
    exact = transposable_mask(x.half().float(), 4, 8)
    assert torch.equal(transposable_mask(x.half(), 4, 8), exact)
    assert torch.equal(transposable_mask(x.half().double() * 1e280, 4, 8), exact)
    assert torch.equal(transposable_mask(x.half().double() * 1e-280, 4, 8), exact)


def test_what_is_not_finite_is_kept_first() -> None:
    for m in (4, 8):
        x = drawn(m, m)
        x[1, 2], x[3, 0] = math.nan, -math.inf
        mask = transposable_mask(x, 1, m)
        assert mask[1, 2]
        assert mask[3, 0]
        assert mask.sum() == m


def test_nothing_dense_and_bad_input() -> None:
    assert transposable_mask(torch.empty(0, 4), 2, 4).shape == (0, 4)
    assert transposable_mask(torch.empty(3, 8, 0), 4, 8).shape == (3, 8, 0)
    assert transposable_mask(drawn(6, 3), 3, 3).all()
    for n, m, shape in ((0, 4, (4, 4)), (5, 4, (4, 4)), (2, 4, (4, 6)), (2, 4, (6, 4)), (2, 4, (8,))):
        with pytest.raises(BadInput):
            transposable_mask(torch.ones(shape), n, m)


def test_blocks_go_back() -> None:
    x = drawn(3, 8, 12)
    assert torch.equal(from_blocks(blocks_of(x, 4)), x)
    assert torch.equal(blocks_of(x, 4)[1, 1, 2], x[1, 4:8, 8:12])


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (3, 4), (4, 8), (7, 8)])
def test_greedy_keeps_half_at_least_and_its_completion_no_more_than_the_optimum(n: int, m: int) -> None:
    x = drawn(16 * m, 8 * m)
    greedy = greedy_mask(x, n, m)
    whole = completed(x, greedy, n, m)
    assert blocks_of(greedy, m).sum(-1).max() <= n
    assert blocks_of(greedy, m).sum(-2).max() <= n
    assert blocks_of(whole, m).sum(-1).eq(n).all()
    assert blocks_of(whole, m).sum(-2).eq(n).all()
    best = kept(x, transposable_mask(x, n, m), m)
    assert (kept(x, greedy, m) >= best / 2).all()
    assert (kept(x, whole, m) <= best * (1 + 1e-12)).all()
    assert (kept(x, completed(x, transposable_mask(x, n, m), n, m), m) == best).all()


def test_greedy_is_the_rule_written_out() -> None:
    x = drawn(8, 8)
    for n, m in ((2, 4), (3, 8)):
        for block, found in zip(
            blocks_of(x, m).reshape(-1, m, m),
            blocks_of(greedy_mask(x, n, m), m).reshape(-1, m, m),
            strict=True,
        ):
            mask = torch.zeros(m, m, dtype=torch.bool)
            for place in block.abs().flatten().argsort(descending=True).tolist():
                i, j = divmod(place, m)
                mask[i, j] = mask[i].sum() < n and mask[:, j].sum() < n
            assert torch.equal(found, mask)


def test_a_short_mask_of_the_greedy_rule_is_completed_by_swaps() -> None:
    """2:3: after 9, 8, 7, 6, 5 the last row and the last column lack one, and their entry is taken."""
    x = torch.tensor([[9.0, 8.0, 0.0], [7.0, 6.0, 0.0], [0.0, 0.0, 5.0]])
    greedy = greedy_mask(x, 2, 3)
    assert greedy.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    whole = completed(x, greedy, 2, 3)
    assert whole.sum(0).tolist() == whole.sum(1).tolist() == [2, 2, 2]
    assert retained_share(x, whole) == pytest.approx(29 / 35), "the cheapest swap gives up the 6"
    with pytest.raises(BadInput, match="mask"):
        completed(x, torch.ones(3, 3, dtype=torch.bool), 2, 3)
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    assert completed(x, nothing, 1, 3).sum() == 3
    assert completed(torch.ones(4, 4), torch.zeros(4, 4, dtype=torch.bool), 2, 4).sum(0).eq(2).all()


def test_share_kept() -> None:
    x = torch.tensor([3.0, -1.0, 0.0, 4.0])
    assert retained_share(x, magnitude_mask(x, 2, 4)) == pytest.approx(7 / 8)
    assert retained_share(torch.zeros(4), torch.zeros(4, dtype=torch.bool)) == 1.0


def test_masks_of_weights_lie_along_the_contraction() -> None:
    weight = drawn(6, 3, 3, 3)  # a convolution: sums over 27 entries, the last group is one short
    mask = weight_mask(weight, 1, 4)
    assert mask.shape == weight.shape
    rows = matrix_of(mask)
    assert rows[:, :24].reshape(6, 6, 4).sum(-1).eq(1).all()
    assert rows[:, 24:].sum(-1).eq(1).all()
    both = matrix_of(weight_mask(weight, 2, 4, transposable=True))
    assert blocks_of(both[:4, :24], 4).sum(-2).eq(2).all()
    assert both[4:].sum(0).le(2).all()
    assert weight_mask(weight, 4, 4).all()
    assert weight_mask(weight, 8, 8, transposable=True).all()
    stacked = drawn(2, 6, 10, seed=3)
    for transposable in (False, True):
        each = [weight_mask(one, 2, 4, transposable=transposable) for one in stacked]
        assert torch.equal(weight_mask(stacked, 2, 4, transposable=transposable, lead=1), torch.stack(each))
    with pytest.raises(BadInput, match="weight"):
        weight_mask(torch.ones(8), 2, 4)
