#include "options.h"

#include <cstdlib>
#include <locale>
#include <sstream>

#include "error.h"

namespace edgedet::runner {

const char* const USAGE =
    "usage: edgedet-run MODEL SOURCE... [--score S] [--iou I] [--max N]\n"
    "       edgedet-run MODEL [IMAGE] --benchmark [--iterations N] [--warmup-ms MS] [--duration S] [--json]\n"
    "       edgedet-run MODEL --selftest FOLDER\n"
    "       edgedet-run --version | --help\n"
    "\n"
    "Detections of a .onnx or .engine file that edgedet exported, one line of JSON a frame.\n"
    "\n"
    "  SOURCE              image, folder, pattern ('photos/*.jpg'), video, camera number, or rtsp/http URL\n"
    "  --score S           lowest score shown, 0 to 1 (default: the model's)\n"
    "  --iou I             overlap above which boxes merge, 0 to 1 (default: the model's)\n"
    "  --max N             stop after so many frames\n"
    "  --threads N         threads for inference (default: one a core)\n"
    "  --operators LIB     library of edgedet's operators: code that is run\n"
    "  --onnxruntime LIB   libonnxruntime.so (default: beside this program, in ../lib, or where the system has it)\n"
    "  --benchmark         measure latency, on IMAGE or a generated one\n"
    "  --iterations N      at least so many runs (default 10)\n"
    "  --warmup-ms MS      and this long before (default 200)\n"
    "  --duration S        for at least so long (default 3)\n"
    "  --json              the figures as one JSON object\n"
    "  --selftest FOLDER   compare with golden files that edgedet wrote\n"
    "\n"
    "exit codes: 0 done; 1 the self-test found a difference; 2 wrong use or bad input; 130 interrupted\n";

namespace {

const char* const SEE = "edgedet-run --help lists the options";

double number_of(const std::string& option, const std::string& text, double low, double high) {
    std::istringstream stream(text);
    stream.imbue(std::locale::classic());
    double value = 0;
    if (!(stream >> value) || !stream.eof() || !(value >= low && value <= high)) {
        std::ostringstream range;
        range << "'" << text << "' is not a number from " << low << " to " << high;
        throw Error(range.str(), option, SEE);
    }
    return value;
}

long long whole_of(const std::string& option, const std::string& text, long long low, long long high) {
    char* end = nullptr;
    const long long value = std::strtoll(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || value < low || value > high)
        throw Error("'" + text + "' is not a whole number from " + std::to_string(low) + " to " + std::to_string(high), option, SEE);
    return value;
}

}  // namespace

Options parse_options(int count, char** words) {
    Options options;
    std::vector<std::string> positional;
    std::string first_of_benchmark;
    bool only_positional = false;
    for (int place = 1; place < count; ++place) {
        std::string word = words[place], given;
        if (only_positional || word.size() < 2 || word[0] != '-') {
            positional.push_back(word);
            continue;
        }
        if (word == "--") {
            only_positional = true;
            continue;
        }
        const std::size_t equals = word.find('=');
        const bool has_value = equals != std::string::npos;
        if (has_value) given = word.substr(equals + 1), word = word.substr(0, equals);
        const auto value = [&]() -> std::string {
            if (has_value) return given;
            if (place + 1 >= count) throw Error("needs a value", word, SEE);
            return words[++place];
        };
        const auto of_benchmark = [&] { first_of_benchmark = first_of_benchmark.empty() ? word : first_of_benchmark; };
        if (word == "--score") options.score = number_of(word, value(), 0, 1);
        else if (word == "--iou") options.iou = number_of(word, value(), 0, 1);
        else if (word == "--max") options.max = whole_of(word, value(), 1, 1LL << 60);
        else if (word == "--threads") options.load.threads = static_cast<int>(whole_of(word, value(), 1, 1024));
        else if (word == "--operators") options.load.operators = value();
        else if (word == "--onnxruntime") options.load.onnxruntime = value();
        else if (word == "--selftest") options.golden = value();
        else if (word == "--iterations") of_benchmark(), options.settings.iterations = static_cast<int>(whole_of(word, value(), 1, 100000000));
        else if (word == "--warmup-ms") of_benchmark(), options.settings.warm_up = number_of(word, value(), 0, 1e7);
        else if (word == "--duration") of_benchmark(), options.settings.duration = number_of(word, value(), 0, 1e6);
        else if (has_value) throw Error("unknown option, or one without a value", word, SEE);
        else if (word == "--json") options.json = true;
        else if (word == "--benchmark") options.benchmark = true;
        else if (word == "--help" || word == "-h") options.help = true;
        else if (word == "--version") options.version = true;
        else throw Error("unknown option", word, SEE);
    }
    if (options.help || options.version) return options;
    if (positional.empty()) throw Error("no model named", "", SEE);
    options.model = positional[0];
    options.sources.assign(positional.begin() + 1, positional.end());
    if (!options.golden.empty() && (options.benchmark || !options.sources.empty() || options.score >= 0 || options.iou >= 0 || options.max >= 0))
        throw Error("takes the model alone", "--selftest", SEE);
    if (!options.benchmark && !first_of_benchmark.empty()) throw Error("is of a benchmark", first_of_benchmark, "add --benchmark");
    if (options.benchmark && (options.sources.size() > 1 || options.max >= 0)) throw Error("takes one image at most, and no --max", "--benchmark", SEE);
    if (!options.benchmark && options.golden.empty() && options.sources.empty()) throw Error("no source named", "", SEE);
    return options;
}

}  // namespace edgedet::runner
