// A block makes 64 columns, positions of the result, of some tiles of 64 rows, output channels; each of its four warps 16
// of the rows. Codes are read, split and kept in shared memory, 128 deep, once for all tiles where that is all of them.
// Weights come from the second cache, in the order in which the lanes take them.
//
// Columns are in the order of what decides together, tile by tile, so that a block whose columns are closed ends before
// it reads anything; of a block with some open columns, only these are read, and products of eight columns only where one
// is open. Where one block has all channels, and tiles do not cross blocks, it predicts, decides and updates alone;
// else the prediction leaves a byte for each position or tile, and a second kernel updates.
#include "cuda/gated_conv.h"

#include <cuda_fp16.h>

#include "cuda/gated_weights.h"
#include "cuda/int8_products.h"
#include "cuda/launch.h"
#include "kernels/diou.h"

namespace edgedet {
namespace cuda {
namespace {

constexpr uint32_t WARP = 32, THREADS = 128, BLOCKS = 3 /* on a multiprocessor, at least */, ALL_LANES = 0xffffffff;
constexpr uint32_t ROWS = 64, COLUMNS = 64, STRIDE = COLUMNS + 8;  // so that a product's words are in different banks
constexpr uint32_t CHUNK = 128, CHUNK_WORDS = CHUNK / 4, CHUNK_PRODUCTS = CHUNK / PRODUCT_DEPTH;
constexpr uint32_t PRODUCTS = COLUMNS / PRODUCT_COLUMNS;
constexpr uint32_t NOWHERE = 0xffffffff;
constexpr uint32_t THREADS_OF_COLUMN = THREADS / COLUMNS;

// FUSED, or PREDICT and then UPDATE, decide for positions and tiles; ELEMENT for each result; DENSE takes all for open.
enum Pass { FUSED, PREDICT, UPDATE, ELEMENT, DENSE };

struct Problem {
    uint32_t images, channels, height, width;          // of x
    uint32_t outputs, result_width, result_height;     // of y
    uint32_t inputs, rows, depth;                      // of a group's weights: [rows, depth]
    uint32_t products, row_blocks;                     // of PRODUCT_DEPTH in the depth, of PRODUCT_ROWS in the rows
    uint32_t tiles, tiles_each;                        // of ROWS in the rows, and those of a block
    uint32_t taps, kernel_width, stride_y, stride_x;
    int32_t top, left;
    uint32_t side_y, side_x, units_x, units;  // what decides together, of an image
    uint32_t columns;                         // of all images, with those of tiles that are cut off
    float codes_of_value;
    int32_t lowest, highest, bits, highest_step;
};

struct Packed {
    const Fragment* weights;  // [groups, row_blocks, products, lanes]
    const Channel* channels;  // [outputs]
};

struct Shared {
    uint32_t high[CHUNK_WORDS * STRIDE], low[CHUNK_WORDS * STRIDE];
    uint32_t places[COLUMNS];  // in a result's first channel; NOWHERE: beside the map
    uint32_t wishes[COLUMNS];
    uint32_t open[THREADS / WARP];
};

using Sums = int32_t[PRODUCTS][4];

__device__ float number(float value) { return value; }
__device__ float number(__half value) { return __half2float(value); }
__device__ void write(float value, float* y) { *y = value; }
__device__ void write(float value, __half* y) { *y = __float2half_rn(value); }

// ---- Codes ----------------------------------------------------------------------------------------------------------

// As gated_rows.cpp has it.
__device__ int32_t code_of(float value, const Problem& p) {
    constexpr float ROUNDER = 12582912.0F;  // 1.5 * 2^23: what is added to it loses its fraction, ties to even
    constexpr int32_t ROUNDED = 0x4B400000;
    const float code = value * p.codes_of_value, lowest = static_cast<float>(p.lowest);
    const float at_least = code > lowest ? code : lowest;  // and so is what is not a number
    const float within = smaller(at_least, static_cast<float>(p.highest));
    return static_cast<int32_t>(__float_as_uint(within + ROUNDER)) - ROUNDED;
}

// A column of this block, for one thread.
struct Column {
    uint32_t image, unit, y, x;
    bool is_inside;
};

__device__ Column column_at(uint32_t index, const Problem& p) {
    const uint32_t area = p.side_y * p.side_x, unit = index / area, within = index % area, of_image = unit % p.units;
    Column column{unit / p.units, unit, of_image / p.units_x * p.side_y + within / p.side_x,
                  of_image % p.units_x * p.side_x + within % p.side_x, false};
    column.is_inside = index < p.columns && column.y < p.result_height && column.x < p.result_width;
    return column;
}

template <bool IN_ORDER, typename Value>
__device__ float value_at(const Problem& p, const Value* x, const Column& column, uint32_t group, uint32_t at) {
    const size_t first = size_t{column.image} * p.channels + group * p.inputs;
    if (IN_ORDER) return number(x[((first + at) * p.height + column.y) * p.width + column.x]);
    const uint32_t tap = at % p.taps;
    const int32_t y = static_cast<int32_t>(column.y * p.stride_y + tap / p.kernel_width) - p.top;
    const int32_t from_x = static_cast<int32_t>(column.x * p.stride_x + tap % p.kernel_width) - p.left;
    const bool is_inside = y >= 0 && y < static_cast<int32_t>(p.height) && from_x >= 0 &&
                           from_x < static_cast<int32_t>(p.width);
    return is_inside ? number(x[((first + at / p.taps) * p.height + y) * p.width + from_x]) : 0.0F;
}

// The codes of a chunk: neighbours in a map are read by neighbouring threads.
template <bool HIGH, bool LOW, bool IN_ORDER, typename Value>
__device__ void load(const Problem& p, const Value* x, const Column& column, bool is_needed, uint32_t group,
                     uint32_t chunk, Shared& shared) {
    const uint32_t at = threadIdx.x % COLUMNS, first = chunk * CHUNK_WORDS;
    const uint32_t all = p.products * PRODUCT_WORDS - first, words = all < CHUNK_WORDS ? all : CHUNK_WORDS;
#pragma unroll 2
    for (uint32_t word = threadIdx.x / COLUMNS; word < words; word += THREADS_OF_COLUMN) {
        uint32_t high = 0, low = 0;
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) {
            const uint32_t depth = (first + word) * 4 + i;
            const bool is_read = is_needed && depth < p.depth;
            const int32_t code = code_of(is_read ? value_at<IN_ORDER>(p, x, column, group, depth) : 0.0F, p);
            const int32_t nearest = (code + (1 << p.bits) / 2 - 1 + ((code >> p.bits) & 1)) >> p.bits;  // ties to even
            const int32_t steps = smaller(nearest, p.highest_step), rest = smaller(code - (steps << p.bits), 127);
            high |= (static_cast<uint32_t>(steps) & 0xff) << 8 * i;
            low |= (static_cast<uint32_t>(rest) & 0xff) << 8 * i;
        }
        if (HIGH) shared.high[word * STRIDE + at] = high;
        if (LOW) shared.low[word * STRIDE + at] = low;
    }
}

// ---- Sums -----------------------------------------------------------------------------------------------------------

// What a thread knows of its block.
template <typename Value>
struct Place {
    const Problem& p;
    const Value* x;
    Packed packed;
    Shared& shared;
    Column column;
    uint32_t group, first_tile, end_tile;

