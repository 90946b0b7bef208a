/* edgedet's detectors, for embedding: a C interface that keeps its binary form.
 *
 * No function throws, prints or ends the process. A detector may be used by one thread at a time; several detectors may be
 * used at once. For images of one size, nothing is allocated after the first; what the inference engine allocates is its own.
 */
#ifndef EDGEDET_RUNNER_H
#define EDGEDET_RUNNER_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define EDGEDET_API __attribute__((visibility("default")))
#else
#define EDGEDET_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct edgedet_detector edgedet_detector;

typedef enum {
    EDGEDET_OK = 0,
    EDGEDET_BAD_INPUT = 2, /* a wrong use, or a file that is not what it should be: edgedet_error() says which, and the fix */
    EDGEDET_INTERNAL = 3   /* out of memory, or a defect */
} edgedet_status;

typedef enum { EDGEDET_BGR = 0, EDGEDET_RGB = 1, EDGEDET_GRAY = 2 } edgedet_order;

/* Set by edgedet_default_options; a null text is as good as an empty one. */
typedef struct {
    size_t size;             /* sizeof(edgedet_options), of the program's header */
    int32_t threads;         /* for inference; 0: one a core */
    const char* operators;   /* library of edgedet's operators: code that is run; null: none */
    const char* onnxruntime; /* libonnxruntime.so; null: where libraries are. The first one opened stays */
    double score_threshold;  /* below 0: the model's */
    double iou_threshold;    /* below 0: the model's */
} edgedet_options;

/* 8-bit pixels, row by row. */
typedef struct {
    const uint8_t* data;
    int32_t height, width;
    int64_t stride; /* bytes from row to row */
    edgedet_order order;
} edgedet_image;

/* Corners in pixels of the image. */
typedef struct {
    float x1, y1, x2, y2;
    float score; /* 0 to 1 */
    int32_t class_id;
} edgedet_detection;

EDGEDET_API const char* edgedet_version(void);

/* What the last call of this thread that failed has to say; empty where none did. Holds until the next one. */
EDGEDET_API const char* edgedet_error(void);

EDGEDET_API void edgedet_default_options(edgedet_options* options);

/* The detector in a .onnx or .engine file; null options are the default ones. *detector is null where it fails. */
EDGEDET_API edgedet_status edgedet_open(const char* model, const edgedet_options* options, edgedet_detector** detector);

EDGEDET_API void edgedet_close(edgedet_detector* detector);

/* The detections, best first; they hold until the detector's next call. */
EDGEDET_API edgedet_status edgedet_detect(edgedet_detector* detector, const edgedet_image* image,
                                          const edgedet_detection** detections, size_t* count);

EDGEDET_API int32_t edgedet_class_count(const edgedet_detector* detector);

/* In UTF-8; null where there is no such class. Holds as long as the detector. */
EDGEDET_API const char* edgedet_class_name(const edgedet_detector* detector, int32_t class_id);

/* The network's input. */
EDGEDET_API void edgedet_input_size(const edgedet_detector* detector, int32_t* height, int32_t* width);

/* What runs the network, e.g. `onnxruntime 1.23.2 (cpu)`. Holds as long as the detector. */
EDGEDET_API const char* edgedet_backend(const edgedet_detector* detector);

#ifdef __cplusplus
}
#endif

#endif
