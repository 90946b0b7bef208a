// What edgedet's parser uses of DeepStream's interface, declared anew: NVIDIA's headers come with DeepStream alone.
// Source: Gst-nvinfer's documentation of NvDsInferLayerInfo, NvDsInferParseObjectInfo and custom parse functions.
#pragma once

#include <vector>

constexpr unsigned NVDSINFER_MAX_DIMS = 8;

enum NvDsInferDataType { FLOAT = 0, HALF = 1, INT8 = 2, INT32 = 3 };

struct NvDsInferDims {
    unsigned int numDims, d[NVDSINFER_MAX_DIMS], numElements;
};

struct NvDsInferLayerInfo {
    NvDsInferDataType dataType;
    NvDsInferDims inferDims;
    int bindingIndex;
    const char* layerName;
    void* buffer;
    int isInput;
};

struct NvDsInferNetworkInfo {
    unsigned int width, height, channels;
};

struct NvDsInferObjectDetectionInfo {
    unsigned int classId;
    float left, top, width, height, detectionConfidence;
};
using NvDsInferParseObjectInfo = NvDsInferObjectDetectionInfo;

struct NvDsInferParseDetectionParams {
    unsigned int numClassesConfigured;
    std::vector<float> perClassPreclusterThreshold, perClassPostclusterThreshold;
};

using NvDsInferParseCustomFunc = bool (*)(std::vector<NvDsInferLayerInfo> const&, NvDsInferNetworkInfo const&,
                                          NvDsInferParseDetectionParams const&, std::vector<NvDsInferParseObjectInfo>&);

#define CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(name) \
    [[maybe_unused]] static const NvDsInferParseCustomFunc checked_##name = name
