#include "statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace edgedet::runner {
namespace {

// trtexec computes the rank in float32.
double percentile(const std::vector<double>& ordered, double percentage) {
    const auto count = static_cast<long>(ordered.size());
    const float share = 1.0F - static_cast<float>(percentage) / 100.0F;
    const auto excluded = static_cast<long>(share * static_cast<float>(count));
    return ordered[static_cast<std::size_t>(std::max(count - 1 - excluded, 0L))];
}

}  // namespace

Statistics statistics_of(std::vector<double> times) {
    std::sort(times.begin(), times.end());
    const auto count = static_cast<double>(times.size());
    const double mean = std::accumulate(times.begin(), times.end(), 0.0) / count;
    double squares = 0;
    for (double time : times) squares += (time - mean) * (time - mean);
    const std::size_t middle = times.size() / 2;
    Statistics found{};
    found.min = times.front(), found.max = times.back(), found.mean = mean;
    found.median = times.size() % 2 == 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
    for (std::size_t place = 0; place < PERCENTAGES.size(); ++place)
        found.percentiles[place] = percentile(times, PERCENTAGES[place]);
    found.variation = mean > 0 ? 100 * std::sqrt(squares / count) / mean : 0;
    return found;
}

}  // namespace edgedet::runner
