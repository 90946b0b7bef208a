// The C interface: catches everything, and keeps the last error of each thread.
#include <cstdio>
#include <exception>
#include <memory>
#include <new>

#include "detector.h"
#include "edgedet/runner.h"
#include "error.h"
#include "version.h"

using edgedet::runner::Detection;
using edgedet::runner::Error;

static_assert(sizeof(edgedet_detection) == sizeof(Detection) && alignof(edgedet_detection) == alignof(Detection),
              "detections are handed out as they are");

struct edgedet_detector {
    std::unique_ptr<edgedet::runner::Detector> detector;
};

namespace {

thread_local char last_error[2048] = "";

void keep(const char* text) { std::snprintf(last_error, sizeof last_error, "%s", text); }

template <typename Work>
edgedet_status guarded(Work work) noexcept {
    try {
        work();
        return EDGEDET_OK;
    } catch (const Error& error) {
        keep(error.what());
        return EDGEDET_BAD_INPUT;
    } catch (const std::bad_alloc&) {
        keep("out of memory");
    } catch (const std::exception& error) {
        keep(error.what());
    } catch (...) {
        keep("an unknown failure");
    }
    return EDGEDET_INTERNAL;
}

void require(bool holds, const char* what) {
    if (!holds) throw Error(what);
}

edgedet::runner::Order order_of(edgedet_order order) {
    switch (order) {
        case EDGEDET_BGR: return edgedet::runner::Order::bgr;
        case EDGEDET_RGB: return edgedet::runner::Order::rgb;
        case EDGEDET_GRAY: return edgedet::runner::Order::gray;
    }
    throw Error("an unknown order of colours", "edgedet_detect", "give EDGEDET_BGR, EDGEDET_RGB or EDGEDET_GRAY");
}

}  // namespace

extern "C" {

const char* edgedet_version(void) { return EDGEDET_VERSION; }

const char* edgedet_error(void) { return last_error; }

void edgedet_default_options(edgedet_options* options) {
    if (options == nullptr) return;
    *options = {sizeof(edgedet_options), 0, nullptr, nullptr, -1.0, -1.0};
}

edgedet_status edgedet_open(const char* model, const edgedet_options* options, edgedet_detector** detector) {
    if (detector != nullptr) *detector = nullptr;
    return guarded([&] {
        require(model != nullptr && detector != nullptr, "edgedet_open: a null pointer");
        edgedet_options chosen;
        edgedet_default_options(&chosen);
        if (options != nullptr) {
            require(options->size == sizeof chosen, "edgedet_open: options of another size: set them by edgedet_default_options");
            chosen = *options;
        }
        require(chosen.threads >= 0 && chosen.threads <= 1024, "edgedet_open: threads must be from 0 to 1024");
        edgedet::runner::LoadOptions load;
        load.threads = chosen.threads;
        if (chosen.operators != nullptr) load.operators = chosen.operators;
        if (chosen.onnxruntime != nullptr) load.onnxruntime = chosen.onnxruntime;
        auto opened = std::make_unique<edgedet_detector>();
        opened->detector = edgedet::runner::open_detector(model, load);
        opened->detector->set_thresholds(chosen.score_threshold, chosen.iou_threshold);
        *detector = opened.release();
    });
}

void edgedet_close(edgedet_detector* detector) { delete detector; }

edgedet_status edgedet_detect(edgedet_detector* detector, const edgedet_image* image, const edgedet_detection** detections,
                              size_t* count) {
    if (detections != nullptr) *detections = nullptr;
    if (count != nullptr) *count = 0;
    return guarded([&] {
        require(detector != nullptr && image != nullptr && detections != nullptr && count != nullptr,
                "edgedet_detect: a null pointer");
        const edgedet::runner::ImageView view{image->data, image->height, image->width,
                                              static_cast<std::ptrdiff_t>(image->stride), order_of(image->order)};
        require(image->width >= 1 && image->height >= 1 && image->data != nullptr, "edgedet_detect: an image without pixels");
        require(std::int64_t{image->width} * image->height <= (std::int64_t{1} << 27), "edgedet_detect: more than 2^27 pixels");
        require(image->stride >= std::int64_t{image->width} * edgedet::runner::channels_of(view.order),
                "edgedet_detect: the stride is shorter than a row");
        const auto& found = detector->detector->detect(view);
        *detections = reinterpret_cast<const edgedet_detection*>(found.data());
        *count = found.size();
    });
}

int32_t edgedet_class_count(const edgedet_detector* detector) {
    return detector == nullptr ? 0 : static_cast<int32_t>(detector->detector->spec().class_names.size());
}

const char* edgedet_class_name(const edgedet_detector* detector, int32_t class_id) {
    if (class_id < 0 || class_id >= edgedet_class_count(detector)) return nullptr;
    return detector->detector->spec().class_names[static_cast<std::size_t>(class_id)].c_str();
}

void edgedet_input_size(const edgedet_detector* detector, int32_t* height, int32_t* width) {
    if (height != nullptr) *height = detector == nullptr ? 0 : detector->detector->spec().preprocess.height;
    if (width != nullptr) *width = detector == nullptr ? 0 : detector->detector->spec().preprocess.width;
}

const char* edgedet_backend(const edgedet_detector* detector) {
    return detector == nullptr ? "" : detector->detector->backend_name().c_str();
}

}  // extern "C"
