// The attributes of an operator as TensorRT hands them over and takes them back: fields by name, of four bytes each.
#pragma once

#include <NvInferRuntime.h>

#include <cstddef>
#include <string>
#include <vector>

namespace edgedet {
namespace tensorrt {

// One attribute: where its number stands in the struct that holds them all.
struct Field {
    const char* name;
    nvinfer1::PluginFieldType type;  // kFLOAT32 or kINT32
    size_t offset;
    bool required;
};

using Table = std::vector<Field>;

// Fills `attributes` from what is given; names that the table has not are passed over. What is wrong, or "".
std::string read_fields(const Table& table, const nvinfer1::PluginFieldCollection* given, void* attributes);

// The fields, which point into `attributes`.
std::vector<nvinfer1::PluginField> fields_of(const Table& table, const void* attributes);

}  // namespace tensorrt
}  // namespace edgedet
