// The attributes of an operator as TensorRT hands them over and takes them back: fields by name, of four bytes each, or
// arrays.
#pragma once

#include <NvInferRuntime.h>

#include <cstddef>
#include <string>
#include <vector>

namespace edgedet {
namespace tensorrt {

// One attribute: where it stands in the struct that holds them all.
struct Field {
    const char* name;
    nvinfer1::PluginFieldType type;
    size_t offset;
    bool required;
    // Not one float or int32_t, but a std::vector of float, int32_t or int8_t, or a std::string for kCHAR.
    bool is_array = false;
};

using Table = std::vector<Field>;

// Fills `attributes` from what is given; names that the table has not are passed over. What is wrong, or "".
std::string read_fields(const Table& table, const nvinfer1::PluginFieldCollection* given, void* attributes);

// The fields, which point into `attributes`.
std::vector<nvinfer1::PluginField> fields_of(const Table& table, const void* attributes);

// What a creator says of its fields: their names and types.
std::vector<nvinfer1::PluginField> names_of(const Table& table);

// The same as bytes, for TensorRT 8's engines, which stay on the machine that built them; and back: what is wrong, or "".
std::vector<char> stored_fields(const Table& table, const void* attributes);
std::string restore_fields(const Table& table, const void* data, size_t bytes, void* attributes);

}  // namespace tensorrt
}  // namespace edgedet
