// Counts what is allocated while images are detected in: by our own code, and by the backend, apart.
//   runner_allocations_test MODEL LIBONNXRUNTIME FRAMES
// Prints both numbers, of all frames after the first of each size; exit code 1 where our own is not 0.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "detector.h"
#include "json_lines.h"

namespace {

thread_local long* counting = nullptr;
long own = 0, of_backend = 0;

}  // namespace

// glibc's own functions stand behind: every allocation in the process, of operators new too, comes through here.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t bytes) {
    if (counting != nullptr) ++*counting;
    return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) {
    if (counting != nullptr) ++*counting;
    return __libc_calloc(count, bytes);
}
void* realloc(void* memory, std::size_t bytes) {
    if (counting != nullptr) ++*counting;
    return __libc_realloc(memory, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
    if (counting != nullptr) ++*counting;
    return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
    if (counting != nullptr) ++*counting;
    *memory = __libc_memalign(alignment, bytes);
    return *memory == nullptr ? 12 : 0;
}
}

using namespace edgedet::runner;

namespace {

// The backend, whose allocations are counted apart.
class Apart : public Backend {
public:
    explicit Apart(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

    const std::string& name() const override { return backend_->name(); }
    const std::string& specification() const override { return backend_->specification(); }
    Tensor& input() override { return backend_->input(); }
    const std::vector<Tensor>& outputs() const override { return backend_->outputs(); }

    void run() override {
        long* const before = counting;
        counting = before == nullptr ? nullptr : &of_backend;
        backend_->run();
        counting = before;
    }

private:
    std::unique_ptr<Backend> backend_;
};

Image noise(int height, int width, Order order) {
    Image image;
    image.height = height, image.width = width, image.order = order;
    image.pixels.resize(static_cast<std::size_t>(height * width * channels_of(order)));
    std::uint32_t state = 1;
    for (std::uint8_t& pixel : image.pixels) pixel = static_cast<std::uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
    return image;
}

}  // namespace

int main(int count, char** words) {
    if (count != 4) return 2;
    LoadOptions options;
    options.threads = 1, options.onnxruntime = words[2];
    Detector detector(std::make_unique<Apart>(open_backend(words[1], options)), words[1]);
    std::size_t detections = 0;
    std::string line;
    line.reserve(1 << 20);
    for (const Image& image : {noise(480, 640, Order::bgr), noise(251, 333, Order::rgb), noise(64, 40, Order::gray)}) {
        const StreamCounts counts;
        const FrameInfo info{"noise", 0, image.width, image.height, &counts};
        detector.detect(image.view());
        counting = &own;
        for (int frame = 0; frame < std::atoi(words[3]); ++frame) {
            detections += detector.detect(image.view()).size();
            write_json_line(line, info, detector.postprocess(), detector.timings(), detector.spec().class_names);
        }
        counting = nullptr;
    }
    std::printf("own %ld, of the backend %ld, detections %zu\n", own, of_backend, detections);
    return own == 0 ? 0 : 1;
}
