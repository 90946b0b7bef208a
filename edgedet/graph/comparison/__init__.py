"""Where two files, or a file and the checkpoint it was made of, first compute something else.

An error made early runs through everything behind it, and rounding multiplies it: a value beside the middle of two
steps falls to the other side, and so does what is computed from it. So each tensor of B is held to what A computes of
the tensors that B itself computed before: what differs then was made right there.

`points` says which tensors of a graph can be looked at, `matching` which of two graphs are the same, `onnx_values` and
`torch_values` compute them, `tolerance` says how far they may differ, `run` does it and `result` is what comes out.
"""
