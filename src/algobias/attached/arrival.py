"""Act when a module has been imported, without importing it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Action = Callable[[ModuleType], None]


class _Arrivals(MetaPathFinder):
    """Finds nothing by itself: puts a loader around the one that others find for a module waited for."""

    def __init__(self) -> None:
        self.actions: dict[str, list[Action]] = {}
        self._looking: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Leave all modules but those waited for to the other finders."""
        if fullname not in self.actions or fullname in self._looking:
            return None
        self._looking.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking.discard(fullname)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _Announcing(spec.loader, self, fullname)
        return spec

    def arrived(self, module: ModuleType, name: str) -> None:
        """Carry out what waits for a module."""
        for action in self.actions.pop(name, []):
            action(module)


class _Announcing(Loader):
    """The loader of a module waited for: gives its place back to the real one before the module runs."""

    def __init__(self, real: Loader, arrivals: _Arrivals, name: str) -> None:
        self.real, self.arrivals, self.name = real, arrivals, name

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let the real loader do it."""
        return self.real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module as the real loader does, then tell of it."""
        if module.__spec__ is not None:
            module.__spec__.loader = self.real
        module.__loader__ = self.real
        self.real.exec_module(module)
        self.arrivals.arrived(module, self.name)


_arrivals = _Arrivals()


def when_imported(name: str, action: Action) -> None:
    """Call ``action`` with a module: now where it is loaded, else as soon as somebody has imported it.

    Args:
        name: Full name of the module.
        action: Called once, after the module has run.
    """
    module = sys.modules.get(name)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        action(module)
        return
    if _arrivals not in sys.meta_path:
        sys.meta_path.insert(0, _arrivals)
    _arrivals.actions.setdefault(name, []).append(action)
