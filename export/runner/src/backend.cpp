#include "backend.h"

#include "backends/backends.h"
#include "error.h"
#include "files.h"

namespace edgedet::runner {

std::unique_ptr<Backend> open_backend(const std::string& path, const LoadOptions& options) {
    if (!is_file(path)) throw Error("no such model file", path, "check the path");
    const std::string suffix = suffix_of(path);
    if (suffix == ".onnx") {
#if EDGEDET_HAS_ONNXRUNTIME
        return open_onnxruntime(path, options);
#else
        throw Error("this program was built without ONNX Runtime", path, "build it with -DONNXRUNTIME_INCLUDE_DIR=...");
#endif
    }
    if (suffix == ".engine") {
#if EDGEDET_HAS_TENSORRT
        return open_tensorrt(path, options);
#else
        throw Error("this program was built without TensorRT", path, "build it with -DTENSORRT_INCLUDE_DIR=...");
#endif
    }
    throw Error("unknown kind of model file '" + suffix + "'", path, "give a .onnx or a .engine file");
}

std::string built_backends() {
    std::string names;
#if EDGEDET_HAS_ONNXRUNTIME
    names += onnxruntime_description();
#endif
#if EDGEDET_HAS_TENSORRT
    names += (names.empty() ? "" : ", ") + tensorrt_description();
#endif
    return names.empty() ? "none" : names;
}

}  // namespace edgedet::runner