    __device__ uint32_t row_block(uint32_t tile) const { return tile * (ROWS / PRODUCT_ROWS) + threadIdx.x / WARP; }
};

// Adds the parts' products to the sums of a tile. `open` has a bit for each column that is needed.
template <bool HIGH, bool LOW, bool IN_ORDER, typename Value>
__device__ void sum_up(const Place<Value>& place, uint32_t tile, uint64_t open, bool& is_loaded, Sums& high, Sums& low) {
    const Problem& p = place.p;
    const uint32_t row_block = place.row_block(tile), chunks = (p.products + CHUNK_PRODUCTS - 1) / CHUNK_PRODUCTS;
    const bool is_needed = place.column.is_inside && (open >> threadIdx.x % COLUMNS & 1) != 0;
#pragma unroll
    for (uint32_t j = 0; j < PRODUCTS; ++j)
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) {
            if (HIGH) high[j][i] = 0;
            if (LOW) low[j][i] = 0;
        }
    for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
        if (chunks > 1 || !is_loaded) {
            __syncthreads();
            load<HIGH, LOW, IN_ORDER>(p, place.x, place.column, is_needed, place.group, chunk, place.shared);
            __syncthreads();
            is_loaded = true;
        }
        if (row_block >= p.row_blocks) continue;
        const uint32_t rest = p.products - chunk * CHUNK_PRODUCTS, steps = smaller(rest, CHUNK_PRODUCTS);
        const Fragment* weights = place.packed.weights + (size_t{place.group} * p.row_blocks + row_block) * p.products * WARP;
        for (uint32_t step = 0; step < steps; ++step) {
            const Rows rows(weights + (chunk * CHUNK_PRODUCTS + step) * WARP);
            const uint32_t codes = step * PRODUCT_WORDS * STRIDE;
#pragma unroll
            for (uint32_t j = 0; j < PRODUCTS; ++j) {
                if ((open >> j * PRODUCT_COLUMNS & 0xff) == 0) continue;  // the same for the whole warp
                if (HIGH) multiply<STRIDE>(rows, place.shared.high + codes + j * PRODUCT_COLUMNS, high[j]);
                if (LOW) multiply<STRIDE>(rows, place.shared.low + codes + j * PRODUCT_COLUMNS, low[j]);
            }
        }
    }
}

