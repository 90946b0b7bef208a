"""Mish as an operator, for runtimes on which it is faster than what they have."""
