"""Checkpoints: safetensors plus JSON, written whole or not at all. Nothing is ever unpickled.

A snapshot holds all that a run needs to go on; kept weights hold a network at one moment. Both carry the
address of the recipe they belong to, so that a checkpoint of another recipe is recognised.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors

from algobias.errors import BadInput, unknown_name
from algobias.lazy import torch
from algobias.runs.observer import Check, Snapshot
from algobias.untrusted import regular_file
from algobias.whole_files import write_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = "1"
NESTED = ("state_dict", "model_state_dict", "model")
"""Where training scripts usually put the weights inside a larger checkpoint."""

MOST_SHARED = 16
"""The tensors of a ``.pt`` may take so many times the bytes of the file: tied weights count again."""


def save_snapshot(path: Path, snapshot: Snapshot, *, address: str, seed: int) -> None:
    """Store a point to resume from, replacing an earlier one.

    Numbers keep every bit; infinities and NaN are written as JavaScript spells them. Cost: one copy of the
    tensors in memory, one write.

    Args:
        path: The file.
        snapshot: What to store.
        address: Address of the run's recipe.
        seed: The run's seed.

    Raises:
        BadInput: The disk is full or cannot be written to.
    """
    about = {
        "kind": "snapshot",
        "address": address,
        "seed": str(seed),
        "update": str(snapshot.update),
        "numbers": json.dumps(snapshot.numbers),
        "checks": json.dumps([asdict(check) for check in snapshot.checks]),
    }
    _write(path, snapshot.tensors, about)


def load_snapshot(path: Path, *, address: str, seed: int) -> Snapshot:
    """Read what :func:`save_snapshot` wrote.

    Raises:
        BadInput: Missing, truncated or corrupted, or the snapshot of another recipe or seed.
    """
    tensors, about = _read(path, "; remove it to start this run over")
    expected = {"kind": "snapshot", "address": address, "seed": str(seed)}
    _same(path, about, expected)
    try:
        checks = tuple(Check(**row) for row in json.loads(about["checks"]))
        numbers = json.loads(about["numbers"])
        if not isinstance(numbers, dict) or not all(_is_check(check) for check in checks):
            raise ValueError("checks or numbers of another type")
        return Snapshot(int(about["update"]), tensors, numbers, checks)
    except (AttributeError, ArithmeticError, LookupError, RecursionError, ValueError, TypeError) as error:
        raise _damaged(path, str(error)) from error


def _is_check(check: Check) -> bool:
    values = (check.train_loss, check.train_metric, check.test_metric)
    numbers = all(isinstance(value, int | float) for value in values)
    return numbers and type(check.update) is int and type(check.planned) is bool


def save_weights(path: Path, tensors: Mapping[str, Tensor], *, address: str, seed: int, update: int) -> None:
    """Store a network's parameters and buffers by name.

    Args:
        path: The file.
        tensors: Parameters and buffers.
        address: Address of the run's recipe.
        seed: The run's seed.
        update: Updates made.

    Raises:
        BadInput: The disk is full or cannot be written to.
    """
    _write(path, tensors, {"kind": "weights", "address": address, "seed": str(seed), "update": str(update)})


def load_weights(path: Path, *, address: str | None = None) -> dict[str, Tensor]:
    """Read weights: our own, anybody's ``.safetensors``, or a state dict saved with ``torch.save``.

    A ``.pt`` is read with ``weights_only=True``; weights nested under ``state_dict``, ``model_state_dict``
    or ``model`` are found.

    Args:
        path: The file.
        address: Where given, the weights must belong to this recipe.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        BadInput: Missing, truncated, corrupted, of another recipe, or more than weights inside.
    """
    regular_file(path, "checkpoint")
    if path.suffix == ".safetensors":
        tensors, about = _read(path)
        if about.get("kind") == "snapshot":
            raise BadInput(
                "checkpoint", str(path), "weights; this is a snapshot, a point to resume a run from"
            )
    else:
        tensors, about = _read_torch(path), {}
    if address is not None:
        _same(path, about, {"address": address})
    return tensors


def load_into(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put weights into a network; nothing is changed where they do not fit.

    Args:
        model: The network.
        tensors: Its parameters and buffers by name.
        path: Where they came from, for the message.

    Raises:
        BadInput: A name is missing or unknown, or a shape differs.
    """
    own = model.state_dict()
    for name in tensors:
        if name not in own:
            raise unknown_name(f"checkpoint {path}", name, own)
    for name, tensor in own.items():
        if name not in tensors:
            raise BadInput(f"checkpoint {path}", f"no {name}", f"weights of this model, with {name}")
        given, wanted = tuple(tensors[name].shape), tuple(tensor.shape)
        if given != wanted:
            raise BadInput(
                f"checkpoint {path}", f"{name} of shape {given}", f"shape {wanted}, as in this model"
            )
        kinds = tensors[name].dtype, tensor.dtype
        if len({(kind.is_complex, kind.is_floating_point) for kind in kinds}) > 1:
            raise BadInput(f"checkpoint {path}", f"{name} of {kinds[0]}", f"{kinds[1]}, as in this model")
    model.load_state_dict(dict(tensors))


