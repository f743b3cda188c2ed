"""What an operand of a matrix product goes through: a format, its scales, rounding, clipping, sparsity."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING

from algobias.errors import BadInput
from algobias.numerics.formats import Format
from algobias.numerics.grammar import Fields, check, read, spell
from algobias.numerics.rules import ROUNDINGS, Clip, Draws, Rounding, Scale

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Draws", "Quantiser", "parse_quantiser", "quantise"]


@dataclass(frozen=True)
class Quantiser:
    """What an operand of a matrix product goes through.

    First sparsity, then ``Q(x) = s round(x / s)``, s the scale of what shares one. An entry that is not
    finite makes all that share its scale not a number. :func:`parse_quantiser` reads one, ``str`` spells it.

    Attributes:
        format: Levels of an entry; float32 changes nothing.
        scale: Which entries share a scale, and how it is made.
        rounding: Which of the two levels next to an entry.
        clip: Where the range of a scale ends; not for blocks.
        percentile: Of ``clip="percentile"``.
        affine: Whether integers have a zero point, so that levels run from the least entry (or 0) to the
            largest (or 0) in 2^B - 1 steps.
        sparse: (N, M) where only N of every M entries along the contraction stay.
        mvue: Whether these are drawn, without bias and at least variance, instead of the largest.
    """

    format: Format
    scale: Scale = field(default_factory=Scale)
    rounding: Rounding = "nearest"
    clip: Clip = "max"
    percentile: float = 100.0
    affine: bool = False
    sparse: tuple[int, int] | None = None
    mvue: bool = False

    def __post_init__(self) -> None:
        if self.rounding not in ROUNDINGS:
            raise BadInput("rounding", self.rounding, "nearest, stochastic, floor or dithered")
        if not self.format.exact:
            check(self._fields, str(self))

    @cached_property
    def _fields(self) -> Fields:
        return Fields(*(getattr(self, name) for name in Fields._fields))

    def __str__(self) -> str:
        return spell(self._fields)

    @property
    def exact(self) -> bool:
        """Whether nothing is changed: the tensor itself is returned."""
        return self.format.exact and not self._pruned

    @property
    def _pruned(self) -> bool:
        return self.sparse is not None and self.sparse[0] < self.sparse[1]

    @property
    def random(self) -> bool:
        """Whether it draws."""
        drawn = self.rounding in ("stochastic", "dithered") and not self.format.exact
        return drawn or (self._pruned and self.mvue)

    @property
    def per_tensor(self) -> bool:
        """Whether the result for an entry depends on its value and the whole tensor's scale only.

        Then any layout of the operand gives the same, and a convolution needs no im2col (numbers drawn for
        entries apart).
        """
        return self.scale.over in ("none", "tensor") and not self._pruned and self.rounding != "dithered"

    @property
    def unbiased(self) -> bool:
        """Whether the expectation over its draws is the tensor itself (up to the 2^-24 of the draws).

        Not with clipping, scales that may clip, or formats of few bits without a scale, which saturate. Where
        the range comes from elsewhere (``largest``), entries beyond it are biased whatever this says.
        """
        if self._pruned and not self.mvue:
            return False
        if self.format.exact or self.format.binary:
            return self.format.exact
        drawn = self.rounding in ("stochastic", "dithered")
        ranged = self.scale.over != "none" or self.format.bits >= 16
        return drawn and ranged and self.clip == "max" and self.scale.rule in ("exact", "rceil", "e4m3")

    @property
    def bits(self) -> float:
        """Bits of an entry in memory, its share of block scales included; N:M counts its indices too."""
        bits = self.format.bits + (0.0 if self.format.exact else self.scale.bits)
        if self.sparse is None:
            return bits
        n, m = self.sparse
        return bits * n / m + (0.0 if n == m else (m - 1).bit_length() * n / m)

    def __call__(
        self, x: Tensor, draws: Draws | None = None, *, largest: Tensor | float | None = None
    ) -> Tensor:
        """Quantise; ``x`` itself where :attr:`exact`, else a new tensor of its shape and type.

        The new tensor carries no gradient: which estimate stands for it is the caller's choice.

        Shapes: [..., R, C], a matrix for each leading index, the contraction of the product along C; a vector
        is a matrix of one row. Scales per tensor are over the last two axes; short blocks and groups are
        padded with zeros, which are cut off again.

        Cost: one pass for the scale, and what :func:`algobias.numerics.rounding.round_to` takes; large
        tensors are done in pieces that stay in the processor's cache.

        Args:
            x: Float32 or float64; half precision is computed in single.
            draws: Uniform numbers, where :attr:`random`: called first for sparsity (one for each group), then
                for rounding (of the shape of ``x``; dithered: [..., 1, 1]).
            largest: [..., 1, 1] or a number: where the range of each matrix ends, instead of its own
                :meth:`limit` (delayed scaling, hindsight, scales frozen in evaluation); entries beyond
                saturate. For scales per tensor, and the tensor scale of ``e4m3``.

        Raises:
            BadInput: No draws where they are needed; ``largest`` with other scales.
        """
        if self.exact or not x.numel():
            return x
        if self.random and draws is None:
            raise BadInput("draws", None, f"uniform numbers: {self} draws them")
        wide = x.detach() if x.is_floating_point() and x.element_size() >= 4 else x.detach().float()
        wide = wide.reshape(1, -1) if wide.dim() < 2 else wide.contiguous()
        if self.sparse is not None and self._pruned:
            from algobias.numerics.sparse import sparse

            wide = sparse(wide, self.sparse, draws if self.mvue else None)
        if not self.format.exact:
            wide = self._rounded(wide, draws, largest)
        return wide.reshape(x.shape).to(x.dtype)

    def limit(self, x: Tensor) -> Tensor | None:
        """Say where the range of a tensor's own scale ends: its largest magnitude, or where it is clipped.

        ``q(x, largest=q.limit(x))`` is ``q(x)``; of sparse formats x is what is left.

        Shapes: ``x`` [..., R, C], the result [..., 1, 1]; None where there is no scale of the whole matrix.
        """
        if not self._has_limit:
            return None
        from algobias.numerics.scaled import limit_of

        wide = x.detach() if x.is_floating_point() and x.element_size() >= 4 else x.detach().float()
        return limit_of(wide.reshape(1, -1) if wide.dim() < 2 else wide.contiguous(), self._fields)

    @property
    def _has_limit(self) -> bool:
        whole = self.scale.over == "tensor" or self.scale.rule == "e4m3"
        return whole and not (self.affine or self.format.exact or self.format.binary)

    def _rounded(self, x: Tensor, draws: Draws | None, largest: Tensor | float | None) -> Tensor:
        if largest is not None and not self._has_limit:
            raise BadInput("largest", "given", f"none: the scale of {self} is not one of the whole tensor")
        from algobias.numerics.scaled import quantised

        return quantised(x, self._fields, draws, largest)


@cache
def parse_quantiser(text: str) -> Quantiser:
    """Read a quantiser: a name, and modifiers in any order, joined by ``-``.

    Names: ``float32`` (changes nothing), ``bfloat16``, ``float16`` (unscaled); ``int2`` to ``int8``, ``eXmY``
    as :func:`algobias.numerics.formats.parse_format` reads them, ``e4m3-240``, ``luq-nearest`` (scaled per
    tensor); ``luq`` (``e3m0-sr``, logarithmic unbiased quantisation); ``mxfp8`` (E4M3; ``mxfp8-e5m2``),
    ``mxfp6`` (E2M3; ``mxfp6-e3m2``), ``mxfp4`` (E2M1), ``mxint8``: blocks of 32, scales powers of two;
    ``nvfp4`` (E2M1), ``ufp4`` (E1M2): blocks of 16, scales E4M3 times one for the tensor; ``sign``: signs,
    unscaled (``sign-row``, times the mean magnitude of each row); ``N:M``: N of every M entries, the largest.

    Modifiers:
        - rounding: ``sr`` (stochastic), ``floor`` (towards zero), ``dither``, ``nearest`` (as without);
        - who shares a scale: ``tensor``, ``row``, ``blockK``, ``tileK`` (K x K), ``2d`` (blocks become
          tiles), ``unscaled``;
        - what it is: ``pow2`` (the smallest power of two that clips nothing), ``floorscale``, ``evenscale``
          (of MX formats), ``twolevel`` (E4M3 times one for the tensor), ``4over6`` (of ``nvfp4``);
        - clipping: ``sawb``, ``aciq``, ``aciqnormal``, ``p99.9`` (a percentile);
        - ``affine`` (integers with a zero point); ``N:M``; ``mvue`` (N:M drawn without bias).

    ``str`` gives the canonical spelling, which is read as the same.

    References: Rouhani et al., OCP Microscaling Formats, 2023; NVIDIA, Pretraining Large Language Models with
    NVFP4, 2025; Cook et al., Four Over Six, 2025; Zhao et al., Rethinking Shrinkage Bias in LLM FP4
    Pretraining (UFP4), 2026; Chmiel et al., Accurate Neural Training with 4-bit Matrix Multiplications at
    Standard Formats, 2023.

    Raises:
        BadInput: Unknown words (the nearest is proposed), words that do not go together.
    """
    return Quantiser(*read(text))


def quantise(
    x: Tensor,
    quantiser: str | Quantiser,
    generator: torch.Generator | None = None,
    *,
    dim: int = -1,
) -> Tensor:
    """Quantise a tensor of any shape; a scale per tensor is one for all of it.

    Example:
        >>> import torch
        >>> quantise(torch.tensor([0.3, -1.2, 7.0]), "int4")
        tensor([ 0., -1.,  7.])

    Args:
        x: Any shape, in the type of which the result is.
        quantiser: One, or its spelling.
        generator: Randomness.
        dim: Dimension of rows and blocks: the contraction of the matrix product.

    Raises:
        BadInput: Unknown quantiser; no generator where one is needed.
    """
    found = parse_quantiser(quantiser) if isinstance(quantiser, str) else quantiser
    if found.random and generator is None:
        raise BadInput("generator", None, f"a torch.Generator: {found} draws random numbers")
    last = x.movedim(dim, -1) if x.dim() else x.reshape(1)
    from algobias.numerics.rounding import draws_from

    draws = None if generator is None else draws_from(generator, x.dtype if x.element_size() == 8 else None)
    flat = last.reshape(1, -1) if last.dim() < 2 else last.reshape(-1, last.shape[-1])
    done = found(flat, draws).reshape(last.shape)
    return done.movedim(-1, dim) if x.dim() else done.reshape(())
