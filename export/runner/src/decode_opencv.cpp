// Image files by OpenCV, as Python's runtime reads them.
#include "decode.h"

#include <algorithm>

#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>

namespace edgedet::runner {

std::string decoder_name() { return std::string("opencv ") + CV_VERSION; }

Image decode_by_library(const std::vector<unsigned char>& data) {
    cv::Mat pixels;
    try {
        pixels = cv::imdecode(cv::Mat(1, static_cast<int>(data.size()), CV_8U, const_cast<unsigned char*>(data.data())),
                              cv::IMREAD_COLOR | cv::IMREAD_ANYDEPTH | cv::IMREAD_IGNORE_ORIENTATION);
    } catch (const cv::Exception&) {
        return {};
    }
    if (pixels.empty() || pixels.channels() != 3 || (pixels.depth() != CV_8U && pixels.depth() != CV_16U)) return {};
    Image image;
    image.height = pixels.rows, image.width = pixels.cols;
    image.order = Order::bgr;
    image.pixels.resize(static_cast<std::size_t>(pixels.rows) * static_cast<std::size_t>(pixels.cols) * 3);
    std::uint8_t* out = image.pixels.data();
    for (int y = 0; y < pixels.rows; ++y) {
        // Of 16 bits the upper byte is kept.
        if (pixels.depth() == CV_16U)
            for (int x = 0; x < 3 * pixels.cols; ++x) *out++ = static_cast<std::uint8_t>(pixels.ptr<std::uint16_t>(y)[x] >> 8);
        else
            out = std::copy_n(pixels.ptr<std::uint8_t>(y), 3 * pixels.cols, out);
    }
    return image;
}

}  // namespace edgedet::runner
