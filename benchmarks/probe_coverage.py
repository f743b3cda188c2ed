"""Coverage of every statistical interval of a probe, on light and heavy tails and on flat and peaked spectra.

A probe is read on a planted problem whose true value is known; the seed changes the examples (an interval for
the population) or the random vectors and batches (an interval for the examples read). Counted is how often
the 95 % interval holds the truth, and how often the reading warns that its values are too skewed.

    python benchmarks/probe_coverage.py                # 400 repeats, about ten minutes on one core
    python benchmarks/probe_coverage.py --only average_sharpness --repeats 100
    python benchmarks/probe_coverage.py --table        # the committed results as text

Writes ``benchmarks/results/probe_coverage.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from algobias.probes.passes.samples import share_interval
from algobias.probes.reading import Unavailable
from algobias.probes.registry import parse
from algobias.probes.subject import Subject, Training
from machine import machine

RESULTS = Path(__file__).parent / "results" / "probe_coverage.json"
REPEATS = 400
EXAMPLES = 150
SIDE = 60
"""Rows of the planted Hessians."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """One reading: whether its interval holds the truth, how wide it is, whether it warns."""

    low: float
    high: float
    truth: float
    warned: bool = False


@dataclass(frozen=True)
class Row:
    """One interval on one law.

    Attributes:
        probe: The probe.
        law: What is drawn.
        draw: seed -> answer; None where the probe says that it has no number.
    """

    probe: str
    law: str
    draw: Callable[[int], Answer | None]


# ---- laws of positive numbers, with their mean and 10 % quantile


@dataclass(frozen=True)
class Law:
    name: str
    of: Any

    def draw(self, seed: int, n: int = EXAMPLES) -> Floats:
        found: Floats = self.of.rvs(size=n, random_state=np.random.default_rng(seed))
        return found


LAWS = (
    Law("gamma, shape 4", stats.gamma(4)),
    Law("exponential", stats.expon()),
    Law("lognormal, s = 1", stats.lognorm(1)),
    Law("lognormal, s = 2", stats.lognorm(2)),
    Law("Pareto, index 3", stats.pareto(3)),
)


def read(probe: str, truth: float, model: nn.Module, batches: Any, loss: Any, **about: Any) -> Answer | None:
    """One reading by the probe itself; the planted networks need no guard."""
    try:
        found = parse(probe).read(Subject(model, batches, loss, weigh=len_of, reduction="mean", **about))
    except Unavailable:
        return None
    if found.low is None or found.high is None:
        return None
    warned = any("skewed" in text for text in found.warnings)
    return Answer(found.low, found.high, truth, warned)


def len_of(batch: tuple[Tensor, ...]) -> float:
    return float(len(batch[0]))


# ---- the examples as a sample


def linear(values: Floats) -> tuple[nn.Module, list[tuple[Tensor]], Any]:
    """A loss linear in one weight: the gradient of an example is the example."""
    net = nn.Linear(1, 1, bias=False).double()
    return net, [(torch.from_numpy(values)[:, None],)], lambda model, batch: model(batch[0]).mean()


def signed(values: Floats, seed: int) -> Floats:
    """Roots with random signs: squares are ``values``, the mean is zero in expectation."""
    found: Floats = np.sqrt(values) * np.random.default_rng([seed, 1]).choice([-1.0, 1.0], len(values))
    return found


def squared_norms(probe: str, law: Law) -> Row:
    truth = float(law.of.mean())
    return Row(probe, law.name, lambda seed: read(probe, truth, *linear(signed(law.draw(seed), seed))))


def noise_scale(law: Law) -> Row:
    truth = 1.0  # trace E q over a squared gradient of E q

    def draw(seed: int) -> Answer | None:
        rows = signed(law.draw(seed), seed) + math.sqrt(law.of.mean())
        return read("gradient_noise_scale", truth, *linear(rows))

    return Row("gradient_noise_scale", law.name, draw)


class Bent(nn.Module):
    """Logits (|x|^2 / 2, 0): the margin of class 0 has the slope |x|."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        half = self.w * x.square().sum(1, keepdim=True) / 2
        return torch.cat([half, torch.zeros_like(half)], 1)


def classified(values: Floats) -> tuple[nn.Module, list[tuple[Tensor, Tensor]], Any]:
    x = torch.from_numpy(values.reshape(len(values), -1))
    labels = torch.zeros(len(x), dtype=torch.long)
    return Bent(), [(x, labels)], lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1])


def slopes(law: Law) -> Row:
    truth = float(law.of.mean())
    name = "input_gradient_norm"
    return Row(name, law.name, lambda seed: read(name, truth, *classified(law.draw(seed))))


def margins(law: Law) -> Row:
    truth = float(law.of.ppf(0.1))
    return Row(
        "margin_raw",
        law.name,
        lambda seed: read("margin_raw", truth, *classified(np.sqrt(2 * law.draw(seed)))),
    )


