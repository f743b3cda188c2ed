"""Batch normalisation by the range, or by the mean deviation, in place of the standard deviation."""

from __future__ import annotations

import functools
import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from algobias.components.ghost_norm import KINDS, OTHERS
from algobias.components.given import number, whole
from algobias.components.wrapper import precise
from algobias.errors import BadInput

N = TypeVar("N", bound="_OtherDeviation")


class _OtherDeviation(_BatchNorm):
    """Batch normalisation with another estimate of the standard deviation.

    Arguments are those of ``nn.BatchNorm1d``.

    Raises:
        BadInput: A width that is no whole number above 0, a negative eps, a momentum outside of 0 to 1.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        width = whole("num_features", num_features, 1)
        eps = number("eps", eps, lambda value: 0 <= value < math.inf, "a number of at least 0")
        if momentum is not None:
            momentum = number(
                "momentum", momentum, lambda value: 0 <= value <= 1, "a number from 0 to 1, or None"
            )
        super().__init__(width, eps, momentum, affine, track_running_stats, device, dtype)

    def deviation(self, centred: Tensor, axes: tuple[int, ...], count: int) -> Tensor:
        """Estimate the standard deviation of channels from ``count`` values less their mean, [1, C, ...]."""
        raise NotImplementedError

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2 or input.shape[1] != self.num_features:
            raise ValueError(f"expected [B, {self.num_features}, ...] (got {list(input.shape)})")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [B, C, ...]: in training by the batch, in evaluation by the running statistics."""
        self._check_input_dim(input)
        if not self.training and self.running_mean is not None:
            means, variances = self.running_mean, self.running_var
            return F.batch_norm(input, means, variances, self.weight, self.bias, eps=self.eps)
        axes = (0, *range(2, input.dim()))
        count = input.numel() // max(1, input.shape[1])
        if count < 2:
            raise ValueError(f"expected more than 1 value per channel when training, got {list(input.shape)}")
        x = input.to(precise(input.dtype))
        mean = x.mean(axes, keepdim=True)
        centred = x - mean
        deviation = self.deviation(centred, axes, count)
        if self.training and self.track_running_stats:
            self._remember(mean.detach().flatten(), deviation.detach().flatten())
        found = centred / (deviation.square() + self.eps).sqrt()
        if self.weight is not None:
            shape = (1, -1, *(1 for _ in range(input.dim() - 2)))
            found = found * self.weight.view(shape) + self.bias.view(shape)
        return found.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, deviation: Tensor) -> None:
        """Move the running statistics: means of the means, and of the deviations, whose square is kept."""
        if self.running_mean is None or self.running_var is None:
            return
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1.0 / float(self.num_batches_tracked) if share is None else share
        assert share is not None
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.copy_(
            self.running_var.sqrt().lerp(deviation.to(self.running_var.dtype), share).square()
        )


class RangeBatchNorm(_OtherDeviation):
    """Batch normalisation by the range of a channel's values, which low precision can find.

    In training ``(x - mean) / sqrt(d^2 + eps)`` with ``d = (max - min) / c(n)``, c(n) the expected range of n
    standard normal numbers, n values a channel::

        c(n) = integral of 1 - Phi(x)^n - (1 - Phi(x))^n over all x        (c(2) = 1.128, c(64) = 4.69)

    so that d estimates the standard deviation of Gaussian values without bias for every n. (The paper's
    constant, 1 / sqrt(2 ln n) of the range, gives 1.6 to 1.8 of it for 64 to 4,096 values.) Heavy tails make
    the range larger. Running statistics with torch's momentum: means of the means and of d; ``running_var``
    is the square of the latter. Names of parameters and buffers, and evaluation, are those of
    ``nn.BatchNorm``. Input [B, C, ...]. Source: Banner, Hubara, Hoffer, Soudry, Scalable methods for 8-bit
    training of neural networks, 2018.

    Example:
        >>> import torch; _ = torch.manual_seed(0)
        >>> norm = RangeBatchNorm(64); x = 3 * torch.randn(256, 64) + 1
        >>> round(norm(x).std().item(), 1), sorted(norm.state_dict())[:2]
        (1.0, ['bias', 'num_batches_tracked'])
    """

    def deviation(self, centred: Tensor, axes: tuple[int, ...], count: int) -> Tensor:
        """The range over its expectation."""
        spread = centred.amax(axes, keepdim=True) - centred.amin(axes, keepdim=True)
        return spread / expected_range(count)


