/* The part of NVIDIA's management library that is asked for power: GPUs that take 30 W.
 *
 * Chosen when it is compiled: GPUS, how many there are; ENERGY, whether they count energy; LOST, after how many questions
 * for power or energy the GPU falls off the bus; REASONS, the bits of why it is slow; OLD, with the older name of these;
 * SLOW, how many seconds it thinks about its temperature.
 */
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, GPU_IS_LOST = 15 };
enum { MILLIWATTS = 30000, CELSIUS = 71 };

static int opened, questions;

int nvmlInit_v2(void) {
    ++opened;
    return SUCCESS;
}

int nvmlShutdown(void) {
    --opened;
    return SUCCESS;
}

/* Not NVIDIA's: how often it is open. */
int times_open(void) { return opened; }

const char *nvmlErrorString(int status) {
    return status == GPU_IS_LOST ? "GPU is lost" : status == NOT_FOUND ? "Not Found" : "Some Error";
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = GPUS;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned place, void **device) {
    if (place >= GPUS) return INVALID_ARGUMENT;
    *device = &opened;
    return SUCCESS;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device) {
    if (strcmp(bus, "0000:01:00.0") != 0) return NOT_FOUND;
    *device = &opened;
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *name, unsigned size) {
    static const char known[] = "NVIDIA T4";
    if (device != &opened || size < sizeof known) return INVALID_ARGUMENT;
    memcpy(name, known, sizeof known);
    return SUCCESS;
}

static int is_lost(void *device) { return device != &opened || questions++ >= LOST; }

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
    if (is_lost(device)) return GPU_IS_LOST;
    *milliwatts = MILLIWATTS;
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    struct timespec now;
    if (!ENERGY) return NOT_SUPPORTED;
    if (is_lost(device)) return GPU_IS_LOST;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *millijoules = (unsigned long long)((now.tv_sec + now.tv_nsec * 1e-9) * MILLIWATTS);
    return SUCCESS;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) {
    if (device != &opened || sensor != 0) return INVALID_ARGUMENT;
    sleep(SLOW);
    *celsius = CELSIUS;
    return SUCCESS;
}

#ifdef OLD
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons)
#else
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons)
#endif
{
    if (device != &opened) return INVALID_ARGUMENT;
    *reasons = REASONS;
    return SUCCESS;
}
