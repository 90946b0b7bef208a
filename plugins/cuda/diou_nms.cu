// Four kernels: candidates are found; the best of them are selected and put into order; of every pair it is decided
// whether the better one would suppress the other, a bit each; and the kept ones are walked through in order.
#include "cuda/diou_nms.h"

#include <cuda_fp16.h>

#include "cuda/launch.h"
#include "kernels/diou.h"

namespace edgedet {
namespace cuda {
namespace {

constexpr uint32_t WARP = 32;
constexpr uint32_t ALL_LANES = 0xffffffff;
constexpr int32_t NO_GROUP = -1;

// Complement of the score above flat index `box * classes + class`: ascending keys are candidates in order.
using Key = uint64_t;
constexpr Key NO_KEY = ~Key{0};

// What every kernel needs to know. Sizes are of one image.
struct Problem {
    uint32_t boxes, classes, pairs;  // pairs of box and class
    uint32_t listed;                 // candidates that there is room to list
    uint32_t limit;                  // of candidates that are compared
    uint32_t rows;                   // limit, as a multiple of a warp
    uint32_t max_detections;
    float score_threshold, surely_below;
    double iou_threshold, beta;
    bool class_agnostic;
};

// Of all images, one behind the other.
struct Workspace {
    uint32_t* found;   // [1]: candidates, of which `listed` at most are in the list
    uint32_t* chosen;  // [1]: candidates that are compared
    Key* list;         // [listed]
    Key* best;         // [room of the sort]
    Box* boxes;        // [rows] of the best
    int32_t* groups;   // [rows] of the best; NO_GROUP: of no area
    uint32_t* pairs;   // [rows / 32, rows]: bit i of word w, row j: candidate 32 w + i would suppress candidate j
};

__device__ float number(float value) { return value; }
__device__ float number(__half value) { return __half2float(value); }

template <typename BoxValue>
__device__ Box box_at(const BoxValue* boxes, uint32_t index) {
    const BoxValue* corners = boxes + size_t{index} * 4;
    return {number(corners[0]), number(corners[1]), number(corners[2]), number(corners[3])};
}

__device__ bool is_finite(const Box& box) {
    return isfinite(box.x1) && isfinite(box.y1) && isfinite(box.x2) && isfinite(box.y2);
}

template <typename BoxValue>
__device__ Key key_of(float score, const BoxValue* boxes, uint32_t flat, const Problem& p) {
    if (!(score > p.score_threshold) || !is_finite(box_at(boxes, flat / p.classes))) return NO_KEY;
    return Key{~__float_as_uint(score)} << 32 | flat;  // the bits of positive floats are in their order
}

// ---- Candidates -----------------------------------------------------------------------------------------------------

constexpr uint32_t FINDERS = 256, SCORES_EACH = 8;

template <typename BoxValue, typename ScoreValue>
__global__ void __launch_bounds__(FINDERS)
    find_candidates(const BoxValue* boxes, const ScoreValue* scores, Problem p, Workspace work) {
    const uint32_t image = blockIdx.y, lane = threadIdx.x % WARP;
    boxes += size_t{image} * p.boxes * 4;
    scores += size_t{image} * p.pairs;
    const uint64_t first = uint64_t{blockIdx.x} * FINDERS * SCORES_EACH + threadIdx.x;
    float mine[SCORES_EACH];  // all are on their way before the first is looked at
#pragma unroll
    for (uint32_t i = 0; i < SCORES_EACH; ++i) {
        const uint64_t flat = first + uint64_t{i} * FINDERS;
        mine[i] = flat < p.pairs ? number(scores[flat]) : -1.0F;
    }
#pragma unroll
    for (uint32_t i = 0; i < SCORES_EACH; ++i) {
        const Key key = key_of(mine[i], boxes, static_cast<uint32_t>(first + i * FINDERS), p);
        const uint32_t lanes = __ballot_sync(ALL_LANES, key != NO_KEY);
        if (lanes == 0) continue;
        uint32_t before = 0;
        if (lane == 0) before = atomicAdd(work.found + image, static_cast<uint32_t>(__popc(lanes)));
        before = __shfl_sync(ALL_LANES, before, 0);
        const uint32_t place = before + __popc(lanes & ((1U << lane) - 1));
        if (key != NO_KEY && place < p.listed) work.list[size_t{image} * p.listed + place] = key;
    }
}

// ---- The best of them, in order -------------------------------------------------------------------------------------

constexpr uint32_t SORTERS = 1024;
constexpr int RADIX_BITS = 11;
constexpr uint32_t DIGITS = 1U << RADIX_BITS;  // two for each thread
constexpr uint32_t SORTED_IN_SHARED = 2048;

__host__ __device__ uint32_t power_of_two(uint32_t at_least) {
    uint32_t power = 1;
    while (power < at_least) power *= 2;
    return power;
}

// One image's candidates: from the list, or, where it is too short for them, from all pairs anew.
template <typename BoxValue, typename ScoreValue>
struct Candidates {
    const Key* list;  // null: not listed
    const BoxValue* boxes;
    const ScoreValue* scores;
    uint32_t size;

