"""Number formats, rounding, masks: pure functions of tensors."""
