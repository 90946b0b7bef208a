// A loop around ONNX Runtime and nothing else, with the runner's settings: what benchmarks/runner.py measures against.
//   runner_bare_loop MODEL LIBONNXRUNTIME THREADS WARM_UP_MS DURATION_S HEIGHT WIDTH
// Prints the milliseconds of each run, line by line.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_c_api.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <dlfcn.h>

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
    const double begin = now(), warm = begin + std::atof(words[4]), end = warm + 1e3 * std::atof(words[5]);
    std::vector<double> times;
    for (double start = begin; start < end;) {
        check(api->RunWithBinding(session, nullptr, binding));
        const double done = now();
        if (start >= warm) times.push_back(done - start);
        start = now();
    }
    for (double time : times) std::printf("%.6f\n", time);
    return 0;
}
