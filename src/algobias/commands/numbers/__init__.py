"""The numbers of a command's runs: where they are told, and what curves they make."""
