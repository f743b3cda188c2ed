"""The command line. With ``--json`` stdout is one JSON object, or empty at exit codes other than 0 and 1."""

from algobias.cli.app import main

__all__ = ["main"]
