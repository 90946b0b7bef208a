#include "cpu/int8/tile.h"

namespace edgedet::cpu {
namespace {

struct Plain {
    static constexpr int ROWS = 1, VECTORS = 1, LANES = PANEL;
    static constexpr bool IN_16_BITS = false;
    struct Sum { int32_t lane[LANES]; };
    using Part = Sum;
    using Codes = const uint32_t*;
    using Weights = uint32_t;

    static Sum fill(int32_t value) {
        Sum sum;
        for (int32_t& lane : sum.lane) lane = value;
        return sum;
    }
    static Part nothing() { return fill(0); }
    static Codes load(const uint32_t* codes) { return codes; }
    static Weights spread(uint32_t weights) { return weights; }
    static Part add(Part part, Codes codes, Weights weights) {
        for (int channel = 0; channel < CHANNELS; ++channel) {
            const int32_t weight = static_cast<int8_t>(weights >> 8 * channel);
            for (int i = 0; i < LANES; ++i) part.lane[i] += static_cast<uint8_t>(codes[i] >> 8 * channel) * weight;
        }
        return part;
    }
    static Sum widen(Sum sum, const Part& part) {
        for (int i = 0; i < LANES; ++i) sum.lane[i] += part.lane[i];
        return sum;
    }
    static Sum load_sum(const int32_t* from) {
        Sum sum;
        for (int i = 0; i < LANES; ++i) sum.lane[i] = from[i];
        return sum;
    }
    static void store(int32_t* to, const Sum& sum) {
        for (int i = 0; i < LANES; ++i) to[i] = sum.lane[i];
    }
};

}  // namespace

const Int8Kernel PLAIN{"plain", true, Plain::ROWS, 0, multiply<Plain>};

}  // namespace edgedet::cpu
