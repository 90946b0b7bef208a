"""What an engine is made of, by the text that TensorRT's engine inspector gives: read without TensorRT.

`reading` makes layers of the text, `profile` adds their times, `summary` counts them, `lint` finds what costs time: one
rule a function, in `conversions`, `islands` and `depthwise`.
"""
