#include "cpu/gated_conv.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>

namespace edgedet::cpu {
namespace {

constexpr int64_t POSITIONS_AT_ONCE = 256;  // so that parts and sums of most layers stay in the second cache

}  // namespace

template <typename Value>
struct GatedConvolution<Value>::Scratch {
    std::vector<uint32_t> high, low, gathered;
    std::vector<int32_t> sums, low_sums, wanted, places;
    std::vector<Value> rows;
};

template <typename Value>
struct GatedConvolution<Value>::Band {
    const Value* x;
    int64_t height, width, result_width;
    int64_t first, count, columns;  // positions, and these filled up to whole panels
    Value* y;                       // of the first position
    int64_t plane;                  // positions of a whole channel of the result
    Scratch& scratch;
};

// A scratch that no other thread has, given back at the end.
template <typename Value>
struct GatedConvolution<Value>::Lease {
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

template <typename Value>
GatedConvolution<Value>::~GatedConvolution() = default;

template <typename Value>
GatedConvolution<Value>::GatedConvolution(const GatedConv& gate, Grid x, Grid y, const GatedWeights& weights,
                                          const Int8Kernel& kernel)
    : gate_(gate),
      inputs_(weights.inputs),
      outputs_(weights.outputs),
      kernel_height_(weights.height),
      kernel_width_(weights.width),
      x_(x) {
    const auto step = static_cast<double>(gate.step);
    high_ = {static_cast<int32_t>(std::nearbyint(static_cast<double>(gate.lowest) / step)),
             static_cast<int32_t>(gate.highest / gate.step)};
    low_ = {static_cast<int32_t>(-gate.step / 2),
            static_cast<int32_t>(std::min<int64_t>(127, std::max(gate.step / 2, gate.highest - gate.highest_high())))};
    const int64_t rows = outputs_ / gate.groups, depth = inputs_ * kernel_height_ * kernel_width_;
    for (int64_t group = 0; group < gate.groups; ++group)
        gemms_.emplace_back(weights.codes + group * rows * depth, rows, depth, kernel);
    const double unit_of_y = std::is_same_v<Value, float> ? 1.0 : static_cast<double>(y.scale);
    for (int64_t channel = 0; channel < outputs_; ++channel) {
        const double unit = static_cast<double>(x.scale) * weights.scale[channel];
        const Factors factors = factors_of(unit / unit_of_y, gate.step);
        const auto bias = static_cast<float>(weights.bias[channel] / unit_of_y);
        finish_.push_back({factors.high, factors.low, bias, y.zero_point});
        open_.push_back(limits_of(weights.threshold[channel], unit, weights.sign[channel], gate.step));
    }
}

template <typename Value>
int64_t GatedConvolution<Value>::result_height(int64_t height) const {
    const int64_t room = height + gate_.top + gate_.bottom - kernel_height_;
    return room < 0 ? 0 : room / gate_.stride_y + 1;
}

template <typename Value>
int64_t GatedConvolution<Value>::result_width(int64_t width) const {
    const int64_t room = width + gate_.left + gate_.right - kernel_width_;
    return room < 0 ? 0 : room / gate_.stride_x + 1;
}

// A tile lies in one band.
template <typename Value>
int64_t GatedConvolution<Value>::band_size(int64_t positions, int64_t width) const {
    const int64_t unit = gate_.granularity == Granularity::tile ? gate_.tile * width : PANEL;
    return std::min(positions, unit * std::max<int64_t>(1, POSITIONS_AT_ONCE / unit));
}

template <typename Value>
int64_t GatedConvolution<Value>::bands(int64_t height, int64_t width) const {
    const int64_t result_columns = result_width(width), positions = result_height(height) * result_columns;
    const int64_t size = band_size(positions, result_columns);
    return positions == 0 ? 0 : (positions + size - 1) / size;
}

template <typename Value>
void GatedConvolution<Value>::run(const Value* x, int64_t height, int64_t width, int64_t band, Value* y) const {
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
    if (gate_.granularity == Granularity::element || open * 2 > count)
        update_all(here);
    else
        update_open(here);
}

template <typename Value>
void GatedConvolution<Value>::predict(const Band& band) const {
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
            predict_row(sums + row * band.columns, band.count, finish_[place], open_[place],
                        band.y + channel * band.plane, scratch.wanted.data());
        }
    }
}

