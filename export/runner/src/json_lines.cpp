#include "json_lines.h"

#include "json_write.h"

namespace edgedet::runner {

void write_json_line(std::string& out, const FrameInfo& info, const Detections& detections, const Timings& timings,
                     const std::vector<std::string>& class_names) {
    out = "{\"source\": ";
    write_json_string(out, info.source);
    const auto integer = [&out](const char* key, long long value) {
        out += key;
        write_json_integer(out, value);
    };
    integer(", \"frame\": ", info.frame);
    integer(", \"width\": ", info.width);
    integer(", \"height\": ", info.height);
    out += ", \"detections\": [";
    for (std::size_t place = 0; place < detections.size(); ++place) {
        const Detection& found = detections[place];
        out += place == 0 ? "{\"xyxy\": [" : ", {\"xyxy\": [";
        for (const float* corner : {&found.x1, &found.y1, &found.x2, &found.y2}) {
            if (corner != &found.x1) out += ", ";
            write_json_number(out, static_cast<double>(*corner));
        }
        out += "], \"score\": ";
        write_json_number(out, static_cast<double>(found.score));
        integer(", \"class_id\": ", found.class_id);
        out += ", \"name\": ";
        write_json_string(out, class_names.at(static_cast<std::size_t>(found.class_id)));
        out += '}';
    }
    out += "], \"ms\": {\"preprocess\": ";
    write_json_number(out, timings.preprocess);
    out += ", \"inference\": ";
    write_json_number(out, timings.inference);
    out += ", \"postprocess\": ";
    write_json_number(out, timings.postprocess);
    out += '}';
    if (info.stream != nullptr) {
        integer(", \"stream\": {\"read\": ", info.stream->read);
        integer(", \"dropped\": ", info.stream->dropped);
        integer(", \"reconnections\": ", info.stream->reconnections);
        out += ", \"lost_seconds\": ";
        write_json_number(out, info.stream->lost_seconds);
        out += '}';
    }
    out += "}\n";
}

}  // namespace edgedet::runner
