"""Ghost batch normalisation, injected: layers are called for chunks of a batch, and stay what they are."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from algobias.attached.levers.base import NO_BACKWARD, Injected, Options
from algobias.components.ghost_norm import KINDS, by_chunks, is_cut

if TYPE_CHECKING:
    from algobias.attached.watched_run import WatchedRun

SYNCHRONOUS = "SyncBatchNorm's statistics are of all processes, which those of a chunk cannot be"
NO_LAYER = "no BatchNorm layer was trained"


class GhostNorm(Injected):
    """Have every batch normalisation that trains normalise chunks of ``size`` examples: ``ghost_norm:32``.

    As :func:`algobias.ghost_batch_norm` on the script's model, but no layer is exchanged, so that checkpoints
    keep their names: the ``forward`` of the layers' classes is replaced. It counts the backward passes
    in which a batch was cut. Hooks of a layer see the whole batch. ``size=0`` leaves layers as they are.
    """

    name: ClassVar[str] = "ghost_norm"
    positional: ClassVar[str] = "size"
    known: ClassVar[tuple[str, ...]] = ("size",)

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        self.size = options.whole("size", least=0)
        self._replaced: set[type[nn.Module]] = set()
        self._known: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._inside = self._cut = self._seen = False

    @property
    def changes_nothing(self) -> bool:
        """Layers as they are."""
        return self.size == 0

    def begin(self, run: WatchedRun) -> None:
        """Take its place in a run, and that of torch's own layers."""
        super().begin(run)
        if self.size:
            self._replace(nn.modules.batchnorm._BatchNorm)

    def training_call(self, module: nn.Module) -> None:
        """Find layers whose classes have a ``forward`` of their own, and layers that cannot be cut."""
        if self.off or not self.size or module in self._known:
            return
        self._known.add(module)
        for part in module.modules():
            if isinstance(part, nn.SyncBatchNorm):
                self.refuse(SYNCHRONOUS)
            elif isinstance(part, KINDS):
                self._replace(next(owner for owner in type(part).__mro__ if "forward" in vars(owner)))

    def after_backward(self) -> None:
        """Count the passes in which a batch was cut; whoever steps with them."""
        if self._cut:
            self.acted()
        self._cut = False

    def at_end(self) -> None:
        """Tell how often it has acted in all, or why it never could."""
        if self.size and not self._seen:
            self.refuse(NO_LAYER if self.run.backwards.seen else NO_BACKWARD)
        self.tell()

    def _replace(self, owner: type[nn.Module]) -> None:
        """Have the layers of a class called by chunks."""
        if owner in self._replaced:
            return
        self._replaced.add(owner)
        original: Callable[..., Any] = owner.forward
        lever = self

        @functools.wraps(original)
        def forward(norm: nn.Module, x: Any, *args: Any, **options: Any) -> Any:
            if (
                lever.off
                or lever._inside  # a subclass that calls the forward of the one above
                or args
                or options
                or not isinstance(x, Tensor)
                or not isinstance(norm, KINDS)
                or torch.compiler.is_compiling()
            ):
                return original(norm, x, *args, **options)
            lever._seen |= norm.training
            lever._cut |= is_cut(norm, x, lever.size)
            lever._inside = True
            try:
                return by_chunks(norm, x, lever.size, functools.partial(original, norm))
            finally:
                lever._inside = False

        owner.forward = forward
