"""One run of a command as a job: a JSON file that any machine can carry out, and who does."""
