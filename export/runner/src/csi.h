// A Jetson's CSI cameras: `csi:0`, `csi://0?width=1280&height=720&fps=30&flip=2`, as edgedet/runtime/sources/csi.py has them.
#pragma once

#include <string>

namespace edgedet::runner {

bool is_csi_address(const std::string& text);

// The pipeline of GStreamer: the image processor's frames, as BGR, the newest alone. Throws `Error` where a setting is
// unknown, or out of its range.
std::string csi_pipeline(const std::string& address);

}  // namespace edgedet::runner
