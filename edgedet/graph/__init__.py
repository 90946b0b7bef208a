"""From a checkpoint to one verified master ONNX.

`source` finds the detector, `master` makes its graph, `export` writes it, `verify` compares it with the checkpoint.
What stands between them are pure functions on an `onnx.ModelProto` that leave the one they are given as it is: `opset`,
`naming` and `metadata` return a changed copy, `checks` tells what is wrong. Lowerings to single targets are further
ones. `comparison` finds the tensor from which two files differ, `lint` what keeps a quantized one from being fast.
"""
