"""``python -m algobias``."""

from algobias.cli import main

main()
