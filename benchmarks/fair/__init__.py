"""A fair comparison: equal trials, validation that chooses, seeds that are tested once, and what every model costs."""
