"""Control studies of a command: what they stand on, what they try, what they cost."""
