"""The probes themselves, one file for each concept."""
