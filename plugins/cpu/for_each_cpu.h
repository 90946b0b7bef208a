// For functions whose loops the compiler vectorises: once for each kind of x86 CPU; the loader chooses.
#pragma once

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && __GNUC__ >= 12  // earlier ones know no such names
#define EDGEDET_FOR_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EDGEDET_FOR_EACH_CPU
#endif
