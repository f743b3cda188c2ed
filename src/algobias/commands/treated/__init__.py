"""What is done to a command as a control, and what it leaves of a change."""
