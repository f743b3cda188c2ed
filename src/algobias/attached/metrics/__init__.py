"""Metrics: what a script tells its loggers, heard in the process at full precision."""
