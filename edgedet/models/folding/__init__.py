"""Rewrites of a network before it is quantized or exported: each gives a copy that computes the same, with less."""
