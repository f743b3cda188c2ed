"""Arm a Python process that somebody else's command starts: Python runs this file before the script.

Python imports the first ``sitecustomize`` on its path; the process that starts the command puts this folder
in front of ``PYTHONPATH``. The folder leaves ``sys.path`` again here, and the ``sitecustomize`` that would
have been run without it is run afterwards, as the module of that name.
"""

import importlib.util
import os
import sys
from importlib.machinery import PathFinder


def _load_package(folder: str) -> None:
    """Make ``algobias`` importable from where it lies, though the script's environment may not have it."""
    if "algobias" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "algobias", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["algobias"] = module
    spec.loader.exec_module(module)


def _arm() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.abspath(place or os.curdir) != here]
    if not os.environ.get("ALGOBIAS_ATTACH"):
        return
    _load_package(os.path.dirname(os.path.dirname(here)))
    from algobias.attached.arm import arm

    arm()


def _run_the_next() -> None:
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


try:
    _arm()
finally:
    _run_the_next()
