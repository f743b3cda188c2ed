"""Levers that are injected: each does to a script's training what an edit of the script would do."""