def _write(path: Path, tensors: Mapping[str, Tensor], about: dict[str, str]) -> None:
    from safetensors.torch import save

    # Rows of a stack share one storage, which safetensors refuses: every tensor gets its own.
    own = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    about = {"format": FORMAT, **about}
    write_whole(path, save(own, metadata={**about, "crc": str(_crc(own, about))}))


def _crc(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> int:
    """Checksum of all that a file of ours holds."""
    found = zlib.crc32(json.dumps(dict(about), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), found)
        found = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, found)
    return found


def _read(path: Path, way_out: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            about = dict(file.metadata() or {})
            # Copies: a mapped file is aligned differently, and alignment can change the last bit of a sum.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        crc = about.pop("crc", None)  # files of others, and of earlier versions, have none
        if crc is not None and crc != str(_crc(tensors, about)):
            raise ValueError("its checksum is wrong")
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise _damaged(path, f"{error}{way_out}") from error
    return tensors, about


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        # torch.save stores uncompressed; anything else could unpack to more than the file's own size.
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise _damaged(path, "compressed entries")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except BadInput:
        raise
    except Exception as error:  # torch raises a dozen types on damaged or forbidden content
        raise _damaged(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    for key in NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()
    ):
        raise BadInput("checkpoint", str(path), "a state dict: tensors by name")
    return _in_memory(content, path)


def _in_memory(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Copies of the tensors, which own their numbers.

    A few stored numbers can pose as a tensor of any shape (strides of 0), and one storage as many tensors:
    what the copies take is compared with the file first.
    """
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            kind = f"{name}: {tensor.layout}, {tensor.dtype}, on {tensor.device}"
            raise BadInput("checkpoint", kind, "dense tensors of plain numbers")
    wanted, size = sum(t.numel() * t.element_size() for t in tensors.values()), path.stat().st_size
    if wanted > MOST_SHARED * size:
        raise _damaged(path, f"tensors of {wanted:,} bytes in a file of {size:,}")
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _same(path: Path, about: Mapping[str, str], expected: Mapping[str, str]) -> None:
    for key, wanted in expected.items():
        given = about.get(key)
        if given != wanted:
            shown = f"{key} {given[:12]}" if given else f"no {key}"
            whose = "another recipe's" if key == "address" else "another run's"
            raise BadInput(
                f"checkpoint {path}",
                shown,
                f"{key} {wanted[:12]}; this is {whose} checkpoint: move it away and run again",
            )


def _damaged(path: Path, reason: str) -> BadInput:
    return BadInput(
        "checkpoint", str(path), f"a whole safetensors file, or a state dict saved by torch.save ({reason})"
    )
