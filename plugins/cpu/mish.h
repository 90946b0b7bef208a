// Mish on the CPU, element by element, within 4 units in the last place.
#pragma once

#include <cstdint>

namespace edgedet::cpu {

void mish(const float* input, float* output, int64_t count);

}  // namespace edgedet::cpu
