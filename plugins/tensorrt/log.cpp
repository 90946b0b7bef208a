#include "tensorrt/log.h"

#include <cstdio>

namespace edgedet {
namespace tensorrt {
namespace {

nvinfer1::ILogger* (*find_logger)() = nullptr;

}  // namespace

void find_logger_by(nvinfer1::ILogger* (*find)()) { find_logger = find; }

void log_error(const std::string& message) noexcept {
    nvinfer1::ILogger* logger = find_logger == nullptr ? nullptr : find_logger();
    if (logger != nullptr)
        logger->log(nvinfer1::ILogger::Severity::kERROR, message.c_str());
    else
        std::fprintf(stderr, "edgedet: %s\n", message.c_str());
}

}  // namespace tensorrt
}  // namespace edgedet
