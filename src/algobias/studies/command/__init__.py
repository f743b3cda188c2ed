"""Audits of a command."""
