"""How fast tensors are put into number formats and back, beside the libraries people use for it.

    PYTHONPATH=src python benchmarks/numerics.py            # five minutes; needs the libraries, see README.md
    PYTHONPATH=src python benchmarks/numerics.py --digests  # only torchao's results, into the committed file
    PYTHONPATH=src python benchmarks/numerics.py --alone    # only this package without peers, likewise
    python benchmarks/numerics.py --table                   # the committed results as text

One process, one thread. Time is that of the thread, so that other work of the machine counts little; the
best of some rounds, in which all take turns. ``equal`` is the share of entries in which a library gives what
this package gives, zeros of either sign alike. ``search`` is the rounding that this package had before: a
binary search among the levels. The digests are of torchao's results for numbers that every machine makes
alike, which a test compares with this package's.

Writes ``benchmarks/results/numerics.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import numerics_peers as peers
from algobias.numerics.formats import parse_format
from algobias.numerics.quantiser import parse_quantiser
from algobias.numerics.rounding import draws_from
from machine import machine

RESULTS = Path(__file__).parent / "results" / "numerics.json"
SIZES = {"65536": (64, 1024), "4194304": (4096, 1024)}
LIBRARIES = ("torchao", "gfloat", "ml_dtypes", "qtorch")
ROUNDS = 9

Named = dict[str, Callable[[], peers.Peer]]


def search(name: str, rounding: str) -> peers.Peer:
    """What this package did before: a binary search for each entry, unscaled."""
    levels = torch.tensor(parse_format(name).levels)
    numbers = torch.Generator().manual_seed(0)

    def rounded(x: Tensor) -> Tensor:
        size = x.abs().clamp(max=levels[-1])
        upper = torch.bucketize(size, levels).clamp(max=len(levels) - 1)
        low, high = levels[(upper - 1).clamp(min=0)], levels[upper]
        if rounding == "nearest":
            middle = low + (high - low) / 2
            up = (size > middle) | ((size == middle) & (upper % 2 == 0))
        else:
            up = torch.rand(x.shape, generator=numbers) * (high - low) < size - low
        return torch.where(x.isnan(), x, torch.copysign(torch.where(up, high, low), x))

    return rounded


def ours(name: str) -> peers.Peer:
    """This package."""
    quantiser, draws = parse_quantiser(name), draws_from(torch.Generator().manual_seed(0))
    return lambda x: quantiser(x, draws if quantiser.random else None)


CASES: dict[str, tuple[str, Named]] = {
    "E4M3, unscaled": (
        "e4m3-unscaled",
        {
            "torch cast": lambda: peers.torch_cast(torch.float8_e4m3fn),
            "ml_dtypes": lambda: peers.ml_dtypes("float8_e4m3fn"),
            "microxcaling": lambda: peers.microxcaling("fp8_e4m3", block=False),
            "gfloat": lambda: peers.gfloat("e4m3"),
            "search": lambda: search("e4m3", "nearest"),
        },
    ),
    "E5M2, unscaled": (
        "e5m2-unscaled",
        {
            "torch cast": lambda: peers.torch_cast(torch.float8_e5m2),
            "ml_dtypes": lambda: peers.ml_dtypes("float8_e5m2"),
            "QPyTorch": lambda: peers.qpytorch(5, 2, "nearest"),
            "microxcaling": lambda: peers.microxcaling("fp8_e5m2", block=False),
            "gfloat": lambda: peers.gfloat("e5m2"),
            "search": lambda: search("e5m2", "nearest"),
        },
    ),
    "E2M1, unscaled": (
        "e2m1-unscaled",
        {
            "ml_dtypes": lambda: peers.ml_dtypes("float4_e2m1fn"),
            "microxcaling": lambda: peers.microxcaling("fp4_e2m1", block=False),
            "gfloat": lambda: peers.gfloat("e2m1"),
            "search": lambda: search("e2m1", "nearest"),
        },
    ),
    "bfloat16": ("bfloat16", {"torch cast": lambda: peers.torch_cast(torch.bfloat16)}),
    "INT8, scale per tensor": ("int8", {"torch fake_quantize": lambda: peers.torch_integer(8)}),
    "MXFP8": ("mxfp8", {"torchao": lambda: peers.torchao_mx("mxfp8")}),
    "MXFP8, floor": (
        "mxfp8-floorscale",
        {
            "torchao": lambda: peers.torchao_mx("mxfp8-floorscale"),
            "microxcaling": lambda: peers.microxcaling("fp8_e4m3"),
        },
    ),
    "MXFP8 of E5M2": ("mxfp8-e5m2", {"torchao": lambda: peers.torchao_mx("mxfp8-e5m2")}),
    "MXFP6": ("mxfp6", {"torchao": lambda: peers.torchao_mx("mxfp6")}),
    "MXFP4": ("mxfp4", {"torchao": lambda: peers.torchao_mx("mxfp4")}),
    "MXFP4, floor": (
        "mxfp4-floorscale",
        {
            "torchao": lambda: peers.torchao_mx("mxfp4-floorscale"),
            "microxcaling": lambda: peers.microxcaling("fp4_e2m1"),
        },
    ),
    "NVFP4": ("nvfp4", {"torchao": lambda: peers.torchao_nvfp4()}),
    "E4M3, stochastic": (
        "e4m3-unscaled-sr",
        {
            "microxcaling": lambda: peers.microxcaling("fp8_e4m3", "dither", block=False),
            "gfloat": lambda: peers.gfloat("e4m3", "StochasticFast"),
            "search": lambda: search("e4m3", "stochastic"),
        },
    ),
    "E5M2, stochastic": (
        "e5m2-unscaled-sr",
        {
            "QPyTorch": lambda: peers.qpytorch(5, 2, "stochastic"),
            "microxcaling": lambda: peers.microxcaling("fp8_e5m2", "dither", block=False),
            "search": lambda: search("e5m2", "stochastic"),
        },
    ),
    "MXFP4, floor, stochastic": (
        "mxfp4-floorscale-sr",
        {"microxcaling": lambda: peers.microxcaling("fp4_e2m1", "dither")},
    ),
}
"""What is compared: this package's spelling, and who else does it."""

