"""A parametric-insurance claims engine that pays each claim exactly once."""
