// Videos, cameras and streams by OpenCV.
#include <cstdlib>
#include <functional>

#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/videoio.hpp>

#include "csi.h"
#include "error.h"
#include "files.h"
#include "live.h"
#include "video.h"

namespace edgedet::runner {
namespace {

// FFmpeg would print its own remarks beside the one message of ours (-8: nothing). OpenCV reads this when it opens.
void quiet() {
    ::setenv("OPENCV_FFMPEG_LOGLEVEL", "-8", 0);
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
}

ImageView view_of(const cv::Mat& pixels) {
    return {pixels.data, pixels.rows, pixels.cols, static_cast<std::ptrdiff_t>(pixels.step[0]), Order::bgr};
}

class VideoFile : public Source {
public:
    explicit VideoFile(const std::string& path) : path_(path), name_(file_name(path)) {
        quiet();
        if (!capture_.open(path))
            throw Error("cannot be opened as a video", path, "it may be truncated or of an unknown kind: check that it plays elsewhere");
    }

    bool next(Frame& frame) override {
        if (!capture_.read(pixels_) || pixels_.type() != CV_8UC3) {
            if (index_ == 0) throw Error("no frame of it can be decoded", path_, "check that it plays elsewhere");
            return false;
        }
        frame.image = view_of(pixels_), frame.name = name_, frame.index = index_++;
        return true;
    }

private:
    std::string path_, name_;
    cv::VideoCapture capture_;
    cv::Mat pixels_;
    long long index_ = 0;
};

class OpenCvCapture : public Capture {
public:
    explicit OpenCvCapture(std::function<bool(cv::VideoCapture&)> open) : open_(std::move(open)) {}

    bool open() override {
        try {
            if (!open_(capture_)) return false;
        } catch (const cv::Exception&) {
            return false;
        }
        capture_.set(cv::CAP_PROP_BUFFERSIZE, 1);  // the newest frame, not one that waited
        return true;
    }

    bool read(Image& image) override {
        try {
            if (!capture_.read(pixels_)) return false;
        } catch (const cv::Exception&) {
            return false;
        }
        if (pixels_.type() != CV_8UC3) return false;
        image.height = pixels_.rows, image.width = pixels_.cols, image.order = Order::bgr;
        image.pixels.resize(static_cast<std::size_t>(pixels_.rows) * static_cast<std::size_t>(pixels_.cols) * 3);
        pixels_.copyTo(cv::Mat(pixels_.rows, pixels_.cols, CV_8UC3, image.pixels.data()));
        return true;
    }

    void close() override { capture_.release(); }

private:
    std::function<bool(cv::VideoCapture&)> open_;
    cv::VideoCapture capture_;
    cv::Mat pixels_;
};

std::string name_of(const std::string& url) {
    std::string name = without_credentials(url);
    name = name.substr(name.find("://") + 3);
    for (char& letter : name) {
        const bool plain = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                           (letter >= '0' && letter <= '9') || letter == '.' || letter == '-';
        if (!plain) letter = '_';
    }
    return name;
}

}  // namespace

std::unique_ptr<Source> video_file(const std::string& path) { return std::make_unique<VideoFile>(path); }

std::unique_ptr<Source> camera(int number, const std::atomic<bool>& stop) {
    quiet();
    return std::make_unique<LiveSource>(
        std::make_unique<OpenCvCapture>([number](cv::VideoCapture& capture) { return capture.open(number); }),
        "camera" + std::to_string(number), "camera " + std::to_string(number),
        "`ls /dev/video*` lists cameras; another program may hold it", stop);
}

std::unique_ptr<Source> camera_file(const std::string& path, const std::atomic<bool>& stop) {
    quiet();
    return std::make_unique<LiveSource>(
        std::make_unique<OpenCvCapture>([path](cv::VideoCapture& capture) { return capture.open(path, cv::CAP_V4L2); }),
        file_name(path), "camera " + path,
        "`ls /dev/video*` lists cameras; another program may hold it; a camera may have a second file without images", stop);
}

std::unique_ptr<Source> csi_camera(const std::string& address, const std::atomic<bool>& stop) {
    quiet();
    const std::string pipeline = csi_pipeline(address), built = cv::getBuildInformation();
    const std::size_t line = built.find("GStreamer:");
    if (line == std::string::npos || built.substr(line, built.find('\n', line) - line).find("YES") == std::string::npos)
        throw Error("a CSI camera is read through GStreamer, and this OpenCV was built without it", address,
                    "build edgedet-run with JetPack's OpenCV (apt install libopencv-dev)");
    return std::make_unique<LiveSource>(
        std::make_unique<OpenCvCapture>(
            [pipeline](cv::VideoCapture& capture) { return capture.open(pipeline, cv::CAP_GSTREAMER); }),
        "csi", address, "`ls /dev/video*` lists what is connected; sudo systemctl restart nvargus-daemon frees a camera that hangs",
        stop);
}

std::unique_ptr<Source> stream(const std::string& url, const std::atomic<bool>& stop) {
    quiet();
    return std::make_unique<LiveSource>(
        std::make_unique<OpenCvCapture>([url](cv::VideoCapture& capture) { return capture.open(url); }), name_of(url),
        without_credentials(url), "check address, user and password, and that this machine reaches it", stop);
}

}  // namespace edgedet::runner
