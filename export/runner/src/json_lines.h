// One line of JSON a frame, with the fields of `edgedet predict --json`.
#pragma once

#include <string>
#include <vector>

#include "results.h"

namespace edgedet::runner {

struct FrameInfo {
    std::string source;
    long long frame = 0;
    int width = 0, height = 0;
    long long dropped = -1;  // frames of a live source so far that were not looked at; -1 for other sources
};

// Writes the line, with its end, over what `out` holds.
void write_json_line(std::string& out, const FrameInfo& info, const Detections& detections, const Timings& timings,
                     const std::vector<std::string>& class_names);

}  // namespace edgedet::runner