// Calls `take(channel, column, where its result stands, product, sum)` for each sum of this thread.
template <typename Value, typename Take>
__device__ void for_each_sum(const Place<Value>& place, uint32_t tile, Take take) {
    const Problem& p = place.p;
    const uint32_t lane = threadIdx.x % WARP, row_block = place.row_block(tile);
    if (row_block >= p.row_blocks) return;
#pragma unroll
    for (uint32_t half = 0; half < 2; ++half) {
        const uint32_t row = row_block * PRODUCT_ROWS + half * PRODUCT_ROWS / 2 + lane / 4;
        if (row >= p.rows) continue;
        const uint32_t index = place.group * p.rows + row;
        const Channel channel = place.packed.channels[index];
        const uint32_t first = index * p.result_height * p.result_width;
#pragma unroll
        for (uint32_t j = 0; j < PRODUCTS; ++j)
#pragma unroll
            for (uint32_t side = 0; side < 2; ++side) {
                const uint32_t column = j * PRODUCT_COLUMNS + lane % 4 * 2 + side;
                const uint32_t of_column = place.shared.places[column];
                if (of_column != NOWHERE) take(channel, column, first + of_column, j, half * 2 + side);
            }
    }
}

__device__ bool is_wanted(int32_t sum, const Channel& channel) {
    return sum > channel.limits.above || sum < channel.limits.below;
}

// The order of roundings of gated_rows.cpp.
__device__ float finished(int32_t high, const Channel& channel) {
    return static_cast<float>(high) * channel.high + channel.bias;
}
__device__ float finished(int32_t high, int32_t low, const Channel& channel) {
    return static_cast<float>(high) * channel.high + static_cast<float>(low) * channel.low + channel.bias;
}

// A bit for each column, of what the first threads hold.
__device__ uint64_t gathered(bool holds, Shared& shared) {
    const uint32_t lanes = __ballot_sync(ALL_LANES, holds);
    if (threadIdx.x % WARP == 0) shared.open[threadIdx.x / WARP] = lanes;
    __syncthreads();
    return shared.open[0] | uint64_t{shared.open[1]} << WARP;
}

// ---- Passes ---------------------------------------------------------------------------------------------------------

// All results as of closed gates, and the wishes of their columns.
template <bool IN_ORDER, typename Value>
__device__ void predict(const Place<Value>& place, uint32_t area, Value* y) {
    bool is_loaded = false;
    for (uint32_t tile = place.first_tile; tile < place.end_tile; ++tile) {
        Sums high;
        sum_up<true, false, IN_ORDER>(place, tile, ~uint64_t{0}, is_loaded, high, high);
        for_each_sum(place, tile, [&](const Channel& channel, uint32_t column, uint32_t at, uint32_t j, uint32_t i) {
            write(finished(high[j][i], channel), y + at);
            if (is_wanted(high[j][i], channel)) place.shared.wishes[column - column % area] = 1;
        });
    }
}

// The results of open columns, from both parts.
template <bool IN_ORDER, typename Value>
__device__ void update(const Place<Value>& place, uint64_t open, Value* y) {
    bool is_loaded = false;
    for (uint32_t tile = place.first_tile; tile < place.end_tile; ++tile) {
        Sums high, low;
        sum_up<true, true, IN_ORDER>(place, tile, open, is_loaded, high, low);
        for_each_sum(place, tile, [&](const Channel& channel, uint32_t column, uint32_t at, uint32_t j, uint32_t i) {
            if ((open >> column & 1) != 0) write(finished(high[j][i], low[j][i], channel), y + at);
        });
    }
}

