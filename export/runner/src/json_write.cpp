#include "json_write.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "utf8.h"

namespace edgedet::runner {

void write_json_string(std::string& out, const std::string& text) {
    out += '"';
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t length = utf8_length(text, at);
        const char letter = text[at];
        if (length == 0) {
            out += "\\ufffd";
        } else if (letter == '"' || letter == '\\') {
            out += '\\';
            out += letter;
        } else if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(letter));
            out += escape;
        } else {
            out.append(text, at, length);
        }
        at += length == 0 ? 1 : length;
    }
    out += '"';
}

void write_json_integer(std::string& out, long long value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%lld", value);
    out += digits;
}

void write_json_number(std::string& out, double value) {
    if (!std::isfinite(value)) {
        out += "null";
        return;
    }
    char digits[40];
    for (int precision = 15; precision <= 17; ++precision) {
        std::snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (std::strtod(digits, nullptr) == value) break;
    }
    for (const char* letter = digits; *letter != '\0'; ++letter)
        out += *letter == ',' ? '.' : *letter;  // the program's locale may write a comma
}

}  // namespace edgedet::runner
