// Mish on the CPU, element by element, as edgedet/ops/mish/definition.py defines it.
#pragma once

#include <cstdint>

namespace edgedet::cpu {

void mish(const float* input, float* output, int64_t count);

}  // namespace edgedet::cpu