// Each result for itself.
template <bool IN_ORDER, typename Value>
__device__ void update_elements(const Place<Value>& place, Value* y) {
    bool is_high_loaded = false, is_low_loaded = false;
    for (uint32_t tile = place.first_tile; tile < place.end_tile; ++tile) {
        Sums high, low;
        sum_up<true, false, IN_ORDER>(place, tile, ~uint64_t{0}, is_high_loaded, high, high);
        bool is_open = false;
        for_each_sum(place, tile, [&](const Channel& channel, uint32_t, uint32_t, uint32_t j, uint32_t i) {
            is_open |= is_wanted(high[j][i], channel);
        });
        __syncthreads();  // all have read what the tile before gathered
        gathered(is_open, place.shared);
        uint32_t some = 0;
        for (uint32_t warp = 0; warp < THREADS / WARP; ++warp) some |= place.shared.open[warp];
        if (some != 0) sum_up<false, true, IN_ORDER>(place, tile, ~uint64_t{0}, is_low_loaded, low, low);
        for_each_sum(place, tile, [&](const Channel& channel, uint32_t, uint32_t at, uint32_t j, uint32_t i) {
            const bool is_updated = some != 0 && is_wanted(high[j][i], channel);
            write(is_updated ? finished(high[j][i], low[j][i], channel) : finished(high[j][i], channel), y + at);
        });
    }
}

template <Pass PASS, bool IN_ORDER, typename Value>
__global__ void __launch_bounds__(THREADS, BLOCKS)
    convolve(Problem p, const Value* x, Packed packed, uint8_t* wanted, Value* y) {
    __shared__ Shared shared;
    const uint32_t splits = (p.tiles + p.tiles_each - 1) / p.tiles_each, split = blockIdx.y % splits;
    const Column column = column_at(blockIdx.x * COLUMNS + threadIdx.x % COLUMNS, p);
    const Place<Value> place{p, x, packed, shared, column, blockIdx.y / splits, split * p.tiles_each,
                             smaller((split + 1) * p.tiles_each, p.tiles)};
    const bool is_mine = threadIdx.x < COLUMNS;  // one thread for each column
    if (is_mine) {
        const uint32_t row = column.image * p.outputs * p.result_height + column.y;
        shared.places[threadIdx.x] = column.is_inside ? row * p.result_width + column.x : NOWHERE;
        shared.wishes[threadIdx.x] = 0;
    }
    __syncthreads();
    if (PASS == DENSE) update<IN_ORDER>(place, ~uint64_t{0}, y);
    if (PASS == ELEMENT) update_elements<IN_ORDER>(place, y);
    if (PASS == PREDICT) {
        predict<IN_ORDER>(place, 1, y);
        __syncthreads();
        if (is_mine && shared.wishes[threadIdx.x] != 0) wanted[column.unit] = 1;
    }
    if (PASS == FUSED) {
        const uint32_t area = p.side_y * p.side_x;
        predict<IN_ORDER>(place, area, y);
        __syncthreads();
        const bool is_open = is_mine && column.is_inside && shared.wishes[threadIdx.x - threadIdx.x % area] != 0;
        const uint64_t open = gathered(is_open, shared);
        if (open != 0) update<IN_ORDER>(place, open, y);
    }
    if (PASS == UPDATE) {
        const uint64_t open = gathered(is_mine && column.is_inside && wanted[column.unit] != 0, shared);
        if (open != 0) update<IN_ORDER>(place, open, y);
    }
}

// ---- The host's side ------------------------------------------------------------------------------------------------

bool is_in_order(const GatedConv& gate, const GatedSizes& sizes) {
    return sizes.height * sizes.width == 1 && gate.stride_y == 1 && gate.stride_x == 1 &&
           gate.top + gate.left + gate.bottom + gate.right == 0;
}

