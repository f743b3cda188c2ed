"""The command line. With ``--json`` stdout is one JSON object, or empty where the exit code is neither 0 nor 1."""

from algobias.cli.app import main

__all__ = ["main"]
