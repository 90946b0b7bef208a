// Runs the CPU kernel of Mish without Python, for machines that are emulated: float32 in on standard input, and out.
#include <cstdio>
#include <vector>

#include "cpu/mish.h"

int main() {
    std::vector<float> values;
    float value;
    while (std::fread(&value, sizeof value, 1, stdin) == 1) values.push_back(value);
    edgedet::cpu::mish(values.data(), values.data(), static_cast<int64_t>(values.size()));
    return std::fwrite(values.data(), sizeof value, values.size(), stdout) == values.size() ? 0 : 1;
}
