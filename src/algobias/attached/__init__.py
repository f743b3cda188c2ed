"""Inside of a training script nobody edited: what is seen there, and what is changed there on request."""
