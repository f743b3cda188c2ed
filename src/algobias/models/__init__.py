"""The model zoo: small networks with stated definitions, and a registry to name them in a recipe."""