    __device__ Key at(uint32_t index, const Problem& p) const {
        return list != nullptr ? list[index] : key_of(number(scores[index]), boxes, index, p);
    }
};

// The sum of the values of this thread and those before it, in a block of SORTERS.
__device__ uint32_t sum_until(uint32_t value) {
    __shared__ uint32_t sums[WARP];
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    for (uint32_t step = 1; step < WARP; step *= 2) {
        const uint32_t other = __shfl_up_sync(ALL_LANES, value, step);
        if (lane >= step) value += other;
    }
    if (lane == WARP - 1) sums[warp] = value;
    __syncthreads();
    uint32_t before = 0;
    for (uint32_t other = 0; other < warp; ++other) before += sums[other];
    return before + value;
}

// The key of the candidate that is number `wanted` in order, or a larger one with no candidate between. Digit by digit
// from the highest: how many candidates have each value of it. `wanted` is at most as many as there are.
template <typename Source>
__device__ Key bound_of_best(const Source& candidates, uint32_t wanted, const Problem& p) {
    __shared__ uint32_t counts[DIGITS];
    __shared__ uint32_t digit, before_digit, in_digit;
    Key prefix = 0;
    for (int high = 64;;) {
        const int low = high > RADIX_BITS ? high - RADIX_BITS : 0;
        counts[threadIdx.x] = counts[threadIdx.x + SORTERS] = 0;
        __syncthreads();
        for (uint64_t index = threadIdx.x; index < candidates.size; index += SORTERS) {
            const Key key = candidates.at(static_cast<uint32_t>(index), p);
            if (key != NO_KEY && (high == 64 || key >> high == prefix))
                atomicAdd(counts + ((key >> low) & ((Key{1} << (high - low)) - 1)), 1U);
        }
        __syncthreads();
        const uint32_t first = counts[2 * threadIdx.x], second = counts[2 * threadIdx.x + 1];
        const uint32_t until = sum_until(first + second), before = until - first - second;
        if (before < wanted && wanted <= until) {
            const bool is_first = wanted <= before + first;
            digit = 2 * threadIdx.x + (is_first ? 0 : 1);
            before_digit = is_first ? before : before + first;
            in_digit = is_first ? first : second;
        }
        __syncthreads();
        prefix = prefix << (high - low) | digit;
        wanted -= before_digit;
        if (wanted == in_digit || low == 0) return ((prefix + 1) << low) - 1;
        high = low;
    }
}

// Bitonic; `size` is a power of two.
__device__ void sort(Key* keys, uint32_t size) {
    for (uint32_t run = 2; run <= size; run *= 2) {
        for (uint32_t stride = run / 2; stride > 0; stride /= 2) {
            for (uint32_t pair = threadIdx.x; pair < size / 2; pair += SORTERS) {
                const uint32_t low = 2 * pair - (pair & (stride - 1)), high = low + stride;
                const Key a = keys[low], b = keys[high];
                if ((a > b) == ((low & run) == 0)) {
                    keys[low] = b;
                    keys[high] = a;
                }
            }
            __syncthreads();
        }
    }
}

template <typename BoxValue, typename ScoreValue>
__global__ void __launch_bounds__(SORTERS)
    select_best(const BoxValue* boxes, const ScoreValue* scores, Problem p, Workspace work) {
    __shared__ Key shared_keys[SORTED_IN_SHARED];
    __shared__ uint32_t taken;
    const uint32_t image = blockIdx.x, found = work.found[image];
    const bool listed = found <= p.listed;
    boxes += size_t{image} * p.boxes * 4;
    scores += size_t{image} * p.pairs;
    const Candidates<BoxValue, ScoreValue> candidates{listed ? work.list + size_t{image} * p.listed : nullptr, boxes,
                                                      scores, listed ? found : p.pairs};
    const uint32_t chosen = found < p.limit ? found : p.limit, room = power_of_two(chosen);
    const Key bound = found > p.limit ? bound_of_best(candidates, chosen, p) : NO_KEY - 1;
    Key* keys = room <= SORTED_IN_SHARED ? shared_keys : work.best + size_t{image} * power_of_two(p.limit);
    if (threadIdx.x == 0) taken = 0;
    __syncthreads();
    for (uint64_t index = threadIdx.x; index < candidates.size; index += SORTERS) {
        const Key key = candidates.at(static_cast<uint32_t>(index), p);
        if (key <= bound) keys[atomicAdd(&taken, 1U)] = key;
    }
    for (uint32_t place = chosen + threadIdx.x; place < room; place += SORTERS) keys[place] = NO_KEY;
    __syncthreads();
    sort(keys, room);
    for (uint32_t place = threadIdx.x; place < chosen; place += SORTERS) {
        const Key key = keys[place];
        const uint32_t flat = static_cast<uint32_t>(key);
        const Box box = box_at(boxes, flat / p.classes);
        const size_t row = size_t{image} * p.rows + place;
        work.best[size_t{image} * power_of_two(p.limit) + place] = key;
        work.boxes[row] = box;
        work.groups[row] = !has_area(box) ? NO_GROUP : p.class_agnostic ? 0 : static_cast<int32_t>(flat % p.classes);
    }
    if (threadIdx.x == 0) work.chosen[image] = chosen;
}

// ---- Pairs ----------------------------------------------------------------------------------------------------------

constexpr uint32_t DECIDERS = 128;

struct Rival {
    Box box;
    float area;
    int32_t group;
    bool fits;  // float32
};

__device__ Rival rival_at(const Workspace& work, size_t row) {
    const Box box = work.boxes[row];
    return {box, (box.x2 - box.x1) * (box.y2 - box.y1), work.groups[row], fits_float32(box)};
}

// Float32 finds the few that are worth float64, which is slow on the small devices' GPUs.
__device__ bool suppresses(const Rival& a, const Rival& b, const Problem& p) {
    if (a.fits && b.fits) {
        const float width = larger(smaller(a.box.x2, b.box.x2) - larger(a.box.x1, b.box.x1), 0.0F);
        const float height = larger(smaller(a.box.y2, b.box.y2) - larger(a.box.y1, b.box.y1), 0.0F);
        const float shared = width * height;
        if (!(shared > p.surely_below * (a.area + b.area - shared))) return false;
    }
    return diou(a.box, b.box, p.beta) > p.iou_threshold;
}

// Each block: 32 candidates against DECIDERS behind them, a thread for each of those.
__global__ void __launch_bounds__(DECIDERS) compare_pairs(Problem p, Workspace work) {
    __shared__ Rival better[WARP];
    const uint32_t word = blockIdx.x, first_row = blockIdx.y * DECIDERS, image = blockIdx.z;
    const uint32_t chosen = work.chosen[image], first = word * WARP;
    if (first >= chosen || first_row >= chosen || first >= first_row + DECIDERS) return;
    const size_t before = size_t{image} * p.rows;
    if (threadIdx.x < WARP && first + threadIdx.x < chosen)
        better[threadIdx.x] = rival_at(work, before + first + threadIdx.x);
    __syncthreads();
    const uint32_t row = first_row + threadIdx.x;
    if (row >= chosen || first > row) return;
    const Rival mine = rival_at(work, before + row);
    const uint32_t others = mine.group == NO_GROUP ? 0 : smaller(row - first, WARP);
    uint32_t suppressors = 0;
    for (uint32_t i = 0; i < others; ++i)
        if (better[i].group == mine.group && suppresses(better[i], mine, p)) suppressors |= 1U << i;
    work.pairs[(before / WARP + word) * p.rows + row] = suppressors;
}

// ---- What is kept ---------------------------------------------------------------------------------------------------

constexpr uint32_t KEEPERS = 512;
constexpr uint32_t MOST_CANDIDATES = 16384;

template <typename BoxValue, typename ScoreValue>
struct Rows {
    int32_t* num_dets;
    BoxValue* boxes;
    ScoreValue* scores;
    int32_t* classes;

