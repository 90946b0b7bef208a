"""What the operator Mish computes. Every implementation is held to this text.

`EdgeDetMish(x)` is `x * tanh(softplus(x)) = x * tanh(log(1 + exp(x)))` of each value (Misra, "Mish: A Self Regularized
Non-Monotonic Activation Function", BMVC 2020), of the shape and type of `x`: float32 or float16.

Precision: for finite values, relative to the real result, 5 units in the last place of float32, and of float16 one;
function bodies are as exact as the runtime's Softplus and Tanh. Below about -87, where exp(x) is no normal float32,
any value between the real result and 0 is right. Infinity gives infinity; NaN, and minus infinity, NaN.

TensorRT's plugin takes `input_scale` and `output_scale` besides, both above 0: then `x` and the result are INT8 of
symmetric quantizers with these steps, and the result is rounded half to even and clipped to -128 to 127.
"""

DOMAIN, OP_TYPE = "edgedet", "EdgeDetMish"
"""Of the ONNX operator. TensorRT has a Mish of its own, which is not to be taken for this one."""
