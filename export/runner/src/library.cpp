#include "library.h"

#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <dlfcn.h>
#include <elf.h>

#include "error.h"
#include "files.h"

namespace edgedet::runner {
namespace {

#if defined(__x86_64__)
constexpr int MACHINE = EM_X86_64;
#elif defined(__aarch64__)
constexpr int MACHINE = EM_AARCH64;
#else
constexpr int MACHINE = EM_NONE;
#endif

std::string machine_name(int machine) {
    switch (machine) {
        case EM_X86_64: return "x86_64";
        case EM_AARCH64: return "aarch64";
        case EM_ARM: return "32-bit ARM";
        default: return "machine " + std::to_string(machine);
    }
}

}  // namespace

void require_library(const std::string& path, const std::string& fix) {
    if (!is_file(path)) throw Error("no such library", path, fix);
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (file == nullptr) throw Error("the library cannot be read", path, fix);
    Elf64_Ehdr header;
    if (std::fread(&header, sizeof header, 1, file.get()) != 1 || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != ELFCLASS64)
        throw Error("not a library for 64-bit Linux", path, fix);
    if (MACHINE != EM_NONE && header.e_machine != MACHINE)
        throw Error("built for " + machine_name(header.e_machine) + ", and this machine is " + machine_name(MACHINE), path, fix);
    std::fseek(file.get(), 0, SEEK_END);
    const auto size = static_cast<std::uint64_t>(std::ftell(file.get()));
    bool complete = header.e_phoff < size && std::fseek(file.get(), static_cast<long>(header.e_phoff), SEEK_SET) == 0;
    for (int place = 0; complete && place < header.e_phnum; ++place) {
        Elf64_Phdr segment;
        complete = std::fread(&segment, sizeof segment, 1, file.get()) == 1 &&
                   (segment.p_type != PT_LOAD || (segment.p_offset <= size && segment.p_filesz <= size - segment.p_offset));
    }
    if (!complete) throw Error("cut off: parts of it lie behind its end", path, "copy it again, or " + fix);
}

Library::Library(const std::string& name, const std::string& fix) : name_(name), fix_(fix) {
    if (name.find('/') != std::string::npos) require_library(name, fix);
    handle_ = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) {
        const char* reason = ::dlerror();
        throw Error("cannot be opened (" + std::string(reason == nullptr ? "no reason given" : reason) + ")", name, fix);
    }
}

Library Library::first_of(const std::vector<std::string>& names, const std::string& what, const std::string& fix) {
    for (const std::string& name : names) {
        const bool is_path = name.find('/') != std::string::npos;
        if (is_path ? is_file(name) : ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr) return Library(name, fix);
    }
    throw Error(what, "", fix);
}

void* Library::find(const char* symbol) const {
    void* found = ::dlsym(handle_, symbol);
    if (found == nullptr) throw Error("has no function " + std::string(symbol), name_, fix_);
    return found;
}

std::string own_folder() {
    Dl_info info;
    if (::dladdr(reinterpret_cast<void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr) return ".";
    char resolved[PATH_MAX];
    return folder_of(::realpath(info.dli_fname, resolved) == nullptr ? info.dli_fname : resolved);
}

}  // namespace edgedet::runner
