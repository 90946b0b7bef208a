#include "tensorrt/fields.h"

#include <cstring>

namespace edgedet {
namespace tensorrt {
namespace {

constexpr size_t FIELD_BYTES = 4;

const nvinfer1::PluginField* find(const nvinfer1::PluginFieldCollection& given, const char* name) {
    for (int32_t index = 0; index < given.nbFields; ++index) {
        const nvinfer1::PluginField& field = given.fields[index];
        if (field.name != nullptr && std::strcmp(field.name, name) == 0) return &field;
    }
    return nullptr;
}

}  // namespace

std::string read_fields(const Table& table, const nvinfer1::PluginFieldCollection* given, void* attributes) {
    if (given == nullptr || (given->nbFields > 0 && given->fields == nullptr)) return "no fields are given";
    for (const Field& field : table) {
        const nvinfer1::PluginField* found = find(*given, field.name);
        const bool is_float = field.type == nvinfer1::PluginFieldType::kFLOAT32;
        if (found == nullptr) {
            if (field.required) return std::string("there is no ") + field.name;
        } else if (found->type != field.type || found->length != 1 || found->data == nullptr) {
            return std::string(field.name) + " is not one " + (is_float ? "float32" : "int32");
        } else {
            std::memcpy(static_cast<char*>(attributes) + field.offset, found->data, FIELD_BYTES);
        }
    }
    return "";
}

std::vector<nvinfer1::PluginField> fields_of(const Table& table, const void* attributes) {
    std::vector<nvinfer1::PluginField> fields;
    for (const Field& field : table)
        fields.emplace_back(field.name, static_cast<const char*>(attributes) + field.offset, field.type, 1);
    return fields;
}

}  // namespace tensorrt
}  // namespace edgedet
