#include "golden.h"

#include <cmath>
#include <cstdio>
#include <cstring>

#include "decode.h"
#include "error.h"
#include "files.h"
#include "json.h"
#include "sha256.h"

namespace edgedet::runner {
namespace {

constexpr std::size_t JSON_LIMIT = std::size_t{64} << 20;
constexpr std::size_t INPUT_LIMIT = std::size_t{1} << 30;
const char* const FIX = "copy the folder again, or write it again with edgedet";

// Reads the members of one object of the file.
class Member {
public:
    Member(const Json& value, const std::string& where) : value_(value), where_(where) {
        if (value.kind != Json::Kind::object) fail("an object is missing");
    }

    const Json& at(const char* key, Json::Kind kind) const {
        const Json* found = value_.find(key);
        if (found == nullptr || found->kind != kind) fail(std::string("has no ") + key + " of the right kind");
        return *found;
    }

    double number(const char* key, double low, double high) const {
        const double value = at(key, Json::Kind::number).number;
        if (value < low || value > high) fail(std::string(key) + " is out of its range");
        return value;
    }

    int whole(const char* key, double low, double high) const { return static_cast<int>(number(key, low, high)); }

    // A file in the folder itself.
    std::string name(const char* key) const {
        const std::string& name = at(key, Json::Kind::string).string;
        if (name.empty() || name.find('/') != std::string::npos || name == "." || name == ".." || name.find('\0') != std::string::npos)
            fail(std::string(key) + " is not the name of a file in the folder");
        return name;
    }

