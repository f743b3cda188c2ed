"""Callbacks in the manner of other people's trainers; each file needs the library that it is named after.

The rest of the package imports none of them: ``from algobias.integrations.transformers import Callback``.
"""
