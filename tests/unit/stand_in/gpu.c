#include "tests/unit/stand_in/gpu.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static stand_in_gpu gpu;

stand_in_gpu *stand_in(void) { return &gpu; }

bool stand_in_is_closed(void) { return !gpu.contexts && !gpu.modules && !gpu.events && !gpu.memory && !gpu.entered; }

const char *stand_in_nvrtc_path(void) {
  Dl_info info;
  return dladdr(&gpu, &info) ? info.dli_fname : NULL;
}

/* stand_in_init is cuInit, and so on: prototypes and symbols are those of the table. */
#define CUDA_API(member, symbol, needed, arguments)                                                                    \
  __attribute__((visibility("default"))) int stand_in_##member arguments __asm__(symbol);
#include "runtime/cuda_api.def"
#undef CUDA_API

/* What the driver does at once instead of in the order of a stream. Source: CUDA driver API, "Stream Management",
 * cuThreadExchangeStreamCaptureMode, on potentially unsafe calls; that modules and contexts are among them is taken for
 * granted, since loading and unloading may synchronise and allocate. */
static int at_once(atomic_int *counter) {
  atomic_fetch_add(counter, 1);
  if (!gpu.captured) return CUDA_OK;
  atomic_fetch_add(&gpu.refused, 1);
  return STAND_IN_CAPTURE_UNSUPPORTED;
}

/* The default stream waits for the captured one, which a capture cannot have. */
static int enqueue(cuda_stream stream) {
  if (!gpu.captured || stream) return CUDA_OK;
  atomic_fetch_add(&gpu.refused, 1);
  return STAND_IN_CAPTURE_IMPLICIT;
}

/* Pageable memory goes through the driver's own, for which it may wait. Source: CUDA driver API, "API synchronization
 * behavior". */
static int enqueue_copy(cuda_stream stream, const char *host, size_t bytes) {
  bool pinned = gpu.pinned && host >= gpu.pinned && host + bytes <= gpu.pinned_end;
  if (!pinned) atomic_fetch_add(&gpu.staged, 1);
  if (pinned || !gpu.captured) return enqueue(stream);
  atomic_fetch_add(&gpu.refused, 1);
  return STAND_IN_CAPTURE_UNSUPPORTED;
}

static void *some_object(void) { return &gpu; }

/* -- Device and context -------------------------------------------------------------------------------------------------- */

int stand_in_init(unsigned flags) { return (int)flags; }
int stand_in_driver_get_version(int *version) { return *version = 13000, 0; }
int stand_in_get_error_name(int result, const char **text) { return *text = result ? "CUDA_ERROR" : "CUDA_SUCCESS", 0; }
int stand_in_get_error_string(int result, const char **text) {
  return *text = result == 700 ? "illegal address" : "some error", 0;
}
int stand_in_device_get_count(int *count) { return *count = STAND_IN_DEVICES, 0; }
int stand_in_device_get(cuda_device *handle, int ordinal) { return *handle = ordinal, 0; }
int stand_in_device_get_name(char *name, int length, cuda_device handle) {
  return snprintf(name, (size_t)length, "Fake"), handle >= STAND_IN_DEVICES;
}
int stand_in_device_get_attribute(int *value, int attribute, cuda_device handle) {
  *value = attribute == CUDA_DEVICE_CAPABILITY_MAJOR   ? 9
           : attribute == CUDA_DEVICE_CAPABILITY_MINOR ? 0
           : attribute == CUDA_DEVICE_SM_COUNT         ? 132
                                                       : 232448;
  return handle >= STAND_IN_DEVICES;
}
int stand_in_device_total_memory(size_t *bytes, cuda_device handle) {
  return *bytes = (size_t)1 << 30, handle >= STAND_IN_DEVICES;
}
int stand_in_primary_context_retain(cuda_context *context, cuda_device handle) {
  int result = at_once(&gpu.retains);
  if (result != CUDA_OK) return result;
  atomic_fetch_add(&gpu.contexts, 1);
  return *context = some_object(), handle >= STAND_IN_DEVICES;
}
int stand_in_primary_context_release(cuda_device handle) {
  atomic_fetch_sub(&gpu.contexts, 1);
  int result = at_once(&gpu.releases);
  return result ? result : handle >= STAND_IN_DEVICES;
}
int stand_in_context_get_current(cuda_context *context) { return *context = some_object(), 0; }
int stand_in_context_get_device(cuda_device *handle) { return *handle = 0, 0; }
int stand_in_context_push(cuda_context context) { return atomic_fetch_add(&gpu.entered, 1), context == NULL; }
int stand_in_context_pop(cuda_context *context) {
  return atomic_fetch_sub(&gpu.entered, 1), *context = some_object(), 0;
}
int stand_in_context_synchronize(void) { return at_once(&gpu.waits); }

/* -- Memory -------------------------------------------------------------------------------------------------------------- */

