// Time since a moment.
#pragma once

#include <chrono>

namespace edgedet::runner {

class Clock {
public:
    double milliseconds() const {
        return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace edgedet::runner
