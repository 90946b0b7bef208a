/* The part of the CUDA runtime that edgedet uses, on the host: "device" memory is the host's, streams are lists.
 *
 * As on a GPU, what is put on a stream runs later: here when somebody waits for it. So a missing wait shows. Events tell
 * when that was. The environment says what GPU it claims to be, and what fails.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100 };
enum { INVALID_HANDLE = 400, NOT_READY = 600, ILLEGAL_ADDRESS = 700, CAPTURE_UNSUPPORTED = 900 };

typedef struct Stream Stream;

/* A place in a stream. Its event, the stream and who waits for it hold it together. */
typedef struct {
    Stream *stream; /* NULL where it was destroyed before it came there */
    int reached, holders;
    double milliseconds;
} Mark;

typedef struct Work {
    void *target;
    const void *source;
    size_t size;
    void (*function)(void *);
    void *argument;
    Mark *reaches, *waits_for;
    struct Work *next;
} Work;

typedef struct {
    Work *first, *last;
} List;

struct Stream {
    List waiting, captured;
    int capturing;
};

typedef struct {
    Mark *mark; /* the last; NULL before the first */
} Event;

static long live_allocations, launched_graphs, copies, blocking_events;
static size_t allocated;
static int last_error;

long host_cuda_live_allocations(void) { return live_allocations; }
long host_cuda_launched_graphs(void) { return launched_graphs; }
long host_cuda_copies(void) { return copies; }
long host_cuda_blocking_events(void) { return blocking_events; }

static int failed(int code) {
    last_error = code;
    return code;
}

static const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value == NULL ? otherwise : value;
}

static size_t memory(void) { return (size_t)atol(setting("HOST_CUDA_MEBIBYTES", "4096")) << 20; }

int cudaGetLastError(void) {
    int code = last_error;
    last_error = SUCCESS;
    return code;
}

const char *cudaGetErrorString(int code) {
    switch (code) {
    case OUT_OF_MEMORY: return "out of memory";
    case NO_DEVICE: return "no CUDA-capable device is detected";
    case INVALID_HANDLE: return "invalid resource handle";
    case NOT_READY: return "device not ready";
    case ILLEGAL_ADDRESS: return "an illegal memory access was encountered";
    case CAPTURE_UNSUPPORTED: return "operation not permitted when stream is capturing";
    default: return "invalid argument";
    }
}

int cudaGetDevice(int *device) {
    *device = 0;
    return getenv("HOST_CUDA_NO_DEVICE") ? failed(NO_DEVICE) : SUCCESS;
}

int cudaGetDeviceProperties(char *properties, int device) {
    (void)device;
    snprintf(properties, 256, "%s", setting("HOST_CUDA_NAME", "Orin"));
    return SUCCESS;
}

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    int major, minor;
    (void)device;
    sscanf(setting("HOST_CUDA_CAPABILITY", "8.7"), "%d.%d", &major, &minor);
    *value = attribute == 75 ? major : attribute == 76 ? minor : atoi(setting("HOST_CUDA_MULTIPROCESSORS", "8"));
    return SUCCESS;
}

int cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    *total = memory();
    *free_bytes = *total - allocated;
    return SUCCESS;
}

int cudaRuntimeGetVersion(int *version) {
    *version = 12060;
    return SUCCESS;
}

int cudaDriverGetVersion(int *version) {
    *version = 12060;
    return SUCCESS;
}

/* The size stands before the memory, which starts at a multiple of 256 as CUDA's does. */
static int allocate(void **pointer, size_t size) {
    if (allocated + size > memory()) return failed(OUT_OF_MEMORY);
    char *block = aligned_alloc(256, (size + 511) / 256 * 256);
    if (block == NULL) return failed(OUT_OF_MEMORY);
    memset(block, 0xA5, (size + 511) / 256 * 256);
    memcpy(block, &size, sizeof size);
    *pointer = block + 256;
    allocated += size;
    live_allocations++;
    return SUCCESS;
}

static int release(void *pointer) {
    if (pointer == NULL) return SUCCESS;
    size_t size;
    memcpy(&size, (char *)pointer - 256, sizeof size);
    allocated -= size;
    live_allocations--;
    free((char *)pointer - 256);
    return SUCCESS;
}

int cudaMalloc(void **pointer, size_t size) { return allocate(pointer, size); }
int cudaFree(void *pointer) { return release(pointer); }
int cudaHostAlloc(void **pointer, size_t size, unsigned flags) { return flags ? failed(INVALID_VALUE) : allocate(pointer, size); }
int cudaFreeHost(void *pointer) { return release(pointer); }

static void add(List *list, Work work) {
    Work *copy = malloc(sizeof work);
    *copy = work;
    copy->next = NULL;
    if (list->last == NULL) list->first = copy;
    else list->last->next = copy;
    list->last = copy;
}

static Mark *hold(Mark *mark) {
    mark->holders++;
    return mark;
}

static void let_go(Mark *mark) {
    if (mark != NULL && --mark->holders == 0) free(mark);
}

static void forget(Work *work) {
    if (work->reaches != NULL) work->reaches->stream = NULL;
    let_go(work->reaches);
    let_go(work->waits_for);
    free(work);
}