template <typename Value>
void GatedConvolution<Value>::pack(const Band& band, int64_t group, uint32_t* high, uint32_t* low) const {
    const Int8Gemm& gemm = gemms_[static_cast<size_t>(group)];
    const int64_t taps = kernel_height_ * kernel_width_, depth = inputs_ * taps;
    const bool is_unsigned = gemm.takes_unsigned();
    const Split split{1 / x_.scale,
                      x_.zero_point,
                      static_cast<int32_t>(gate_.lowest),
                      static_cast<int32_t>(gate_.highest),
                      std::countr_zero(static_cast<uint64_t>(gate_.step)),
                      high_.highest,
                      static_cast<int16_t>(is_unsigned ? -high_.lowest : 128),
                      static_cast<int16_t>(is_unsigned ? -low_.lowest : 128),
                      is_unsigned ? 0 : 0x80808080U};
    band.scratch.rows.resize(static_cast<size_t>(CHANNELS * band.count));
    for (int64_t at = 0; at < gemm.groups(); ++at) {
        const Value* rows[CHANNELS];
        for (int64_t i = 0; i < CHANNELS; ++i) {
            const int64_t row = std::min(at * CHANNELS + i, depth - 1);  // those behind the last have weights of 0
            rows[i] = row_of(band, group * inputs_ + row / taps, row % taps, band.scratch.rows.data() + i * band.count);
        }
        split_channels(rows, band.count, split, gemm.groups() * PANEL, high + at * PANEL, low + at * PANEL);
    }
}

// What the weights of one tap are multiplied with, at each position of the band: in the image, or copied into the room.
template <typename Value>
const Value* GatedConvolution<Value>::row_of(const Band& band, int64_t channel, int64_t tap, Value* room) const {
    const Value* image = band.x + channel * band.height * band.width;
    const bool is_in_order = kernel_height_ * kernel_width_ == 1 && gate_.stride_y == 1 && gate_.stride_x == 1 &&
                             gate_.top + gate_.left + gate_.bottom + gate_.right == 0;
    if (is_in_order) return image + band.first;
    const auto nothing = static_cast<Value>(x_.zero_point);
    int64_t y = band.first / band.result_width, x = band.first % band.result_width;
    for (int64_t i = 0; i < band.count; ++i) {
        const int64_t from_y = y * gate_.stride_y - gate_.top + tap / kernel_width_;
        const int64_t from_x = x * gate_.stride_x - gate_.left + tap % kernel_width_;
        const bool is_inside = from_y >= 0 && from_y < band.height && from_x >= 0 && from_x < band.width;
        room[i] = is_inside ? image[from_y * band.width + from_x] : nothing;
        if (++x == band.result_width) x = 0, ++y;
    }
    return room;
}

template <typename Value>
void GatedConvolution<Value>::spread_over_tiles(const Band& band) const {
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

template <typename Value>
void GatedConvolution<Value>::update_all(const Band& band) const {
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
        const int32_t* sums = scratch.sums.data() + (group * gemm.rows() + row) * band.columns;
        Value* y = band.y + channel * band.plane;
        if (gate_.granularity == Granularity::element) {
            std::fill(scratch.wanted.begin(), scratch.wanted.end(), 0);
            predict_row(sums, band.count, finish_[place], open_[place], y, scratch.wanted.data());
        }
        update_row(sums, scratch.low_sums.data() + row * band.columns, scratch.wanted.data(), band.count, finish_[place],
                   y);
    }
}

template <typename Value>
void GatedConvolution<Value>::update_open(const Band& band) const {
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
            const int32_t* sums = scratch.sums.data() + (group * gemms_.front().rows() + row) * band.columns;
            update_places(sums, scratch.low_sums.data() + row * columns, places.data(), static_cast<int64_t>(places.size()),
                          finish_[static_cast<size_t>(channel)], band.y + channel * band.plane);
        }
    }
}

template class GatedConvolution<float>;
template class GatedConvolution<uint8_t>;

}  // namespace edgedet::cpu
