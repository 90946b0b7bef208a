#include "json.h"

#include <cmath>
#include <cstdint>
#include <locale>
#include <sstream>

#include "error.h"
#include "utf8.h"

namespace edgedet::runner {
namespace {

constexpr std::size_t LONGEST_NUMBER = 400;

class Parser {
public:
    Parser(const std::string& text, const std::string& where, const JsonLimits& limits)
        : text_(text), where_(where), limits_(limits) {}

    Json document() {
        if (text_.size() > limits_.bytes) fail("is longer than " + std::to_string(limits_.bytes) + " bytes");
        if (!is_utf8(text_)) fail("is not UTF-8");
        Json value = read(0);
        skip_space();
        if (at_ != text_.size()) fail_here();
        return value;
    }

private:
    Json read(int depth) {
        if (depth > limits_.depth) fail("is nested more than " + std::to_string(limits_.depth) + " deep");
        if (++values_ > limits_.values) fail("holds more than " + std::to_string(limits_.values) + " values");
        skip_space();
        Json value;
        value.begin = at_;
        switch (peek()) {
            case '{': read_object(value, depth); break;
            case '[': read_array(value, depth); break;
            case '"':
                value.kind = Json::Kind::string;
                value.string = read_string();
                break;
            case 't': read_word("true", value, Json::Kind::boolean), value.boolean = true; break;
            case 'f': read_word("false", value, Json::Kind::boolean); break;
            case 'n': read_word("null", value, Json::Kind::null); break;
            default: value.kind = Json::Kind::number, value.number = read_number();
        }
        value.end = at_;
        return value;
    }

    void read_object(Json& value, int depth) {
        value.kind = Json::Kind::object;
        ++at_;
        skip_space();
        if (take('}')) return;
        do {
            skip_space();
            if (peek() != '"') fail_here();
            std::string key = read_string();
            skip_space();
            if (!take(':')) fail_here();
            value.members.emplace_back(std::move(key), read(depth + 1));
            skip_space();
        } while (take(','));
        if (!take('}')) fail_here();
    }

    void read_array(Json& value, int depth) {
        value.kind = Json::Kind::array;
        ++at_;
        skip_space();
        if (take(']')) return;
        do {
            value.items.push_back(read(depth + 1));
            skip_space();
        } while (take(','));
        if (!take(']')) fail_here();
    }

    void read_word(const char* word, Json& value, Json::Kind kind) {
        for (const char* letter = word; *letter != '\0'; ++letter)
            if (!take(*letter)) fail_here();
        value.kind = kind;
    }

    std::string read_string() {
        std::string read;
        ++at_;
        for (;;) {
            if (at_ == text_.size()) fail_here();
            const char letter = text_[at_];
            if (static_cast<unsigned char>(letter) < 0x20) fail_here();
            ++at_;
            if (letter == '"') return read;
            if (letter == '\\')
                read_escape(read);
            else
                read += letter;
        }
    }

    void read_escape(std::string& into) {
        static const std::string letters = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
        const char letter = peek();
        const std::size_t known = letters.find(letter);
        if (letter != '\0' && known != std::string::npos) {
            ++at_;
            into += meant[known];
            return;
        }
        if (!take('u')) fail_here();
        std::uint32_t code = read_hex();
        if (code >= 0xD800 && code < 0xDC00) {
            if (!take('\\') || !take('u')) fail_here();
            const std::uint32_t low = read_hex();
            if (low < 0xDC00 || low > 0xDFFF) fail_here();
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        } else if (code >= 0xDC00 && code <= 0xDFFF) {
            fail_here();
        }
        append_utf8(into, code);
    }

    std::uint32_t read_hex() {
        std::uint32_t code = 0;
        for (int place = 0; place < 4; ++place) {
            const char letter = peek();
            const bool digit = letter >= '0' && letter <= '9';
            const char lower = static_cast<char>(letter | 0x20);
            if (!digit && !(lower >= 'a' && lower <= 'f')) fail_here();
            code = code * 16 + static_cast<std::uint32_t>(digit ? letter - '0' : lower - 'a' + 10);
            ++at_;
        }
        return code;
    }

    double read_number() {
        const std::size_t start = at_;
        take('-');
        if (!take('0')) read_digits();
        if (take('.')) read_digits();
        if (peek() == 'e' || peek() == 'E') {
            ++at_;
            if (peek() == '+' || peek() == '-') ++at_;
            read_digits();
        }
        if (at_ - start > LONGEST_NUMBER) fail("holds a number of more than 400 letters");
        // A stream, as strtod takes the decimal point of the program's locale.
        std::istringstream stream(text_.substr(start, at_ - start));
        stream.imbue(std::locale::classic());
        double value = 0;
        stream >> value;
        if (!std::isfinite(value) || std::fabs(value) == HUGE_VAL || (stream.fail() && value != 0))
            fail("holds a number that is too large");
        return value;
    }

    void read_digits() {
        if (peek() < '0' || peek() > '9') fail_here();
        while (peek() >= '0' && peek() <= '9') ++at_;
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    bool take(char letter) {
        if (at_ == text_.size() || text_[at_] != letter) return false;
        ++at_;
        return true;
    }

    void skip_space() {
        while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
    }

    [[noreturn]] void fail_here() const { fail("is not valid JSON at byte " + std::to_string(at_)); }

    [[noreturn]] void fail(const std::string& what) const {
        throw Error("its JSON " + what, where_, "copy the file again, or export it again with edgedet");
    }

    const std::string& text_;
    const std::string& where_;
    const JsonLimits& limits_;
    std::size_t at_ = 0, values_ = 0;
};

}  // namespace

const Json* Json::find(const std::string& key) const {
    for (auto member = members.rbegin(); member != members.rend(); ++member)
        if (member->first == key) return &member->second;
    return nullptr;
}

Json parse_json(const std::string& text, const std::string& where, const JsonLimits& limits) {
    return Parser(text, where, limits).document();
}

}  // namespace edgedet::runner
