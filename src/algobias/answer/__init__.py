"""What a study answers."""
