// The backends, each in a file of its own; which of them are there, the build decides.
#pragma once

#include <memory>
#include <string>

#include "backend.h"

#ifndef EDGEDET_HAS_ONNXRUNTIME
#define EDGEDET_HAS_ONNXRUNTIME 0
#endif
#ifndef EDGEDET_HAS_TENSORRT
#define EDGEDET_HAS_TENSORRT 0
#endif

namespace edgedet::runner {

std::unique_ptr<Backend> open_onnxruntime(const std::string& path, const LoadOptions& options);
std::string onnxruntime_description();

std::unique_ptr<Backend> open_tensorrt(const std::string& path, const LoadOptions& options);
std::string tensorrt_description();

}  // namespace edgedet::runner
