// Errors that a person can act on: what is wrong, where, and how to fix it.
#pragma once

#include <exception>
#include <string>
#include <utility>

namespace edgedet::runner {

// A wrong use or a bad input. `where` and `fix` may be empty.
class Error : public std::exception {
public:
    explicit Error(std::string what, std::string where = "", std::string fix = "") {
        text_ = where.empty() ? std::move(what) : std::move(where) + ": " + std::move(what);
        if (!fix.empty()) text_ += "\n  fix: " + std::move(fix);
    }

    const char* what() const noexcept override { return text_.c_str(); }

private:
    std::string text_;
};

}  // namespace edgedet::runner
