"""The fit set: training examples that all runs share, and the training loss on them."""
