"""Logs that other people's trainers write: which format a file has, its runs, their curves."""
