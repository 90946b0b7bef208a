// Reads JSON that strangers wrote (RFC 8259): its length, depth and number of values are bounded.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace edgedet::runner {

// A value, with all that is below it.
class Json {
public:
    enum class Kind { null, boolean, number, string, array, object };

    Kind kind = Kind::null;
    bool boolean = false;
    double number = 0;
    std::string string;
    std::vector<Json> items;                            // of an array
    std::vector<std::pair<std::string, Json>> members;  // of an object; of equal keys the last counts
    std::size_t begin = 0, end = 0;                     // where it stands in the text

    // The member of that key; null where there is none.
    const Json* find(const std::string& key) const;
};

struct JsonLimits {
    std::size_t bytes = 4u << 20;
    std::size_t values = 200000;
    int depth = 16;
};

// The value in `text`. Throws `Error`, with `where` in it: not JSON, not UTF-8, a number beyond float64's, or too much.
Json parse_json(const std::string& text, const std::string& where, const JsonLimits& limits = {});

}  // namespace edgedet::runner
