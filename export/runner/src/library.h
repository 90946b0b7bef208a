// Libraries that are opened while the program runs: what a file is, is looked at before anything in it is run.
#pragma once

#include <string>
#include <vector>

namespace edgedet::runner {

// Refuses what is no library for this machine, and one that was cut off, which would end the process.
void require_library(const std::string& path, const std::string& fix);

// An opened library; it stays open to the end of the process, as code of it may still run then.
class Library {
public:
    // `name`: a path, or a name that the system's loader looks for. Throws `Error`.
    Library(const std::string& name, const std::string& fix);

    // The first of these names that opens. Throws `Error`, made of `what` and `fix`, where none does.
    static Library first_of(const std::vector<std::string>& names, const std::string& what, const std::string& fix);

    // The function of that name. Throws `Error` where there is none.
    template <typename Function>
    Function function(const char* symbol) const {
        return reinterpret_cast<Function>(find(symbol));
    }

    const std::string& name() const { return name_; }

private:
    void* find(const char* symbol) const;

    void* handle_;
    std::string name_, fix_;
};

// The folder that this program, or the library that this code is in, was started from.
std::string own_folder();

}  // namespace edgedet::runner
