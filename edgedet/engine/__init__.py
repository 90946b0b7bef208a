"""Engines for TensorRT: built, looked into."""
