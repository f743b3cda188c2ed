"""What a Python file of the user's imports from its own folder: kept apart from what other files import."""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import ClassVar

from algobias.own.user_code import PACKAGE


class FolderImports(MetaPathFinder):
    """The modules that one execution of a user's file has imported from its folder.

    Two files may have helpers of one name beside them. So each execution has a table of its own, and every
    module in it an ``import`` of its own, which looks there: also where a function imports something long
    after the file was executed, when it is another file's modules that lie in ``sys.modules``.

    Args:
        folder: The file's folder.
        module: The module made of the file.
    """

    _current: ClassVar[FolderImports | None] = None
    """Whose modules lie in ``sys.modules``."""

    def __init__(self, folder: Path, module: ModuleType) -> None:
        self.folder = folder
        self._main = module.__name__
        self._table = {module.__name__: module}
        self._hidden: dict[str, ModuleType] = {}
        self._known: set[str] = set()
        self._depth = 0
        self._builtins: dict[str, object] = {**vars(builtins), "__import__": self._import}
        module.__dict__["__builtins__"] = self._builtins

    @contextlib.contextmanager
    def first(self, *, stay: bool = False) -> Iterator[None]:
        """Inside, the folder is the first on ``sys.path``, and its modules lie in ``sys.modules``.

        Nothing is left behind in the folder.

        Args:
            stay: The modules stay in ``sys.modules`` until those of another file take their place; where
                another file is being executed, it gets its own back.
        """
        before = FolderImports._current
        if before is not self:
            if before is not None:
                before._take_out()
            self._put_in()
        known, self._known = self._known, set(sys.modules)
        written = sys.dont_write_bytecode
        sys.path.insert(0, str(self.folder))
        # behind the finders of built-in modules, as the folder on sys.path is
        at = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
        sys.meta_path.insert(at, self)
        sys.dont_write_bytecode = True
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            sys.dont_write_bytecode = written
            sys.meta_path.remove(self)
            sys.path.remove(str(self.folder))
            self._note()
            self._known = known
            if before is not None and before is not self and (before._depth or not stay):
                self._take_out()
                before._put_in()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module of the folder, which then imports as the file itself does."""
        if FolderImports._current is not self:
            return None  # that of a file which waits until another one, which it asked for, is executed
        spec = PathFinder.find_spec(fullname, [str(self.folder)] if path is None else path, target)
        if spec is None or spec.origin is None or not lies_in(spec.origin, self.folder):
            return None
        if isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Sibling(fullname, spec.origin, self._builtins)
        return spec

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Do what ``import`` does; the folder's modules come from this table."""
        wanted = fromlist or ()
        if level == 0 and not self._beside(name.partition(".")[0]):
            return builtins.__import__(name, globals, locals, wanted, level)
        full = name
        package = (globals or {}).get("__package__")
        if level and isinstance(package, str) and package:
            full = importlib.util.resolve_name("." * level + name, package)
        known = self._table.get(full) if wanted or "." not in full else None
        # a statement that is executed at every update must not look for files each time
        if known is not None and all(hasattr(known, one) for one in wanted):
            return known
        with self.first():
            return builtins.__import__(name, globals, locals, wanted, level)

    def _beside(self, top: str) -> bool:
        """Whether a module is the folder's; one that was imported from elsewhere before is not."""
        if top in self._table:
            return True
        current = FolderImports._current
        if top in sys.modules and (current is None or top not in current._table):
            return False
        place = self.folder / top
        return place.with_suffix(".py").is_file() or place.is_dir()

    def _note(self) -> None:
        """Enter what has been imported from the folder into the table."""
        for name in set(sys.modules) - self._known:
            module = sys.modules[name]
            written = getattr(module, "__file__", None)
            if written is None:  # a folder without __init__.py
                written = next(iter(getattr(module, "__path__", ())), None)
            if isinstance(written, str) and lies_in(written, self.folder):
                self._table[name] = module

    def _put_in(self) -> None:
        self._hidden = {name: sys.modules[name] for name in self._table if name in sys.modules}
        sys.modules.update(self._table)
        FolderImports._current = self

    def _take_out(self) -> None:
        """Put back what lay there before; the module of the file itself stays, for pickle and pydantic."""
        if self._depth:
            self._note()
        for name, module in self._table.items():
            if name != self._main and sys.modules.get(name) is module:
                del sys.modules[name]
                if name in self._hidden:
                    sys.modules[name] = self._hidden[name]
        self._hidden = {}
        FolderImports._current = None


class _Sibling(SourceFileLoader):
    """Executes a module of a user's folder with the ``import`` of that folder."""

    def __init__(self, fullname: str, path: str, names: dict[str, object]) -> None:
        super().__init__(fullname, path)
        self._names = names

    def exec_module(self, module: ModuleType) -> None:
        """Execute it."""
        module.__dict__["__builtins__"] = self._names
        super().exec_module(module)


def lies_in(written: str, folder: Path) -> bool:
    """Whether a module's file is one of the user's in a folder, and no installed one."""
    path = Path(written)
    return folder in path.parents and PACKAGE not in path.parents and "site-packages" not in path.parts
