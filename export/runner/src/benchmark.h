// Latency, measured and told as trtexec and `edgedet bench` do.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "detector.h"
#include "statistics.h"

namespace edgedet::runner {

struct BenchmarkSettings {
    int iterations = 10;      // at least
    double warm_up = 200;     // milliseconds
    double duration = 3;      // seconds, at least
};

struct Benchmark {
    BenchmarkSettings settings;
    std::string model, sha256, input;           // the file, of its bytes, and what was fed
    int threads = 0;
    std::vector<double> latencies;              // of the network alone, in milliseconds, in order
    int warm_up_queries = 0;
    double wall_seconds = 0;
    Statistics preprocess{}, inference{}, postprocess{}, total{};
    bool interrupted = false;
};

// The picture of 640x480 that is fed where no other is given: texture at all scales, the same bytes every time.
Image generated_image();

// The network on an image again and again, then the stages of a detection. `stop`: what was measured until then is given.
Benchmark run_benchmark(Detector& detector, const ImageView& image, const BenchmarkSettings& settings,
                        const std::atomic<bool>& stop);

// One line of JSON; the fields are those of `edgedet bench --json`, as far as they are known here.
std::string benchmark_json(const Benchmark& found, const Detector& detector);

// trtexec's summary, and the stages.
std::string benchmark_text(const Benchmark& found, const Detector& detector);

}  // namespace edgedet::runner
