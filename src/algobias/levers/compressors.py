"""Error feedback under its old name; the components of anybody's own loop live in ``algobias.components``."""

from algobias.components.error_feedback import ErrorFeedback

__all__ = ["ErrorFeedback"]
