"""Statistical inference: intervals, bounds, power, levels of a sequence of looks, rounding of a metric."""
