"""What was measured of the arms: readings, and which of them moved."""
