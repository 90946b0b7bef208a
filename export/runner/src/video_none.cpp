// No OpenCV: no videos.
#include "error.h"
#include "video.h"

namespace edgedet::runner {
namespace {

[[noreturn]] void refuse(const std::string& where) {
    throw Error("this program was built without OpenCV: it reads images alone", where,
                "build it where libopencv-dev is installed, or give images");
}

}  // namespace

std::unique_ptr<Source> video_file(const std::string& path) { refuse(path); }
std::unique_ptr<Source> camera(int number, const std::atomic<bool>&) { refuse("camera " + std::to_string(number)); }
std::unique_ptr<Source> camera_file(const std::string& path, const std::atomic<bool>&) { refuse("camera " + path); }
std::unique_ptr<Source> csi_camera(const std::string& address, const std::atomic<bool>&) { refuse(address); }
std::unique_ptr<Source> stream(const std::string& url, const std::atomic<bool>&) { refuse(without_credentials(url)); }

}  // namespace edgedet::runner