ALONE = (
    "e4m3", "e2m3", "e3m2", "e1m2", "e3m0", "float16", "int4", "int8-row", "int4-sawb", "int8-affine",
    "nvfp4-2d", "nvfp4-4over6", "ufp4", "luq", "int4-sr", "mxfp8-sr", "mxfp4-sr", "nvfp4-sr", "mxfp4-dither",
    "2:4", "2:4-mvue",
)  # fmt: skip
"""What nobody else does on a CPU, or nobody was found to."""


def numbers(shape: tuple[int, int]) -> Tensor:
    """Normal entries times lognormal sizes, within the range of E4M3."""
    draw = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=draw) * torch.exp(torch.randn(shape, generator=draw))


def best(peer: peers.Peer, x: Tensor, rounds: int) -> float:
    """Seconds of the thread, of the fastest of some rounds."""
    found = float("inf")
    for _ in range(rounds):
        start = time.thread_time()
        peer(x)
        found = min(found, time.thread_time() - start)
    return found


def compare(case: str, shape: tuple[int, int]) -> dict[str, Any]:
    """Million entries a second of everybody, ratios of this package to each, and what agrees."""
    name, others = CASES[case]
    x = numbers(shape)
    everybody = {"algobias": ours(name)}
    missing = {}
    for label, make in others.items():
        try:
            everybody[label] = make()
            everybody[label](x[:1])
        except Exception as error:
            everybody.pop(label, None)
            missing[label] = f"{type(error).__name__}: {error}"[:200]
    results = {label: peer(x) for label, peer in everybody.items()}
    seconds = dict.fromkeys(everybody, float("inf"))
    for _ in range(ROUNDS):
        for label, peer in everybody.items():
            once = best(peer, x, 1)
            many = max(1, min(20, int(0.02 / once)))
            seconds[label] = min(seconds[label], once, best(peer, x, many))
    rates = {label: x.numel() / s / 1e6 for label, s in seconds.items()}
    row: dict[str, Any] = {
        "spelling": name,
        "rates": rates,
        "ratios": {label: rates["algobias"] / rate for label, rate in rates.items() if label != "algobias"},
    }
    if not parse_quantiser(name).random:
        mine = results["algobias"]
        row["equal"] = {n: float((r == mine).double().mean()) for n, r in results.items() if n != "algobias"}
    return row | ({"missing": missing} if missing else {})


