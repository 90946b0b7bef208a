// Neither OpenCV nor stb: only what decode.cpp reads by itself.
#include "decode.h"

namespace edgedet::runner {

std::string decoder_name() { return "none"; }

Image decode_by_library(const std::vector<unsigned char>&) { return {}; }

}  // namespace edgedet::runner
