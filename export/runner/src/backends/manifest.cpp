#include "backends/manifest.h"

#include <array>
#include <cstdlib>

#include "error.h"
#include "files.h"
#include "json.h"

namespace edgedet::runner {
namespace {

constexpr std::size_t MANIFEST_LIMIT = std::size_t{4} << 20;
const char* const FIX = "copy it again with the engine, or build the engine again: edgedet build";

class Member {
public:
    Member(const Json* value, const std::string& where) : value_(value), where_(where) {
        if (value == nullptr || value->kind != Json::Kind::object) throw Error("not the manifest of an engine", where, FIX);
    }

    const Json* find(const char* key) const { return value_->find(key); }

    std::string text(const char* key) const {
        const Json* found = find(key);
        if (found == nullptr || found->kind != Json::Kind::string)
            throw Error("not the manifest of an engine: it has no " + std::string(key), where_, FIX);
        return found->string;
    }

    double number(const char* key, double otherwise) const {
        const Json* found = find(key);
        return found == nullptr || found->kind != Json::Kind::number ? otherwise : found->number;
    }

private:
    const Json* value_;
    const std::string& where_;
};

// `10.3.0.26` as numbers; of more than three only the first three count.
std::array<int, 3> version_of(const std::string& text) {
    std::array<int, 3> numbers{{0, 0, 0}};
    const char* at = text.c_str();
    for (int& number : numbers) {
        char* end = nullptr;
        number = static_cast<int>(std::strtol(at, &end, 10));
        at = *end == '.' ? end + 1 : end;
    }
    return numbers;
}

}  // namespace

Manifest read_manifest(const std::string& engine) {
    const std::string where = engine + ".json";
    if (!is_file(where))
        throw Error("its manifest " + file_name(where) + " is not beside it", engine,
                    "copy it with the engine, or build the engine with edgedet build on this machine");
    const auto bytes = read_file(where, MANIFEST_LIMIT);
    const std::string text(bytes.begin(), bytes.end());
    const Json document = parse_json(text, where);
    const Member member(&document, where);
    const Member plan(member.find("engine"), where), onnx(member.find("onnx"), where);
    const Member built_on(member.find("built_on"), where), options(member.find("options"), where);
    Manifest found;
    if (member.number("version", 0) != 1) throw Error("a manifest of a later edgedet", where, "build edgedet-run anew, too");
    found.engine = plan.text("name"), found.engine_sha256 = plan.text("sha256");
    found.onnx = onnx.text("name");
    const Json* operators = member.find("operators");
    if (operators != nullptr && operators->kind == Json::Kind::object) {
        const Member library(operators, where);
        found.operators = library.text("name"), found.operators_sha256 = library.text("sha256");
    }
    found.built_on = {built_on.text("tensorrt"), built_on.text("compute_capability"), built_on.text("gpu"),
                      static_cast<int>(built_on.number("multiprocessors", 0))};
    const Json* compatible = options.find("version_compatible");
    found.version_compatible = compatible != nullptr && compatible->kind == Json::Kind::boolean && compatible->boolean;
    const Json* hardware = options.find("hardware_compatibility");
    if (hardware != nullptr && hardware->kind == Json::Kind::string) found.hardware_compatibility = hardware->string;
    found.dla_core = static_cast<int>(options.number("dla_core", -1));
    const Json* specification = member.find("spec");
    Member(specification, where);
    found.specification = text.substr(specification->begin, specification->end - specification->begin);
    return found;
}

std::vector<std::string> differences(const Manifest& manifest, const std::string& plan_sha256, const Platform& here,
                                     const std::string& operators_sha256) {
    std::vector<std::string> found;
    const Platform& built = manifest.built_on;
    const std::string& level = manifest.hardware_compatibility;
    if (plan_sha256 != manifest.engine_sha256)
        found.push_back("the plan is not the one that the manifest was written for: changed, cut off or replaced");
    const auto of_engine = version_of(built.tensorrt), of_library = version_of(here.tensorrt);
    if (manifest.version_compatible ? of_library < of_engine : of_library != of_engine)
        found.push_back("built by TensorRT " + built.tensorrt + ", and this is " + here.tensorrt);
    if (level == "ampere-plus") {
        if (std::atoi(here.compute_capability.c_str()) < 8)
            found.push_back("built for compute capability 8.0 and later, and this GPU has " + here.compute_capability);
    } else if (built.compute_capability != here.compute_capability) {
        found.push_back("built for compute capability " + built.compute_capability + ", and this GPU has " + here.compute_capability);
    } else if (level != "same-compute-capability" && (built.gpu != here.gpu || built.multiprocessors != here.multiprocessors)) {
        found.push_back("its kernels were chosen on " + built.gpu + " with " + std::to_string(built.multiprocessors) +
                        " multiprocessors, and this is " + here.gpu + " with " + std::to_string(here.multiprocessors));
    }
    if (!manifest.operators.empty() && operators_sha256 != manifest.operators_sha256)
        found.push_back("its library of operators " + manifest.operators + " is not the one that it was built with");
    return found;
}

}  // namespace edgedet::runner
