"""Callbacks in the manner of other people's trainers; each file needs the library that it is named after.

None of them is imported by the rest of the package: ``from algobias.integrations.transformers import Callback``.
"""