Problem problem_of(const GatedLayer& layer, const GatedImages& images, const Map& map) {
    const auto small = [](int64_t value) { return static_cast<uint32_t>(value); };
    const GatedConv& gate = layer.gate;
    const GatedSizes& sizes = layer.sizes;
    Problem p{};
    p.images = small(images.count);
    p.channels = small(sizes.inputs * gate.groups);
    p.height = small(images.height);
    p.width = small(images.width);
    p.outputs = small(sizes.outputs);
    p.result_height = small(map.rows);
    p.result_width = small(map.columns);
    p.inputs = small(sizes.inputs);
    p.rows = small(sizes.outputs / gate.groups);
    p.depth = small(depth_of(sizes));
    p.products = small(divided(p.depth, PRODUCT_DEPTH));
    p.row_blocks = small(divided(p.rows, PRODUCT_ROWS));
    p.tiles = p.tiles_each = small(divided(p.rows, ROWS));
    p.taps = small(sizes.height * sizes.width);
    p.kernel_width = small(sizes.width);
    p.stride_y = small(gate.stride_y);
    p.stride_x = small(gate.stride_x);
    p.top = static_cast<int32_t>(gate.top);
    p.left = static_cast<int32_t>(gate.left);
    p.side_y = small(map.side_y);
    p.side_x = small(map.side_x);
    p.units_x = small(map.units_x);
    p.units = small(map.units());
    p.columns = small(images.count * map.units() * map.area());
    p.codes_of_value = 1 / layer.x_scale;
    p.lowest = static_cast<int32_t>(gate.lowest);
    p.highest = static_cast<int32_t>(gate.highest);
    while (int64_t{1} << p.bits < gate.step) ++p.bits;
    p.highest_step = static_cast<int32_t>(gate.highest / gate.step);
    return p;
}

// Few columns are shared out among more blocks, each with some of the channels: two for each multiprocessor.
uint32_t tiles_each(const Problem& p, uint32_t column_blocks) {
    int device = 0, multiprocessors = 1;
    if (cudaGetDevice(&device) == cudaSuccess)
        cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
    const int64_t splits = divided(int64_t{multiprocessors} * 2, column_blocks);
    return static_cast<uint32_t>(divided(p.tiles, smaller<int64_t>(splits, p.tiles)));
}

template <bool IN_ORDER, typename Value>
cudaError_t run(const GatedLayer& layer, const GatedImages& images, const void* x, void* y, void* workspace,
                cudaStream_t stream) {
    const Map map(layer.gate, layer.sizes, images, !layer.always_open);
    Problem p = problem_of(layer, images, map);
    const auto column_blocks = static_cast<uint32_t>(divided(p.columns, COLUMNS));
    p.tiles_each = tiles_each(p, column_blocks);
    const auto splits = static_cast<uint32_t>(divided(p.tiles, p.tiles_each));
    const dim3 grid(column_blocks, static_cast<uint32_t>(layer.gate.groups) * splits);
    const auto* weights = static_cast<const Fragment*>(layer.packed);
    const auto* channels = reinterpret_cast<const Channel*>(weights + fragments_of(layer.gate, layer.sizes));
    auto* wanted = static_cast<uint8_t*>(workspace);
    const auto start = [&](void (*kernel)(Problem, const Value*, Packed, uint8_t*, Value*)) {
        return launch(kernel, grid, THREADS, stream, p, static_cast<const Value*>(x), Packed{weights, channels}, wanted,
                      static_cast<Value*>(y));
    };
    if (layer.always_open) return start(convolve<DENSE, IN_ORDER, Value>);
    if (layer.gate.granularity == Granularity::element) return start(convolve<ELEMENT, IN_ORDER, Value>);
    if (layer.gate.groups == 1 && splits == 1 && COLUMNS % map.area() == 0) return start(convolve<FUSED, IN_ORDER, Value>);
    cudaError_t status = cudaMemsetAsync(workspace, 0, workspace_bytes(layer, images), stream);
    if (status == cudaSuccess) status = start(convolve<PREDICT, IN_ORDER, Value>);
    if (status == cudaSuccess) status = start(convolve<UPDATE, IN_ORDER, Value>);
    return status;
}

}  // namespace

size_t workspace_bytes(const GatedLayer& layer, const GatedImages& images) {
    const bool is_decided = !layer.always_open && layer.gate.granularity != Granularity::element;
    const Map map(layer.gate, layer.sizes, images, !layer.always_open);
    return is_decided ? static_cast<size_t>(images.count * map.units()) : 0;
}

cudaError_t gated_conv(const GatedLayer& layer, const GatedImages& images, Float type, const void* x, void* y,
                       void* workspace, cudaStream_t stream) {
    if (edgedet::fault_of(layer.gate) != nullptr || limit_of(layer.gate, layer.sizes) != nullptr ||
        limit_of(layer.gate, layer.sizes, images) != nullptr)
        return cudaErrorInvalidValue;
    if (images.count == 0) return cudaSuccess;
    const bool in_order = is_in_order(layer.gate, layer.sizes), is_half = type == Float::HALF;
    const auto chosen = in_order ? (is_half ? run<true, __half> : run<true, float>)
                                 : (is_half ? run<false, __half> : run<false, float>);
    return chosen(layer, images, x, y, workspace, stream);
}

}  // namespace cuda
}  // namespace edgedet
