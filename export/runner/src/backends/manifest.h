// What stands beside an engine, `model.engine.json` (edgedet/trt/manifest.py): what it depends on is checked before TensorRT
// looks at a byte of the plan.
#pragma once

#include <string>
#include <vector>

namespace edgedet::runner {

// This machine, as far as an engine depends on it.
struct Platform {
    std::string tensorrt;            // 10.3.0
    std::string compute_capability;  // 8.7
    std::string gpu;
    int multiprocessors = 0;
};

struct Manifest {
    std::string engine, engine_sha256, onnx;
    std::string operators, operators_sha256;  // empty: the engine needs none
    Platform built_on;
    bool version_compatible = false;
    std::string hardware_compatibility;  // empty: none
    int dla_core = -1;
    std::string specification;           // JSON
};

// The manifest beside an engine. Throws `Error`.
Manifest read_manifest(const std::string& engine);

// What keeps an engine from being loaded here, each in words; empty where all is as it was built.
std::vector<std::string> differences(const Manifest& manifest, const std::string& plan_sha256, const Platform& here,
                                     const std::string& operators_sha256);

}  // namespace edgedet::runner
