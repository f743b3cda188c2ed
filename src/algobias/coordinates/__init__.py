"""Which coordinates of the bias moved: moments of runs, their readings, what changed and came back."""
