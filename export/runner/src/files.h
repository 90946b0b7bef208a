// Reading files with a bound, and paths.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace edgedet::runner {

// The file's bytes. Throws `Error`: it cannot be read, is no plain file, or is larger than `limit`.
std::vector<unsigned char> read_file(const std::string& path, std::size_t limit);

bool is_file(const std::string& path);
bool is_folder(const std::string& path);

// What stands behind the last slash, and what before it (`.` where there is none).
std::string file_name(const std::string& path);
std::string folder_of(const std::string& path);

// The last suffix in lower case, with its dot; empty where there is none.
std::string suffix_of(const std::string& path);

}  // namespace edgedet::runner
