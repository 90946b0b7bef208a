#include "resize.h"

#include <algorithm>
#include <cmath>

#include "cpu/for_each_cpu.h"

namespace edgedet::runner {
namespace {

// A pixel's position is rounded to float32, and its weights to the nearest, ties to even.
constexpr float ONE = 2048;

struct Position {
    int first;
    float second_share;
};

Position position_of(int place, double scale) {
    const float exact = static_cast<float>((place + 0.5) * scale - 0.5);
    const int first = static_cast<int>(std::floor(exact));
    return {first, exact - static_cast<float>(first)};
}

// The same rounding in every mode of the processor, for 0 to 2048.
int nearest_even(float value) {
    const float below = std::floor(value);
    const float rest = value - below;
    const int whole = static_cast<int>(below);
    return whole + (rest > 0.5F || (rest == 0.5F && whole % 2 == 1) ? 1 : 0);
}

EDGEDET_FOR_EACH_CPU
void add_rows(const std::uint8_t* upper, const std::uint8_t* lower, int count, std::uint16_t* out) {
    for (int at = 0; at < count; ++at) out[at] = static_cast<std::uint16_t>(upper[at] + lower[at]);
}

template <int Channels>
void halve(const std::uint16_t* sums, int width, std::uint8_t* out) {
    for (int x = 0; x < width; ++x)
        for (int channel = 0; channel < Channels; ++channel)
            out[x * Channels + channel] = static_cast<std::uint8_t>(
                (sums[2 * x * Channels + channel] + sums[(2 * x + 1) * Channels + channel] + 2) >> 2);
}

}  // namespace

void Resizer::start(const ImageView& source, int height, int width) {
    source_ = source;
    height_ = height, width_ = width;
    line_of_ = {{-1, -1}};
    const std::array<int, 5> wanted{{source.height, source.width, height, width, channels_of(source.order)}};
    if (wanted == tables_of_) return;
    if (source.height == height && source.width == width)
        way_ = Way::copy;
    else if (source.height == 2 * height && source.width == 2 * width)
        way_ = Way::halve;  // OpenCV takes the mean of four pixels then (INTER_AREA)
    else
        way_ = Way::interpolate;
    const auto values = static_cast<std::size_t>(width) * static_cast<std::size_t>(channels_of(source.order));
    out_.resize(values);
    if (way_ == Way::halve) sums_.resize(2 * values);
    if (way_ == Way::interpolate) {
        for (auto& line : lines_) line.resize(values + LINE_SLACK);
        make_tables();
    }
    tables_of_ = wanted;
}

void Resizer::make_tables() {
    const int channels = channels_of(source_.order), last = source_.width - 1;
    const double scale_x = 1.0 / (static_cast<double>(width_) / source_.width);
    const double scale_y = 1.0 / (static_cast<double>(height_) / source_.height);
    const auto columns = static_cast<std::size_t>(width_), rows = static_cast<std::size_t>(height_);
    columns_.resize(columns);
    upper_.resize(rows), lower_.resize(rows), upper_weight_.resize(rows), lower_weight_.resize(rows);
    inner_ = 0;
    for (int x = 0; x < width_; ++x) {
        Position at = position_of(x, scale_x);
        if (at.first < 0) at = {0, 0};
        if (at.first >= last) at = {last, 0};
        const auto place = static_cast<std::size_t>(x);
        columns_[place] = {at.first * channels, std::min(at.first + 1, last) * channels,
                           static_cast<std::int16_t>(nearest_even((1 - at.second_share) * ONE)),
                           static_cast<std::int16_t>(nearest_even(at.second_share * ONE))};
        if (at.first + 1 < last) inner_ = x + 1;
    }
    // Beyond the upper and lower edge both rows are the same, and both weights stay: unlike at the sides.
    for (int y = 0; y < height_; ++y) {
        const Position at = position_of(y, scale_y);
        const auto place = static_cast<std::size_t>(y);
        upper_[place] = std::min(std::max(at.first, 0), source_.height - 1);
        lower_[place] = std::min(std::max(at.first + 1, 0), source_.height - 1);
        upper_weight_[place] = static_cast<std::int16_t>(nearest_even((1 - at.second_share) * ONE));
        lower_weight_[place] = static_cast<std::int16_t>(nearest_even(at.second_share * ONE));
    }
}

const std::int16_t* Resizer::horizontal(int source_row) {
    const std::size_t slot = static_cast<std::size_t>(source_row) % 2;
    std::int16_t* out = lines_[slot].data();
    if (line_of_[slot] == source_row) return out;
    line_of_[slot] = source_row;
    const std::uint8_t* pixels = source_.row(source_row);
    const int channels = channels_of(source_.order);
    int x = 0;
    if (channels == 3) {
        resize_columns(pixels, columns_.data(), inner_, out);
        x = inner_;
    }
    for (; x < width_; ++x) {
        const Column& column = columns_[static_cast<std::size_t>(x)];
        for (int channel = 0; channel < channels; ++channel)
            out[x * channels + channel] = static_cast<std::int16_t>((pixels[column.left + channel] * column.left_weight +
                                                                     pixels[column.right + channel] * column.right_weight) >> 4);
    }
    return out;
}

const std::uint8_t* Resizer::row(int y) {
    const int channels = channels_of(source_.order);
    if (way_ == Way::copy) return source_.row(y);
    if (way_ == Way::halve) {
        add_rows(source_.row(2 * y), source_.row(2 * y + 1), 2 * width_ * channels, sums_.data());
        if (channels == 3)
            halve<3>(sums_.data(), width_, out_.data());
        else
            halve<1>(sums_.data(), width_, out_.data());
        return out_.data();
    }
    const auto place = static_cast<std::size_t>(y);
    const std::int16_t* upper = horizontal(upper_[place]);
    const std::int16_t* lower = horizontal(lower_[place]);
    blend_lines(upper, lower, upper_weight_[place], lower_weight_[place], width_ * channels, out_.data());
    return out_.data();
}

}  // namespace edgedet::runner
