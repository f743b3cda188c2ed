"""DropCompute under its old name; the components of anybody's own loop live in ``algobias.components``."""

from algobias.components.drop_compute import DropCompute

__all__ = ["DropCompute"]