    [[noreturn]] void fail(const std::string& what) const { throw Error("not a golden file: " + what, where_, FIX); }

private:
    const Json& value_;
    const std::string& where_;
};

GoldenDetection detection_from(const Json& value, const std::string& where) {
    const Member member(value, where);
    GoldenDetection found{};
    const auto& corners = member.at("box", Json::Kind::array).items;
    if (corners.size() != 4) member.fail("a box has not four corners");
    for (std::size_t place = 0; place < 4; ++place) {
        if (corners[place].kind != Json::Kind::number) member.fail("a corner is no number");
        found.box[place] = corners[place].number;
    }
    found.score = member.number("score", 0, 1);
    found.class_id = member.whole("class", 0, 1e5);
    return found;
}

GoldenImage image_from(const Json& value, const std::string& where) {
    const Member member(value, where);
    GoldenImage found;
    found.image = member.name("image");
    const Json* input = value.find("input");
    if (input != nullptr && input->kind != Json::Kind::null) found.input = member.name("input");
    found.input_sha256 = member.at("input_sha256", Json::Kind::string).string;
    found.width = member.whole("width", 1, 1e6), found.height = member.whole("height", 1, 1e6);
    found.score_threshold = member.number("score_threshold", 0, 1);
    for (const Json& one : member.at("detections", Json::Kind::array).items)
        found.detections.push_back(detection_from(one, where));
    return found;
}

std::string format(const char* pattern, double value) {
    char text[64];
    std::snprintf(text, sizeof text, pattern, value);
    return text;
}

// How the network's input differs from the one that was written.
std::string compare_input(const Tensor& tensor, const Golden& golden, const GoldenImage& image, std::size_t values) {
    const auto* found = static_cast<const float*>(tensor.data);
    if (sha256(found, values * sizeof(float)) == image.input_sha256) return "";
    if (image.input.empty()) return "the network's input is not the one that was written";
    const std::string path = golden.folder + "/" + image.input;
    const auto bytes = read_file(path, INPUT_LIMIT);
    if (bytes.size() != values * sizeof(float)) return "the network's input is of another size than " + image.input;
    if (sha256(bytes.data(), bytes.size()) != image.input_sha256)
        throw Error("its SHA-256 is not the one in golden.json", path, FIX);
    double largest = 0;
    for (std::size_t place = 0; place < values; ++place) {
        float expected;
        std::memcpy(&expected, bytes.data() + place * sizeof(float), sizeof expected);
        const double difference = std::fabs(static_cast<double>(found[place]) - static_cast<double>(expected));
        largest = difference > largest || std::isnan(difference) ? difference : largest;
    }
    if (largest <= golden.input_tolerance) return "";
    return "the network's input differs by up to " + format("%.3g", largest);
}

// Whether it is the same detection, within the tolerances.
bool same(const Detection& found, const GoldenDetection& expected, const Golden& golden, double scale_x, double scale_y) {
    const float corners[4] = {found.x1, found.y1, found.x2, found.y2};
    for (int place = 0; place < 4; ++place) {
        const double scale = place % 2 == 0 ? scale_x : scale_y;
        if (!(std::fabs(static_cast<double>(corners[place]) - expected.box[place]) * scale <= golden.box_tolerance)) return false;
    }
    return found.class_id == expected.class_id &&
           std::fabs(static_cast<double>(found.score) - expected.score) <= golden.score_tolerance;
}

// In the order that was written; detections whose scores are equal within the tolerance may have changed places.
std::string compare_detections(const Detections& found, const Golden& golden, const GoldenImage& image, double scale_x,
                               double scale_y) {
    if (found.size() != image.detections.size())
        return std::to_string(found.size()) + " detections instead of " + std::to_string(image.detections.size());
    std::vector<bool> taken(found.size(), false);
    for (std::size_t place = 0; place < found.size(); ++place) {
        const GoldenDetection& expected = image.detections[place];
        bool matched = !taken[place] && same(found[place], expected, golden, scale_x, scale_y);
        if (matched) taken[place] = true;
        for (std::size_t other = 0; !matched && other < found.size(); ++other) {
            const bool equal = std::fabs(image.detections[other].score - expected.score) <= 2 * golden.score_tolerance;
            if (!equal || taken[other] || !same(found[other], expected, golden, scale_x, scale_y)) continue;
            taken[other] = matched = true;
        }
        if (!matched) {
            const Detection& one = found[place];
            return "detection " + std::to_string(place) + " is class " + std::to_string(one.class_id) + ", score " +
                   format("%.6f", static_cast<double>(one.score)) + ", box " + format("%.4f", static_cast<double>(one.x1)) + " " +
                   format("%.4f", static_cast<double>(one.y1)) + " " + format("%.4f", static_cast<double>(one.x2)) + " " +
                   format("%.4f", static_cast<double>(one.y2)) + " instead of class " + std::to_string(expected.class_id) +
                   ", score " + format("%.6f", expected.score) + ", box " + format("%.4f", expected.box[0]) + " " +
                   format("%.4f", expected.box[1]) + " " + format("%.4f", expected.box[2]) + " " + format("%.4f", expected.box[3]);
        }
    }
    return "";
}

}  // namespace

Golden read_golden(const std::string& folder) {
    const std::string where = folder + "/golden.json";
    if (!is_folder(folder)) throw Error("no such folder", folder, "give the folder that edgedet wrote golden.json into");
    const auto bytes = read_file(where, JSON_LIMIT);
    JsonLimits limits;
    limits.bytes = JSON_LIMIT, limits.values = 4000000;
    const Json document = parse_json(std::string(bytes.begin(), bytes.end()), where, limits);
    const Member member(document, where);
    member.whole("version", 1, 1);
    Golden golden;
    golden.folder = folder;
    golden.model_sha256 = member.at("model_sha256", Json::Kind::string).string;
    const Member tolerances(member.at("tolerances", Json::Kind::object), where);
    golden.input_tolerance = tolerances.number("input", 0, 1e9);
    golden.box_tolerance = tolerances.number("box", 0, 1e9);
    golden.score_tolerance = tolerances.number("score", 0, 1);
    for (const Json& image : member.at("images", Json::Kind::array).items) golden.images.push_back(image_from(image, where));
    if (golden.images.empty()) member.fail("it holds no image");
    return golden;
}

std::string compare_golden(Detector& detector, const Golden& golden, const GoldenImage& expected) {
    const Image image = read_image(golden.folder + "/" + expected.image);
    if (image.width != expected.width || image.height != expected.height)
        return "it is of " + std::to_string(image.width) + "x" + std::to_string(image.height) + " pixels instead of " +
               std::to_string(expected.width) + "x" + std::to_string(expected.height);
    const Preprocess& size = detector.spec().preprocess;
    const Letterbox box(image.height, image.width, size.height, size.width);
    detector.preprocess(image.view());
    const auto values = std::size_t{3} * static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width);
    const std::string input = compare_input(detector.input(), golden, expected, values);
    if (!input.empty()) return input;
    detector.infer();
    if (!detector.has_nms()) detector.set_thresholds(expected.score_threshold, -1);
    return compare_detections(detector.postprocess(), golden, expected, static_cast<double>(box.width) / image.width,
                              static_cast<double>(box.height) / image.height);
}

}  // namespace edgedet::runner
