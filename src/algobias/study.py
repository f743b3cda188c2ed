"""Find ``algobias.study.distributed`` where it lies now: scripts that start it by its old name keep working."""

from pathlib import Path

__path__ = [str(Path(__file__).parent / "running")]
