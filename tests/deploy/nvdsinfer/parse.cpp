// Calls the parser as nvinfer does: parse ROWS CLASSES WIDTH HEIGHT THRESHOLD < boxes, then scores, float32.
// Prints each object: class, left, top, width, height, confidence.
#include <nvdsinfer_custom_impl.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

extern "C" bool NvDsInferParseEdgedet(std::vector<NvDsInferLayerInfo> const&, NvDsInferNetworkInfo const&,
                                      NvDsInferParseDetectionParams const&, std::vector<NvDsInferParseObjectInfo>&);

int main(int count, char** words) {
    if (count != 6) return 2;
    const auto rows = static_cast<unsigned>(std::atoi(words[1])), classes = static_cast<unsigned>(std::atoi(words[2]));
    std::vector<float> boxes(4 * rows), scores(std::size_t{rows} * classes);
    if (std::fread(boxes.data(), 4, boxes.size(), stdin) != boxes.size()) return 2;
    if (std::fread(scores.data(), 4, scores.size(), stdin) != scores.size()) return 2;
    // nvinfer gives outputs in an order of its own.
    const std::vector<NvDsInferLayerInfo> layers{
        {FLOAT, {2, {rows, classes}, rows * classes}, 2, "scores", scores.data(), 0},
        {FLOAT, {2, {rows, 4}, 4 * rows}, 1, "boxes", boxes.data(), 0},
    };
    const NvDsInferNetworkInfo network{static_cast<unsigned>(std::atoi(words[3])),
                                       static_cast<unsigned>(std::atoi(words[4])), 3};
    const std::vector<float> thresholds(classes, std::strtof(words[5], nullptr));
    std::vector<NvDsInferParseObjectInfo> objects;
    if (!NvDsInferParseEdgedet(layers, network, {classes, thresholds, thresholds}, objects)) return 1;
    for (const auto& one : objects)
        std::printf("%u %.9g %.9g %.9g %.9g %.9g\n", one.classId, static_cast<double>(one.left),
                    static_cast<double>(one.top), static_cast<double>(one.width), static_cast<double>(one.height),
                    static_cast<double>(one.detectionConfidence));
    return 0;
}
