"""Detectors whose edges (the tensors between layers) and weights are rounded to INT8 grids, as every target will."""
