"""Seeds: a number is added to those that a script sets, and the generators are seeded where it sets none."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType

from algobias.attached.arrival import when_imported
from algobias.attached.patch import replace

_LOADER = "torch.utils.data"
"""Its workers seed themselves, from a number that has been drawn with the script's own seed."""

NUMPY_SEEDS = 2**32


class SeedOffset:
    """Add ``offset`` to every seed that is set through torch, ``random`` and ``numpy.random``.

    Generators are seeded with the offset itself as soon as their module is there, so that a script that sets
    no seed is repeatable too; its own seeds, which come later, win.

    Args:
        offset: What is added; 0 leaves the script's own seeds as they are.
    """

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self._inside = False

    def install(self) -> None:
        """Wait for the modules, and seed each when it comes."""
        when_imported("random", self._python)
        when_imported("numpy.random", self._numpy)
        when_imported("torch", self._torch)

    def _python(self, module: ModuleType) -> None:
        module.seed(self.offset)
        replace(module, "seed", self._shifting(module.seed, self._python_seed))

    def _numpy(self, module: ModuleType) -> None:
        module.seed(self.offset % NUMPY_SEEDS)
        replace(module, "seed", self._shifting(module.seed, self._numpy_seed))

    def _torch(self, module: ModuleType) -> None:
        module.manual_seed(self.offset)
        shifted = self._shifting(module.manual_seed, self._whole)
        replace(module, "manual_seed", shifted)
        replace(module.random, "manual_seed", shifted)
        for name in ("manual_seed", "manual_seed_all"):
            on_gpus = self._shifting(getattr(module.cuda.random, name), self._whole)
            replace(module.cuda.random, name, on_gpus)
            replace(module.cuda, name, on_gpus)

    def _shifting(
        self, seeding: Callable[..., object], moved: Callable[[object], object]
    ) -> Callable[..., object]:
        @functools.wraps(seeding)
        def shifted(*args: object, **options: object) -> object:
            # torch.manual_seed calls torch.cuda.manual_seed_all with the number that it was given
            if self._inside or _caller().startswith(_LOADER):
                return seeding(*args, **options)
            self._inside = True
            try:
                if args:
                    return seeding(moved(args[0]), *args[1:], **options)
                return seeding(**{name: moved(value) for name, value in options.items()})
            finally:
                self._inside = False

        return shifted

    def _whole(self, seed: object) -> object:
        return int(seed) + self.offset if hasattr(seed, "__int__") else seed

    def _python_seed(self, seed: object) -> object:
        if isinstance(seed, str):
            return f"{seed}+{self.offset}" if self.offset else seed
        if isinstance(seed, bytes | bytearray):
            return bytes(seed) + f"+{self.offset}".encode() if self.offset else seed
        return seed + self.offset if isinstance(seed, int | float) and self.offset else seed

    def _numpy_seed(self, seed: object) -> object:
        if seed is None or not self.offset:
            return seed
        if hasattr(seed, "__index__"):
            return (seed.__index__() + self.offset) % NUMPY_SEEDS
        values = [int(value) for value in seed]  # type: ignore[attr-defined]
        return [(value + self.offset) % NUMPY_SEEDS for value in values]


def _caller() -> str:
    """Name of the module that called a seeding function."""
    return str(sys._getframe(2).f_globals.get("__name__", ""))