static void clear(List *list) {
    for (Work *work = list->first; work != NULL;) {
        Work *next = work->next;
        forget(work);
        work = next;
    }
    list->first = list->last = NULL;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void come_to(const Mark *mark);

/* Runs the first that waits on a stream. */
static void advance(Stream *stream) {
    Work *work = stream->waiting.first;
    stream->waiting.first = work->next;
    if (work->next == NULL) stream->waiting.last = NULL;
    if (work->reaches != NULL) work->reaches->milliseconds = now(), work->reaches->reached = 1;
    else if (work->waits_for != NULL) come_to(work->waits_for);
    else if (work->function != NULL) work->function(work->argument);
    else memcpy(work->target, work->source, work->size), copies++;
    forget(work);
}

/* Runs what lies before a mark on its stream. */
static void come_to(const Mark *mark) {
    while (!mark->reached && mark->stream != NULL) advance(mark->stream);
}

static int put(Stream *stream, Work work) {
    if (stream == NULL) return failed(INVALID_VALUE);
    add(stream->capturing ? &stream->captured : &stream->waiting, work);
    return SUCCESS;
}

int cudaStreamCreate(Stream **stream) {
    *stream = calloc(1, sizeof(Stream));
    live_allocations++;
    return SUCCESS;
}

int cudaStreamDestroy(Stream *stream) {
    clear(&stream->waiting);
    clear(&stream->captured);
    free(stream);
    live_allocations--;
    return SUCCESS;
}

int cudaStreamSynchronize(Stream *stream) {
    if ((uintptr_t)stream <= 2) return SUCCESS; /* the default streams */
    if (stream->capturing) return failed(CAPTURE_UNSUPPORTED);
    while (stream->waiting.first != NULL) advance(stream);
    return getenv("HOST_CUDA_ILLEGAL_ADDRESS") ? failed(ILLEGAL_ADDRESS) : SUCCESS;
}

int cudaMemcpyAsync(void *target, const void *source, size_t size, int kind, Stream *stream) {
    (void)kind;
    Work work = {.target = target, .source = source, .size = size};
    return put(stream, work);
}

int cudaLaunchHostFunc(Stream *stream, void (*function)(void *), void *argument) {
    Work work = {.function = function, .argument = argument};
    return put(stream, work);
}

int cudaEventCreateWithFlags(Event **event, unsigned flags) {
    if (flags > 1) return failed(INVALID_VALUE);
    *event = calloc(1, sizeof(Event));
    blocking_events += flags;
    live_allocations++;
    return SUCCESS;
}

int cudaEventDestroy(Event *event) {
    let_go(event->mark);
    free(event);
    live_allocations--;
    return SUCCESS;
}

int cudaEventRecord(Event *event, Stream *stream) {
    if (stream == NULL || stream->capturing) return failed(stream == NULL ? INVALID_VALUE : CAPTURE_UNSUPPORTED);
    let_go(event->mark);
    event->mark = hold(calloc(1, sizeof(Mark)));
    event->mark->stream = stream;
    Work work = {.reaches = hold(event->mark)};
    return put(stream, work);
}

int cudaEventSynchronize(const Event *event) {
    if (event->mark != NULL) come_to(event->mark);
    return getenv("HOST_CUDA_ILLEGAL_ADDRESS") ? failed(ILLEGAL_ADDRESS) : SUCCESS;
}

int cudaEventElapsedTime(float *milliseconds, const Event *start, const Event *end) {
    if (start->mark == NULL || end->mark == NULL) return failed(INVALID_HANDLE);
    if (!start->mark->reached || !end->mark->reached) return failed(NOT_READY);
    *milliseconds = (float)(end->mark->milliseconds - start->mark->milliseconds);
    return SUCCESS;
}

int cudaStreamWaitEvent(Stream *stream, const Event *event, unsigned flags) {
    if (stream == NULL || flags) return failed(INVALID_VALUE);
    if (stream->capturing) return failed(CAPTURE_UNSUPPORTED);
    if (event->mark == NULL) return SUCCESS;
    Work work = {.waits_for = hold(event->mark)};
    return put(stream, work);
}

int cudaStreamBeginCapture(Stream *stream, int mode) {
    (void)mode;
    if (getenv("HOST_CUDA_NO_CAPTURE")) return failed(CAPTURE_UNSUPPORTED);
    stream->capturing = 1;
    return SUCCESS;
}

int cudaStreamEndCapture(Stream *stream, List **graph) {
    *graph = malloc(sizeof(List));
    **graph = stream->captured;
    stream->captured.first = stream->captured.last = NULL;
    stream->capturing = 0;
    live_allocations++;
    return SUCCESS;
}

int cudaStreamIsCapturing(Stream *stream, int *status) {
    *status = stream->capturing;
    return SUCCESS;
}

int cudaGraphInstantiateWithFlags(List **executable, const List *graph, unsigned long long flags) {
    if (flags != 0) return failed(INVALID_VALUE);
    *executable = calloc(1, sizeof(List));
    for (const Work *work = graph->first; work != NULL; work = work->next) add(*executable, *work);
    live_allocations++;
    return SUCCESS;
}

int cudaGraphDestroy(List *graph) {
    clear(graph);
    free(graph);
    live_allocations--;
    return SUCCESS;
}

int cudaGraphExecDestroy(List *executable) { return cudaGraphDestroy(executable); }

int cudaGraphLaunch(const List *executable, Stream *stream) {
    launched_graphs++;
    for (const Work *work = executable->first; work != NULL; work = work->next) put(stream, *work);
    return SUCCESS;
}
