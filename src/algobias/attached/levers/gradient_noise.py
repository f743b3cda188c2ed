"""Gradient noise of a smaller batch, injected: weighted examples, or deviations of parts of the batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from algobias.attached.capture.check import own_gradients, run_again
from algobias.attached.capture.graph import BackwardPass, Operation
from algobias.attached.capture.replay import replayed
from algobias.attached.fit.form import examples_in, undivided
from algobias.attached.levers.base import Options
from algobias.attached.levers.passes import SecondPasses, put_gradients
from algobias.attached.ranks import PROCESSES, trains_with_others
from algobias.put_back.modules import undone
from algobias.seeding.streams import generator

NO_MEAN = "the loss is no mean of torch's own over the examples: kind=additive does without"
NOT_PLAIN = (
    "the loss is not the plain mean of its examples (class weights, ignored labels): take kind=additive"
)


class GradientNoise(SecondPasses):
    """Make a step's gradient as noisy as that of a batch of ``like`` examples: ``gradient_noise:16``.

    ``multiplicative``: example i of the B of a step counts ``1 + s z_i``, ``s^2 = B / like - 1``: the step's
    passes are taken again with these weights. ``additive`` (``kind=additive,chunks=8``): to the script's own
    gradient comes ``sqrt(1 / like - 1 / B) sum_k z_k sqrt(n_k / (K - 1)) (m_k - m)``, m_k the gradients of
    K consecutive chunks of n_k examples and m their mean; each chunk is a pass with the random numbers and
    buffers of the script's own, multiplied up where the loss is a sum over the batch. z is standard normal
    and follows torch's first seed and the update. A batch that is as noisy already is left as it is. The
    first dimension of the data counts the examples.
    Cost: one more pass in each step. Memory: ``additive`` keeps the gradients of K chunks.
    Source: Hoffer, Hubara, Soudry 2017; Wen et al. 2020.
    """

    name: ClassVar[str] = "gradient_noise"
    positional: ClassVar[str] = "like"
    known: ClassVar[tuple[str, ...]] = ("like", "kind", "chunks")

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        self.like = options.whole("like", least=1)
        self.kind = options.choice("kind", ("multiplicative", "additive"))
        self.chunks = options.whole("chunks", least=2, default=8)
        self._seed: int | None = None
        self._adds_up: bool | None = None

    def extra_passes(self, updates: int, count: int) -> float:
        """Every pass of the steps in which it acted, once more: whole, or in chunks."""
        return float(count)

    def take(self, backward_pass: BackwardPass) -> None:
        """Keep a pass until the end of the step; values that have escaped belong to these very weights."""
        self._passes.append(backward_pass)

    def change(self, passes: Sequence[BackwardPass], weights: Sequence[Tensor], scale: float) -> bool:
        """Make the gradients noisier, where they are not noisy enough."""
        if trains_with_others():
            self.refuse(PROCESSES)
            return False
        sizes = [examples_in([source.tensor for source in each.sources()]) for each in passes]
        missing = max(0.0, 1 / self.like - 1 / sum(sizes))
        if not missing:
            return False
        if self._seed is None:
            self._seed = torch.initial_seed()
        if self.kind == "multiplicative":
            return self._weigh(passes, weights, sizes, math.sqrt(sum(sizes) * missing))
        return self._deviate(passes, weights, sizes, missing)

    def _drawn(self, count: int) -> Tensor:
        stream = generator(self._seed or 0, self.name, self.steps)
        return torch.from_numpy(stream.standard_normal(count))

    # -- multiplicative --------------------------------------------------------------------------------------

    def _weigh(
        self, passes: Sequence[BackwardPass], weights: Sequence[Tensor], sizes: list[int], spread: float
    ) -> bool:
        """Take the gradient of the weighted losses in place of the one there is."""
        shares = torch.split(1 + spread * self._drawn(sum(sizes)).float(), sizes)
        with own_gradients(weights):
            for each, share in zip(passes, shares, strict=True):
                losses = [undivided(root)[0].operation for root in each.roots]
                calls = [weighted_loss(loss, share) for loss in losses]
                if any(call is None for call in calls):
                    self.refuse(NO_MEAN)
                    return False
                instead = {loss: call for loss, call in zip(losses, calls, strict=True) if call is not None}
                try:
                    with undone(each.modules()), torch.enable_grad():
                        run_again(each, self.run.backwards.quietly, instead=instead)
                except NotWeighed as error:
                    self.refuse(str(error))
                    return False
            fresh = [weight.grad for weight in weights]
        put_gradients(weights, fresh)
        return True

    # -- additive --------------------------------------------------------------------------------------------

    def _deviate(
        self, passes: Sequence[BackwardPass], weights: Sequence[Tensor], sizes: list[int], missing: float
    ) -> bool:
        """Add a random combination of the deviations of chunks from their mean."""
        drawn = torch.split(self._drawn(self.chunks * len(passes)), self.chunks)
        trained = [weight for weight in weights if weight.grad is not None]
        noise = [torch.zeros_like(weight) for weight in trained]
        for each, size, z in zip(passes, sizes, drawn, strict=True):
            count = min(self.chunks, size)
            if count < 2:
                continue
            cuts = torch.arange(size).tensor_split(count)
            try:
                rows = self._of_chunks(each, trained, size, cuts)
            except (RuntimeError, ValueError, TypeError, LookupError) as error:
                self.refuse(f"a part of the batch cannot be passed alone ({type(error).__name__})")
                return False
            strength = math.sqrt(missing * sum(sizes) / count) / math.sqrt(count - 1)
            lengths = torch.tensor([len(cut) for cut in cuts], dtype=torch.float64)
            factors = strength * z[:count] * (lengths * count / size).sqrt()
            for extra, chunks in zip(noise, zip(*rows, strict=True), strict=True):
                stacked = torch.stack(chunks)
                along = (-1, *(1 for _ in extra.shape))
                mean = stacked.mean(0)
                if size % count:
                    mean = (stacked * (lengths / size).view(along).to(stacked)).sum(0)
                extra.add_(((stacked - mean) * factors.view(along).to(stacked)).sum(0))
        for weight, extra in zip(trained, noise, strict=True):
            if weight.grad is not None:
                weight.grad.add_(extra)
        return True

    def _of_chunks(
        self, each: BackwardPass, weights: Sequence[Tensor], size: int, cuts: Sequence[Tensor]
    ) -> list[list[Tensor]]:
        """Gradients of the mean loss of every chunk of a pass."""
        rows, losses = [], []
        for cut in cuts:
            given = {
                source: source.tensor[cut.to(source.tensor.device)]
                for source in each.sources()
                if source.tensor.ndim and len(source.tensor) == size
            }
            with own_gradients(each.weights()), undone(each.modules()), torch.enable_grad():
                roots = run_again(each, self.run.backwards.quietly, given)
                losses.append(_sum(roots))
                rows.append([torch.zeros_like(w) if w.grad is None else w.grad.detach() for w in weights])
        if self._adds_up is None:
            with undone(each.modules()), torch.no_grad():
                whole = _sum(replayed(each))
            shares = math.fsum(loss * len(cut) / size for loss, cut in zip(losses, cuts, strict=True))
            self._adds_up = abs(math.fsum(losses) - whole) < abs(shares - whole)
        if self._adds_up:
            rows = [
                [gradient * (size / len(cut)) for gradient in row]
                for row, cut in zip(rows, cuts, strict=True)
            ]
        return rows


def _sum(roots: Sequence[Tensor]) -> float:
    return math.fsum(float(root.detach().double().sum()) for root in roots)


class NotWeighed(Exception):
    """A loss whose examples cannot be weighed one by one; says why."""


def weighted_loss(operation: Operation, weights: Tensor) -> Callable[..., Tensor] | None:
    """Make a loss of torch's own count its examples differently; None where it is something else.

    Args:
        operation: What made the loss: a function of torch with a ``reduction``, or a module for one.
        weights: Of the examples, [B].

    Returns:
        What is called in its place: ``mean_i w_i l_i``, or their sum. It raises :class:`NotWeighed` where
        the loss is not the plain mean or sum of one loss for each example.
    """
    module, options = operation.module, operation.arguments[1]
    reduction = module.reduction if isinstance(module, nn.modules.loss._Loss) else options.get("reduction")
    if reduction not in ("mean", "sum") or operation.kind not in ("module", "function"):
        return None

    def call(how: str, args: tuple[object, ...], given: dict[str, object]) -> Tensor:
        if module is None:
            made = operation.call(*args, **{**given, "reduction": how})
        else:
            vars(module)["reduction"] = how
            try:
                made = operation.call(*args, **given)
            finally:
                vars(module)["reduction"] = reduction
        assert isinstance(made, Tensor)
        return made

    def weighted(*args: object, **given: object) -> Tensor:
        single = call("none", args, given)
        if not single.ndim or len(single) != len(weights):
            rows = len(single) if single.ndim else 1
            raise NotWeighed(f"the loss has {rows} rows for a batch of {len(weights)} examples")
        with torch.no_grad():
            whole, plain = call(reduction, args, given), getattr(single, reduction)()
        if not torch.isclose(whole, plain, rtol=1e-4):
            raise NotWeighed(NOT_PLAIN)
        shares = weights.to(single).view(-1, *(1 for _ in single.shape[1:]))
        total: Tensor = getattr(shares * single, reduction)()
        return total

    return weighted
