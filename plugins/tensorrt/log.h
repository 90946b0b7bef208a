// What goes wrong inside a plugin is said through TensorRT's logger, or where none was given on standard error.
#pragma once

#include <NvInferRuntime.h>

#include <string>

namespace edgedet {
namespace tensorrt {

void find_logger_by(nvinfer1::ILogger* (*find)());

void log_error(const std::string& message) noexcept;

}  // namespace tensorrt
}  // namespace edgedet
