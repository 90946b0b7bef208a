#include "csi.h"

#include <strings.h>

#include "error.h"

namespace edgedet::runner {
namespace {

struct Setting {
    const char* name;
    int value, lowest, highest;
};

[[noreturn]] void refuse(const std::string& what, const std::string& address) {
    throw Error(what, address, "write csi:0, or csi://0?width=1280&height=720&fps=30&flip=2");
}

int number(const std::string& text, const std::string& address) {
    if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != std::string::npos)
        refuse("not the address of a CSI camera", address);
    return std::stoi(text);
}

}  // namespace

bool is_csi_address(const std::string& text) { return ::strncasecmp(text.c_str(), "csi:", 4) == 0; }

std::string csi_pipeline(const std::string& address) {
    std::string rest = address.substr(4);
    if (rest.compare(0, 2, "//") == 0) rest = rest.substr(2);
    const std::size_t question = rest.find('?');
    const std::string sensor = rest.substr(0, question);
    if (sensor.size() > 2) refuse("not the address of a CSI camera", address);
    Setting settings[] = {{"width", 1280, 16, 16384}, {"height", 720, 16, 16384}, {"fps", 30, 1, 240}, {"flip", 0, 0, 7}};
    std::string given = question == std::string::npos ? "" : rest.substr(question + 1) + "&";
    if (given == "&") given.clear();  // `csi:0?` says nothing
    for (std::size_t end; (end = given.find('&')) != std::string::npos; given = given.substr(end + 1)) {
        const std::string pair = given.substr(0, end);
        const std::size_t equals = pair.find('=');
        if (equals == std::string::npos) refuse("not the address of a CSI camera", address);
        bool is_known = false;
        for (Setting& setting : settings) {
            if (pair.substr(0, equals) != setting.name) continue;
            is_known = true;
            setting.value = number(pair.substr(equals + 1), address);
            if (setting.value < setting.lowest || setting.value > setting.highest)
                refuse(std::string(setting.name) + " must be from " + std::to_string(setting.lowest) + " to " +
                           std::to_string(setting.highest),
                       address);
        }
        if (!is_known) refuse("unknown setting " + pair.substr(0, equals), address);
    }
    const auto value = [&](int place) { return std::to_string(settings[place].value); };
    return "nvarguscamerasrc sensor-id=" + std::to_string(number(sensor, address)) +
           " ! video/x-raw(memory:NVMM), width=" + value(0) + ", height=" + value(1) + ", framerate=" + value(2) +
           "/1, format=NV12 ! nvvidconv flip-method=" + value(3) +
           " ! video/x-raw, format=BGRx ! videoconvert ! video/x-raw, format=BGR"
           " ! appsink drop=true max-buffers=1 sync=false";
}

}  // namespace edgedet::runner
