// Runs the CPU kernel of DIoU-NMS on one image, without Python: for machines that are emulated.
// Standard input, little endian: int64 count, classes, pre_nms_top_k, max_detections, class_agnostic; float64
// score_threshold, iou_threshold, beta; float32 boxes [count, 4], scores [count, classes].
// Standard output: uint32 flat indices of what is kept.
#include <cstdio>
#include <vector>

#include "cpu/diou_nms.h"

namespace {

template <typename Type>
bool read(Type* values, size_t count) {
    return std::fread(values, sizeof(Type), count, stdin) == count;
}

}  // namespace

int main() {
    int64_t sizes[5];
    double numbers[3];
    if (!read(sizes, 5) || !read(numbers, 3)) return 2;
    const auto count = static_cast<size_t>(sizes[0]), classes = static_cast<size_t>(sizes[1]);
    std::vector<edgedet::Box> boxes(count);
    std::vector<float> scores(count * classes);
    if (!read(boxes.data(), count) || !read(scores.data(), scores.size())) return 2;
    const edgedet::DIoUNMS attributes{
        static_cast<float>(numbers[0]), numbers[1], numbers[2], sizes[2], sizes[3], sizes[4] != 0};
    const auto kept = edgedet::cpu::diou_nms(boxes.data(), scores.data(), sizes[0], sizes[1], attributes);
    return std::fwrite(kept.data(), sizeof(uint32_t), kept.size(), stdout) == kept.size() ? 0 : 1;
}
