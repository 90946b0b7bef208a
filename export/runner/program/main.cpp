// The command edgedet-run: parses, calls, prints.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>

#include "decode.h"
#include "detector.h"
#include "error.h"
#include "files.h"
#include "golden.h"
#include "json_lines.h"
#include "options.h"
#include "sha256.h"
#include "sources.h"
#include "version.h"

namespace {

using namespace edgedet::runner;

constexpr int DIFFERENT = 1, BAD_INPUT = 2, INTERRUPTED = 130;
constexpr std::size_t MODEL_LIMIT = std::size_t{2048} << 20;

std::atomic<bool> stop{false};

void on_interrupt(int number) {
    stop.store(true);
    std::signal(number, SIG_DFL);  // the second one ends the process
}

void print(const std::string& text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
        throw Error("cannot write to standard output", "", "check the disk, or what the output goes to");
}

// Names in files from strangers must not drive the terminal.
std::string printable(const std::string& text) {
    std::string shown;
    for (char letter : text) shown += (static_cast<unsigned char>(letter) < 0x20 && letter != '\n') || letter == 0x7F ? '?' : letter;
    return shown;
}

void tell(const std::string& text) { std::fprintf(stderr, "%s\n", printable(text).c_str()); }

int detect(Detector& detector, const Options& options) {
    std::string line;
    long long done = 0;
    bool live = false;
    for (const std::string& text : options.sources) {
        const std::unique_ptr<Source> source = open_source(text, stop);
        live = source->is_live();
        Frame frame;
        while ((options.max < 0 || done < options.max) && !stop.load() && source->next(frame)) {
            const Detections& found = detector.detect(frame.image);
            const FrameInfo info{frame.name, frame.index, frame.image.width, frame.image.height, live ? &frame.counts : nullptr};
            write_json_line(line, info, found, detector.timings(), detector.spec().class_names);
            print(line);
            ++done;
        }
        for (const std::string& note : source->notes()) tell(note);
        if (stop.load()) break;
    }
    return stop.load() && !live ? INTERRUPTED : 0;
}

int benchmark(Detector& detector, const Options& options) {
    const Image image = options.sources.empty() ? generated_image() : read_image(options.sources[0]);
    Benchmark found = run_benchmark(detector, image.view(), options.settings, stop);
    const auto bytes = read_file(options.model, MODEL_LIMIT);
    found.model = options.model, found.sha256 = sha256(bytes.data(), bytes.size());
    found.threads = options.load.threads;
    found.input = options.sources.empty() ? "generated" : options.sources[0];
    print(options.json ? benchmark_json(found, detector) : printable(benchmark_text(found, detector)));
    return found.interrupted ? INTERRUPTED : 0;
}

int selftest(Detector& detector, const Options& options) {
    const Golden golden = read_golden(options.golden);
    const auto bytes = read_file(options.model, MODEL_LIMIT);
    if (sha256(bytes.data(), bytes.size()) != golden.model_sha256)
        tell("note: the golden files were written with another model file (a lowering of the same detector may differ)");
    int failed = 0;
    for (const GoldenImage& image : golden.images) {
        if (stop.load()) return INTERRUPTED;
        const std::string difference = compare_golden(detector, golden, image);
        failed += difference.empty() ? 0 : 1;
        const std::string size = std::to_string(image.width) + "x" + std::to_string(image.height);
        print(printable((difference.empty() ? "ok    " : "FAIL  ") + image.image + " " + size + ": " +
                        (difference.empty() ? std::to_string(image.detections.size()) + " detections" : difference)) + "\n");
    }
    print(std::to_string(golden.images.size() - static_cast<std::size_t>(failed)) + " of " + std::to_string(golden.images.size()) +
          " images as in Python (" + detector.backend_name() + ")\n");
    return failed == 0 ? 0 : DIFFERENT;
}

int run(int count, char** words) {
    const Options options = parse_options(count, words);
    if (options.help) return print(USAGE), 0;
    if (options.version)
        return print("edgedet-run " EDGEDET_VERSION " (backends: " + built_backends() + "; images: " + decoder_name() + ")\n"), 0;
    std::signal(SIGINT, on_interrupt);
    std::signal(SIGTERM, on_interrupt);
    const auto detector = open_detector(options.model, options.load);
    detector->set_thresholds(options.score, options.iou);
    if (!options.golden.empty()) return selftest(*detector, options);
    return options.benchmark ? benchmark(*detector, options) : detect(*detector, options);
}

}  // namespace

int main(int count, char** words) {
    try {
        return run(count, words);
    } catch (const Error& error) {
        tell(std::string("error: ") + error.what());
    } catch (const std::bad_alloc&) {
        tell("error: out of memory");
    } catch (const std::exception& error) {
        tell(std::string("error: ") + error.what());
    }
    return BAD_INPUT;
}
