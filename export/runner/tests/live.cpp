// Drives a live source with a camera that follows a script, as no camera can be unplugged in a test.
//   runner_live_test SCRIPT [WAIT_MS]
// The script, letter by letter: `o` opening works, `x` opening fails; `f` a frame comes; `s` 30 ms pass before the next one;
// `b` the connection breaks; `h` opening hangs for 3 s, where 1 s is borne. At its end nothing opens any more. WAIT_MS: what is waited between two frames that are looked at.
// Prints each frame as `index value dropped`, then the notes; or the error.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "error.h"
#include "live.h"

using namespace edgedet::runner;

namespace {

class Scripted : public Capture {
public:
    explicit Scripted(std::string script) : script_(std::move(script)) {}

    bool open() override {
        if (at_ < script_.size() && script_[at_] == 'h') std::this_thread::sleep_for(std::chrono::seconds(3));
        return at_ < script_.size() && script_[at_++] == 'o';
    }

    bool read(Image& image) override {
        while (at_ < script_.size() && script_[at_] == 's') {
            ++at_;
            std::this_thread::sleep_for(std::chrono::milliseconds(30));
        }
        if (at_ >= script_.size() || script_[at_++] != 'f') return false;
        image.height = image.width = 1, image.order = Order::gray;
        image.pixels.assign(1, ++frames_);
        return true;
    }

    void close() override {}

private:
    std::string script_;
    std::size_t at_ = 0;
    std::uint8_t frames_ = 0;
};

}  // namespace

int main(int count, char** words) {
    if (count < 2) return 2;
    const std::atomic<bool> stop{false};
    LiveSource source(std::make_unique<Scripted>(words[1]), "camera", "camera 0", "plug it in", stop, {1, 4, 1000, 3});
    Frame frame;
    try {
        while (source.next(frame)) {
            std::printf("%lld %d %lld\n", frame.index, frame.image.data[0], frame.counts.dropped);
            if (count > 2) std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(words[2])));
        }
    } catch (const Error& error) {
        std::printf("%s\n", error.what());
    }
    for (const std::string& note : source.notes()) std::printf("%s\n", note.c_str());
    return 0;
}
