// A loop around ONNX Runtime and nothing else, with the runner's settings, and in turn with it the runner: what
// benchmarks/runner.py measures. Both in one process, run by run, so that a busy machine is as busy for both.
//   runner_bare_loop MODEL LIBONNXRUNTIME THREADS WARM_UP_MS DURATION_S HEIGHT WIDTH
// Prints the milliseconds of a bare run and of one of the runner, line by line.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_c_api.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <dlfcn.h>

#include "detector.h"

namespace {

const OrtApi* api;

void check(OrtStatus* status) {
    if (status == nullptr) return;
    std::fprintf(stderr, "%s\n", api->GetErrorMessage(status));
    std::exit(2);
}

double now() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int main(int count, char** words) {
    if (count != 8) return 2;
    void* library = dlopen(words[2], RTLD_NOW);
    if (library == nullptr) return std::fprintf(stderr, "%s\n", dlerror()), 2;
    api = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(library, "OrtGetApiBase"))()->GetApi(17);
    OrtEnv* environment;
    OrtSessionOptions* options;
    OrtSession* session;
    check(api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "bare", &environment));
    check(api->CreateSessionOptions(&options));
    check(api->SetSessionGraphOptimizationLevel(options, ORT_ENABLE_ALL));
    check(api->SetIntraOpNumThreads(options, std::atoi(words[3])));
    check(api->SetInterOpNumThreads(options, 1));
    check(api->AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"));
    check(api->CreateSession(environment, words[1], options, &session));
    OrtMemoryInfo* memory;
    check(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    const long height = std::atol(words[6]), width = std::atol(words[7]);
    const std::int64_t shape[] = {1, 3, height, width};
    std::vector<float> input(static_cast<std::size_t>(3 * height * width));
    std::uint32_t state = 1;
    for (float& value : input) value = static_cast<float>((state = state * 1664525u + 1013904223u) >> 24) / 64 - 2;
    OrtValue* value;
    check(api->CreateTensorWithDataAsOrtValue(memory, input.data(), 4 * input.size(), shape, 4, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &value));
    const char* const in[] = {"images"};
    const char* const out[] = {"boxes", "scores"};
    OrtValue* outputs[2] = {nullptr, nullptr};
    check(api->Run(session, nullptr, in, &value, 1, out, 2, outputs));
    OrtIoBinding* binding;
    check(api->CreateIoBinding(session, &binding));
    check(api->BindInput(binding, in[0], value));
    for (int place = 0; place < 2; ++place) check(api->BindOutput(binding, out[place], outputs[place]));
    edgedet::runner::LoadOptions load;
    load.threads = std::atoi(words[3]), load.onnxruntime = words[2];
    const auto detector = edgedet::runner::open_detector(words[1], load);
    edgedet::runner::Image picture;
    picture.height = static_cast<int>(height), picture.width = static_cast<int>(width);
    picture.pixels.assign(input.size(), 100);
    for (std::uint8_t& pixel : picture.pixels) pixel = static_cast<std::uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
    detector->preprocess(picture.view());
    const auto bare = [&] {
        const double start = now();
        check(api->RunWithBinding(session, nullptr, binding));
        return now() - start;
    };
    const auto ours = [&] {
        const double start = now();
        detector->infer();
        return now() - start;
    };
    const double begin = now(), warm = begin + std::atof(words[4]), end = warm + 1e3 * std::atof(words[5]);
    std::vector<std::pair<double, double>> times;
    for (bool bare_first = true; now() < end; bare_first = !bare_first) {
        const double start = now();
        std::pair<double, double> pair;
        if (bare_first) pair.first = bare(), pair.second = ours();
        else pair.second = ours(), pair.first = bare();
        if (start >= warm) times.push_back(pair);
    }
    for (const auto& pair : times) std::printf("%.6f %.6f\n", pair.first, pair.second);
    return 0;
}
