// Writes JSON into a string that is used again and again.
#pragma once

#include <string>

namespace edgedet::runner {

// In quotes; what JSON or UTF-8 does not allow is escaped or replaced.
void write_json_string(std::string& out, const std::string& text);

// The shortest of 15 to 17 digits that reads back as the same number; null where it is not finite.
void write_json_number(std::string& out, double value);

void write_json_integer(std::string& out, long long value);

}  // namespace edgedet::runner
