#include "live.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>
#include <utility>

#include "clock.h"
#include "error.h"

namespace edgedet::runner {
namespace {

using Milliseconds = std::chrono::duration<double, std::milli>;
constexpr Milliseconds LISTENING{100};  // so long a wait may go on after Ctrl-C
constexpr Milliseconds PATIENCE{2000};  // for a capture that hangs in a driver, at the end

}  // namespace

// Outlives the source where its thread hangs.
struct LiveSource::Shared {
    std::unique_ptr<Capture> capture;
    Reconnection reconnection;
    mutable std::mutex mutex;
    std::condition_variable changed;
    Image newest;
    bool has_newest = false, done = false, ended = false, was_open = false, is_asked = false;
    Clock asked;  // the capture, where it has not answered
    StreamCounts counts;

    template <typename Ask>
    bool answer_of(Ask ask) {
        {
            const std::lock_guard<std::mutex> lock(mutex);
            is_asked = true, asked = Clock();
        }
        const bool answer = ask();
        const std::lock_guard<std::mutex> lock(mutex);
        is_asked = false;
        return answer;
    }
};

LiveSource::LiveSource(std::unique_ptr<Capture> capture, std::string name, std::string where, std::string fix,
                       const std::atomic<bool>& stop, const Reconnection& reconnection)
    : shared_(std::make_shared<Shared>()), stop_(stop), name_(std::move(name)), where_(std::move(where)), fix_(std::move(fix)) {
    shared_->capture = std::move(capture);
    shared_->reconnection = reconnection;
    std::thread([shared = shared_] { capture_frames(shared); }).detach();
}

LiveSource::~LiveSource() {
    std::unique_lock<std::mutex> lock(shared_->mutex);
    shared_->done = true;
    shared_->changed.notify_all();
    shared_->changed.wait_for(lock, PATIENCE, [this] { return shared_->ended; });
}

void LiveSource::capture_frames(const std::shared_ptr<Shared>& shared) {
    Shared& state = *shared;
    const Reconnection& again = state.reconnection;
    Image read;
    int failures = 0;
    double wait = again.first;
    bool more = true;
    Clock away;
    while (more) {
        const bool opened = state.answer_of([&] { return state.capture->open(); });
        if (opened) {
            std::unique_lock<std::mutex> lock(state.mutex);
            if (state.was_open) {
                ++state.counts.reconnections;
                state.counts.lost_seconds += away.milliseconds() / 1e3;
            }
            state.was_open = true;
            more = !state.done;
        }
        while (opened && more && state.answer_of([&] { return state.capture->read(read); })) {
            const std::lock_guard<std::mutex> lock(state.mutex);
            state.counts.dropped += state.has_newest ? 1 : 0;
            ++state.counts.read;
            std::swap(state.newest, read);
            state.has_newest = true;
            more = !state.done;
            failures = 0, wait = again.first;
            state.changed.notify_all();
        }
        state.capture->close();
        if (opened) away = Clock();
        std::unique_lock<std::mutex> lock(state.mutex);
        // What never opened is wrong, not broken.
        if (!more || (!opened && !state.was_open) || ++failures > again.tries) break;
        more = !state.changed.wait_for(lock, Milliseconds(wait), [&] { return state.done; });
        wait = std::min(2 * wait, again.most);
    }
    const std::lock_guard<std::mutex> lock(state.mutex);
    state.ended = true;
    state.changed.notify_all();
}

bool LiveSource::next(Frame& frame) {
    Shared& state = *shared_;
    std::unique_lock<std::mutex> lock(state.mutex);
    while (!state.has_newest && !state.ended && !stop_.load()) {
        if (state.is_asked && state.asked.milliseconds() > state.reconnection.hanging)
            throw Error("hangs: its driver has not answered for " +
                            std::to_string(static_cast<int>(state.reconnection.hanging / 1000)) + " s",
                        where_, state.was_open ? "plug it in again, then start again" : fix_);
        state.changed.wait_for(lock, LISTENING);
    }
    if (stop_.load()) return false;
    if (!state.has_newest) {
        if (!state.was_open) throw Error("cannot be opened", where_, fix_);
        throw Error("broke off, and could not be opened again in " + std::to_string(state.reconnection.tries) + " tries",
                    where_, "check cable, power and network, then start again");
    }
    std::swap(image_, state.newest);
    state.has_newest = false;
    frame.image = image_.view();
    frame.name = name_;
    frame.index = state.counts.read - 1;
    frame.counts = state.counts;
    ++looked_at_;
    return true;
}

std::vector<std::string> LiveSource::notes() const {
    const std::lock_guard<std::mutex> lock(shared_->mutex);
    const StreamCounts& counts = shared_->counts;
    char away[32];
    std::snprintf(away, sizeof away, "%.1f", counts.lost_seconds);
    return {std::to_string(counts.read) + " frames came, " + std::to_string(looked_at_) + " detected in, " +
            std::to_string(counts.dropped) + " dropped; lost and found again " + std::to_string(counts.reconnections) +
            " times, " + away + " s away"};
}

}  // namespace edgedet::runner
