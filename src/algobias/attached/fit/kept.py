"""Kept passes: the data of a run's first backward passes, in memory and as a file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from algobias.attached.fit.form import Constant, Form, examples_in, kept_constant
from algobias.attached.trained import digest
from algobias.errors import BadInput

SCHEMA = 1


@dataclass(frozen=True)
class KeptPass:
    """The data of one backward pass.

    Attributes:
        form: Key of the form of passes that can take it.
        tensors: The data, in order.
        constants: The constants, in order.
        divided: Whether its loss was divided at the end.
    """

    form: str
    tensors: tuple[Tensor, ...]
    constants: tuple[Constant, ...]
    divided: bool

    @classmethod
    def of(cls, form: Form) -> KeptPass:
        """What of a pass is kept."""
        tensors = tuple(source.tensor for source in form.sources)
        return cls(form.key, tensors, tuple(kept_constant(value) for value in form.constants), form.divided)

    @property
    def examples(self) -> int:
        """How many examples it holds."""
        return examples_in(self.tensors)


@dataclass(frozen=True)
class FitSet:
    """Examples that a training loss is taken on.

    Attributes:
        passes: Of backward passes of training.
        per_step: How many passes made a step in the run they come from.
    """

    passes: tuple[KeptPass, ...]
    per_step: int

    @property
    def examples(self) -> int:
        """How many in all."""
        return sum(kept.examples for kept in self.passes)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that the loss depends on besides the network."""
        every = hashlib.sha256(f"{self.per_step}".encode())
        for kept in self.passes:
            constants = json.dumps([kept.form, kept.constants, kept.divided])
            every.update(constants.encode())
            every.update(digest(list(kept.tensors)).encode())
        return every.hexdigest()

    def write(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        content = {
            "schema": SCHEMA,
            "per_step": self.per_step,
            "passes": [
                {
                    "form": kept.form,
                    "tensors": [tensor.detach().cpu() for tensor in kept.tensors],
                    "constants": list(kept.constants),
                    "divided": kept.divided,
                }
                for kept in self.passes
            ],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        torch.save(content, beside)
        beside.replace(path)


def read_fit_set(path: Path) -> FitSet:
    """Read a fit set; nothing in the file is executed.

    Raises:
        BadInput: It cannot be read, or is none.
    """
    allowed = "a fit set kept by another run"
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
        if content["schema"] != SCHEMA:
            raise BadInput("fit.use", str(path), f"{allowed}, of schema {SCHEMA}")
        passes = tuple(_pass(kept) for kept in content["passes"])
        return FitSet(passes, int(content["per_step"]))
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, EOFError, UnpicklingError) as error:
        raise BadInput("fit.use", str(path), f"{allowed} ({type(error).__name__})") from error


def _pass(content: dict[str, Any]) -> KeptPass:
    tensors: Sequence[Tensor] = content["tensors"]
    if not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise TypeError("tensors")
    constants = tuple((str(kind), value) for kind, value in content["constants"])
    return KeptPass(str(content["form"]), tuple(tensors), constants, bool(content["divided"]))
