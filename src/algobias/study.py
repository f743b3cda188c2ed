"""Find ``algobias.study.distributed`` where it lies now: old scripts keep working."""

from pathlib import Path

__path__ = [str(Path(__file__).parent / "running")]
