// The command line.
#pragma once

#include <string>
#include <vector>

#include "backend.h"
#include "benchmark.h"

namespace edgedet::runner {

struct Options {
    std::string model;
    std::vector<std::string> sources;
    LoadOptions load;
    double score = -1, iou = -1;  // below 0: the model's
    long long max = -1;           // frames; below 0: all
    bool benchmark = false, json = false, help = false, version = false;
    std::string golden;           // folder of the self-test; empty: none
    BenchmarkSettings settings;
};

// Throws `Error` for what is no such line.
Options parse_options(int count, char** words);

extern const char* const USAGE;

}  // namespace edgedet::runner
