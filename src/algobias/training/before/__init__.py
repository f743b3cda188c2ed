"""What is tried out before anything is trained for real."""
