"""The command line. Every command prints one JSON object with ``--json``, and everything else on stderr."""

from algobias.cli.app import main

__all__ = ["main"]
