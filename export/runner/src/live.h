// A camera or a stream: the newest frame alone is kept, and a connection that breaks is opened again.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "sources.h"

namespace edgedet::runner {

// What gives frames until it breaks.
class Capture {
public:
    virtual ~Capture() = default;

    // Whether it is open now. May take long.
    virtual bool open() = 0;

    // The next frame; false where it broke, or ended.
    virtual bool read(Image& image) = 0;

    virtual void close() = 0;
};

// How a broken connection is opened again: after `first` milliseconds, then after twice as many each time, up to `most`;
// after `tries` in a row it is given up. A driver that has not answered for `hanging` milliseconds is given up too; some wait
// for ever, and OpenCV with GStreamer does where an element of a pipeline is missing.
struct Reconnection {
    double first = 500, most = 30000, hanging = 60000;
    int tries = 10;
};

// Reads in a thread of its own into a queue of one frame: a newer one replaces what nobody took, which counts as dropped.
class LiveSource : public Source {
public:
    // `name`: of the frames. `where`, `fix`: for messages. `stop`: ends the source.
    LiveSource(std::unique_ptr<Capture> capture, std::string name, std::string where, std::string fix,
               const std::atomic<bool>& stop, const Reconnection& reconnection = {});
    ~LiveSource() override;

    // False when `stop` is set. Throws `Error` where it cannot be opened at the start, or was given up.
    bool next(Frame& frame) override;

    bool is_live() const override { return true; }
    std::vector<std::string> notes() const override;

private:
    struct Shared;
    static void capture_frames(const std::shared_ptr<Shared>& shared);

    std::shared_ptr<Shared> shared_;
    const std::atomic<bool>& stop_;
    std::string name_, where_, fix_;
    Image image_;
    long long looked_at_ = 0;
};

}  // namespace edgedet::runner
