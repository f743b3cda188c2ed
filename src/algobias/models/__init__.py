"""The model zoo: small networks with stated definitions, and a registry to name them in a recipe."""

from algobias.models.mlp import MLP, mlp

__all__ = ["MLP", "mlp"]
