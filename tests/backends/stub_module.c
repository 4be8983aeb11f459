/* A backend module with one device of this name, or with a fault when it is loaded.

   It has llama.cpp's interface of backends (ggml-backend-impl.h, API version 2) and computes nothing. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef NAME
#define NAME "Vulkan"
#endif
#ifndef UNIT
#define UNIT NULL
#endif
#ifndef API
#define API 2
#endif
#ifndef DEVICES
#define DEVICES 1
#endif

typedef struct reg reg;
typedef struct device device;
typedef struct {
    const char *name, *description;
    size_t memory_free, memory_total;
    int type;
    const char *device_id;
} properties;

struct device {
    const char *(*get_name)(device *);
    const char *(*get_description)(device *);
    void (*get_memory)(device *, size_t *, size_t *);
    int (*get_type)(device *);
    void (*get_props)(device *, properties *);
    void *others[10];
    reg *owner;
    void *context;
};
struct reg {
    int api_version;
    const char *(*get_name)(reg *);
    size_t (*get_device_count)(reg *);
    device *(*get_device)(reg *, size_t);
    void *(*get_proc_address)(reg *, const char *);
    void *context;
};

static reg the_reg;
static const char *name_of(device *self) { (void)self; return NAME "0"; }
static const char *describe(device *self) { (void)self; return "stub of " NAME; }
static void memory(device *self, size_t *available, size_t *total) {
    (void)self;
    *available = 7ul << 30;
    *total = 8ul << 30;
}
static int type(device *self) { (void)self; return 1; }
static void props(device *self, properties *out) {
#ifdef CRASHES_LATER
    abort();
#endif
    out->name = name_of(self);
    out->description = describe(self);
    memory(self, &out->memory_free, &out->memory_total);
    out->type = type(self);
    out->device_id = UNIT;
}
static device the_device = {name_of, describe, memory, type, props, {0}, &the_reg, NULL};

#ifdef DRIVER /* as ggml-cuda: the driver's own library counts the devices */
unsigned cuInit(unsigned flags);
void ggml_log_internal(int level, const char *format, ...);
static size_t num_devices(void) {
    unsigned code = cuInit(0);
    if (code == 0) return DEVICES;
    const char *text = /* of NVIDIA's runtime library, version 13.0 */
        code == 35    ? "CUDA driver version is insufficient for CUDA runtime version"
        : code == 100 ? "no CUDA-capable device is detected"
        : code == 803 ? "system has unsupported display driver / cuda driver combination"
                      : "unknown to this stub";
    ggml_log_internal(4, "ggml_cuda_init: failed to initialize CUDA: %s\n", text);
    return 0;
}
#else
static size_t num_devices(void) { return DEVICES; }
#endif

static const char *reg_name(reg *self) { (void)self; return NAME; }
static size_t count(reg *self) { (void)self; return num_devices(); }
static device *get(reg *self, size_t index) { (void)self; (void)index; return &the_device; }
#ifdef ARCHS /* what the kernels are compiled for */
typedef struct { const char *name, *value; } feature;
static feature the_features[] = {{"OTHER", "1"}, {"ARCHS", ARCHS}, {NULL, NULL}};
static feature *features(reg *self) { (void)self; return the_features; }
static void *address(reg *self, const char *name) {
    (void)self;
    return strcmp(name, "ggml_backend_get_features") ? NULL : (void *)features;
}
#else
static void *address(reg *self, const char *name) { (void)self; (void)name; return NULL; }
#endif
static reg the_reg = {API, reg_name, count, get, address, NULL};

#ifdef UNRESOLVED
int function_of_a_missing_driver(void);
#endif

reg *ggml_backend_init(void) {
#ifdef UNRESOLVED
    function_of_a_missing_driver();
#endif
#ifdef ABORTS
    abort();
#endif
#ifdef HANGS
    for (;;) pause();
#endif
    return &the_reg;
}
