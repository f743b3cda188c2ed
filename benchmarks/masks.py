"""Transposable masks: speed and what is kept, against the batched 2-approximation and the linear programme.

    python benchmarks/masks.py            # a minute; writes results/masks.json
    python benchmarks/masks.py --table    # the committed results

One thread, the time of that thread alone (other work on the machine counts less), the best of several calls
in turn. Gaussian weights in float32. The peers:

- *2-approximation*: take entries from the largest on wherever row and column have fewer than N, all blocks at
  once, rows and columns counted anew at every step: as in Hubara et al. 2021 and in the code published with
  it (papers-submission/structured_transposable_masks, update_mask_approx2), written out here.
- *2-approximation, counts kept*: the same masks by `algobias.numerics.masks.greedy_mask`.
- *completed*: that, with the entries that short masks lack.
- *linear programme*: one for each block, scipy's dual simplex.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from algobias.numerics.masks import (
    blocks_of,
    completed,
    from_blocks,
    greedy_mask,
    magnitude_mask,
    programme_mask,
    retained_share,
    transposable_mask,
)
from machine import machine

RESULTS = Path(__file__).parent / "results" / "masks.json"
BLOCKS = 32_768
"""Of 4 x 4; a quarter as many of 8 x 8 in the same matrix."""
PROGRAMMES = 256
REPEATS = 7
CASES = ((2, 4), (1, 4), (3, 4), (4, 8), (2, 8), (3, 8))


def recounted(x: Tensor, n: int, m: int) -> Tensor:
    """The 2-approximation with rows and columns counted anew at every step."""
    blocks = blocks_of(x, m)
    size = blocks.abs().reshape(-1, m * m)
    order = size.sort(dim=1, descending=True, stable=True).indices
    mask = torch.zeros_like(size)
    every = torch.arange(len(size))
    for place in range(m * m):
        now = order[:, place]
        square = mask.view(-1, m, m)
        free = (square.sum(2)[every, now // m] < n) & (square.sum(1)[every, now % m] < n)
        mask[free, now[free]] = 1
    return from_blocks(mask.bool().view(blocks.shape))


def thread_seconds(calls: dict[str, Callable[[], Tensor]]) -> dict[str, float]:
    """The least time of each call, all of them in turn."""
    found = {name: float("inf") for name in calls}
    for _ in range(REPEATS):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            found[name] = min(found[name], time.thread_time() - start)
    return found


def case(n: int, m: int) -> dict[str, Any]:
    """One N:M, all ways."""
    side = 128 * 4
    x = torch.randn(side, BLOCKS * 16 // side, generator=torch.Generator().manual_seed(100 * m + n))
    few = x[: 16 * m, : PROGRAMMES // 16 * m]
    count, small = x.numel() // m**2, few.numel() // m**2
    greedy = greedy_mask(x, n, m)
    assert torch.equal(recounted(x, n, m), greedy), "the two ways to count give the same masks"
    seconds = thread_seconds(
        {
            "exact": lambda: transposable_mask(x, n, m),
            "2-approximation": lambda: recounted(x, n, m),
            "2-approximation, counts kept": lambda: greedy_mask(x, n, m),
        }
    )
    start = time.thread_time()
    whole = completed(x, greedy, n, m)
    speed = {name: count / value for name, value in seconds.items()}
    speed["completed"] = count / (time.thread_time() - start + seconds["2-approximation, counts kept"])
    start = time.thread_time()
    programme = programme_mask(few, n, m)
    speed["linear programme"] = small / (time.thread_time() - start)
    exact = transposable_mask(x, n, m)
    ours, theirs = (
        (blocks_of(few.double().abs(), m) * blocks_of(mask, m)).sum((-1, -2))
        for mask in (transposable_mask(few, n, m), programme)
    )
    filled = blocks_of(greedy, m).sum((-1, -2))
    return {
        "case": f"{n}:{m}",
        "blocks": count,
        "blocks_per_second": {name: round(value) for name, value in speed.items()},
        "kept": {
            "exact": retained_share(x, exact),
            "2-approximation": retained_share(x, greedy),
            "completed": retained_share(x, whole),
            "rows only": retained_share(x, magnitude_mask(x, n, m)),
        },
        "short": float((filled < n * m).double().mean()),
        "programmes": small,
        "largest_difference_from_programme": float(((ours - theirs).abs() / theirs).max()),
    }


def table(results: dict[str, Any]) -> str:
    """The results as tables for reading."""
    ways = list(results["cases"][0]["blocks_per_second"])
    lines = [
        f"| thousand blocks/s | {' | '.join(ways)} | exact / 2-approximation |",
        "|---|" + "---|" * (len(ways) + 1),
    ]
    for row in results["cases"]:
        speed = row["blocks_per_second"]
        cells = " | ".join(f"{speed[way] / 1000:.3g}" for way in ways)
        lines.append(f"| {row['case']} | {cells} | {speed['exact'] / speed['2-approximation']:.2g} |")
    kinds = list(results["cases"][0]["kept"])
    lines += ["", f"| kept, % | {' | '.join(kinds)} | masks short |", "|---|" + "---|" * (len(kinds) + 1)]
    for row in results["cases"]:
        cells = " | ".join(f"{100 * row['kept'][kind]:.2f}" for kind in kinds)
        lines.append(f"| {row['case']} | {cells} | {100 * row['short']:.1f} % |")
    worst = max(row["largest_difference_from_programme"] for row in results["cases"])
    return "\n".join([*lines, "", f"largest relative difference from the linear programme: {worst:.1g}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the committed results")
    if parser.parse_args().table:
        print(table(json.loads(RESULTS.read_text())))
        return
    torch.set_num_threads(1)
    results = {"machine": machine(), "cases": [case(n, m) for n, m in CASES]}
    print(table(results))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