def shares(share: float) -> Row:
    def draw(seed: int) -> Answer:
        found = share_interval(np.random.default_rng(seed).random(EXAMPLES) < share)
        return Answer(found.low, found.high, share)

    return Row("prediction_churn", f"share of {share:g}", draw)


def distances(name: str, noise: Any) -> Row:
    times = (1, 2, 5, 10, 30, 100, 300)

    def draw(seed: int) -> Answer | None:
        errors = noise.rvs(size=len(times), random_state=np.random.default_rng(seed))
        away = [2 + 0.7 * math.log(t) + 0.2 * e for t, e in zip(times, errors, strict=True)]
        net = nn.Linear(1, 1, bias=False).double()
        weights = [(t, {"weight": torch.full((1, 1), d)}) for t, d in zip(times, away, strict=True)]
        start = {"weight": torch.zeros(1, 1)}
        batch = [(torch.ones(2, 1).double(),)]
        return read(
            "distance_slope", 0.7, net, batch, lambda m, b: m(b[0]).mean(), history=weights, initial=start
        )

    return Row("distance_slope", name, draw)


# ---- random batches and lines of fixed examples


class Weight(nn.Module):
    """One weight at 1."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, h: Tensor) -> Tensor:
        return h * self.w.square() / 2


def batches_of_four(law: Law) -> Row:
    def draw(seed: int) -> Answer | None:
        h = torch.from_numpy(law.draw(seed, 1000))[:, None]
        return read(
            "batch_sharpness",
            float(h.mean()),
            Weight(),
            [(h,)],
            lambda model, batch: model(batch[0]).mean(),
            training=Training(lr=0.1, batch=4),
            seed=seed,
        )

    return Row("batch_sharpness", law.name, draw)


def lines(law: Law) -> Row:
    """The function x^2 / 2 has the second-derivative mass |a - b| on the line from a to b."""

    def draw(seed: int) -> Answer | None:
        x = law.draw(seed)
        ordered = np.sort(x)
        n = len(x)
        truth = float(2 * ((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / n / (n - 1))
        net, batches, loss = classified(x)
        return read("second_derivative_mass:points=64", truth, net, batches, loss, seed=seed)

    return Row("second_derivative_mass", law.name, draw)


def waves(law: Law) -> Row:
    """Lines between examples of eight numbers; the truth is the mean over 4,000 of their lines."""
    x = law.draw(0, 64_000).reshape(8000, 8)
    net, batches, loss = classified(x)
    known: list[float] = []

    def draw(seed: int) -> Answer | None:
        if not known:
            reading = parse("frequency_content:slices=4000,points=64").read(
                Subject(net, batches, loss, weigh=len_of, reduction="mean", seed=10_000)
            )
            known.append(float(reading.value or math.nan))
        return read("frequency_content:points=64", known[0], net, batches, loss, seed=seed)

    return Row("frequency_content", law.name, draw)


# ---- random vectors


class Quadratic(nn.Module):
    """``w' H w / 2`` with a dense Hessian."""

    def __init__(self, h: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(len(h), dtype=torch.float64))
        self.h = h

    def forward(self, x: Tensor) -> Tensor:
        return (self.w @ self.h @ self.w / 2 + self.w.sum()) * x.mean()


def dense(eigenvalues: Floats) -> Tensor:
    """A symmetric matrix with these eigenvalues, in directions that no coordinate stands out of."""
    turn = torch.linalg.qr(torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0)).double())[0]
    return turn @ torch.diag(torch.from_numpy(eigenvalues)) @ turn.T


SPECTRA: dict[str, Floats] = {
    "flat": np.ones(SIDE),
    "rank one": np.eye(SIDE)[0],
    "1 / k": 1 / np.arange(1, SIDE + 1),
    "both signs": np.where(np.arange(SIDE) % 3, 1.0, -1.0) / np.arange(1, SIDE + 1),
}


def of_hessian(probe: str, spectrum: str, truth: Callable[[Floats], float]) -> Row:
    h, expected = dense(SPECTRA[spectrum]), truth(SPECTRA[spectrum])

    def draw(seed: int) -> Answer | None:
        batches = [(torch.ones(4).double(),)]
        return read(probe, expected, Quadratic(h), batches, lambda m, b: m(b[0]), seed=seed)

    return Row(probe, spectrum, draw)


class Fitted(nn.Module):
    """A quadratic whose examples pull: the Hessian is ``h``, the gradient of an example its row."""

    def __init__(self, h: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(len(h), dtype=torch.float64))
        self.h = h

    def forward(self, rows: Tensor) -> Tensor:
        return rows @ self.w + self.w @ self.h @ self.w / 2


def aligned(noise: str, curvature: str) -> Row:
    """Noise whose covariance has one spectrum, a Hessian with another, in the same directions."""
    h = dense(SPECTRA[curvature])
    root = dense(np.sqrt(np.abs(SPECTRA[noise])))
    rows = torch.randn(EXAMPLES, SIDE, generator=torch.Generator().manual_seed(1)).double() @ root
    sigma = torch.cov(rows.T)
    truth = float((sigma * h).sum() / sigma.norm() / h.norm())

    def draw(seed: int) -> Answer | None:
        return read(
            "noise_curvature_alignment", truth, Fitted(h), [(rows,)], lambda m, b: m(b[0]).mean(), seed=seed
        )

    return Row("noise_curvature_alignment", f"noise {noise}, Hessian {curvature}", draw)


