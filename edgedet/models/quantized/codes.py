"""The integers that quantizers give; no torch, so that a graph can be lowered without it."""

LOWEST, HIGHEST = -128, 127
HIGHEST_UNSIGNED = 255
"""Of the finer grid that a lowering may give a tensor which is never negative, over the same range."""

HIGHEST_OF_SUMMED = 64
"""Of the weights of a convolution that sums over channels. x86 CPUs without VNNI add its products in pairs, in 16 bits,
and cut off what does not fit: 2 x 64 x 255 does, 2 x 127 x 255 does not. Depthwise products are added in 32 bits."""
