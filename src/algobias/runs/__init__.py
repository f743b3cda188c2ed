"""What is said of a run: its outcome, its cost, what it reports while it is trained. No torch."""