class L1BatchNorm(_OtherDeviation):
    """Batch normalisation by the mean absolute deviation, without squares.

    In training ``(x - mean) / sqrt(d^2 + eps)`` with ``d = sqrt(pi / 2) sqrt(n / (n - 1)) mean |x - mean|``,
    which estimates the standard deviation of Gaussian values without bias for every number n of values a
    channel (deviations from the mean of n have variance 1 - 1 / n). The rest as in :class:`RangeBatchNorm`.
    Source: Hoffer, Banner, Golan, Soudry, Norm matters: efficient and accurate normalization schemes in deep
    networks, 2018.

    Example:
        >>> import torch; _ = torch.manual_seed(0)
        >>> norm = L1BatchNorm(64); x = 3 * torch.randn(256, 64) + 1
        >>> round(norm(x).std().item(), 1)
        1.0
    """

    def deviation(self, centred: Tensor, axes: tuple[int, ...], count: int) -> Tensor:
        """The mean absolute deviation over its expectation."""
        return centred.abs().mean(axes, keepdim=True) * math.sqrt(math.pi / 2 * count / (count - 1))


@functools.cache
def expected_range(count: int) -> float:
    """The expected range of so many standard normal numbers, to 1e-10.

    The largest lies above x with probability ``1 - Phi(x)^n`` and the smallest with ``(1 - Phi(x))^n``; the
    range is the integral of the difference. By the trapezoidal rule, which is exact to all digits for a
    smooth integrand that vanishes at both ends.

    Args:
        count: n, at least 2.
    """
    end = math.sqrt(2 * math.log(count)) + 10
    x = torch.linspace(-end, end, 8001, dtype=torch.float64)
    below = torch.special.log_ndtr(x)
    # 1 - Phi(x)^n - (1 - Phi(x))^n; expm1, since the first two nearly cancel far above
    inside = -torch.expm1(count * below) - torch.exp(count * below.flip(0))
    return float(torch.trapezoid(inside, x))


def range_batch_norm(model: nn.Module) -> list[str]:
    """Replace every batch normalisation of a model by :class:`RangeBatchNorm`, in place.

    Parameters and buffers stay the same tensors under the same names.

    Args:
        model: The model; not itself a batch normalisation.

    Returns:
        Names of the layers that were replaced, in order; none means that nothing will change.

    Raises:
        BadInput: The model is itself a batch normalisation, or contains one that cannot be replaced: a
            SyncBatchNorm, a lazy one, or a subclass with a forward pass of its own. It is left as it was.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
        >>> range_batch_norm(net), type(net[1]).__name__
        (['1'], 'RangeBatchNorm')
    """
    return _replaced(model, RangeBatchNorm)


def l1_batch_norm(model: nn.Module) -> list[str]:
    """Replace every batch normalisation of a model by :class:`L1BatchNorm`, as :func:`range_batch_norm` does.

    Example:
        >>> import torch
        >>> l1_batch_norm(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)))
        ['1']
    """
    return _replaced(model, L1BatchNorm)


def _replaced(model: nn.Module, kind: type[N]) -> list[str]:
    if not isinstance(model, nn.Module) or isinstance(model, _BatchNorm):
        raise BadInput("model", type(model).__name__, "a model that contains the layer")
    modules = dict(model.named_modules(remove_duplicate=False))
    found = [(name, m) for name, m in modules.items() if isinstance(m, _BatchNorm)]
    found = [(name, m) for name, m in found if not isinstance(m, _OtherDeviation)]
    for name, module in found:
        if isinstance(module, OTHERS) or type(module) not in KINDS:
            raise BadInput(name, type(module).__name__, "BatchNorm1d, BatchNorm2d or BatchNorm3d itself")
    made: dict[int, nn.Module] = {}
    for name, module in found:
        above, _, own = name.rpartition(".")
        setattr(modules[above], own, made.setdefault(id(module), _taking_over(module, kind)))
    return [name for name, _ in found]


def _taking_over(norm: nn.Module, kind: type[N]) -> N:
    """A layer of another kind with the same tensors, numbers and mode."""
    assert isinstance(norm, _BatchNorm)
    found = kind(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta"
    )
    found._parameters.update(norm._parameters)
    found._buffers.update(norm._buffers)
    return found.train(norm.training)