int stand_in_memory_allocate(cuda_address *address, size_t bytes) {
  int result = at_once(&gpu.allocations);
  void *memory = NULL;
  if (result != CUDA_OK) return result;
  if (posix_memalign(&memory, 256, bytes) != 0) return CUDA_OUT_OF_MEMORY;
  memset(memory, 0, bytes);
  atomic_fetch_add(&gpu.memory, 1);
  return *address = (cuda_address)(uintptr_t)memory, 0;
}
/* Done all the same: the library has no way to free it later. */
int stand_in_memory_free(cuda_address address) {
  int result = at_once(&gpu.frees);
  atomic_fetch_sub(&gpu.memory, 1);
  free((void *)(uintptr_t)address);
  return result;
}
int stand_in_memory_upload(cuda_address to, const void *from, size_t bytes, cuda_stream stream) {
  int result = enqueue_copy(stream, from, bytes);
  if (result == CUDA_OK && !gpu.captured) memcpy((void *)(uintptr_t)to, from, bytes);
  return result;
}
int stand_in_memory_download(void *to, cuda_address from, size_t bytes, cuda_stream stream) {
  int result = enqueue_copy(stream, to, bytes);
  if (result == CUDA_OK && !gpu.captured) memcpy(to, (void *)(uintptr_t)from, bytes);
  return result;
}
int stand_in_memory_copy(cuda_address to, cuda_address from, size_t bytes, cuda_stream stream) {
  int result = enqueue(stream);
  if (result == CUDA_OK && !gpu.captured) memcpy((void *)(uintptr_t)to, (void *)(uintptr_t)from, bytes);
  return result;
}
int stand_in_memory_fill(cuda_address to, unsigned char value, size_t bytes, cuda_stream stream) {
  int result = enqueue(stream);
  if (result == CUDA_OK && !gpu.captured) memset((void *)(uintptr_t)to, value, bytes);
  return result;
}

/* -- Streams and events -------------------------------------------------------------------------------------------------- */

int stand_in_stream_create(cuda_stream *stream, unsigned flags) { return *stream = some_object(), flags > 1; }
int stand_in_stream_destroy(cuda_stream stream) { return stream == NULL; }
int stand_in_stream_synchronize(cuda_stream stream) { return (void)stream, at_once(&gpu.waits); }
int stand_in_event_create(cuda_event *event, unsigned flags) {
  return atomic_fetch_add(&gpu.events, 1), *event = some_object(), (int)flags;
}
int stand_in_event_destroy(cuda_event event) { return atomic_fetch_sub(&gpu.events, 1), event == NULL; }
int stand_in_event_record(cuda_event event, cuda_stream stream) { return event == NULL ? 1 : enqueue(stream); }
int stand_in_event_synchronize(cuda_event event) { return event == NULL ? 1 : at_once(&gpu.waits); }
int stand_in_event_elapsed(float *milliseconds, cuda_event from, cuda_event to) {
  return *milliseconds = 0.5f, from == NULL || to == NULL;
}

/* -- Modules and launches ------------------------------------------------------------------------------------------------ */

int stand_in_module_load_data(cuda_module *module, const void *image) {
  int result = at_once(&gpu.loads);
  if (gpu.fail_load) result = gpu.fail_load;
  if (result != CUDA_OK) return result;
  atomic_fetch_add(&gpu.modules, 1);
  return *module = some_object(), image == NULL;
}
int stand_in_module_unload(cuda_module module) {
  atomic_fetch_sub(&gpu.modules, 1);
  int result = at_once(&gpu.unloads);
  return result ? result : module == NULL;
}
int stand_in_module_get_function(cuda_function *function, cuda_module module, const char *name) {
  *function = (cuda_function)(void *)module;
  return gpu.entry && strcmp(name, gpu.entry) != 0 ? 500 : 0;
}
int stand_in_module_get_global(cuda_address *address, size_t *bytes, cuda_module module, const char *name) {
  *address = 0, *bytes = 0;
  return module == NULL || name == NULL;
}
int stand_in_function_get_attribute(int *value, int attribute, cuda_function function) {
  return *value = attribute * 10, function == NULL;
}
int stand_in_function_set_attribute(cuda_function function, int attribute, int value) {
  if (attribute == CUDA_FUNCTION_MAX_DYNAMIC_SHARED_BYTES) gpu.dynamic_shared = value;
  return function == NULL || attribute < 0 || value < 0;
}
int stand_in_occupancy_blocks(int *blocks, cuda_function function, int block_threads, size_t shared_bytes) {
  gpu.occupancy_threads = block_threads;
  gpu.occupancy_shared = shared_bytes;
  *blocks = gpu.blocks_per_sm ? gpu.blocks_per_sm : 1;
  return function == NULL || block_threads < 1 || shared_bytes > 232448;
}
int stand_in_occupancy_clusters(int *clusters, cuda_function function, const cuda_launch_config *config) {
  gpu.occupancy_cluster = config->attributes[0].value.cluster.x;
  return *clusters = 60, function == NULL;
}
int stand_in_launch_kernel(const cuda_launch_config *config, cuda_function function, void **parameters, void **extra) {
  int result = enqueue(config->stream);
  if (result != CUDA_OK) return result;
  atomic_fetch_add(&gpu.launches, 1);
  if (!config->grid[0] || !function || !parameters || extra) return 1;
  if (gpu.on_launch) result = gpu.on_launch(config, parameters);
  return result ? result : gpu.fail_launch;
}
int stand_in_tensor_map_encode_tiled(cuda_tensor_map *map, int type, uint32_t rank, void *address,
                                     const uint64_t *extents, const uint64_t *strides, const uint32_t *box,
                                     const uint32_t *element_strides, int interleave, int swizzle, int promotion,
                                     int fill) {
  atomic_fetch_add(&gpu.maps, 1);
  if (gpu.on_map)
    return gpu.on_map(map, type, rank, address, extents, strides, box, element_strides, interleave, swizzle, promotion,
                      fill);
  memset(map, type + (int)rank + interleave + swizzle + promotion + fill, sizeof *map);
  map->opaque[0] = (uint64_t)(uintptr_t)address;
  return !address || !extents || !strides || !box || !element_strides;
}

