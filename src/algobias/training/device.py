"""Settings of the device a run is trained on: the same numbers every time, as far as the device can."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from algobias.errors import BadInput
from algobias.lazy import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def known_device(text: str) -> str:
    """The device, where this machine has it.

    Raises:
        BadInput: It is neither ``cpu`` nor a CUDA device of this machine.
    """
    match = re.fullmatch(r"cpu|cuda(?::(\d{1,3}))?", text)
    if match is None:
        raise BadInput("device", text, "cpu, cuda or cuda:N")
    count = torch.cuda.device_count()
    if text != "cpu" and int(match[1] or 0) >= count:
        raise BadInput("device", text, f"cpu, or one of the {count} CUDA devices of this machine")
    return text


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """On CUDA: deterministic algorithms where they exist, and float32 that is float32; nothing on a CPU.

    cuBLAS is deterministic only with a fixed workspace, which is read from ``CUBLAS_WORKSPACE_CONFIG`` before
    its first product: set here where it is not set yet. TF32 (10 bits of mantissa, torch's default for
    convolutions) would contradict the 32 bits per multiply of the cost vector. An operation without a
    deterministic form warns and goes on; two runs on one GPU then agree to float32 rounding only. All
    settings of torch are put back afterwards.

    Args:
        device: Where the run is trained.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault(WORKSPACE, ":4096:8")
    cudnn: Any = torch.backends.cudnn  # torch's stubs lack its parts
    products: tuple[Any, ...] = torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn
    benchmark, precisions = cudnn.benchmark, [product.fp32_precision for product in products]
    strict = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn.benchmark = False
    for product in products:
        product.fp32_precision = "ieee"
    torch.use_deterministic_algorithms(True, warn_only=not strict or warns)
    try:
        yield
    finally:
        cudnn.benchmark = benchmark
        for product, precision in zip(products, precisions, strict=True):
            product.fp32_precision = precision
        torch.use_deterministic_algorithms(strict, warn_only=warns)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread inside; the number it had is put back afterwards.

    Two threads on a small network are many times slower on a busy machine, and the number of threads can
    change the last bit of a sum.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all it was given, so that a clock read next tells the time of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
