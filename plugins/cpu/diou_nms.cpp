#include "cpu/diou_nms.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <utility>

#include "cpu/for_each_cpu.h"

namespace edgedet::cpu {
namespace {

constexpr int LANES = 16;
constexpr int SCANNED_AT_A_TIME = 32;
constexpr int32_t NONE = -1;

// Score above index: sorted as one number, descending scores and among equals ascending indices come first.
using Candidate = uint64_t;

Candidate candidate_of(float score, uint32_t index) {
    uint32_t bits;
    std::memcpy(&bits, &score, sizeof bits);  // the bits of positive floats are in their order
    return uint64_t{~bits} << 32 | index;
}

uint32_t index_of(Candidate candidate) { return static_cast<uint32_t>(candidate); }

// The first of `[at, total)` from which the next scores hold one above the threshold; `total` if there is none.
EDGEDET_FOR_EACH_CPU
int64_t next_above(const float* scores, int64_t at, int64_t total, float threshold) {
    for (; at + SCANNED_AT_A_TIME <= total; at += SCANNED_AT_A_TIME) {
        int found = 0;
        for (int lane = 0; lane < SCANNED_AT_A_TIME; ++lane) found |= scores[at + lane] > threshold;
        if (found) break;
    }
    return at;
}

bool is_finite(const Box& box) {
    return std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) && std::isfinite(box.y2);
}

void find_candidates(const Box* boxes, const float* scores, int64_t count, int64_t classes, float threshold,
                     std::vector<Candidate>& found) {
    found.clear();
    const int64_t total = count * classes;
    for (int64_t at = 0; (at = next_above(scores, at, total, threshold)) < total; at += SCANNED_AT_A_TIME) {
        const int64_t end = std::min<int64_t>(at + SCANNED_AT_A_TIME, total);
        for (int64_t flat = at; flat < end; ++flat)
            if (scores[flat] > threshold && is_finite(boxes[flat / classes]))
                found.push_back(candidate_of(scores[flat], static_cast<uint32_t>(flat)));
    }
}

constexpr int RADIX_BITS = 11;
constexpr size_t SMALL = 400;  // fewer are sorted faster by comparing

// Least significant digit first, of the scores alone: the indices are in order already.
void radix_sort(std::vector<Candidate>& candidates, std::vector<Candidate>& other) {
    other.resize(candidates.size());
    for (int shift = 32; shift < 64; shift += RADIX_BITS) {
        std::array<uint32_t, 1 << RADIX_BITS> starts{};
        const auto digit = [shift](Candidate c) { return (c >> shift) & ((1 << RADIX_BITS) - 1); };
        for (Candidate c : candidates) ++starts[digit(c)];
        uint32_t before = 0;
        for (uint32_t& start : starts) before += std::exchange(start, before);
        for (Candidate c : candidates) other[starts[digit(c)]++] = c;
        candidates.swap(other);
    }
}

void sort_best(std::vector<Candidate>& candidates, size_t limit, std::vector<Candidate>& other) {
    if (candidates.size() > limit) {
        std::nth_element(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(limit), candidates.end());
        candidates.resize(limit);
        std::sort(candidates.begin(), candidates.end());
    } else if (candidates.size() <= SMALL) {
        std::sort(candidates.begin(), candidates.end());
    } else {
        radix_sort(candidates, other);
    }
}

// Kept boxes of one group, as vector registers take them; lanes that are free overlap with nothing.
template <typename Real>
struct Block {
    Real x1[LANES], y1[LANES], x2[LANES], y2[LANES], area[LANES];
    int32_t used, next;

    Block() : used(0), next(NONE) {
        std::fill_n(x1, LANES, std::numeric_limits<Real>::infinity());
        std::fill_n(y1, LANES, std::numeric_limits<Real>::infinity());
        std::fill_n(x2, LANES, -std::numeric_limits<Real>::infinity());
        std::fill_n(y2, LANES, -std::numeric_limits<Real>::infinity());
        std::fill_n(area, LANES, Real{0});
    }
};

// The area of both boxes above `threshold` times that of either, in any lane. DIoU is never above IoU.
template <typename Real>
inline bool overlaps_any(const Block<Real>& block, const Box& box, Real area, Real threshold) {
    const Real bx1 = box.x1, by1 = box.y1, bx2 = box.x2, by2 = box.y2;
    int found = 0;
    for (int lane = 0; lane < LANES; ++lane) {
        const Real width = larger(smaller(block.x2[lane], bx2) - larger(block.x1[lane], bx1), Real{0});
        const Real height = larger(smaller(block.y2[lane], by2) - larger(block.y1[lane], by1), Real{0});
        const Real shared = width * height;
        found |= shared > threshold * (block.area[lane] + area - shared);
    }
    return found != 0;
}

// The first block from `at` in which a box may suppress this one; NONE if there is none.
#define EDGEDET_NEXT_OVERLAP(Real)                                                                                     \
    EDGEDET_FOR_EACH_CPU int32_t next_overlap(const Block<Real>* blocks, int32_t at, const Box& box, Real area,        \
                                              Real threshold) {                                                       \
        while (at != NONE && !overlaps_any(blocks[at], box, area, threshold)) at = blocks[at].next;                    \
        return at;                                                                                                     \
    }
EDGEDET_NEXT_OVERLAP(float)
EDGEDET_NEXT_OVERLAP(double)
#undef EDGEDET_NEXT_OVERLAP

// The kept boxes of each group.
template <typename Real>
class Kept {
public:
    void reserve(size_t groups, size_t boxes) {
        first_.reserve(groups);
        last_.reserve(groups);
        blocks_.reserve(boxes);
    }

