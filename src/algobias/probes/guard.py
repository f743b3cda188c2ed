"""Nothing altered: the state of a model and of the process is put back after a measurement, and proved so."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from algobias.lazy import no_grad, torch
from algobias.probes.subject import Mode
from algobias.put_back.attributes import Attributes
from algobias.put_back.buffers import Buffers
from algobias.seeding.states import GlobalStates
from algobias.trees import containers_in, same_numbers, tensors_in

if TYPE_CHECKING:
    from torch import Tensor, nn

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
)


class Altered(RuntimeError):
    """A measurement has changed what it must not change: a defect of the probe; names what."""


def fingerprint(model: nn.Module) -> dict[str, str]:
    """Hashes of everything a measurement could disturb, by what it is.

    Values of parameters, buffers and gradients (every bit), their identity, requires_grad, mode of every
    module, hooks, random states of Python, numpy and torch (CUDA too), autocast, gradient mode and default
    type. Cost: one pass over parameters, buffers and gradients on the CPU (a GPU's are copied).

    Args:
        model: The network.
    """
    found: dict[str, str] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        found[f"parameter {name}"] = f"{id(p)} {p.requires_grad} {digest(p)}"
        found[f"gradient {name}"] = "none" if p.grad is None else f"{id(p.grad)} {digest(p.grad)}"
    for name, b in model.named_buffers(remove_duplicate=False):
        found[f"buffer {name}"] = f"{id(b)} {digest(b)}"
    for name, module in model.named_modules():
        hooks = [tuple(getattr(module, kind, {})) for kind in _HOOKS]
        found[f"module {name or '(root)'}"] = f"{module.training} {hooks}"
    found["random state"] = hashlib.blake2b(repr(GlobalStates.now().comparable()).encode()).hexdigest()
    found["autocast"] = f"{torch.is_autocast_enabled('cpu')} {torch.is_autocast_enabled('cuda')}"
    found["gradient mode"] = f"{torch.is_grad_enabled()} {torch.is_inference_mode_enabled()}"
    found["default type"] = str(torch.get_default_dtype())
    return found


class Weights:
    """A copy of what a probe of somebody else's could change of a network besides what is put back anyway.

    Cost: one copy of the parameters, two passes over them and the buffers on the CPU.

    Args:
        model: The network.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._before = model, fingerprint(model)
        self._copies = [(p, p.detach().clone(), p.requires_grad) for p in model.parameters()]

    def put_back(self) -> bool:
        """Put the parameters back; whether everything is as it was."""
        for p, kept, trained in self._copies:
            p.requires_grad_(trained)
            with torch.no_grad():
                if p.shape == kept.shape and p.dtype == kept.dtype and not torch.equal(p, kept):
                    p.copy_(kept)
        return fingerprint(self._model) == self._before


class Batches:
    """A copy of the batches that a probe of somebody else's may write into, in place or by what they hold.

    Of a list or tuple: what a loader gives is made anew in every pass, and compared with the first one there.
    Cost: one copy of the batches, and one comparison.

    Args:
        batches: The batches.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches = batches if isinstance(batches, list | tuple) else ()
        self._held = [(container, copy.copy(container)) for container in containers_in(self._batches)]
        self._numbers = [(path, t, t.detach().clone()) for path, t in tensors_in(self._batches)]

    @no_grad
    def put_back(self) -> list[str]:
        """Put everything back; paths of the tensors that were written into or taken out, ``[0]['x']``."""
        now = dict(tensors_in(self._batches))
        found = [
            path for path, t, kept in self._numbers if now.get(path) is not t or not same_numbers(t, kept)
        ]
        found += [path for path in now if path not in {path for path, _, _ in self._numbers}]
        for container, held in self._held:
            container.clear()
            if isinstance(container, list):
                container.extend(held)
            else:
                container.update(held)
        for _, t, kept in self._numbers:
            if t.shape != kept.shape or t.dtype != kept.dtype:
                t.data = kept
            elif not same_numbers(t, kept):
                t.copy_(kept)
        return found


@contextmanager
def untouched(model: nn.Module, mode: Mode = "eval", *, prove: bool = True) -> Iterator[None]:
    """Measure inside: afterwards, also after an exception, everything is as it was.

    Modes are set and put back module by module (a frozen BatchNorm that is in evaluation mode stays there),
    buffers, what attributes hold and random states are put back, gradients are given back as the same
    objects, autocast is off and gradients can be computed inside. Parameters are never written to by probes,
    which ``prove`` checks.

    Args:
        model: The network.
        mode: Mode of all modules inside; ``as_is`` leaves each as it is.
        prove: Compare hashes before and after. Cost: two passes over the parameters on the CPU.

    Raises:
        Altered: Something is not as it was although it was put back.
    """
    before = fingerprint(model) if prove else {}
    try:
        with _put_back(model, mode):
            yield
    finally:
        after = fingerprint(model) if prove else {}
        changed = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
        if changed:
            raise Altered(f"measuring changed {', '.join(changed[:5])}")


@contextmanager
def _put_back(model: nn.Module, mode: Mode) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    buffers, attributes = Buffers(model), Attributes(model.named_modules())
    gradients = [(p, p.grad) for p in model.parameters()]
    states = GlobalStates.now()
    dtype = torch.get_default_dtype()
    try:
        if mode != "as_is":
            model.train(mode == "train")
        for module in modes:
            # Sparse gradients have no second derivative, and are the same numbers.
            if isinstance(module, torch.nn.Embedding | torch.nn.EmbeddingBag):
                module.sparse = False
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False),
            torch.autocast("cuda", enabled=False),
            _differentiable(model),
        ):
            for p, _ in gradients:
                p.grad = None
            yield
    finally:
        for module, training in modes.items():
            module.training = training
        attributes.put_back()
        buffers.put_back()
        for p, kept_grad in gradients:
            p.grad = kept_grad
        states.put_back()
        torch.set_default_dtype(dtype)


def _differentiable(model: nn.Module) -> AbstractContextManager[None]:
    """Recurrent layers on a GPU without cuDNN, which cannot go backwards in evaluation mode, nor twice."""
    recurrent = any(isinstance(module, torch.nn.RNNBase) for module in model.modules())
    if not recurrent or not any(p.is_cuda for p in model.parameters()):
        return nullcontext()
    cudnn = torch.backends.cudnn
    kept = {name: getattr(cudnn, name) for name in ("benchmark", "deterministic", "allow_tf32")}
    flags: AbstractContextManager[None] = cudnn.flags(enabled=False, **kept)
    return flags


def digest(tensor: Tensor) -> str:
    """Hash of every bit of a tensor. Cost: a copy to the CPU from elsewhere."""
    flat = tensor.detach().reshape(-1)
    if flat.is_complex():
        flat = torch.view_as_real(flat).reshape(-1)
    if not flat.numel():
        return "empty"
    raw = flat.contiguous().cpu().view(torch.uint8).numpy()
    return hashlib.blake2b(raw.data, digest_size=16).hexdigest()