def alone(shape: tuple[int, int]) -> dict[str, float]:
    """Million entries a second of what this package does alone; and of drawing uniform numbers."""
    x = numbers(shape)
    found = {}
    for name in ALONE:
        found[name] = rate(ours(name), x)
    draws = draws_from(torch.Generator().manual_seed(0))
    return found | {"torch.rand": rate(lambda x: draws(x.shape), x)}


def rate(peer: peers.Peer, x: Tensor) -> float:
    """Million entries a second, of the fastest of some rounds."""
    once = best(peer, x, 2)
    return x.numel() / best(peer, x, ROUNDS * max(1, min(20, int(0.02 / once)))) / 1e6


def digests() -> dict[str, Any]:
    """Hashes of torchao's results, and whether this package's are the same."""
    found, same = {}, {}
    for name in (*peers.MX, "nvfp4"):
        x = peers.patterned(name)
        theirs = (peers.torchao_nvfp4() if name == "nvfp4" else peers.torchao_mx(name))(x)
        found[name] = hashlib.sha256((theirs + 0.0).numpy().tobytes()).hexdigest()
        same[name] = bool(torch.equal(theirs, parse_quantiser(name)(x)))
    return {"version": importlib.metadata.version("torchao"), "digests": found, "same": same}


def versions() -> dict[str, str]:
    """Which libraries are compared."""
    found = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return found | {"microxcaling": "7bc41952de394f5cc5e782baf132e7c7542eb4e4"}


def table(results: dict[str, Any]) -> str:
    """Show everything as Markdown."""
    lines = []
    for size, rows in results["compared"].items():
        lines += ["", f"{int(size):,} entries:", ""]
        lines += [
            "| format | algobias | others: million entries/s (ratio; share of equal entries) |",
            "|---|---|---|",
        ]
        for case, row in rows.items():
            others = []
            for label, ratio in sorted(row["ratios"].items(), key=lambda both: both[1]):
                equal = row.get("equal", {}).get(label)
                agreed = "" if equal is None else f"; {equal:.6g}"
                others.append(f"{label} {row['rates'][label]:.3g} ({ratio:.2g}{agreed})")
            lines.append(f"| {case} | {row['rates']['algobias']:.0f} | {', '.join(others)} |")
    for size, rates in results["alone"].items():
        lines += ["", f"Alone, {int(size):,} entries: " + ", ".join(f"{n} {r:.0f}" for n, r in rates.items())]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--digests", action="store_true")
    parser.add_argument("--alone", action="store_true")
    wanted = parser.parse_args()
    if wanted.table:
        print(table(json.loads(RESULTS.read_text(encoding="utf-8"))))
        return
    torch.set_num_threads(1)
    again = wanted.digests or wanted.alone
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if again else {}
    if wanted.alone:
        results["alone"] = {size: alone(shape) for size, shape in SIZES.items()}
    elif not wanted.digests:
        results = {
            "environment": machine(),
            "libraries": versions(),
            "rounds": ROUNDS,
            "compared": {},
            "alone": {},
        }
        for size, shape in SIZES.items():
            results["compared"][size] = {case: compare(case, shape) for case in CASES}
            results["alone"][size] = alone(shape)
    if not wanted.alone:
        results["torchao"] = digests()
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))
    print(results["torchao"]["same"])


if __name__ == "__main__":
    main()
