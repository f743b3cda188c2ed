"""A process that has loaded torch, and runs scripts in copies of itself: as if each had been started anew.

Loading torch takes longer than most scripts. What happens at its arrival is tested in processes of their own
(:mod:`attached.test_arming`); here each copy is armed after it.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import subprocess
import sys
import traceback
from pathlib import Path


class Zygote:
    """Starts scripts; one process for all tests of a worker.

    Args:
        modules: What else it loads once for all scripts, by name.
    """

    def __init__(self, *modules: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-B", __file__, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        atexit.register(self._process.kill)

    def run(self, folder: Path, words: list[str], variables: dict[str, str]) -> tuple[int, str, str]:
        """Run ``words`` (a script and its arguments) in a folder; exit code, output, errors."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        told = {"folder": str(folder), "words": words, "variables": variables}
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return code, (folder / "out.txt").read_text(), (folder / "err.txt").read_text()


def serve(modules: list[str]) -> None:
    """Copy this process for each line that comes, and tell how the copy ended."""
    import torch
    import torch._dynamo  # what the first step of an optimizer loads

    import algobias.attached.attachment  # noqa: F401

    for module in modules:
        importlib.import_module(module)

    torch.set_num_threads(1)
    for line in sys.stdin:
        told = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(_script(Path(told["folder"]), told["words"], told["variables"]))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _script(folder: Path, words: list[str], variables: dict[str, str]) -> int:
    """Be the process of a script; returns its exit code."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    for number, name in ((1, "out.txt"), (2, "err.txt")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv, sys.path[0] = words, str(folder)
    code = 0
    try:
        from algobias.attached.arm import arm

        arm()
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve(sys.argv[1:])
