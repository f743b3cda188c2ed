"""Other people's number formats behind one call: from a tensor in single precision to what the format holds.

Versions are pinned in ``benchmarks/README.md``. Each is used as its own documentation or tests show, with no
more than is needed: a cast there and back, or quantising and dequantising.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

Peer = Callable[[Tensor], Tensor]

_ELEMENTS = ("mxfp8", "mxfp8-e5m2", "mxfp6", "mxfp6-e3m2", "mxfp4")
_RULES = {"": "RCEIL", "-floorscale": "FLOOR", "-evenscale": "EVEN"}
MX = tuple(name + rule for name in _ELEMENTS for rule in _RULES)
"""MX formats with their scale rules, as this package spells them."""


def patterned(name: str, rows: int = 256, columns: int = 512) -> Tensor:
    """Numbers over some octaves that every machine makes alike: a hash of their place, as bits.

    For NVFP4 every block has a large entry, so that its scale is a normal number of E4M3.
    """
    place = np.arange(rows * columns, dtype=np.uint64)
    mixed = (place * np.uint64(0x9E3779B97F4A7C15)) ^ (place >> np.uint64(7))
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    exponent = 119 + (mixed >> np.uint64(24)) % np.uint64(6 if name == "nvfp4" else 16)
    sign = (mixed >> np.uint64(63)) << np.uint64(31)
    bits = (mixed & np.uint64(0x007FFFFF)) | (exponent << np.uint64(23)) | sign
    found = torch.from_numpy(bits.astype(np.uint32).view(np.float32).copy()).reshape(rows, columns)
    if name == "nvfp4":
        found[:, ::16] *= 2.0**3
    return found


def _quiet(load: Callable[[], Any]) -> Any:
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        return load()


def torchao_mx(name: str) -> Peer:
    """torchao's MX tensor, quantised and dequantised."""

    def load() -> tuple[Any, Any, Any]:
        from torchao.prototype.mx_formats import constants
        from torchao.prototype.mx_formats.mx_tensor import MXTensor, ScaleCalculationMode

        kinds = {
            "mxfp8": torch.float8_e4m3fn, "mxfp8-e5m2": torch.float8_e5m2, "mxfp6": constants.DTYPE_FP6_E2M3,
            "mxfp6-e3m2": constants.DTYPE_FP6_E3M2, "mxfp4": torch.float4_e2m1fn_x2,
        }  # fmt: skip
        base = name.removesuffix("-floorscale").removesuffix("-evenscale")
        return MXTensor, kinds[base], getattr(ScaleCalculationMode, _RULES[name.removeprefix(base)])

    tensor, kind, mode = _quiet(load)
    return lambda x: tensor.to_mx(x, kind, 32, mode).dequantize(torch.float32)


def torchao_nvfp4() -> Peer:
    """torchao's NVFP4 tensor with its scale for the tensor, quantised and dequantised."""

    def load() -> tuple[Any, Any]:
        from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor, per_tensor_amax_to_scale

        return NVFP4Tensor, per_tensor_amax_to_scale

    tensor, scale = _quiet(load)

    def quantised(x: Tensor) -> Tensor:
        return tensor.to_nvfp4(x, 16, per_tensor_scale=scale(x.abs().amax())).dequantize(torch.float32)

    return quantised


def microxcaling(elements: str, rounding: str = "even", *, block: bool = True) -> Peer:
    """Microsoft's reference in plain PyTorch; its scales follow the rule ``floor``."""
    from mx.elemwise_ops import _quantize_elemwise
    from mx.formats import ElemFormat
    from mx.mx_ops import _quantize_mx

    kind = ElemFormat.from_str(elements)
    if block:
        return lambda x: _quantize_mx(x, 8, kind, axes=[-1], block_size=32, round=rounding)
    return lambda x: _quantize_elemwise(x, kind, round=rounding, saturate_normals=True)


def gfloat(name: str, mode: str = "TiesToEven") -> Peer:
    """gfloat's rounding of arrays; to the nearest, or stochastic with bits that NumPy draws."""
    import gfloat as library
    from gfloat import formats

    info = getattr(formats, f"format_info_ocp_{name}")
    kind = getattr(library.RoundMode, mode)
    numbers = np.random.default_rng(0)

    def rounded(x: Tensor) -> Tensor:
        drawn = {}
        if mode != "TiesToEven":
            drawn = {"srbits": numbers.integers(0, 2**20, x.shape), "srnumbits": 20}
        found = library.round_ndarray(info, x.double().numpy(), kind, sat=True, **drawn)
        return torch.from_numpy(found).float()

    return rounded


def ml_dtypes(name: str) -> Peer:
    """A cast of NumPy to a type of ml_dtypes, and back."""
    import ml_dtypes as library

    kind = getattr(library, name)
    return lambda x: torch.from_numpy(x.numpy().astype(kind).astype(np.float32))


def torch_cast(kind: torch.dtype) -> Peer:
    """A cast of torch, and back."""
    return lambda x: x.to(kind).float()


def torch_integer(bits: int) -> Peer:
    """torch's simulated integers with the scale of the largest magnitude."""
    top = 2 ** (bits - 1) - 1

    def quantised(x: Tensor) -> Tensor:
        scale = x.abs().amax() / top
        return torch.fake_quantize_per_tensor_affine(x, float(scale), 0, -top, top)

    return quantised


def qpytorch(exponent: int, mantissa: int, rounding: str) -> Peer:
    """QPyTorch's float, compiled at its first use."""
    from qtorch.quant import float_quantize

    return lambda x: float_quantize(x, exp=exponent, man=mantissa, rounding=rounding)
