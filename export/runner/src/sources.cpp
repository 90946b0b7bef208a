#include "sources.h"

#include <algorithm>

#include <dirent.h>
#include <glob.h>

#include "csi.h"
#include "decode.h"
#include "error.h"
#include "files.h"
#include "video.h"

namespace edgedet::runner {
namespace {

constexpr std::size_t MAX_FILES = 1000000;

// `frame2` before `frame10`.
bool natural_less(const std::string& a, const std::string& b) {
    const auto digit = [](char letter) { return letter >= '0' && letter <= '9'; };
    std::size_t i = 0, j = 0;
    while (i < a.size() && j < b.size()) {
        if (!digit(a[i]) || !digit(b[j])) {
            if (a[i] != b[j]) return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
            ++i, ++j;
            continue;
        }
        while (i < a.size() && a[i] == '0') ++i;
        while (j < b.size() && b[j] == '0') ++j;
        std::size_t end_a = i, end_b = j;
        while (end_a < a.size() && digit(a[end_a])) ++end_a;
        while (end_b < b.size() && digit(b[end_b])) ++end_b;
        if (end_a - i != end_b - j) return end_a - i < end_b - j;
        const int order = a.compare(i, end_a - i, b, j, end_b - j);
        if (order != 0) return order < 0;
        i = end_a, j = end_b;
    }
    return a.size() - i < b.size() - j;
}

class ImageSource : public Source {
public:
    ImageSource(std::vector<std::string> files, std::string root) : files_(std::move(files)), root_(std::move(root)) {}

    bool next(Frame& frame) override {
        for (; at_ < files_.size(); ++at_) {
            try {
                image_ = read_image(files_[at_]);
            } catch (const Error& error) {
                if (files_.size() == 1) throw;
                const std::string text = error.what();
                skipped_.push_back("skipped: " + text.substr(0, text.find('\n')));
                continue;
            }
            frame.image = image_.view();
            frame.name = files_[at_].substr(root_.size());
            frame.index = static_cast<long long>(at_++);
            return true;
        }
        if (skipped_.size() == files_.size()) throw Error("none of the images could be read; the first: " + skipped_[0], root_);
        return false;
    }

    std::vector<std::string> notes() const override { return skipped_; }

private:
    std::vector<std::string> files_, skipped_;
    std::string root_;
    Image image_;
    std::size_t at_ = 0;
};

std::unique_ptr<Source> image_source(std::vector<std::string> files, const std::string& root, const std::string& where,
                                     const char* what) {
    files.erase(std::remove_if(files.begin(), files.end(),
                               [](const std::string& path) {
                                   return !has_image_suffix(path) || file_name(path)[0] == '.' || !is_file(path);
                               }),
                files.end());
    if (files.empty()) throw Error(what, where, "give a folder of images, a file, or a pattern in quotes");
    if (files.size() > MAX_FILES) throw Error("more than 1000000 images", where, "take them in parts");
    std::sort(files.begin(), files.end(), natural_less);
    return std::make_unique<ImageSource>(std::move(files), root);
}

std::unique_ptr<Source> folder(const std::string& path) {
    const std::string root = path.back() == '/' ? path : path + "/";
    std::vector<std::string> files;
    const std::unique_ptr<DIR, int (*)(DIR*)> opened(::opendir(path.c_str()), ::closedir);
    if (opened == nullptr) throw Error("the folder cannot be read", path, "check its permissions");
    while (const dirent* entry = ::readdir(opened.get())) files.push_back(root + entry->d_name);
    return image_source(std::move(files), root, path, "the folder holds no image");
}

std::unique_ptr<Source> pattern(const std::string& text) {
    glob_t found{};
    std::vector<std::string> files;
    if (::glob(text.c_str(), 0, nullptr, &found) == 0) files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
    ::globfree(&found);
    std::string root = text.substr(0, text.find_first_of("*?["));
    root = root.substr(0, root.find_last_of('/') + 1);
    return image_source(std::move(files), root, text, "the pattern matches no image");
}

}  // namespace

std::unique_ptr<Source> open_source(const std::string& text, const std::atomic<bool>& stop) {
    if (text.empty()) throw Error("no source named", "", "name a file, folder, pattern, camera number or address");
    if (is_folder(text)) return folder(text);
    if (is_file(text)) {
        if (!has_image_suffix(text)) return video_file(text);
        const std::string name = file_name(text);
        return std::make_unique<ImageSource>(std::vector<std::string>{text}, text.substr(0, text.size() - name.size()));
    }
    if (text.find_first_not_of("0123456789") == std::string::npos && text.size() < 6) return camera(std::stoi(text), stop);
    if (text.compare(0, 10, "/dev/video") == 0 || text.compare(0, 9, "/dev/v4l/") == 0) return camera_file(text, stop);
    if (is_csi_address(text)) return csi_camera(text, stop);
    const std::size_t separator = text.find("://");
    if (separator != std::string::npos) {
        const std::string scheme = text.substr(0, separator);
        for (const char* known : {"rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt"})
            if (scheme == known) return stream(text, stop);
        throw Error("unknown scheme '" + scheme + "'", without_credentials(text), "use rtsp, rtsps, rtmp, http, https, udp, tcp or srt");
    }
    if (text.find_first_of("*?[") != std::string::npos) return pattern(text);
    throw Error("no such source: it is no file, folder, pattern (*, ?), camera number or address (rtsp://, http://)", text,
                "check the path");
}

std::string without_credentials(const std::string& url) {
    const std::size_t separator = url.find("://");
    if (separator == std::string::npos) return url;
    std::string rest = url.substr(separator + 3);
    rest = rest.substr(0, rest.find('?'));
    return url.substr(0, separator + 3) + rest.substr(rest.rfind('@') == std::string::npos ? 0 : rest.rfind('@') + 1);
}

}  // namespace edgedet::runner
