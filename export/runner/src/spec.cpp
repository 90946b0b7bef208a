#include "spec.h"

#include <cmath>
#include <initializer_list>

#include "error.h"

namespace edgedet::runner {
namespace {

constexpr double MAX_SIDE = 8192;
const char* const FIX = "export it again with `edgedet export`, and run it with an edgedet-run as new as that";

// One object of the specification, read member by member.
class Reader {
public:
    Reader(const Json& value, std::string name, const std::string& where, std::initializer_list<const char*> keys)
        : value_(value), name_(std::move(name)), where_(where) {
        if (value.kind != Json::Kind::object) fail("is not an object");
        for (const auto& member : value.members) {
            bool known = false;
            for (const char* key : keys) known = known || member.first == key;
            if (!known) fail("has the unknown key " + member.first.substr(0, 60));
        }
    }

    const Json* find(const char* key) const { return value_.find(key); }

    const Json& required(const char* key) const {
        const Json* found = find(key);
        if (found == nullptr) fail("lacks " + std::string(key));
        return *found;
    }

    void number(const char* key, double& into, double low, double high) const {
        if (const Json* found = find(key)) into = checked(*found, key, low, high);
    }

    void whole(const char* key, int& into, double low, double high) const {
        if (const Json* found = find(key)) into = whole(*found, key, low, high);
    }

    int whole(const Json& value, const char* key, double low, double high) const {
        const double number = checked(value, key, low, high);
        if (number != std::floor(number)) fail(std::string(key) + " is not a whole number");
        return static_cast<int>(number);
    }

    void boolean(const char* key, bool& into) const {
        const Json* found = find(key);
        if (found == nullptr) return;
        if (found->kind != Json::Kind::boolean) fail(std::string(key) + " is not true or false");
        into = found->boolean;
    }

    // A key that can have one value only, for now.
    void fixed(const char* key, const std::string& expected) const {
        const Json* found = find(key);
        if (found != nullptr && (found->kind != Json::Kind::string || found->string != expected))
            fail(std::string(key) + " is not " + expected);
    }

    std::string text(const Json& value, const char* key) const {
        if (value.kind != Json::Kind::string) fail(std::string(key) + " is not a text");
        return value.string;
    }

    const std::vector<Json>& list(const Json& value, const char* key, std::size_t least, std::size_t most) const {
        if (value.kind != Json::Kind::array || value.items.size() < least || value.items.size() > most)
            fail(std::string(key) + " is not a list of " + std::to_string(least) + " to " + std::to_string(most));
        return value.items;
    }

    void three(const char* key, std::array<double, 3>& into, double low) const {
        const Json* found = find(key);
        if (found == nullptr) return;
        const auto& items = list(*found, key, 3, 3);
        for (std::size_t place = 0; place < 3; ++place) into[place] = checked(items[place], key, low, 1e300);
    }

    [[noreturn]] void fail(const std::string& what) const {
        throw Error("its edgedet specification is not one: " + name_ + " " + what, where_, FIX);
    }

private:
    double checked(const Json& value, const char* key, double low, double high) const {
        if (value.kind != Json::Kind::number || value.number < low || value.number > high)
            fail(std::string(key) + " is not a number in its range");
        return value.number;
    }

    const Json& value_;
    std::string name_;
    const std::string& where_;
};

Preprocess preprocess_from(const Json& value, const std::string& where) {
    const Reader reader(value, "preprocess", where,
                        {"height", "width", "resize", "pad_position", "pad_value", "interpolation", "color", "mean", "std"});
    Preprocess found;
    reader.required("height"), reader.required("width");
    reader.whole("height", found.height, 32, MAX_SIDE);
    reader.whole("width", found.width, 32, MAX_SIDE);
    reader.fixed("resize", "letterbox");
    reader.fixed("pad_position", "bottom_right");
    reader.whole("pad_value", found.pad_value, 0, 255);
    reader.fixed("interpolation", "linear");
    reader.fixed("color", "rgb");
    reader.three("mean", found.mean, -1e300);
    reader.three("std", found.std, 0);
    for (double value_of_std : found.std)
        if (value_of_std <= 0) reader.fail("std is not above 0");
    return found;
}

Postprocess postprocess_from(const Json& value, const std::string& where) {
    const Reader reader(
        value, "postprocess", where,
        {"score_threshold", "iou_threshold", "beta", "pre_nms_top_k", "max_detections", "class_agnostic"});
    Postprocess found;
    reader.number("score_threshold", found.score_threshold, 0, 1);
    reader.number("iou_threshold", found.iou_threshold, 0, 1);
    reader.number("beta", found.beta, 0, 10);
    if (found.beta <= 0) reader.fail("beta is not above 0");
    reader.whole("pre_nms_top_k", found.pre_nms_top_k, 1, 100000);
    reader.whole("max_detections", found.max_detections, 1, 100000);
    reader.boolean("class_agnostic", found.class_agnostic);
    return found;
}

}  // namespace

DIoUNMS Postprocess::attributes() const {
    return {static_cast<float>(score_threshold), iou_threshold, beta, pre_nms_top_k, max_detections, class_agnostic};
}

Spec spec_from(const Json& value, const std::string& where) {
    const Reader reader(value, "it", where,
                        {"version", "task", "model", "class_names", "strides", "preprocess", "postprocess", "random_weights"});
    int version = 1;
    reader.whole("version", version, 1, 1);
    reader.fixed("task", "detect");
    Spec spec;
    spec.model = reader.text(reader.required("model"), "model");
    for (const Json& name : reader.list(reader.required("class_names"), "class_names", 1, 10000))
        spec.class_names.push_back(reader.text(name, "class_names"));
    for (const Json& stride : reader.list(reader.required("strides"), "strides", 1, 8))
        spec.strides.push_back(reader.whole(stride, "strides", 1, 1024));
    spec.preprocess = preprocess_from(reader.required("preprocess"), where);
    if (const Json* found = reader.find("postprocess")) spec.postprocess = postprocess_from(*found, where);
    reader.boolean("random_weights", spec.random_weights);
    return spec;
}

Spec parse_spec(const std::string& text, const std::string& where) { return spec_from(parse_json(text, where), where); }

}  // namespace edgedet::runner