    // Empty, for the next image.
    void start(int64_t groups, const DIoUNMS& attributes) {
        first_.assign(static_cast<size_t>(groups), NONE);
        last_.assign(static_cast<size_t>(groups), NONE);
        blocks_.clear();
        iou_threshold_ = attributes.iou_threshold;
        beta_ = attributes.beta;
        surely_below_ = static_cast<Real>(attributes.iou_threshold * SURELY_BELOW);
    }

    bool suppress(const Box& box, size_t group) const {
        const Real area = area_of(box);
        int32_t at = first_[group];
        while ((at = next_overlap(blocks_.data(), at, box, area, surely_below_)) != NONE) {
            const Block<Real>& block = blocks_[static_cast<size_t>(at)];
            for (int lane = 0; lane < block.used; ++lane)
                if (diou(box_of(block, lane), box, beta_) > iou_threshold_) return true;
            at = block.next;
        }
        return false;
    }

    void add(const Box& box, size_t group) {
        int32_t at = last_[group];
        if (at == NONE || blocks_[static_cast<size_t>(at)].used == LANES) {
            const auto made = static_cast<int32_t>(blocks_.size());
            blocks_.emplace_back();
            (at == NONE ? first_[group] : blocks_[static_cast<size_t>(at)].next) = made;
            last_[group] = at = made;
        }
        Block<Real>& block = blocks_[static_cast<size_t>(at)];
        const int32_t lane = block.used++;
        block.x1[lane] = box.x1, block.y1[lane] = box.y1, block.x2[lane] = box.x2, block.y2[lane] = box.y2;
        block.area[lane] = area_of(box);
    }

private:
    static Real area_of(const Box& box) { return (Real{box.x2} - Real{box.x1}) * (Real{box.y2} - Real{box.y1}); }

    static Box box_of(const Block<Real>& block, int lane) {
        return {static_cast<float>(block.x1[lane]), static_cast<float>(block.y1[lane]),
                static_cast<float>(block.x2[lane]), static_cast<float>(block.y2[lane])};
    }

    std::vector<Block<Real>> blocks_;
    std::vector<int32_t> first_, last_;
    double iou_threshold_ = 0, beta_ = 1;
    Real surely_below_ = 0;
};

template <typename Real>
void suppress(const Box* boxes, const std::vector<Candidate>& candidates, int64_t classes, const DIoUNMS& attributes,
              Kept<Real>& suppressors, std::vector<uint32_t>& kept) {
    kept.clear();
    suppressors.start(attributes.class_agnostic ? 1 : classes, attributes);
    for (Candidate candidate : candidates) {
        if (static_cast<int64_t>(kept.size()) >= attributes.max_detections) break;
        const uint32_t flat = index_of(candidate);
        const Box& box = boxes[flat / classes];
        const size_t group = attributes.class_agnostic ? 0 : static_cast<size_t>(flat % classes);
        if (has_area(box)) {
            if (suppressors.suppress(box, group)) continue;
            suppressors.add(box, group);
        }
        kept.push_back(flat);
    }
}

bool fit_float32(const Box* boxes, const std::vector<Candidate>& candidates, int64_t classes) {
    return std::all_of(candidates.begin(), candidates.end(),
                       [=](Candidate candidate) { return fits_float32(boxes[index_of(candidate) / classes]); });
}

}  // namespace

struct DIoUNMSWorkspace::Memory {
    std::vector<Candidate> candidates, other;
    Kept<float> single;
    Kept<double> wide;
    std::vector<uint32_t> kept;
};

DIoUNMSWorkspace::DIoUNMSWorkspace() : memory_(new Memory) {}
DIoUNMSWorkspace::~DIoUNMSWorkspace() = default;

void DIoUNMSWorkspace::reserve(int64_t count, int64_t classes, const DIoUNMS& attributes) {
    const int64_t most = std::min(count * classes, attributes.pre_nms_top_k);
    const auto kept = static_cast<size_t>(std::min(most, attributes.max_detections));
    const size_t groups = attributes.class_agnostic ? 1 : static_cast<size_t>(classes);
    memory_->candidates.reserve(static_cast<size_t>(count * classes));
    memory_->other.reserve(static_cast<size_t>(count * classes));  // sorting swaps the two
    memory_->single.reserve(groups, kept);
    memory_->wide.reserve(groups, kept);
    memory_->kept.reserve(kept);
}

const std::vector<uint32_t>& DIoUNMSWorkspace::run(const Box* boxes, const float* scores, int64_t count,
                                                   int64_t classes, const DIoUNMS& attributes) {
    Memory& memory = *memory_;
    find_candidates(boxes, scores, count, classes, attributes.score_threshold, memory.candidates);
    sort_best(memory.candidates, static_cast<size_t>(attributes.pre_nms_top_k), memory.other);
    if (fit_float32(boxes, memory.candidates, classes))
        suppress(boxes, memory.candidates, classes, attributes, memory.single, memory.kept);
    else
        suppress(boxes, memory.candidates, classes, attributes, memory.wide, memory.kept);
    return memory.kept;
}

std::vector<uint32_t> diou_nms(const Box* boxes, const float* scores, int64_t count, int64_t classes,
                               const DIoUNMS& attributes) {
    return DIoUNMSWorkspace().run(boxes, scores, count, classes, attributes);
}

}  // namespace edgedet::cpu
