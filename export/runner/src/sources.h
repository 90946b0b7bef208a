// Where frames come from: image files, folders, patterns, videos, cameras and streams.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "image.h"
#include "stream_counts.h"

namespace edgedet::runner {

struct Frame {
    ImageView image{};       // holds until the next one is asked for
    std::string name;        // of an image, its path relative to the folder given; of a video or stream, the whole's
    long long index = 0;     // from 0; of a camera or stream, dropped frames count too
    StreamCounts counts;     // of a camera or stream
};

// Frames, one after the other.
class Source {
public:
    virtual ~Source() = default;

    // False at the end. Throws `Error`.
    virtual bool next(Frame& frame) = 0;

    // Whether it has no end of its own: a camera or a stream.
    virtual bool is_live() const { return false; }

    // What is to be told at the end, one line each: files that could not be read, frames that were dropped.
    virtual std::vector<std::string> notes() const { return {}; }
};

// An existing file or folder is taken first, then a camera's number, an address (`rtsp://...`), and a pattern (`*.jpg`).
// `stop`: set when somebody wants the end; a live source then ends.
std::unique_ptr<Source> open_source(const std::string& text, const std::atomic<bool>& stop);

// The address without user, password and query, which may hold secrets.
std::string without_credentials(const std::string& url);

}  // namespace edgedet::runner
