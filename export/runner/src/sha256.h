// SHA-256 (FIPS 180-4).
#pragma once

#include <cstddef>
#include <string>

namespace edgedet::runner {

// Of the bytes, as 64 hexadecimal digits.
std::string sha256(const void* data, std::size_t size);

}  // namespace edgedet::runner
