#include "cpu/gated_conv.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "cpu/for_each_cpu.h"
#include "kernels/diou.h"

namespace edgedet::cpu {
namespace {

constexpr int64_t POSITIONS_AT_ONCE = 256;  // so that parts and sums of most layers stay in the second cache
constexpr int32_t NEVER_ABOVE = std::numeric_limits<int32_t>::max(), NEVER_BELOW = std::numeric_limits<int32_t>::min();

// How codes are split, and what is added to all four bytes of their parts, then flipped in these.
struct Split {
    float codes_of_x, lowest, highest, steps_of_code;
    int32_t bits, highest_step;
    uint32_t high_added, low_added, flipped;
};

// Four channels of a panel.
inline void split_panel(const float* const* rows, const Split& split, uint32_t* __restrict high,
                        uint32_t* __restrict low) {
    constexpr float ROUNDER = 12582912.0F;  // 1.5 * 2^23: what is added to it loses its fraction, ties to even
    constexpr int32_t ROUNDED = 0x4B400000;
    for (int i = 0; i < PANEL; ++i) {
        uint32_t packed_high = split.high_added, packed_low = split.low_added;
        for (int channel = 0; channel < CHANNELS; ++channel) {
            float code = rows[channel][i] * split.codes_of_x;
            code = code > split.lowest ? code : split.lowest;  // and so is what is not a number
            code = code < split.highest ? code : split.highest;
            code += ROUNDER;
            const int32_t whole = std::bit_cast<int32_t>(code) - ROUNDED;
            int32_t steps = std::bit_cast<int32_t>((code - ROUNDER) * split.steps_of_code + ROUNDER) - ROUNDED;
            steps = smaller(steps, split.highest_step);
            const int32_t rest = smaller(whole - (steps << split.bits), 127);
            packed_high += static_cast<uint32_t>(steps) << 8 * channel;
            packed_low += static_cast<uint32_t>(rest) << 8 * channel;
        }
        high[i] = packed_high ^ split.flipped;
        low[i] = packed_low ^ split.flipped;
    }
}

// Four channels of `count` positions into their panels, which are `stride` apart.
EDGEDET_FOR_EACH_CPU
void split_channels(const float* const* rows, int64_t count, const Split& split, int64_t stride, uint32_t* high,
                    uint32_t* low) {
    const Split local = split;
    float rest[CHANNELS][PANEL];
    for (int64_t first = 0; first < count; first += PANEL, high += stride, low += stride) {
        const float* panel[CHANNELS];
        for (int channel = 0; channel < CHANNELS; ++channel) {
            panel[channel] = rows[channel] + first;
            if (count - first >= PANEL) continue;
            std::fill_n(std::copy_n(panel[channel], count - first, rest[channel]), PANEL - (count - first), 0.0F);
            panel[channel] = rest[channel];
        }
        split_panel(panel, local, high, low);
    }
}

EDGEDET_FOR_EACH_CPU
void predict_row(const int32_t* sums, int64_t count, float factor, int32_t above, int32_t below, float* y,
                 int32_t* wanted) {
    for (int64_t i = 0; i < count; ++i) {
        y[i] = static_cast<float>(sums[i]) * factor;
        wanted[i] |= (sums[i] > above) | (sums[i] < below);
    }
}

EDGEDET_FOR_EACH_CPU
void update_row(const int32_t* sums, const int32_t* open, int64_t count, float factor, float* y) {
    for (int64_t i = 0; i < count; ++i) y[i] += open[i] != 0 ? static_cast<float>(sums[i]) * factor : 0.0F;
}

void update_places(const int32_t* sums, const std::vector<int32_t>& places, float factor, float* y) {
    for (size_t i = 0; i < places.size(); ++i) y[places[i]] += static_cast<float>(sums[i]) * factor;
}

// The largest whole number below the bound on sums, or the smallest above: as int32.
int32_t limit(double bound) {
    return static_cast<int32_t>(std::clamp<double>(bound, NEVER_BELOW, NEVER_ABOVE));
}

}  // namespace

struct GatedConvolution::Scratch {
    std::vector<uint32_t> high, low, gathered;
    std::vector<int32_t> sums, low_sums, wanted, places;
    std::vector<float> rows;
};

struct GatedConvolution::Band {
    const float* x;
    int64_t height, width, result_width;
    int64_t first, count, columns;  // positions, and these filled up to whole panels
    float* y;                       // of the first position
    int64_t plane;                  // positions of a whole channel of the result
    Scratch& scratch;
};

// A scratch that no other thread has, given back at the end.
struct GatedConvolution::Lease {
    explicit Lease(const GatedConvolution& owner) : owner(owner) {
        const std::lock_guard lock(owner.mutex_);
        if (owner.free_.empty()) {
            scratch = std::make_unique<Scratch>();
        } else {
            scratch = std::move(owner.free_.back());
            owner.free_.pop_back();
        }
    }
    ~Lease() {
        const std::lock_guard lock(owner.mutex_);
        owner.free_.push_back(std::move(scratch));
    }
    const GatedConvolution& owner;
    std::unique_ptr<Scratch> scratch;
};

GatedConvolution::~GatedConvolution() = default;

GatedConvolution::GatedConvolution(const GatedConv& gate, float x_scale, const GatedWeights& weights,
                                   const Int8Kernel& kernel)
    : gate_(gate),
      inputs_(weights.inputs),
      outputs_(weights.outputs),
      kernel_height_(weights.height),
      kernel_width_(weights.width),
      codes_of_x_(1 / x_scale) {
    const auto step = static_cast<double>(gate.step);
    high_ = {static_cast<int32_t>(std::nearbyint(static_cast<double>(gate.lowest) / step)),
             static_cast<int32_t>(gate.highest / gate.step)};
    low_ = {static_cast<int32_t>(-gate.step / 2),
            static_cast<int32_t>(std::min<int64_t>(127, std::max(gate.step / 2, gate.highest - gate.highest_high())))};
    const int64_t rows = outputs_ / gate.groups, depth = inputs_ * kernel_height_ * kernel_width_;
    for (int64_t group = 0; group < gate.groups; ++group)
        gemms_.emplace_back(weights.codes + group * rows * depth, rows, depth, kernel);
    for (int64_t channel = 0; channel < outputs_; ++channel) {
        const float low_factor = x_scale * weights.scale[channel];
        low_factor_.push_back(low_factor);
        high_factor_.push_back(low_factor * static_cast<float>(gate.step));
        const double unit = static_cast<double>(x_scale) * weights.scale[channel] * step;
        const double bound = weights.threshold[channel] / unit;
        const float sign = weights.sign[channel];
        above_.push_back(sign > 0 && !std::isnan(bound) ? limit(std::floor(bound)) : NEVER_ABOVE);
        below_.push_back(sign < 0 && !std::isnan(bound) ? limit(std::ceil(bound)) : NEVER_BELOW);
    }
}

int64_t GatedConvolution::result_height(int64_t height) const {
    const int64_t room = height + gate_.top + gate_.bottom - kernel_height_;
    return room < 0 ? 0 : room / gate_.stride_y + 1;
}

int64_t GatedConvolution::result_width(int64_t width) const {
    const int64_t room = width + gate_.left + gate_.right - kernel_width_;
    return room < 0 ? 0 : room / gate_.stride_x + 1;
}

// A tile lies in one band.
int64_t GatedConvolution::band_size(int64_t positions, int64_t width) const {
    const int64_t unit = gate_.granularity == Granularity::tile ? gate_.tile * width : PANEL;
    return std::min(positions, unit * std::max<int64_t>(1, POSITIONS_AT_ONCE / unit));
}

int64_t GatedConvolution::bands(int64_t height, int64_t width) const {
    const int64_t result_columns = result_width(width), positions = result_height(height) * result_columns;
    const int64_t size = band_size(positions, result_columns);
    return positions == 0 ? 0 : (positions + size - 1) / size;
}

void GatedConvolution::run(const float* x, int64_t height, int64_t width, int64_t band, float* y) const {
    const Lease lease(*this);
    Scratch& scratch = *lease.scratch;
    const int64_t columns_of_result = result_width(width), plane = result_height(height) * columns_of_result;
    const int64_t size = band_size(plane, columns_of_result), first = band * size, count = std::min(size, plane - first);
    const int64_t columns = rounded_up(count, PANEL), groups = gemms_.front().groups();
    const Band here{x, height, width, columns_of_result, first, count, columns, y + first, plane, scratch};
    const auto packed = static_cast<size_t>(columns * groups);
    scratch.high.resize(packed);
    scratch.low.resize(packed * gemms_.size());
    scratch.sums.resize(static_cast<size_t>(columns * gemms_.front().rows()) * gemms_.size());
    scratch.wanted.assign(static_cast<size_t>(columns), 0);
    predict(here);
    if (gate_.granularity == Granularity::tile) spread_over_tiles(here);
    const auto open = std::count_if(scratch.wanted.begin(), scratch.wanted.begin() + count, [](int32_t is) { return is; });
    if (open == 0) return;
    if (gate_.granularity == Granularity::element || open * 4 > count * 3)
        update_all(here);
    else
        update_open(here);
}

void GatedConvolution::predict(const Band& band) const {
    Scratch& scratch = band.scratch;
    const int64_t rows = outputs_ / gate_.groups;
    for (int64_t group = 0; group < gate_.groups; ++group) {
        const Int8Gemm& gemm = gemms_[static_cast<size_t>(group)];
        uint32_t* low = scratch.low.data() + group * gemm.groups() * band.columns;
        int32_t* sums = scratch.sums.data() + group * gemm.rows() * band.columns;
        pack(band, group, scratch.high.data(), low);
        gemm.multiply(scratch.high.data(), high_, band.columns, sums);
        for (int64_t row = 0; row < rows; ++row) {
            const int64_t channel = group * rows + row;
            const auto place = static_cast<size_t>(channel);
            predict_row(sums + row * band.columns, band.count, high_factor_[place], above_[place], below_[place],
                        band.y + channel * band.plane, scratch.wanted.data());
        }
    }
}

void GatedConvolution::pack(const Band& band, int64_t group, uint32_t* high, uint32_t* low) const {
    const Int8Gemm& gemm = gemms_[static_cast<size_t>(group)];
    const int64_t taps = kernel_height_ * kernel_width_, depth = inputs_ * taps;
    const auto four_times = [](int32_t byte) { return static_cast<uint32_t>(byte) * 0x01010101U; };
    const bool is_unsigned = gemm.takes_unsigned();
    const Split split{codes_of_x_,
                      static_cast<float>(gate_.lowest),
                      static_cast<float>(gate_.highest),
                      1 / static_cast<float>(gate_.step),
                      std::countr_zero(static_cast<uint64_t>(gate_.step)),
                      high_.highest,
                      four_times(is_unsigned ? -high_.lowest : 128),
                      four_times(is_unsigned ? -low_.lowest : 128),
                      four_times(is_unsigned ? 0 : 128)};
    band.scratch.rows.resize(static_cast<size_t>(CHANNELS * band.count));
    for (int64_t at = 0; at < gemm.groups(); ++at) {
        const float* rows[CHANNELS];
        for (int64_t i = 0; i < CHANNELS; ++i) {
            const int64_t row = std::min(at * CHANNELS + i, depth - 1);  // those behind the last have weights of 0
            rows[i] = row_of(band, group * inputs_ + row / taps, row % taps, band.scratch.rows.data() + i * band.count);
        }
        split_channels(rows, band.count, split, gemm.groups() * PANEL, high + at * PANEL, low + at * PANEL);
    }
}

// What the weights of one tap are multiplied with, at each position of the band: in the image, or copied into the room.
const float* GatedConvolution::row_of(const Band& band, int64_t channel, int64_t tap, float* room) const {
    const float* image = band.x + channel * band.height * band.width;
    const bool is_in_order = kernel_height_ * kernel_width_ == 1 && gate_.stride_y == 1 && gate_.stride_x == 1 &&
                             gate_.top + gate_.left + gate_.bottom + gate_.right == 0;
    if (is_in_order) return image + band.first;
    int64_t y = band.first / band.result_width, x = band.first % band.result_width;
    for (int64_t i = 0; i < band.count; ++i) {
        const int64_t from_y = y * gate_.stride_y - gate_.top + tap / kernel_width_;
        const int64_t from_x = x * gate_.stride_x - gate_.left + tap % kernel_width_;
        const bool is_inside = from_y >= 0 && from_y < band.height && from_x >= 0 && from_x < band.width;
        room[i] = is_inside ? image[from_y * band.width + from_x] : 0.0F;
        if (++x == band.result_width) x = 0, ++y;
    }
    return room;
}

void GatedConvolution::spread_over_tiles(const Band& band) const {
    int32_t* wanted = band.scratch.wanted.data();
    const int64_t rows = band.count / band.result_width, columns = band.result_width;
    for (int64_t top = 0; top < rows; top += gate_.tile)
        for (int64_t left = 0; left < columns; left += gate_.tile) {
            const int64_t bottom = std::min(top + gate_.tile, rows), width = std::min(gate_.tile, columns - left);
            int32_t any = 0;
            for (int64_t y = top; y < bottom; ++y)
                for (int64_t x = 0; x < width; ++x) any |= wanted[y * columns + left + x];
            for (int64_t y = top; y < bottom; ++y) std::fill_n(wanted + y * columns + left, width, any);
        }
}

void GatedConvolution::update_all(const Band& band) const {
    Scratch& scratch = band.scratch;
    const int64_t rows = outputs_ / gate_.groups;
    scratch.low_sums.resize(static_cast<size_t>(band.columns * gemms_.front().rows()));
    for (int64_t channel = 0; channel < outputs_; ++channel) {
        const int64_t group = channel / rows, row = channel % rows;
        const auto place = static_cast<size_t>(channel);
        const Int8Gemm& gemm = gemms_[static_cast<size_t>(group)];
        if (row == 0)
            gemm.multiply(scratch.low.data() + group * gemm.groups() * band.columns, low_, band.columns,
                          scratch.low_sums.data());
        float* y = band.y + channel * band.plane;
        if (gate_.granularity == Granularity::element) {
            std::fill(scratch.wanted.begin(), scratch.wanted.end(), 0);
            predict_row(scratch.sums.data() + (group * gemm.rows() + row) * band.columns, band.count, high_factor_[place],
                        above_[place], below_[place], y, scratch.wanted.data());
        }
        update_row(scratch.low_sums.data() + row * band.columns, scratch.wanted.data(), band.count, low_factor_[place], y);
    }
}

void GatedConvolution::update_open(const Band& band) const {
    Scratch& scratch = band.scratch;
    std::vector<int32_t>& places = scratch.places;
    places.clear();
    for (int64_t i = 0; i < band.count; ++i)
        if (scratch.wanted[static_cast<size_t>(i)] != 0) places.push_back(static_cast<int32_t>(i));
    const int64_t columns = rounded_up(static_cast<int64_t>(places.size()), PANEL), rows = outputs_ / gate_.groups;
    const int64_t groups = gemms_.front().groups();
    scratch.gathered.resize(static_cast<size_t>(columns * groups));
    scratch.low_sums.resize(static_cast<size_t>(columns * gemms_.front().rows()));
    for (int64_t group = 0; group < gate_.groups; ++group) {
        const uint32_t* low = scratch.low.data() + group * groups * band.columns;
        for (size_t i = 0; i < places.size(); ++i) {
            const uint32_t* from = low + places[i] / PANEL * PANEL * groups + places[i] % PANEL;
            uint32_t* to = scratch.gathered.data() + static_cast<int64_t>(i) / PANEL * PANEL * groups + i % PANEL;
            for (int64_t at = 0; at < groups; ++at) to[at * PANEL] = from[at * PANEL];
        }
        gemms_[static_cast<size_t>(group)].multiply(scratch.gathered.data(), low_, columns, scratch.low_sums.data());
        for (int64_t row = 0; row < rows; ++row) {
            const int64_t channel = group * rows + row;
            update_places(scratch.low_sums.data() + row * columns, places, low_factor_[static_cast<size_t>(channel)],
                          band.y + channel * band.plane);
        }
    }
}

}  // namespace edgedet::cpu
