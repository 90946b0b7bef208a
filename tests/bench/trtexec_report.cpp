// Prints what trtexec reports of a trace, in float32 as trtexec computes it: what edgedet prints is held against it.
//
// Written after the definitions in NVIDIA/TensorRT, samples/common/sampleReporting.cpp (v10.16).
// Input: queries, those of the warm-up, its milliseconds, runs an average, streams; the percentiles, their count first;
// then eight times of each query: begin and end of enqueue, copy in, computation and copy out.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <vector>

struct Query {
    float times[8];
    float enqueue() const { return times[1] - times[0]; }
    float copyIn() const { return times[3] - times[2]; }
    float compute() const { return times[5] - times[4]; }
    float copyOut() const { return times[7] - times[6]; }
    float latency() const { return copyIn() + compute() + copyOut(); }
};

struct Figures {
    float smallest, largest, mean, median, variation;
    std::vector<float> ranked;
};

static std::vector<Query> queries;
static std::vector<float> percentiles;

static Figures figures(float (Query::*time)() const) {
    std::vector<float> sorted;
    for (Query const& query : queries) sorted.push_back((query.*time)());
    std::sort(sorted.begin(), sorted.end());
    int32_t const count = static_cast<int32_t>(sorted.size());
    float sum = 0;
    for (float value : sorted) sum += value;
    float const mean = sum / count;
    float squares = 0;
    for (float value : sorted) squares += (value - mean) * (value - mean);
    int32_t const middle = count / 2;
    float const median = count % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    Figures found{sorted.front(), sorted.back(), mean, median, std::sqrt(squares / count) / mean * 100, {}};
    for (float percentile : percentiles) {
        int32_t const excluded = static_cast<int32_t>((1 - percentile / 100) * count);
        found.ranked.push_back(sorted[std::max(count - 1 - excluded, 0)]);
    }
    return found;
}

static void print(char const* name, Figures const& found) {
    std::cout << name << ": min = " << found.smallest << " ms, max = " << found.largest << " ms, mean = " << found.mean
              << " ms, median = " << found.median << " ms";
    for (size_t place = 0; place < percentiles.size(); ++place)
        std::cout << ", percentile(" << percentiles[place] << "%) = " << found.ranked[place] << " ms";
    std::cout << '\n';
}

static void printAverages(int64_t runs) {
    int64_t const size = static_cast<int64_t>(queries.size()), shown = 200 * runs;
    float compute = 0, latency = 0, enqueue = 0;
    int64_t count = 0;
    for (int64_t place = 0; place < size; ++place) {
        if (size > 2 * shown && place == shown) {
            std::cout << "... Omitting " << size - 2 * shown << " lines\n";
            place = size - shown - 1;
        }
        compute += queries[place].compute();
        latency += queries[place].latency();
        enqueue += queries[place].enqueue();
        if (++count < runs) continue;
        std::cout << "Average on " << runs << " runs - GPU latency: " << compute / runs
                  << " ms - Host latency: " << latency / runs << " ms (enqueue " << enqueue / runs << " ms)\n";
        count = 0;
        compute = latency = enqueue = 0;
    }
}

int main() {
    int64_t count, warmUps, runs, streams, ranks;
    float warmUp;
    std::cin >> count >> warmUps >> warmUp >> runs >> streams >> ranks;
    percentiles.resize(ranks);
    for (float& percentile : percentiles) std::cin >> percentile;
    queries.resize(count);
    for (Query& query : queries)
        for (float& time : query.times) std::cin >> time;
    if (!std::cin) return 1;

    float const wall = queries.back().times[7] - queries.front().times[2];
    std::cout << "Warmup completed " << warmUps << " queries over " << warmUp << " ms\n"
              << "Timing trace has " << count << " queries over " << wall / 1000 << " s\n"
              << "\n=== Trace details ===\nTrace averages of " << runs << " runs:\n";
    printAverages(runs);
    Figures const latency = figures(&Query::latency), enqueue = figures(&Query::enqueue);
    Figures const in = figures(&Query::copyIn), compute = figures(&Query::compute), out = figures(&Query::copyOut);
    std::cout << "\n=== Performance summary ===\nThroughput: " << count / wall * 1000 << " qps\n";
    print("Latency", latency);
    print("Enqueue Time", enqueue);
    print("H2D Latency", in);
    print("GPU Compute Time", compute);
    print("D2H Latency", out);
    std::cout << "Total Host Walltime: " << wall / 1000 << " s\n"
              << "Total GPU Compute Time: " << compute.mean * count / 1000 << " s\n";
    if (enqueue.median > 0.8F * compute.median) std::cout << "bound by Enqueue Time\n";
    if (in.median >= compute.median) std::cout << "bound by host-to-device transfers\n";
    if (out.median >= compute.median) std::cout << "bound by device-to-host transfers\n";
    if (compute.variation > 2.5F) std::cout << "coefficient of variance = " << compute.variation << "%.\n";
    if (streams > 1) std::cout << "Multiple inference streams are used\n";
}
