"""What to do next after an answer: the sentence, and the command that does it."""
