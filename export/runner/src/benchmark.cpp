#include "benchmark.h"

#include <cstdio>

#include "clock.h"
#include "json_write.h"

namespace edgedet::runner {
namespace {

constexpr int WARM_UP_RUNS = 3;

void write_statistics(std::string& out, const char* name, const Statistics& found) {
    out += '"' + std::string(name) + "\": {";
    const auto field = [&](const char* key, double value) {
        out += '"' + std::string(key) + "\": ";
        write_json_number(out, value);
    };
    field("min", found.min), out += ", ";
    field("max", found.max), out += ", ";
    field("mean", found.mean), out += ", ";
    field("median", found.median), out += ", \"percentiles\": {";
    for (std::size_t place = 0; place < PERCENTAGES.size(); ++place) {
        if (place > 0) out += ", ";
        field((std::to_string(static_cast<int>(PERCENTAGES[place])) + ".0").c_str(), found.percentiles[place]);
    }
    out += "}, ";
    field("variation", found.variation);
    out += '}';
}

std::string format(const char* pattern, double value) {
    char text[64];
    std::snprintf(text, sizeof text, pattern, value);
    return text;
}

std::string said(const Statistics& found) {
    std::string text = "min = " + format("%g", found.min) + " ms, max = " + format("%g", found.max) +
                       " ms, mean = " + format("%g", found.mean) + " ms, median = " + format("%g", found.median) + " ms";
    for (std::size_t place = 0; place < PERCENTAGES.size(); ++place)
        text += ", percentile(" + format("%g", PERCENTAGES[place]) + "%) = " + format("%g", found.percentiles[place]) + " ms";
    return text;
}

std::string row(const char* name, const Statistics& found) {
    char text[160];
    std::snprintf(text, sizeof text, "  %-12s %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f\n", name, found.median,
                  found.percentiles[0], found.percentiles[1], found.percentiles[2], found.mean, found.min, found.max);
    return text;
}

}  // namespace

Image generated_image() {
    Image image;
    image.height = 480, image.width = 640, image.order = Order::bgr;
    image.pixels.resize(480 * 640 * 3);
    std::uint32_t state = 1;
    const auto noise = [&state] {
        state = state * 1664525u + 1013904223u;
        return state >> 24;
    };
    std::size_t at = 0;
    for (unsigned y = 0; y < 480; ++y)
        for (unsigned x = 0; x < 640; ++x)
            for (unsigned channel = 0; channel < 3; ++channel) {
                const unsigned coarse = (x / 60 * 73 + y / 60 * 151 + channel * 59) % 256, fine = (x / 8 * 31 + y / 8 * 97) % 256;
                image.pixels[at++] = static_cast<std::uint8_t>((coarse + fine + noise()) / 3);
            }
    return image;
}

Benchmark run_benchmark(Detector& detector, const ImageView& image, const BenchmarkSettings& settings,
                        const std::atomic<bool>& stop) {
    Benchmark found;
    found.settings = settings;
    found.latencies.reserve(1u << 16);
    detector.preprocess(image);
    const Clock clock;
    const double end = settings.warm_up + settings.duration * 1e3;
    double first = -1, reached = 0;
    while ((found.latencies.size() < static_cast<std::size_t>(settings.iterations) || reached < end) &&
           !(stop.load() && !found.latencies.empty())) {
        const double start = clock.milliseconds();
        detector.infer();
        reached = clock.milliseconds();
        if (start < settings.warm_up && !stop.load()) {
            ++found.warm_up_queries;
            continue;
        }
        if (first < 0) first = start;
        found.latencies.push_back(reached - start);
    }
    found.wall_seconds = (reached - first) / 1e3;
    for (int run = 0; run < WARM_UP_RUNS; ++run) detector.detect(image);
    std::vector<double> stages[4];
    const Clock stage_clock;
    while ((stages[0].size() < static_cast<std::size_t>(settings.iterations) || stage_clock.milliseconds() < settings.duration * 1e3) &&
           !(stop.load() && !stages[0].empty())) {
        detector.detect(image);
        const Timings& times = detector.timings();
        stages[0].push_back(times.preprocess), stages[1].push_back(times.inference), stages[2].push_back(times.postprocess);
        stages[3].push_back(times.preprocess + times.inference + times.postprocess);
    }
    found.preprocess = statistics_of(stages[0]), found.inference = statistics_of(stages[1]);
    found.postprocess = statistics_of(stages[2]), found.total = statistics_of(stages[3]);
    found.interrupted = stop.load();
    return found;
}

std::string benchmark_json(const Benchmark& found, const Detector& detector) {
    std::string out = "{\"version\": 1, \"kind\": \"runner-bench\", \"model\": {\"path\": ";
    write_json_string(out, found.model);
    out += ", \"sha256\": \"" + found.sha256 + "\", \"architecture\": ";
    write_json_string(out, detector.spec().model);
    out += ", \"class_count\": " + std::to_string(detector.spec().class_names.size()) +
           ", \"random_weights\": " + (detector.spec().random_weights ? "true" : "false") + "}, \"settings\": {\"iterations\": " +
           std::to_string(found.settings.iterations) + ", \"duration\": ";
    write_json_number(out, found.settings.duration);
    out += ", \"warm_up\": ";
    write_json_number(out, found.settings.warm_up);
    out += ", \"threads\": " + (found.threads == 0 ? "null" : std::to_string(found.threads)) + ", \"input\": ";
    write_json_string(out, found.input);
    out += "}, \"backend\": ";
    write_json_string(out, detector.backend_name());
    out += ", ";
    write_statistics(out, "latency", statistics_of(found.latencies));
    out += ", \"latencies\": [";
    for (std::size_t place = 0; place < found.latencies.size(); ++place) {
        if (place > 0) out += ", ";
        write_json_number(out, found.latencies[place]);
    }
    const auto count = static_cast<double>(found.latencies.size());
    out += "], \"queries\": " + std::to_string(found.latencies.size()) +
           ", \"warm_up_queries\": " + std::to_string(found.warm_up_queries) + ", \"wall_seconds\": ";
    write_json_number(out, found.wall_seconds);
    out += ", \"queries_per_second\": ";
    write_json_number(out, count / found.wall_seconds);
    out += ", \"images_per_second\": ";
    write_json_number(out, count / found.wall_seconds);
    out += ", \"stages\": {";
    write_statistics(out, "preprocess", found.preprocess), out += ", ";
    write_statistics(out, "inference", found.inference), out += ", ";
    write_statistics(out, "postprocess", found.postprocess), out += ", ";
    write_statistics(out, "total", found.total);
    out += std::string("}, \"interrupted\": ") + (found.interrupted ? "true" : "false") + "}\n";
    return out;
}

std::string benchmark_text(const Benchmark& found, const Detector& detector) {
    const Statistics latency = statistics_of(found.latencies);
    std::string out = "Warmup completed " + std::to_string(found.warm_up_queries) + " queries over " +
                      format("%g", found.settings.warm_up) + " ms\nTiming trace has " + std::to_string(found.latencies.size()) +
                      " queries over " + format("%g", found.wall_seconds) + " s\n\n=== Performance summary ===\nThroughput: " +
                      format("%g", static_cast<double>(found.latencies.size()) / found.wall_seconds) + " qps\nLatency: " +
                      said(latency) + "\n\n  stage, ms       median       p90       p95       p99      mean       min       max\n";
    out += row("preprocess", found.preprocess) + row("inference", found.inference) + row("postprocess", found.postprocess) +
           row("total", found.total);
    out += "\nmodel: " + found.model + " (" + detector.spec().model + ")\nbackend: " +
           detector.backend_name() + ", threads " +
           (found.threads == 0 ? "one a core" : std::to_string(found.threads)) + "\ninput: " + found.input + "\n";
    if (found.interrupted) out += "interrupted: these are the figures until then\n";
    return out;
}

}  // namespace edgedet::runner
