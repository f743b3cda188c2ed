"""The model zoo: small networks with stated definitions, and a registry to name them in a recipe."""

from algobias.models.convnet import convnet
from algobias.models.mlp import MLP, mlp
from algobias.models.norm import norm_layer
from algobias.models.registry import ZOO, build, summaries
from algobias.models.resnet import ResNet, resnet

__all__ = ["MLP", "ZOO", "ResNet", "build", "convnet", "mlp", "norm_layer", "resnet", "summaries"]
