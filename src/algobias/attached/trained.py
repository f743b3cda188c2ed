"""What is trained: the modules that a script calls from outside of any module, and what optimizers step."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from algobias.attached.listener import Listener

MOST_HELD = 8
"""Modules that are held where no optimizer steps, the latest ones: a process may train any number of them."""


class Trained(Listener):
    """Remember what is trained, in the order in which it was first seen.

    Modules that are gone are forgotten, but those that the last optimizer steps are held: a script's function
    may have returned, and its model with it, before the process ends. Where weights are updated by hand, the
    latest modules are.

    Attributes:
        by_hand: Weights are updated by hand: what is trained is what is called in training.
    """

    def __init__(self) -> None:
        self._roots: list[weakref.ref[nn.Module]] = []
        self._known: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._steppable: weakref.WeakKeyDictionary[nn.Module, bool] = weakref.WeakKeyDictionary()
        self._optimizers: list[weakref.ref[Optimizer]] = []
        self._stepped: dict[int, Tensor] = {}
        self._held: list[nn.Module] = []
        self.by_hand = False

    def forget(self) -> None:
        """Know of nothing that is trained: another training begins in this process."""
        self._roots, self._known = [], weakref.WeakSet()
        self._steppable.clear()
        self._optimizers, self._held = [], []
        self._stepped.clear()
        self.by_hand = False

    def training_call(self, module: nn.Module) -> None:
        """Remember a module that has something to train."""
        if module in self._known or not any(p.requires_grad for p in module.parameters()):
            return
        self._known.add(module)
        self._roots.append(weakref.ref(module))
        if not self._optimizers:
            self._held = [*self._held, module][-MOST_HELD:]

    def before_step(self, optimizer: Optimizer) -> None:
        """Remember an optimizer, and hold what it trains."""
        if any(known() is optimizer for known in self._optimizers):
            return
        self.by_hand = False
        alive = [known for known in self._optimizers if known() is not None]
        if not alive:  # another training begins: what the one before has trained may go
            self._stepped.clear()
            self._held.clear()
        self._optimizers = [*alive, weakref.ref(optimizer)]
        self._steppable.clear()
        self._stepped.update((id(p), p) for group in optimizer.param_groups for p in group["params"])
        # The modules as well as their tensors: buffers may be exchanged for others.
        self._held = [root for root in self.roots() if self.contains(root)]

    def contains(self, module: nn.Module) -> bool:
        """Whether an optimizer has stepped a parameter of the module, or the script may have by hand."""
        if self.by_hand:
            return module in self._known
        known = self._steppable.get(module)
        if known is None:
            known = any(id(p) in self._stepped for p in module.parameters())
            self._steppable[module] = known
        return known

    def stepped(self) -> list[Tensor]:
        """The parameters of the optimizers that have stepped."""
        return list(self._stepped.values())

    def roots(self) -> Iterator[nn.Module]:
        """The modules there still are."""
        for known in self._roots:
            module = known()
            if module is not None:
                yield module

    def parameters(self) -> list[Tensor]:
        """All parameters that are trained, each once: of the modules, then what else optimizers step."""
        every = {id(p): p for root in self.roots() for p in root.parameters()}
        return list({**every, **self._stepped}.values())

    def fingerprint(self) -> str | None:
        """SHA-256 over every bit of all parameters and buffers, in order; None where nothing is trained."""
        buffers = {id(b): b for root in self.roots() for b in root.buffers()}
        tensors = [*self.parameters(), *buffers.values()]
        return digest(tensors) if tensors else None


@torch.no_grad()
def digest(tensors: list[Tensor]) -> str:
    """SHA-256 over types, shapes and every bit of tensors. Cost: a copy to the CPU from elsewhere."""
    every = hashlib.sha256()
    for tensor in tensors:
        flat = tensor.detach()
        if flat.is_sparse:
            flat = flat.to_dense()
        if flat.is_complex():
            flat = torch.view_as_real(flat.resolve_conj())
        every.update(f"{tensor.dtype} {tuple(tensor.shape)};".encode())
        if flat.numel():
            every.update(flat.reshape(-1).contiguous().cpu().view(torch.uint8).numpy().data)
    return every.hexdigest()
