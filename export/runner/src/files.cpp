#include "files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include <sys/stat.h>

#include "error.h"

namespace edgedet::runner {

std::vector<unsigned char> read_file(const std::string& path, std::size_t limit) {
    const char* const fix = "check the path";
    if (is_folder(path)) throw Error("is a folder, not a file", path, fix);
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (file == nullptr) throw Error(std::string("cannot read the file (") + std::strerror(errno) + ")", path, fix);
    std::vector<unsigned char> data;
    struct stat status {};
    if (::fstat(::fileno(file.get()), &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0 &&
        static_cast<std::size_t>(status.st_size) <= limit)
        data.reserve(static_cast<std::size_t>(status.st_size) + 1);
    unsigned char block[1 << 16];
    for (std::size_t count; (count = std::fread(block, 1, sizeof block, file.get())) > 0;) {
        data.insert(data.end(), block, block + count);
        if (data.size() > limit)
            throw Error("larger than " + std::to_string(limit >> 20) + " MiB, the most that is read", path);
    }
    if (std::ferror(file.get())) throw Error("cannot be read to its end", path, fix);
    return data;
}

bool is_file(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

bool is_folder(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::string file_name(const std::string& path) {
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string folder_of(const std::string& path) {
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string suffix_of(const std::string& path) {
    const std::string name = file_name(path);
    const std::size_t dot = name.find_last_of('.');
    if (dot == std::string::npos || dot == 0) return "";
    std::string suffix = name.substr(dot);
    for (char& letter : suffix)
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter + ('a' - 'A'));
    return suffix;
}

}  // namespace edgedet::runner
