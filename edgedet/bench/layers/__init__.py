"""How long each layer takes, and how much of what the device can do it gets.

`onnxruntime` and `tensorrt` measure the layers of a file, `table` is what both give, `exported` finds the nodes of the
ONNX file that a layer stands for, `peak` measures the device, `plot` draws both, `moved` compares two tables, and
`trtexec` writes one as trtexec does.
"""
