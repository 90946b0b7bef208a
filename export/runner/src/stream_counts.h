// What became of the frames of a camera or stream so far.
#pragma once

namespace edgedet::runner {

struct StreamCounts {
    long long read = 0;           // frames that came
    long long dropped = 0;        // of them, those that nobody looked at, as newer ones had come
    long long reconnections = 0;  // how often it was lost and came back
    double lost_seconds = 0;      // how long it was away in all
};

}  // namespace edgedet::runner
