// The version of edgedet that this was built with.
#pragma once

#ifndef EDGEDET_VERSION
#define EDGEDET_VERSION "unknown"
#endif
