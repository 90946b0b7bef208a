// One line of JSON a frame, with the fields of `edgedet predict --json`.
#pragma once

#include <string>
#include <vector>

#include "results.h"
#include "stream_counts.h"

namespace edgedet::runner {

struct FrameInfo {
    std::string source;
    long long frame = 0;
    int width = 0, height = 0;
    const StreamCounts* stream = nullptr;  // of a camera or stream
};

// Writes the line, with its end, over what `out` holds.
void write_json_line(std::string& out, const FrameInfo& info, const Detections& detections, const Timings& timings,
                     const std::vector<std::string>& class_names);

}  // namespace edgedet::runner
