"""Number formats on gradients, weights and activations: planted errors, closed forms, coverage."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tests.probes.patterns import cross_entropy
from torch import Tensor, nn

from algobias.errors import BadInput
from algobias.numerics.quantiser import quantise
from algobias.probes.families.gradient_rounding import GradientToNoise, QuantisedGradientBias
from algobias.probes.measure import measure
from algobias.probes.passes.losses import gradient
from algobias.probes.passes.precision import repeat
from algobias.probes.reading import Reading
from algobias.probes.registry import parse
from algobias.probes.subject import Subject


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear_loss(model: nn.Module, batch: tuple[Tensor]) -> Tensor:
    """Loss whose gradient in the weights is the mean of the batch: any gradient can be planted."""
    return (model.weight * batch[0].mean(0)).sum()


class Bare(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))


def planted(g: Tensor, probe: str, **about: Any) -> Reading:
    """A reading where the gradient is g, from two unequal batches."""
    model = Bare(*g.shape)
    batches = [(g.expand(3, *g.shape),), (g.expand(1, *g.shape),)]
    return measure(model, batches, linear_loss, [probe], **about)[0]


def of(g: Tensor, probe: str, **about: Any) -> float:
    reading = planted(g, probe, **about)
    assert reading.status == "ok", reading.reason
    assert reading.value is not None
    return reading.value


G = torch.randn(40, 64, generator=gen(1))


def test_bias_of_rounding_to_the_nearest_is_its_error() -> None:
    for fmt in ("int4", "e2m1", "mxfp4"):
        reading = planted(G, f"quantised_gradient_bias:{fmt}")
        expected = float((quantise(G, fmt) - G).norm() / G.norm())
        assert reading.value == pytest.approx(expected, rel=1e-4)
        assert reading.parts["variance"] == 0.0
        assert reading.parts["cosine"] == pytest.approx(
            float((quantise(G, fmt) * G).sum() / quantise(G, fmt).norm() / G.norm()), rel=1e-5
        )
        assert reading.no_interval is not None
    assert of(7 * torch.ones(4, 4), "quantised_gradient_bias:int4") == 0.0


def test_stochastic_rounding_has_no_bias_and_the_variance_of_o17() -> None:
    """Entries k + f of int4 with scale 1: variance f (1 - f)."""
    part = torch.rand(40, 64, generator=gen(2))
    g = torch.randint(0, 6, (40, 64), generator=gen(3)) + part
    g[0, 0] = 7.0
    part[0, 0] = 0.0
    reading = planted(g, "quantised_gradient_bias:int4,rounding=stochastic,repeats=64")
    assert reading.monte_carlo is not None
    assert reading.low == 0.0
    expected = float((part * (1 - part)).sum() / g.square().sum())
    assert reading.parts["variance"] == pytest.approx(expected, rel=0.02)
    assert abs(reading.details["squared_bias"]) < 0.02 * expected
    assert reading.parts["projection"] == pytest.approx(0.0, abs=4e-3)
    # An estimate that kept the noise of the mean would find 1/64 of the variance.
    nearest = of(g, "quantised_gradient_bias:int4")
    assert nearest**2 == pytest.approx(expected / 2, rel=0.05)  # MSE: 1/12 against 1/6


def test_cosine_and_projection_leave_out_the_noise_of_the_mean() -> None:
    g = torch.full((200, 200), 0.2)
    g[0, 0] = 7.0  # rounded to 0 or 1: variance four times the signal, which four repetitions halve only
    found = planted(g, "quantised_gradient_bias:int4,rounding=stochastic,repeats=4")
    assert found.parts["cosine"] == pytest.approx(1.0, abs=0.03)
    assert found.parts["projection"] == pytest.approx(0.0, abs=0.03)
    assert found.parts["variance"] == pytest.approx(4.0, rel=0.05)


class Shifted(QuantisedGradientBias):
    """Rounding with a planted bias and noise."""

    name = "shifted"

    def quantised(self, x: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.rand(x.shape, generator=generator, dtype=x.dtype) < 0.3
        return x + BIAS + WIDTH * (noise.to(x.dtype) - 0.3)


BIAS, WIDTH = torch.zeros(()), torch.ones(())


@pytest.mark.parametrize("size", [0.0, 0.05, 0.2])
def test_a_planted_bias_is_found_and_its_interval_covers(size: float) -> None:
    global BIAS, WIDTH
    g = torch.randn(300, generator=gen(4), dtype=torch.float64)
    BIAS = size * torch.randn(300, generator=gen(5), dtype=torch.float64)
    WIDTH = torch.rand(300, generator=gen(6), dtype=torch.float64)
    truth, spread = float(BIAS.square().sum()), float((WIDTH**2 * 0.21).sum())
    probe, generator = Shifted(rounding="stochastic", repeats=8), gen(7)
    found = [repeat(probe, g, 8, generator) for _ in range(500)]
    bias = np.array([one.bias for one in found])
    assert bias.mean() == pytest.approx(truth, abs=4 * bias.std() / math.sqrt(500))
    assert np.mean([one.variance for one in found]) == pytest.approx(spread, rel=0.02)
    assert np.mean([one.bias_variance for one in found]) == pytest.approx(bias.var(), rel=0.2)
    half = 1.96 * np.sqrt([one.bias_variance for one in found])
    assert 0.92 <= np.mean(np.abs(bias - truth) <= half) <= 0.98


def test_interval_of_the_ratio_covers() -> None:
    """Stochastic rounding of int4 entries k + f: E |Q(g) - g|^2 = sum f (1 - f)."""
    part = torch.rand(16, 16, generator=gen(8))
    g = torch.randint(0, 6, (16, 16), generator=gen(9)) + part
    g[0, 0], part[0, 0] = 7.0, 0.0
    truth = math.sqrt(float(g.square().sum() / (part * (1 - part)).sum()))
    probe, hits = parse("gradient_to_noise:int4,repeats=6"), []
    subject = Subject(Bare(16, 16), [(g[None],)], linear_loss)
    gradient(subject)
    for seed in range(400):
        reading = probe.read(replace(subject, seed=seed, memo=subject.memo))
        assert reading.value == pytest.approx(truth, rel=0.2)
        hits.append(reading.low <= truth <= reading.high)  # type: ignore[operator]
    assert 0.92 <= np.mean(hits) <= 0.98


def test_the_alarm_rings_below_the_root_of_three() -> None:
    quiet = planted(G, "gradient_to_noise:int8,rounding=nearest")
    assert quiet.value == pytest.approx(float(G.norm() / (quantise(G, "int8") - G).norm()), rel=1e-3)
    assert not quiet.warnings
    small = torch.full((8, 8), 0.2)
    small[0, 0] = 7.0  # f = 0.2: signal 0.04 an entry, noise 0.16
    loud = planted(small, "gradient_to_noise:int4,repeats=200")
    expected = math.sqrt((63 * 0.04 + 49) / (63 * 0.16))
    assert loud.value == pytest.approx(expected, rel=0.02)
    rows = torch.full((32, 32), 0.2)
    rows[0, 0] = 7.0
    drowned = planted(rows, "gradient_to_noise:int4,repeats=50")
    assert drowned.value < math.sqrt(3)  # type: ignore[operator]
    assert "sqrt(3)" in drowned.warnings[0]
    assert "without error" in str(planted(torch.ones(4, 4), "gradient_to_noise:int4").reason)


def test_sqnr_of_uniform_entries_is_a_closed_form() -> None:
    """Uniform on [-M, M], step M / 127: 10 log10(4 x 127^2) dB; three dB less with stochastic rounding."""
    model = Bare(300, 400)
    with torch.no_grad():
        model.weight.uniform_(-1, 1, generator=gen(10))
    batch = [(torch.rand(1, 300, 400, generator=gen(11)) * 2 - 1,)]
    for rounding, factor in (("nearest", 4.0), ("stochastic", 2.0)):
        reading = measure(model, batch, linear_loss, [f"sqnr:int8,rounding={rounding}"])[0]
        expected = 10 * math.log10(factor * 127**2)
        assert reading.parts == pytest.approx(
            {"weights weight": expected, "gradients weight": expected}, abs=0.05
        )
        assert reading.value == min(reading.parts.values())


def test_sqnr_of_activations_is_that_of_each_batch_with_its_own_scale() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))
    x, y = torch.randn(30, 6, generator=gen(12)), torch.arange(30) % 3
    batches = [(x[:20], y[:20]), (10 * x[20:], y[20:])]
    reading = measure(net, batches, cross_entropy, ["sqnr:int4"])[0]
    signal = noise = 0.0
    for inputs, _ in batches:
        h = net[:2](inputs).detach()
        signal += float(h.square().sum())
        noise += float((quantise(h, "int4") - h).square().sum())
    assert reading.parts["activations 2"] == pytest.approx(10 * math.log10(signal / noise), rel=1e-4)
    assert "activations 0" not in reading.parts  # the data are not the network's own
    assert {name.split()[0] for name in reading.parts} == {"weights", "gradients", "activations"}


def test_underflow_counts_entries_below_half_of_the_smallest_level() -> None:
    g = torch.cat([torch.full((50,), 2.0**-18), torch.full((30,), 2.0**-15), torch.zeros(10)]).reshape(9, 10)
    found = planted(g, "underflow_rate:e5m2,scaled=false")
    assert found.value == pytest.approx(50 / 80)  # smallest level 2^-16; zeros do not count
    assert found.parts["saturated"] == 0.0
    assert of(g, "underflow_rate:e5m2") == 0.0  # with a scale nothing is lost
    assert of(1024 * g, "underflow_rate:e5m2,scaled=false") == 0.0
    big = g.clone()
    big[0] = 1e3
    assert planted(big, "underflow_rate:e4m3,scaled=false").parts["saturated"] == pytest.approx(10 / 80)
    assert "block" in str(planted(g, "underflow_rate:mxfp4,scaled=false").reason)


def test_stochastic_underflow_of_lognormal_entries_is_o20() -> None:
    mean, std, top = -2.0, 2.0, 64.0
    logs = mean + std * torch.randn(500, 400, generator=gen(13), dtype=torch.float64)
    g = logs.exp().clamp(max=top)
    g[0, 0] = top  # E3M0 with scale 1: entries below 1 survive with their own size as probability
    z = -mean / std
    expected = stats.norm.cdf(z) - math.exp(mean + std**2 / 2) * stats.norm.cdf(z - std)
    found = of(g.float(), "underflow_rate:e3m0,rounding=stochastic")
    assert found == pytest.approx(expected, abs=0.004)


def test_lognormal_magnitudes_are_recognised() -> None:
    logs = 2.5 * torch.randn(200, 100, generator=gen(14)) - 9
    signs = torch.sign(torch.randn(200, 100, generator=gen(15)))
    reading = planted(signs * logs.exp(), "lognormal_fit")
    assert reading.value < 0.008  # type: ignore[operator]
    told = reading.details["log_magnitudes"]["weight"]
    assert told["mean"] == pytest.approx(float(logs.mean()), rel=1e-4)
    assert told["std"] == pytest.approx(float(logs.double().std(correction=0)), rel=1e-4)
    assert told["entries"] == 20_000
    # Two equal atoms: the normal distribution at -1 is 0.1587, the atoms' is 0 to the left and 1/2 at it.
    atoms = torch.tensor([1.0, 10.0]).repeat(50, 20)
    assert of(atoms, "lognormal_fit") == pytest.approx(0.5 - float(stats.norm.cdf(-1)), rel=1e-4)
    normal = of(torch.randn(300, 300, generator=gen(16)), "lognormal_fit")
    assert normal == pytest.approx(_ks_of_normal_magnitudes(), abs=0.006)
    assert "equal" in str(planted(torch.ones(4, 4), "lognormal_fit").reason)


def _ks_of_normal_magnitudes() -> float:
    """The distance for |N(0, 1)|, by quadrature: E ln|x| = -(gamma + ln 2) / 2, Var = pi^2 / 8."""
    mean, std = -(np.euler_gamma + math.log(2)) / 2, math.pi / math.sqrt(8)
    z = np.linspace(-8, 4, 200_001)
    magnitude = np.exp(mean + std * z)
    return float(np.abs(2 * stats.norm.cdf(magnitude) - 1 - stats.norm.cdf(z)).max())


def test_the_gradient_is_that_of_all_examples_however_batched() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = torch.randn(130, 6, generator=gen(17)), torch.arange(130) % 3
    names = ["quantised_gradient_bias", "gradient_to_noise", "underflow_rate:e2m1", "lognormal_fit"]
    whole = measure(net, [(x, y)], cross_entropy, names)
    for batches in ([(x[:128], y[:128]), (x[128:], y[128:])], [(x, y), (x, y)]):
        for one, two in zip(whole, measure(net, batches, cross_entropy, names), strict=True):
            assert two.value == pytest.approx(one.value, rel=0.02)
            assert set(one.parts) == set(two.parts)
    assert set(whole[3].parts) == {"0.weight", "2.weight"}  # biases are not held in few bits

    def scaled(model: nn.Module, batch: Any) -> Tensor:
        return 1024 * cross_entropy(model, batch)

    for one, two in zip(whole, measure(net, [(x, y)], scaled, names), strict=True):
        assert two.value == pytest.approx(one.value, rel=1e-5)


def test_mask_flips_are_counted_against_the_other_run_or_an_earlier_moment() -> None:
    model = Bare(3, 8)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([4.0, 3, 2, 1, 4, 3, 2, 1]).expand(3, 8))
    other = model.weight.detach().clone()
    other[0, :4] = torch.tensor([4.0, 1, 3, 2])  # one entry leaves the mask, one enters
    other[1] *= -7.0
    batch = [(torch.ones(1, 3, 8),)]
    reading = measure(model, batch, linear_loss, ["mask_flips"], other={"weight": other})[0]
    assert reading.value == pytest.approx(2 / 24)
    assert reading.details["against"] == "the other run"
    history = [(5, {"weight": torch.flip(other, [1])}), (9, {"weight": other})]
    for updates, expected in ((20, 2 / 24), (9, None)):
        told = measure(model, batch, linear_loss, ["mask_flips"], history=history, updates=updates)[0]
        if expected is not None:
            assert told.value == pytest.approx(expected)
            assert told.details["against"] == "update 9"
        else:
            assert told.details["against"] == "update 5"
            assert told.value > 0.8  # type: ignore[operator]
    assert "history" in str(measure(model, batch, linear_loss, ["mask_flips"])[0].reason)
    assert "groups" in str(
        measure(model, batch, linear_loss, ["mask_flips:n=1,m=3"], other={"weight": other})[0].reason
    )
    random = Bare(200, 400)
    with torch.no_grad():
        random.weight.normal_(generator=gen(18))
    noise = {"weight": torch.randn(200, 400, generator=gen(19))}
    half = measure(random, [(torch.ones(1, 200, 400),)], linear_loss, ["mask_flips"], other=noise)[0]
    assert half.value == pytest.approx(0.5, abs=0.01)


def test_replica_dispersion_of_planted_workers() -> None:
    model = Bare(2, 3)
    centre = torch.arange(6.0).reshape(2, 3)
    offsets = [torch.full((2, 3), x) for x in (-3.0, 0.0, 3.0)]
    replicas = [{"weight": centre + o} for o in offsets]
    batch = [(torch.ones(1, 2, 3),)]
    reading = measure(model, batch, linear_loss, ["replica_dispersion"], replicas=replicas)[0]
    assert reading.value == pytest.approx((9 + 0 + 9) * 6 / 3)
    assert reading.twin is not None
    assert reading.twin.value == pytest.approx(36 / float(centre.square().sum()))
    assert reading.parts == {"weight": pytest.approx(36.0)}
    doubled = [{"weight": 2 * r["weight"]} for r in replicas]
    two = measure(model, batch, linear_loss, ["replica_dispersion"], replicas=doubled)[0]
    assert two.value == pytest.approx(4 * 36)
    assert two.twin is not None
    assert two.twin.value == pytest.approx(reading.twin.value)
    assert "two workers" in str(
        measure(model, batch, linear_loss, ["replica_dispersion"], replicas=replicas[:1])[0].reason
    )
    assert "needs replicas" in str(measure(model, batch, linear_loss, ["replica_dispersion"])[0].reason)


def test_formats_may_have_modifiers_but_not_a_rounding_of_their_own() -> None:
    for name in ("int4-row", "int4-sawb", "nvfp4-2d", "mxfp6-e3m2", "ufp4", "int8-2:4"):
        expected = float((quantise(G, name) - G).norm() / G.norm())
        assert of(G, f"quantised_gradient_bias:{name}") == pytest.approx(expected, rel=1e-4)
    assert parse("sqnr:e2m1-pow2-block32").spelling() == "sqnr:mxfp4"
    for wrong in ("sqnr:int4-sr", "sqnr:luq", "sqnr:2:4-mvue", "sqnr:int4-floor"):
        with pytest.raises(BadInput, match="rounding"):
            parse(wrong)
    assert "every row" in str(planted(G, "underflow_rate:int8-row,scaled=false").reason)
    scaled = planted(G, "underflow_rate:int4-sawb,scaled=false")  # without a scale nothing is clipped to one
    assert scaled.value == pytest.approx(float((G.abs() <= 0.5).double().mean()))


def test_nvfp4_is_rounded_without_bias() -> None:
    found = planted(G, "quantised_gradient_bias:nvfp4,rounding=stochastic,repeats=256")
    assert found.low == 0.0
    assert abs(found.details["squared_bias"]) < 0.02 * found.parts["variance"]
    assert abs(found.parts["projection"]) < 2e-3


def test_bad_options_and_gradients_that_are_zero() -> None:
    for text, word in (
        ("sqnr:e4m33", "e4m3"),
        ("mask_flips:n=5", "less than m"),
        ("quantised_gradient_bias:int4,rounding=up", "nearest"),
        ("quantised_gradient_bias:repeats=2", "repeats"),
    ):
        with pytest.raises(BadInput, match=word):
            parse(text)
    assert GradientToNoise().spelling() == "gradient_to_noise"
    assert "zero" in str(planted(torch.zeros(3, 3), "quantised_gradient_bias").reason)