/* -- Graphs, which bitblas-bench asks the driver for by name ------------------------------------------------------------- */

#define GRAPH_API(name, arguments)                                                                                     \
  __attribute__((visibility("default"))) int name arguments;                                                           \
  int name arguments

GRAPH_API(cuStreamBeginCapture_v2, (cuda_stream stream, int mode)) { return stream == NULL || mode < 0; }
GRAPH_API(cuStreamEndCapture, (cuda_stream stream, void **graph)) { return *graph = some_object(), stream == NULL; }
GRAPH_API(cuGraphInstantiateWithFlags, (void **ready, void *graph, unsigned long long flags)) {
  return *ready = some_object(), graph == NULL || flags != 0;
}
GRAPH_API(cuGraphLaunch, (void *ready, cuda_stream stream)) { return ready == NULL || stream == NULL; }
GRAPH_API(cuGraphDestroy, (void *graph)) { return graph == NULL; }
GRAPH_API(cuGraphExecDestroy, (void *ready)) { return ready == NULL; }

/* -- NVRTC --------------------------------------------------------------------------------------------------------------- */

#define NVRTC_API(name, arguments)                                                                                     \
  __attribute__((visibility("default"))) int name arguments;                                                           \
  int name arguments

typedef struct program_object *program;

/* The least that elf_note_add takes for a cubin: a header, and the section of names, which are none. */
typedef struct cubin {
  Elf64_Ehdr header;
  Elf64_Shdr none, names;
} cubin;

static const cubin least_cubin = {.header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB},
                                             .e_shoff = offsetof(cubin, none),
                                             .e_shentsize = sizeof(Elf64_Shdr),
                                             .e_shnum = 2,
                                             .e_shstrndx = 1},
                                  .names = {.sh_type = SHT_STRTAB, .sh_offset = sizeof(Elf64_Ehdr) - 1, .sh_size = 1}};
const void *stand_in_cubin(size_t *size) { return *size = sizeof least_cubin, &least_cubin; }

static const char some_ptx[] = ".version 9.0\n";

NVRTC_API(nvrtcVersion, (int *major, int *minor)) { return *major = 13, *minor = 0, 0; }
NVRTC_API(nvrtcCreateProgram, (program * p, const char *source, const char *name, int headers, const char *const *texts,
                               const char *const *names)) {
  *p = some_object();
  return !source || !name || headers || texts || names;
}
NVRTC_API(nvrtcDestroyProgram, (program * p)) { return *p = NULL, 0; }
NVRTC_API(nvrtcCompileProgram, (program p, int count, const char *const *options)) {
  return atomic_fetch_add(&gpu.compiles, 1), !p || count < 1 || !options;
}
NVRTC_API(nvrtcGetPTXSize, (program p, size_t *size)) { return *size = sizeof some_ptx, !p; }
NVRTC_API(nvrtcGetPTX, (program p, char *text)) { return memcpy(text, some_ptx, sizeof some_ptx), !p; }
NVRTC_API(nvrtcGetCUBINSize, (program p, size_t *size)) { return *size = sizeof least_cubin, !p; }
NVRTC_API(nvrtcGetCUBIN, (program p, char *bytes)) { return memcpy(bytes, &least_cubin, sizeof least_cubin), !p; }
NVRTC_API(nvrtcGetProgramLogSize, (program p, size_t *size)) { return *size = 1, !p; }
NVRTC_API(nvrtcGetProgramLog, (program p, char *text)) { return *text = '\0', !p; }

__attribute__((visibility("default"))) const char *nvrtcGetErrorString(int result);
const char *nvrtcGetErrorString(int result) { return result ? "some error" : "no error"; }
