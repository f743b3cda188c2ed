"""What the file of add-ons imports from its own folder."""

WHOLE = 1.0
