// edgedet's plugins for TensorRT, as a library that TensorRT 8.6 and later open themselves (IPluginRegistry::loadLibrary,
// trtexec --dynamicPlugins), and that registers itself with older ones when it is opened (trtexec --plugins). It is
// linked with no part of TensorRT, so that it opens without.
#include <NvInferRuntime.h>

#include "tensorrt/diou_nms.h"
#include "tensorrt/gated_conv.h"
#include "tensorrt/log.h"
#include "tensorrt/mish.h"

#define EDGEDET_EXPORTED extern "C" __attribute__((visibility("default")))

using namespace edgedet::tensorrt;

#define EDGEDET_TEXT_OF(number) #number
#define EDGEDET_TEXT(number) EDGEDET_TEXT_OF(number)

// For people: what the library holds, and the headers that it was built with.
EDGEDET_EXPORTED const char* edgedet_tensorrt_plugins() {
    return "EdgeDetDIoUNMS, EdgeDetGatedConv, EdgeDetMish; built for TensorRT " EDGEDET_TEXT(NV_TENSORRT_MAJOR) "." EDGEDET_TEXT(
        NV_TENSORRT_MINOR);
}

#if NV_TENSORRT_MAJOR >= 10

#include "tensorrt/plugin_v3.h"

EDGEDET_EXPORTED void setLoggerFinder(nvinfer1::ILoggerFinder* given) {
    static nvinfer1::ILoggerFinder* finder;
    finder = given;
    find_logger_by([] { return finder == nullptr ? nullptr : finder->findLogger(); });
}

EDGEDET_EXPORTED nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
    static CreatorV3<DIoUNMS> diou_nms;
    static CreatorV3<GatedConv> gated_conv;
    static CreatorV3<Mish> mish;
    static nvinfer1::IPluginCreatorInterface* const creators[] = {&diou_nms, &gated_conv, &mish};
    count = sizeof creators / sizeof creators[0];
    return creators;
}

#else

#include "tensorrt/plugin_v2.h"

EDGEDET_EXPORTED nvinfer1::IPluginCreator* const* getPluginCreators(int32_t& count) {
    static CreatorV2<DIoUNMS> diou_nms;
    static CreatorV2<GatedConv> gated_conv;
    static CreatorV2<Mish> mish;
    static nvinfer1::IPluginCreator* const creators[] = {&diou_nms, &gated_conv, &mish};
    count = sizeof creators / sizeof creators[0];
    return creators;
}

// Both are null where the process has not opened TensorRT.
extern "C" __attribute__((weak)) nvinfer1::IPluginRegistry* getPluginRegistry() noexcept;
extern "C" __attribute__((weak)) nvinfer1::ILogger* getLogger() noexcept;

namespace {

const bool opened = [] {
    if (getLogger != nullptr) find_logger_by([] { return getLogger(); });
#if NV_TENSORRT_MINOR < 6
    int32_t count = 0;
    nvinfer1::IPluginCreator* const* creators = getPluginCreators(count);
    if (getPluginRegistry == nullptr) return false;
    for (int32_t index = 0; index < count; ++index) getPluginRegistry()->registerCreator(*creators[index], "");
#endif
    return true;
}();

}  // namespace

#endif
