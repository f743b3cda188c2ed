"""How the gradient of one step is computed, for seeds one by one or stacked."""
