"""Local SGD under its old name; the components of anybody's own loop live in ``algobias.components``."""

from algobias.components.local_sgd import LocalSGD

__all__ = ["LocalSGD"]
