#include "tensorrt/fields.h"

#include <cstring>

namespace edgedet {
namespace tensorrt {
namespace {

using nvinfer1::PluginFieldType;

size_t bytes_each(PluginFieldType type) {
    return type == PluginFieldType::kINT8 || type == PluginFieldType::kCHAR ? 1 : 4;
}

const nvinfer1::PluginField* find(const nvinfer1::PluginFieldCollection& given, const char* name) {
    for (int32_t index = 0; index < given.nbFields; ++index) {
        const nvinfer1::PluginField& field = given.fields[index];
        if (field.name != nullptr && std::strcmp(field.name, name) == 0) return &field;
    }
    return nullptr;
}

const char* name_of(PluginFieldType type) {
    switch (type) {
        case PluginFieldType::kFLOAT32: return "float32";
        case PluginFieldType::kINT32: return "int32";
        case PluginFieldType::kINT8: return "int8";
        default: return "text";
    }
}

template <typename Value>
std::vector<Value>& values_at(void* place) {
    return *static_cast<std::vector<Value>*>(place);
}

// The array at a place with room for so many values.
void* with_room(PluginFieldType type, void* place, size_t count) {
    switch (type) {
        case PluginFieldType::kFLOAT32: return values_at<float>(place).resize(count), values_at<float>(place).data();
        case PluginFieldType::kINT32: return values_at<int32_t>(place).resize(count), values_at<int32_t>(place).data();
        case PluginFieldType::kINT8: return values_at<int8_t>(place).resize(count), values_at<int8_t>(place).data();
        default: return static_cast<std::string*>(place)->resize(count), &(*static_cast<std::string*>(place))[0];
    }
}

nvinfer1::PluginField field_of(const Field& field, const void* attributes) {
    const void* place = static_cast<const char*>(attributes) + field.offset;
    if (!field.is_array) return {field.name, place, field.type, 1};
    const auto made = [&](const void* data, size_t count) {
        return nvinfer1::PluginField(field.name, data, field.type, static_cast<int32_t>(count));
    };
    switch (field.type) {
        case PluginFieldType::kFLOAT32: {
            const auto& values = *static_cast<const std::vector<float>*>(place);
            return made(values.data(), values.size());
        }
        case PluginFieldType::kINT32: {
            const auto& values = *static_cast<const std::vector<int32_t>*>(place);
            return made(values.data(), values.size());
        }
        case PluginFieldType::kINT8: {
            const auto& values = *static_cast<const std::vector<int8_t>*>(place);
            return made(values.data(), values.size());
        }
        default: {
            const auto& text = *static_cast<const std::string*>(place);
            return made(text.data(), text.size());
        }
    }
}

// Of a text some parsers give the end too.
size_t length_of(const nvinfer1::PluginField& field) {
    auto length = static_cast<size_t>(field.length);
    if (field.type == PluginFieldType::kCHAR)
        while (length > 0 && static_cast<const char*>(field.data)[length - 1] == 0) --length;
    return length;
}

}  // namespace

std::string read_fields(const Table& table, const nvinfer1::PluginFieldCollection* given, void* attributes) {
    if (given == nullptr || (given->nbFields > 0 && given->fields == nullptr)) return "no fields are given";
    for (const Field& field : table) {
        const nvinfer1::PluginField* found = find(*given, field.name);
        const auto wrong = [&](const char* wanted) { return field.name + (wanted + std::string(name_of(field.type))); };
        char* place = static_cast<char*>(attributes) + field.offset;
        if (found == nullptr) {
            if (field.required) return std::string("there is no ") + field.name;
        } else if (field.is_array) {
            if (found->type != field.type || found->length < 1 || found->data == nullptr) return wrong(" are no ");
            const size_t length = length_of(*found);
            void* room = with_room(field.type, place, length);
            if (length > 0) std::memcpy(room, found->data, length * bytes_each(field.type));
        } else if (found->type != field.type || found->length != 1 || found->data == nullptr) {
            return wrong(" is not one ");
        } else {
            std::memcpy(place, found->data, bytes_each(field.type));
        }
    }
    return "";
}

std::vector<nvinfer1::PluginField> fields_of(const Table& table, const void* attributes) {
    std::vector<nvinfer1::PluginField> fields;
    for (const Field& field : table) fields.push_back(field_of(field, attributes));
    return fields;
}

std::vector<nvinfer1::PluginField> names_of(const Table& table) {
    std::vector<nvinfer1::PluginField> fields;
    for (const Field& field : table) fields.emplace_back(field.name, nullptr, field.type, 1);
    return fields;
}

std::vector<char> stored_fields(const Table& table, const void* attributes) {
    std::vector<char> bytes;
    const auto add = [&](const void* data, size_t size) {
        bytes.insert(bytes.end(), static_cast<const char*>(data), static_cast<const char*>(data) + size);
    };
    for (const nvinfer1::PluginField& field : fields_of(table, attributes)) {
        add(&field.length, sizeof field.length);
        add(field.data, static_cast<size_t>(field.length) * bytes_each(field.type));
    }
    return bytes;
}

std::string restore_fields(const Table& table, const void* data, size_t bytes, void* attributes) {
    const std::string wrong = "the engine holds something else for it";
    if (data == nullptr) return wrong;
    const char *at = static_cast<const char*>(data), *end = at + bytes;
    std::vector<nvinfer1::PluginField> fields;
    for (const Field& field : table) {
        int32_t length = 0;
        if (end - at < static_cast<ptrdiff_t>(sizeof length)) return wrong;
        std::memcpy(&length, at, sizeof length);
        at += sizeof length;
        const auto each = static_cast<ptrdiff_t>(bytes_each(field.type));
        if (length < 1 || (end - at) / each < length) return wrong;
        fields.emplace_back(field.name, at, field.type, length);
        at += length * each;
    }
    if (at != end) return wrong;
    const nvinfer1::PluginFieldCollection collection{static_cast<int32_t>(fields.size()), fields.data()};
    return read_fields(table, &collection, attributes);
}

}  // namespace tensorrt
}  // namespace edgedet
