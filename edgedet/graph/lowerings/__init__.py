"""One pure function a target, from the master graph to a graph for it.

A lowering may drop, move or refine a quantizer; it never adds one, and never makes one coarser than the master's.
Where a step is stored in float16 it is the nearest number there, one part in 2048 away at most.
"""
