// What is said of a series of times, as trtexec and `edgedet bench` (edgedet/bench/statistics.py) say it.
#pragma once

#include <array>
#include <vector>

namespace edgedet::runner {

constexpr std::array<double, 3> PERCENTAGES{{90, 95, 99}};

struct Statistics {
    double min, max, mean, median;
    std::array<double, 3> percentiles;  // nearest rank, of `PERCENTAGES`
    double variation;                   // standard deviation over mean, in percent
};

// Of at least one time in milliseconds.
Statistics statistics_of(std::vector<double> times);

}  // namespace edgedet::runner
