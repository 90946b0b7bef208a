// The CPU kernels for Python: arrays of NumPy, or of anything with DLPack.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "cpu/diou_nms.h"
#include "cpu/mish.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Boxes = nb::ndarray<const float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Scores = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

struct Detections {
    std::vector<edgedet::Box> boxes;
    std::vector<float> scores;
    std::vector<int64_t> class_ids;
};

nb::tuple diou_nms(const Boxes& boxes, const Scores& scores, float score_threshold, double iou_threshold, double beta,
                 int64_t pre_nms_top_k, int64_t max_detections, bool class_agnostic) {
    const auto count = static_cast<int64_t>(boxes.shape(0)), classes = static_cast<int64_t>(scores.shape(1));
    if (static_cast<int64_t>(scores.shape(0)) != count) throw nb::value_error("as many rows of scores as boxes");
    if (classes > 0 && count > UINT32_MAX / classes) throw nb::value_error("more than 2^32 pairs of box and class");
    const edgedet::DIoUNMS attributes{score_threshold, iou_threshold,  beta,
                                           pre_nms_top_k,   max_detections, class_agnostic};
    auto* found = new Detections;
    nb::capsule owner(found, [](void* detections) noexcept { delete static_cast<Detections*>(detections); });
    {
        nb::gil_scoped_release released;
        const auto* all = reinterpret_cast<const edgedet::Box*>(boxes.data());
        for (uint32_t flat : edgedet::cpu::diou_nms(all, scores.data(), count, classes, attributes)) {
            found->boxes.push_back(all[flat / classes]);
            found->scores.push_back(scores.data()[flat]);
            found->class_ids.push_back(flat % classes);
        }
    }
    const size_t kept = found->boxes.size();
    return nb::make_tuple(nb::ndarray<nb::numpy, float>(found->boxes.data(), {kept, 4}, owner),
                          nb::ndarray<nb::numpy, float>(found->scores.data(), {kept}, owner),
                          nb::ndarray<nb::numpy, int64_t>(found->class_ids.data(), {kept}, owner));
}

using Values = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

nb::ndarray<nb::numpy, float> mish(const Values& values) {
    const size_t count = values.shape(0);
    auto* made = new float[count];
    nb::capsule owner(made, [](void* floats) noexcept { delete[] static_cast<float*>(floats); });
    {
        nb::gil_scoped_release released;
        edgedet::cpu::mish(values.data(), made, static_cast<int64_t>(count));
    }
    return nb::ndarray<nb::numpy, float>(made, {count}, owner);
}

}  // namespace

NB_MODULE(_cpu, module) {
    module.def("diou_nms", &diou_nms, "boxes"_a, "scores"_a, "score_threshold"_a, "iou_threshold"_a, "beta"_a,
               "pre_nms_top_k"_a, "max_detections"_a, "class_agnostic"_a,
               "The detections of one image, best first: boxes `[n, 4]`, scores `[n]`, class ids `[n]` int64.");
    module.def("mish", &mish, "values"_a, "Mish of each value: `[n]` float32.");
}
