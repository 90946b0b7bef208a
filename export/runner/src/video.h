// Videos, cameras and streams: there where OpenCV is, and an error that says so elsewhere.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "sources.h"

namespace edgedet::runner {

std::unique_ptr<Source> video_file(const std::string& path);
std::unique_ptr<Source> camera(int number, const std::atomic<bool>& stop);
std::unique_ptr<Source> camera_file(const std::string& path, const std::atomic<bool>& stop);  // as /dev/video0
std::unique_ptr<Source> csi_camera(const std::string& address, const std::atomic<bool>& stop);
std::unique_ptr<Source> stream(const std::string& url, const std::atomic<bool>& stop);

}  // namespace edgedet::runner
