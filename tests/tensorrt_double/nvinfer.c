/* The symbols of libnvinfer, libnvinfer_plugin and libnvonnxparser that NVIDIA's Python modules need to be imported.
 * Every factory gives nothing: what the modules hold can be looked at, and nothing of it built. */
#define NOTHING(name) \
    void *name(void) { return 0; }

NOTHING(createInferBuilder_INTERNAL)
NOTHING(createInferRefitter_INTERNAL)
NOTHING(createInferRuntime_INTERNAL)
NOTHING(createNvOnnxParser_INTERNAL)
NOTHING(createNvOnnxParserRefitter_INTERNAL)
NOTHING(getBuilderPluginRegistry)
NOTHING(getPluginRegistry)
int getNvOnnxParserVersion(void) { return 0; }
int initLibNvInferPlugins(void) { return 1; }
int getInferLibVersion(void) { return INFER_LIB_VERSION; }

/* libnvparsers of 8.x, by its C++ names. */
#define NOTHING_CALLED(name, symbol) \
    void *name(void) __asm__(symbol); \
    NOTHING(name)
NOTHING_CALLED(uff_parser, "_ZN11nvuffparser15createUffParserEv")
NOTHING_CALLED(uff_field_map, "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi")
NOTHING_CALLED(caffe_parser, "_ZN14nvcaffeparser117createCaffeParserEv")
NOTHING_CALLED(caffe_shutdown, "_ZN14nvcaffeparser123shutdownProtobufLibraryEv")