    __device__ void write(size_t row, const BoxValue* corners, ScoreValue score, int32_t class_id) const {
        for (int side = 0; side < 4; ++side) boxes[row * 4 + side] = corners[side];
        scores[row] = score;
        classes[row] = class_id;
    }
};

// Candidates in words of 32. Those that a kept one of an earlier word suppresses fall out in parallel; among the rest
// of a word each stays unless one that stays suppresses it, anew until nothing changes, which is greedy's answer.
template <typename BoxValue, typename ScoreValue>
__global__ void __launch_bounds__(KEEPERS)
    keep(const BoxValue* boxes, const ScoreValue* scores, Rows<BoxValue, ScoreValue> output, Problem p, Workspace work) {
    __shared__ uint32_t kept[MOST_CANDIDATES / WARP];
    __shared__ uint32_t suppressed[2];  // by words of before: of this word, and of the next
    const uint32_t image = blockIdx.x, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t chosen = work.chosen[image];
    const uint32_t* pairs = work.pairs + size_t{image} * (p.rows / WARP) * p.rows;
    const Key* best = work.best + size_t{image} * power_of_two(p.limit);
    boxes += size_t{image} * p.boxes * 4;
    scores += size_t{image} * p.pairs;
    const size_t first_row = size_t{image} * p.max_detections;
    if (threadIdx.x < 2) suppressed[threadIdx.x] = 0;
    uint32_t found = 0;
    for (uint32_t word = 0; word * WARP < chosen && found < p.max_detections; ++word) {
        const uint32_t row = word * WARP + lane;
        uint32_t hits = 0;
        if (row < chosen)
            for (uint32_t other = warp; other < word; other += KEEPERS / WARP)
                hits |= kept[other] & pairs[size_t{other} * p.rows + row];
        const uint32_t hit_lanes = __ballot_sync(ALL_LANES, hits != 0);
        if (lane == 0 && hit_lanes != 0) atomicOr(suppressed + word % 2, hit_lanes);
        __syncthreads();
        if (warp == 0) {
            const uint32_t suppressors = row < chosen ? pairs[size_t{word} * p.rows + row] : 0;
            const uint32_t rest = __ballot_sync(ALL_LANES, row < chosen) & ~suppressed[word % 2];
            const bool in_rest = (rest >> lane & 1) != 0;
            uint32_t alive = rest;
            for (uint32_t before = ~alive; alive != before;) {
                before = alive;
                alive = __ballot_sync(ALL_LANES, in_rest && (before & suppressors) == 0);
            }
            if (lane == 0) {
                kept[word] = alive;
                suppressed[(word + 1) % 2] = 0;
            }
            const uint32_t place = found + __popc(alive & ((1U << lane) - 1));
            if ((alive >> lane & 1) != 0 && place < p.max_detections) {
                const uint32_t flat = static_cast<uint32_t>(best[row]);
                output.write(first_row + place, boxes + size_t{flat / p.classes} * 4, scores[flat],
                             static_cast<int32_t>(flat % p.classes));
            }
        }
        __syncthreads();
        found += __popc(kept[word]);
    }
    found = smaller(found, p.max_detections);
    if (threadIdx.x == 0) output.num_dets[image] = static_cast<int32_t>(found);
    const BoxValue no_box[4] = {};
    for (uint32_t place = found + threadIdx.x; place < p.max_detections; place += KEEPERS)
        output.write(first_row + place, no_box, ScoreValue{}, -1);
}

// ---- The host's side ------------------------------------------------------------------------------------------------

constexpr size_t ALIGNMENT = 256;

uint32_t divided(uint64_t count, uint64_t by) { return static_cast<uint32_t>((count + by - 1) / by); }

Problem problem_of(const Shape& shape, const DIoUNMS& attributes) {
    Problem p{};
    p.boxes = static_cast<uint32_t>(shape.boxes);
    p.classes = static_cast<uint32_t>(shape.classes);
    p.pairs = static_cast<uint32_t>(shape.boxes * shape.classes);
    p.limit = static_cast<uint32_t>(smaller<int64_t>(attributes.pre_nms_top_k, p.pairs));
    p.limit = larger<uint32_t>(p.limit, 1);
    p.listed = smaller(larger<uint32_t>(16384, 4 * p.limit), larger<uint32_t>(p.pairs, 1));
    p.rows = divided(p.limit, WARP) * WARP;
    p.max_detections = static_cast<uint32_t>(attributes.max_detections);
    p.score_threshold = attributes.score_threshold;
    p.surely_below = static_cast<float>(attributes.iou_threshold * SURELY_BELOW);
    p.iou_threshold = attributes.iou_threshold;
    p.beta = attributes.beta;
    p.class_agnostic = attributes.class_agnostic;
    return p;
}

// Lays the workspace out from an address on; with null, `bytes` alone is of use.
Workspace laid_out(const Problem& p, size_t images, char* at, size_t& bytes) {
    bytes = 0;
    const auto next = [&](size_t size) {
        char* start = at == nullptr ? nullptr : at + bytes;
        bytes += (images * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        return static_cast<void*>(start);
    };
    const size_t rows = p.rows;
    Workspace work{};
    work.found = static_cast<uint32_t*>(next(sizeof(uint32_t)));
    work.chosen = static_cast<uint32_t*>(next(sizeof(uint32_t)));
    work.list = static_cast<Key*>(next(p.listed * sizeof(Key)));
    work.best = static_cast<Key*>(next(power_of_two(p.limit) * sizeof(Key)));
    work.boxes = static_cast<Box*>(next(rows * sizeof(Box)));
    work.groups = static_cast<int32_t*>(next(rows * sizeof(int32_t)));
    work.pairs = static_cast<uint32_t*>(next(rows / WARP * rows * sizeof(uint32_t)));
    return work;
}

template <typename BoxValue, typename ScoreValue>
cudaError_t run(const BoxesAndScores& input, const Detections& output, const Shape& shape, const Problem& p,
                const Workspace& work, cudaStream_t stream) {
    const auto* boxes = static_cast<const BoxValue*>(input.boxes);
    const auto* scores = static_cast<const ScoreValue*>(input.scores);
    const auto images = static_cast<uint32_t>(shape.images);
    const Rows<BoxValue, ScoreValue> rows{output.num_dets, static_cast<BoxValue*>(output.boxes),
                                          static_cast<ScoreValue*>(output.scores), output.classes};
    cudaError_t status = cudaMemsetAsync(work.found, 0, images * sizeof(uint32_t), stream);
    if (status == cudaSuccess && p.pairs > 0)
        status = launch(find_candidates<BoxValue, ScoreValue>, dim3(divided(p.pairs, FINDERS * SCORES_EACH), images),
                        FINDERS, stream, boxes, scores, p, work);
    if (status == cudaSuccess)
        status = launch(select_best<BoxValue, ScoreValue>, dim3(images), SORTERS, stream, boxes, scores, p, work);
    if (status == cudaSuccess)
        status = launch(compare_pairs, dim3(p.rows / WARP, divided(p.rows, DECIDERS), images), DECIDERS, stream, p,
                        work);
    if (status == cudaSuccess)
        status = launch(keep<BoxValue, ScoreValue>, dim3(images), KEEPERS, stream, boxes, scores, rows, p, work);
    return status;
}

}  // namespace

const char* limit_of(const Shape& shape, const DIoUNMS& attributes) {
    constexpr int64_t MOST_PAIRS = 0xffffffff, MOST_IMAGES = 65535, MOST_ROWS = 0x7fffffff;
    if (shape.images < 0 || shape.images > MOST_IMAGES) return "65535 images or fewer";
    if (shape.boxes < 0 || shape.classes < 0) return "sizes that are not negative";
    if (shape.classes > 0 && shape.boxes > MOST_PAIRS / shape.classes) return "fewer than 2^32 pairs of box and class";
    if (smaller(attributes.pre_nms_top_k, shape.boxes * shape.classes) > MOST_CANDIDATES)
        return "pre_nms_top_k of 16384 or less";
    if (attributes.max_detections > MOST_ROWS) return "max_detections below 2^31";
    return nullptr;
}

size_t workspace_bytes(const Shape& shape, const DIoUNMS& attributes) {
    size_t bytes = 0;
    laid_out(problem_of(shape, attributes), static_cast<size_t>(shape.images), nullptr, bytes);
    return bytes;
}

cudaError_t diou_nms(const BoxesAndScores& input, const Detections& output, const Shape& shape,
                     const DIoUNMS& attributes, void* workspace, cudaStream_t stream) {
    if (fault_of(attributes) != nullptr || limit_of(shape, attributes) != nullptr) return cudaErrorInvalidValue;
    if (shape.images == 0) return cudaSuccess;
    const Problem p = problem_of(shape, attributes);
    size_t bytes = 0;
    const Workspace work = laid_out(p, static_cast<size_t>(shape.images), static_cast<char*>(workspace), bytes);
    const bool half_boxes = input.box_type == Float::HALF, half_scores = input.score_type == Float::HALF;
    const auto chosen = half_boxes ? (half_scores ? run<__half, __half> : run<__half, float>)
                                   : (half_scores ? run<float, __half> : run<float, float>);
    return chosen(input, output, shape, p, work, stream);
}

}  // namespace cuda
}  // namespace edgedet
