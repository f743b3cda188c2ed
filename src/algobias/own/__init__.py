"""Python files of a user's own: read, announced, executed, and what they raise or return."""