def rounded(name: str, sizes: Any) -> Row:
    """Stochastic rounding of a fixed gradient; the truth is that of 4,000 roundings."""
    values = sizes.rvs(size=2000, random_state=np.random.default_rng(0))
    batch = torch.from_numpy(values * np.where(np.arange(2000) % 2, -1.0, 1.0))[None]
    net = nn.Linear(2000, 1, bias=False).double()
    known: list[float] = []
    probe = "gradient_to_noise:int4,rounding=stochastic"

    def draw(seed: int) -> Answer | None:
        subject = Subject(
            net, [(batch,)], lambda m, b: m(b[0]).mean(), weigh=len_of, reduction="mean", seed=9
        )
        if not known:
            known.append(float(parse(f"{probe},repeats=4000").read(subject).value or math.nan))
        return read(probe, known[0], net, [(batch,)], lambda m, b: m(b[0]).mean(), seed=seed)

    return Row("gradient_to_noise", name, draw)


def rows() -> list[Row]:
    """Every interval, law by law."""
    half = 0.5 * 0.01**2
    found = [squared_norms(name, law) for name in ("gradient_variance", "fisher_trace") for law in LAWS]
    found += [make(law) for make in (slopes, noise_scale, margins) for law in LAWS]
    found += [shares(share) for share in (0.5, 0.1, 0.02)]
    found += [distances("normal deviations", stats.norm()), distances("t, 3 degrees", stats.t(3))]
    found += [batches_of_four(law) for law in LAWS]
    found += [lines(law) for law in LAWS] + [waves(law) for law in LAWS[1:3]]
    found += [of_hessian("average_sharpness", name, lambda e: half * float(e.sum())) for name in SPECTRA]
    found += [of_hessian("trace", name, lambda e: float(e.sum())) for name in SPECTRA]
    found += [of_hessian("trace:sketch=0", name, lambda e: float(e.sum())) for name in SPECTRA]
    found += [
        of_hessian("spectral_density", "both signs", lambda e: float(-e[e < 0].sum() / np.abs(e).sum())),
        aligned("flat", "1 / k"),
        aligned("1 / k", "1 / k"),
        aligned("rank one", "1 / k"),
        rounded("normal entries", stats.norm()),
        rounded("lognormal entries, s = 2", stats.lognorm(2)),
    ]
    return found


def measured(row: Row, repeats: int) -> dict[str, Any]:
    """Coverage of one row; intervals of no width and missing ones are counted apart."""
    start = time.perf_counter()
    found = [row.draw(seed) for seed in range(repeats)]
    there = [one for one in found if one is not None]
    inside = [one.low <= one.truth <= one.high for one in there]
    quiet = [hit for hit, one in zip(inside, there, strict=True) if not one.warned]
    rounding = [abs(one.high - one.low) <= 1e-9 * abs(one.truth) for one in there]
    return {
        "probe": row.probe,
        "law": row.law,
        "repeats": repeats,
        "readings": len(there),
        "exact": sum(rounding),
        "coverage": float(np.mean(inside)) if inside else None,
        "warned": 1 - len(quiet) / len(there) if there else None,
        "relative_width": float(np.median([(o.high - o.low) / abs(o.truth) for o in there]))
        if there
        else None,
        "seconds": round(time.perf_counter() - start, 1),
    }


def table(results: dict[str, Any]) -> str:
    """The results as a Markdown table, one line for each probe."""
    cells: dict[str, list[str]] = {}
    for one in results["rows"]:
        said = "exact" if one["exact"] == one["readings"] else f"{100 * one['coverage']:.1f}"
        notes = [f"warned {100 * one['warned']:.0f}"] if one["warned"] else []
        if one["readings"] < one["repeats"]:
            notes.append(f"no number {100 * (1 - one['readings'] / one['repeats']):.0f}")
        cells.setdefault(one["probe"], []).append(
            f"{one['law']}: {said}" + (f" ({', '.join(notes)})" if notes else "")
        )
    lines = ["| probe | coverage in % |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{probe}` | {'; '.join(found)} |" for probe, found in cells.items())])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", help="probes whose spelling starts so; nothing is written")
    parser.add_argument("--table", action="store_true", help="print the committed results")
    asked = parser.parse_args()
    if asked.table:
        print(table(json.loads(RESULTS.read_text())))
        return
    torch.set_num_threads(1)
    chosen = [row for row in rows() if row.probe.startswith(asked.only or "")]
    found = []
    for row in chosen:
        found.append(measured(row, asked.repeats))
        print(found[-1], flush=True)
    results = {"machine": machine(), "examples": EXAMPLES, "rows": found}
    if asked.only:
        print(table(results))
        return
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
