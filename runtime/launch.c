#include "runtime/launch.h"

#include "codegen/elf_note.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The tensor maps of an earlier launch. To make one costs the driver about as much as a launch, and an application runs
 * a kernel on few tensors again and again. */
typedef struct known_maps {
  atomic_flag busy; /* whoever does not get it makes the maps anew */
  bool filled;
  int64_t *sizes;
  uint64_t *tensors;
  unsigned char *maps; /* not aligned as the driver wants them: copied out */
} known_maps;

enum { KNOWN_MAPS = 4 }; /* a power of two */

struct launch_kernel {
  device *device;
  arena *memory; /* holds the record */
  const record *record;
  cuda_module module;
  cuda_function function;
  launch_facts facts;
  known_maps *known; /* KNOWN_MAPS of them; NULL: the kernel has no maps */
};

/* One block of memory: this, then the tensor maps, the other values, the pointers to both. */
struct launch_call {
  alignas(64) const launch_kernel *kernel;
  uint32_t grid[3], shared_bytes;
  cuda_tensor_map *maps;
  uint64_t *values;
  void **pointers;
};

const record *launch_get_record(const launch_kernel *k) { return k->record; }
device *launch_device(const launch_kernel *k) { return k->device; }
const launch_facts *launch_get_facts(const launch_kernel *k) { return &k->facts; }

/* -- Loading ------------------------------------------------------------------------------------------------------- */

/* sm_90a runs on 9.0 alone, sm_120f on 12.x from there on, sm_80 on 8.x from there on: CUDA compiler driver
 * documentation, "GPU feature list". */
static runtime_status check_target(const record *r, const device_facts *facts, runtime_message *message) {
  char *suffix = NULL;
  long number = strncmp(r->target, "sm_", 3) == 0 ? strtol(r->target + 3, &suffix, 10) : 0;
  if (number < 10 || number > 9999) return runtime_fail(message, RUNTIME_BAD_RECORD, "unknown target '%s'", r->target);
  int major = (int)(number / 10), minor = (int)(number % 10);
  bool exact = *suffix == 'a';
  bool fits =
      facts->capability_major == major && (exact ? facts->capability_minor == minor : facts->capability_minor >= minor);
  if (!fits)
    return runtime_fail(message, RUNTIME_WRONG_TARGET, "%s was compiled for %s; this GPU (%s) is sm_%d%d", r->entry,
                        r->target, facts->name, facts->capability_major, facts->capability_minor);
  if (r->shared_bytes > facts->shared_optin_bytes)
    return runtime_fail(message, RUNTIME_WRONG_TARGET,
                        "%s needs %lld bytes of shared memory a block; this GPU (%s) has %d", r->entry,
                        (long long)r->shared_bytes, facts->name, facts->shared_optin_bytes);
  return RUNTIME_OK;
}

/* The record, owned by the kernel: read from the note, or copied by way of its JSON. */
static runtime_status own_record(launch_kernel *k, const void *cubin, size_t size, const record *r,
                                 runtime_message *message) {
  const char *error = NULL;
  if (r) {
    str json = STR_EMPTY;
    if (record_verify(r, k->memory, &error)) {
      record_to_json(r, false, &json);
      k->record = record_from_json(k->memory, json.data, json.length, &error);
    }
    str_free(&json);
  } else {
    size_t length = 0;
    const char *json = elf_note_find(cubin, size, &length, &error);
    k->record = json ? record_from_json(k->memory, json, length, &error) : NULL;
  }
  return k->record ? RUNTIME_OK : runtime_fail(message, RUNTIME_BAD_RECORD, "%s", error);
}

static void make_room_for_maps(launch_kernel *k) {
  const record *r = k->record;
  if (!r->map_count) return;
  k->known = ARENA_ARRAY(k->memory, known_maps, KNOWN_MAPS);
  for (int i = 0; i < KNOWN_MAPS; i++) {
    known_maps *known = &k->known[i];
    atomic_flag_clear(&known->busy);
    known->sizes = ARENA_ARRAY(k->memory, int64_t, r->size_count);
    known->tensors = ARENA_ARRAY(k->memory, uint64_t, r->tensor_count);
    known->maps = ARENA_ARRAY(k->memory, unsigned char, (size_t)r->map_count * sizeof(cuda_tensor_map));
  }
}

static bool has_cluster(const record *r) { return r->cluster[0] * r->cluster[1] * r->cluster[2] > 1; }

/* Whether the blocks of a launch may come to an SM while those of the launch ahead are still there, and are spread by
 * their shared memory. A kernel that has none keeps its L1. */
static bool is_overlapped(const record *r) { return r->pdl && r->shared_bytes > 0 && !has_cluster(r); }

/* Shared memory of a block. Where a launch starts among the blocks of the one ahead, they fill up whatever SMs have room
 * left, and the next launch finds room where they are not: three blocks on one SM and none on another. So as much is
 * asked for that no SM takes more blocks than an even spread gives it. */
static uint32_t shared_bytes_of(const launch_kernel *k, const uint32_t grid[3]) {
  enum { RESERVED_BYTES = 1024, GRAIN = 128 }; /* CUDA C++ programming guide, "Compute Capability 9.x": shared memory */
  const record *r = k->record;
  const device_facts *facts = device_get_facts(k->device);
  uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2], sms = (uint64_t)facts->sm_count;
  uint64_t even = sms ? (blocks + sms - 1) / sms : 0;
  if (!is_overlapped(r) || !even || even >= (uint64_t)k->facts.blocks_per_sm) return (uint32_t)r->shared_bytes;
  int64_t share = (facts->shared_optin_bytes + RESERVED_BYTES) / (int64_t)even / GRAIN * GRAIN - RESERVED_BYTES;
  return (uint32_t)(share > r->shared_bytes ? share : r->shared_bytes);
}

/* Fills config and its (at most two) attributes. */
static void configure(const record *r, const uint32_t grid[3], uint32_t shared_bytes, cuda_stream stream,
                      cuda_launch_attribute attributes[2], cuda_launch_config *config) {
  *config = (cuda_launch_config){.grid = {grid[0], grid[1], grid[2]},
                                 .block = {(uint32_t)r->block_threads, 1, 1},
                                 .shared_bytes = shared_bytes,
                                 .stream = stream,
                                 .attributes = attributes};
  memset(attributes, 0, 2 * sizeof *attributes);
  if (has_cluster(r)) {
    cuda_launch_attribute *a = &attributes[config->attribute_count++];
    a->id = CUDA_ATTRIBUTE_CLUSTER_DIMENSION;
    a->value.cluster.x = (uint32_t)r->cluster[0];
    a->value.cluster.y = (uint32_t)r->cluster[1];
    a->value.cluster.z = (uint32_t)r->cluster[2];
  }
  if (r->pdl) {
    cuda_launch_attribute *a = &attributes[config->attribute_count++];
    a->id = CUDA_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    a->value.programmatic_serialization = 1;
  }
}

static int count_resident(launch_kernel *k) {
  const record *r = k->record;
  const cuda_driver *driver = device_driver(k->device);
  launch_facts *f = &k->facts;
  int result = driver->occupancy_blocks(&f->blocks_per_sm, k->function, r->block_threads, (size_t)r->shared_bytes);
  f->resident_blocks = f->blocks_per_sm * device_get_facts(k->device)->sm_count;
  if (result != CUDA_OK || !has_cluster(r) || !driver->occupancy_clusters) return result;
  cuda_launch_attribute attributes[2];
  cuda_launch_config config;
  int blocks = r->cluster[0] * r->cluster[1] * r->cluster[2], clusters = 0;
  configure(r, (const uint32_t[3]){(uint32_t)r->cluster[0], (uint32_t)r->cluster[1], (uint32_t)r->cluster[2]},
            (uint32_t)r->shared_bytes, NULL, attributes, &config);
  result = driver->occupancy_clusters(&clusters, k->function, &config);
  if (clusters * blocks < f->resident_blocks) f->resident_blocks = clusters * blocks;
  return result;
}

static runtime_status set_up_function(launch_kernel *k, runtime_message *message) {
  const record *r = k->record;
  const cuda_driver *driver = device_driver(k->device);
  const struct {
    int attribute;
    int *value;
  } wanted[] = {{CUDA_FUNCTION_REGISTERS, &k->facts.registers},
                {CUDA_FUNCTION_LOCAL_BYTES, &k->facts.local_bytes},
                {CUDA_FUNCTION_SHARED_BYTES, &k->facts.static_shared_bytes}};
  int result = CUDA_OK;
  for (int i = 0; result == CUDA_OK && i < 3; i++)
    result = driver->function_get_attribute(wanted[i].value, wanted[i].attribute, k->function);
  int most = is_overlapped(r) ? device_get_facts(k->device)->shared_optin_bytes : (int)r->shared_bytes;
  if (result == CUDA_OK && r->shared_bytes > 0)
    result = driver->function_set_attribute(k->function, CUDA_FUNCTION_MAX_DYNAMIC_SHARED_BYTES, most);
  if (result == CUDA_OK && r->cluster[0] * r->cluster[1] * r->cluster[2] > CUDA_PORTABLE_CLUSTER_BLOCKS)
    result = driver->function_set_attribute(k->function, CUDA_FUNCTION_NON_PORTABLE_CLUSTER, 1);
  if (result == CUDA_OK) result = count_resident(k);
  return result == CUDA_OK ? RUNTIME_OK : cuda_fail(driver, message, r->entry, result);
}

static runtime_status load_module(launch_kernel *k, const void *cubin, runtime_message *message) {
  const cuda_driver *driver = device_driver(k->device);
  if (!driver->launch_kernel || (k->record->map_count && !driver->tensor_map_encode_tiled))
    return runtime_fail(message, RUNTIME_NO_DRIVER, "the CUDA driver is too old for %s: it must be of CUDA 12",
                        k->record->entry);
  int result = driver->module_load_data(&k->module, cubin);
  if (result != CUDA_OK) {
    runtime_status status = cuda_fail(driver, message, "loading the cubin", result);
    return status == RUNTIME_DRIVER ? RUNTIME_BAD_CUBIN : status;
  }
  if (driver->module_get_function(&k->function, k->module, k->record->entry) != CUDA_OK)
    return runtime_fail(message, RUNTIME_BAD_CUBIN, "the cubin has no kernel '%s'", k->record->entry);
  return set_up_function(k, message);
}

runtime_status launch_load(device *d, const void *cubin, size_t size, const record *r, launch_kernel **out,
                           runtime_message *message) {
  if (!elf_is_elf(cubin, size)) return runtime_fail(message, RUNTIME_BAD_CUBIN, "not a cubin");
  launch_kernel *k = calloc(1, sizeof *k);
  if (!k) return runtime_fail(message, RUNTIME_OUT_OF_MEMORY, "no memory to load a kernel");
  k->device = d;
  k->memory = arena_create();
  runtime_status status = own_record(k, cubin, size, r, message);
  if (status == RUNTIME_OK) status = check_target(k->record, device_get_facts(d), message);
  if (status == RUNTIME_OK) status = device_enter(d, message);
  if (status == RUNTIME_OK) {
    make_room_for_maps(k);
    status = load_module(k, cubin, message);
    device_leave(d);
  }
  if (status == RUNTIME_OK)
    *out = k;
  else
    launch_unload(k);
  return status;
}

void launch_unload(launch_kernel *k) {
  if (!k) return;
  if (k->module && device_enter(k->device, NULL) == RUNTIME_OK) {
    device_driver(k->device)->module_unload(k->module);
    device_leave(k->device);
  }
  arena_destroy(k->memory);
  free(k);
}

runtime_status launch_read_variable(const launch_kernel *k, const char *name, void *to, size_t bytes,
                                    runtime_message *message) {
  cuda_address address = 0;
  size_t size = 0;
  runtime_status status = device_enter(k->device, message);
  if (status != RUNTIME_OK) return status;
  int result = device_driver(k->device)->module_get_global(&address, &size, k->module, name);
  device_leave(k->device);
  if (result != CUDA_OK || size != bytes)
    return runtime_fail(message, RUNTIME_BAD_CUBIN, "%s has no variable %s of %zu bytes", k->record->entry, name,
                        bytes);
  status = device_download(k->device, to, address, bytes, NULL, message);
  return status == RUNTIME_OK ? device_synchronize(k->device, NULL, message) : status;
}

/* -- Launching ----------------------------------------------------------------------------------------------------- */

/* A tensor without elements still gets a map, which nothing reads: the driver refuses an extent or a stride of 0. */
static int64_t at_least(int64_t value, int64_t least) { return value < least ? least : value; }

static runtime_status make_map(const launch_kernel *k, const launch_arguments *arguments, int index,
                               cuda_tensor_map *map, runtime_message *message) {
  const record *r = k->record;
  const record_map *m = &r->maps[index];
  const char *name = r->tensors[m->tensor].name;
  uint64_t extents[RECORD_MAP_RANK_MAX] = {0}, strides[RECORD_MAP_RANK_MAX] = {0};
  uint32_t box[RECORD_MAP_RANK_MAX] = {0}, element_strides[RECORD_MAP_RANK_MAX] = {0};
  for (int i = 0; i < m->rank; i++) {
    int64_t extent = 0, stride = 0;
    const char *why = NULL;
    bool ok = size_evaluate(m->extents[i], arguments->sizes, r->size_count, &extent, &why);
    if (ok && i + 1 < m->rank) ok = size_evaluate(m->strides[i], arguments->sizes, r->size_count, &stride, &why);
    if (!ok) return runtime_fail(message, RUNTIME_BAD_ARGUMENT, "%s: the tensor map of %s: %s", r->entry, name, why);
    if (stride % 16 != 0 || stride >= (int64_t)1 << 40)
      return runtime_fail(message, RUNTIME_BAD_ARGUMENT,
                          "%s: rows of %s are %lld bytes apart; the GPU's copy engine needs a multiple of 16", r->entry,
                          name, (long long)stride);
    extents[i] = (uint64_t)at_least(extent, 1);
    strides[i] = (uint64_t)at_least(stride, 16);
    box[i] = (uint32_t)m->box[i];
    element_strides[i] = (uint32_t)m->element_strides[i];
  }
  int type = 0;
  int32_t element_bytes = 0;
  record_map_type(m->type, &type, &element_bytes);
  const cuda_driver *driver = device_driver(k->device);
  int result = driver->tensor_map_encode_tiled(
      map, type, (uint32_t)m->rank, (void *)(uintptr_t)arguments->tensors[m->tensor], extents, strides, box,
      element_strides, 0, record_swizzle_code(m->swizzle_bytes), record_promotion_code(m->promotion_bytes), 0);
  return result == CUDA_OK ? RUNTIME_OK : cuda_fail(driver, message, name, result);
}

static size_t align_64(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* Where the parts of a call lie, from its beginning. */
typedef struct call_layout {
  size_t maps, values, pointers, bytes;
} call_layout;

static call_layout lay_out_call(const record *r) {
  call_layout l = {.maps = align_64(sizeof(launch_call))};
  size_t count = (size_t)r->parameter_count;
  l.values = l.maps + (size_t)r->map_count * sizeof(cuda_tensor_map);
  l.pointers = l.values + count * sizeof(uint64_t);
  l.bytes = align_64(l.pointers + count * sizeof(void *));
  return l;
}

/* Makes an empty call of 64-byte aligned memory. */
static launch_call *place_call(const launch_kernel *k, const call_layout *l, unsigned char *memory) {
  memset(memory, 0, l->bytes);
  launch_call *call = (launch_call *)(void *)memory;
  call->kernel = k;
  call->maps = (cuda_tensor_map *)(void *)(memory + l->maps);
  call->values = (uint64_t *)(void *)(memory + l->values);
  call->pointers = (void **)(void *)(memory + l->pointers);
  return call;
}

/* Little-endian hosts only, as CUDA's: the low bytes of a value are the narrower type's. */
static void fill_parameters(launch_call *call, const launch_arguments *arguments) {
  const record *r = call->kernel->record;
  for (int i = 0; i < r->parameter_count; i++) {
    const record_parameter *p = &r->parameters[i];
    call->pointers[i] = p->kind == RECORD_MAP ? (void *)&call->maps[p->index] : (void *)&call->values[i];
    switch (p->kind) {
    case RECORD_TENSOR:
      call->values[i] = arguments->tensors[p->index];
      break;
    case RECORD_SIZE:
      call->values[i] = (uint64_t)arguments->sizes[p->index];
      break;
    case RECORD_SCALAR:
      memcpy(&call->values[i], &arguments->scalars[p->index], sizeof call->values[i]);
      break;
    case RECORD_WORKSPACE:
      call->values[i] = arguments->workspace;
      break;
    case RECORD_MAP:
      break;
    }
  }
}

static bool is_empty(const uint32_t grid[3]) { return grid[0] == 0 || grid[1] == 0 || grid[2] == 0; }

static runtime_status make_maps(const launch_kernel *k, const launch_arguments *arguments, cuda_tensor_map *maps,
                                runtime_message *message) {
  runtime_status status = RUNTIME_OK;
  for (int i = 0; status == RUNTIME_OK && i < k->record->map_count; i++)
    status = make_map(k, arguments, i, &maps[i], message);
  return status;
}

static bool is_known(const record *r, const known_maps *known, const launch_arguments *arguments) {
  if (!known->filled) return false;
  for (int i = 0; i < r->size_count; i++)
    if (known->sizes[i] != arguments->sizes[i]) return false;
  return memcmp(known->tensors, arguments->tensors, (size_t)r->tensor_count * sizeof *known->tensors) == 0;
}

/* Makes the maps, or takes those of the last launch with the same tensors and sizes. */
static runtime_status find_maps(launch_kernel *k, const launch_arguments *arguments, cuda_tensor_map *maps,
                                runtime_message *message) {
  const record *r = k->record;
  if (!r->map_count) return RUNTIME_OK;
  uint64_t mixed = 0;
  for (int i = 0; i < r->tensor_count; i++)
    mixed = (mixed ^ arguments->tensors[i] >> 8) * 0x9E3779B97F4A7C15u;
  known_maps *known = &k->known[mixed >> 62 & (KNOWN_MAPS - 1)];
  if (atomic_flag_test_and_set_explicit(&known->busy, memory_order_acquire))
    return make_maps(k, arguments, maps, message);
  runtime_status status = RUNTIME_OK;
  size_t bytes = (size_t)r->map_count * sizeof *maps;
  if (is_known(r, known, arguments)) {
    memcpy(maps, known->maps, bytes);
  } else {
    status = make_maps(k, arguments, maps, message);
    known->filled = status == RUNTIME_OK;
    memcpy(known->maps, maps, bytes);
    if (r->size_count) memcpy(known->sizes, arguments->sizes, (size_t)r->size_count * sizeof *known->sizes);
    memcpy(known->tensors, arguments->tensors, (size_t)r->tensor_count * sizeof *known->tensors);
  }
  atomic_flag_clear_explicit(&known->busy, memory_order_release);
  return status;
}

static runtime_status no_memory(const launch_kernel *k, runtime_message *message) {
  return runtime_fail(message, RUNTIME_OUT_OF_MEMORY, "no memory to launch %s", k->record->entry);
}

/* The arguments were checked, and the device's context is current: cuTensorMapEncodeTiled refuses to work without one,
 * though it touches no device. */
static runtime_status fill_call(launch_kernel *k, const launch_arguments *arguments, launch_call *call,
                                runtime_message *message) {
  runtime_status status = launch_grid(k->record, arguments->sizes, k->facts.resident_blocks, call->grid, message);
  if (status == RUNTIME_OK && !is_empty(call->grid)) status = find_maps(k, arguments, call->maps, message);
  if (status == RUNTIME_OK) {
    call->shared_bytes = shared_bytes_of(k, call->grid);
    fill_parameters(call, arguments);
  }
  return status;
}

runtime_status launch_prepare(launch_kernel *k, const launch_arguments *arguments, launch_call **out,
                              runtime_message *message) {
  runtime_status status = launch_check(k->record, arguments, message);
  if (status != RUNTIME_OK) return status;
  const call_layout layout = lay_out_call(k->record);
  unsigned char *memory = aligned_alloc(64, layout.bytes);
  if (!memory) return no_memory(k, message);
  launch_call *call = place_call(k, &layout, memory);
  status = device_enter(k->device, message);
  if (status == RUNTIME_OK) {
    status = fill_call(k, arguments, call, message);
    device_leave(k->device);
  }
  if (status == RUNTIME_OK)
    *out = call;
  else
    free(call);
  return status;
}

void launch_call_free(launch_call *call) { free(call); }

/* In the device's context already. */
static runtime_status enqueue(const launch_call *call, cuda_stream stream, runtime_message *message) {
  if (is_empty(call->grid)) return RUNTIME_OK;
  cuda_launch_attribute attributes[2];
  cuda_launch_config config;
  const cuda_driver *driver = device_driver(call->kernel->device);
  configure(call->kernel->record, call->grid, call->shared_bytes, stream, attributes, &config);
  int result = driver->launch_kernel(&config, call->kernel->function, call->pointers, NULL);
  return result == CUDA_OK ? RUNTIME_OK : cuda_fail(driver, message, call->kernel->record->entry, result);
}

runtime_status launch_enqueue(const launch_call *call, cuda_stream stream, runtime_message *message) {
  device *d = call->kernel->device;
  runtime_status status = device_enter(d, message);
  if (status != RUNTIME_OK) return status;
  status = enqueue(call, stream, message);
  device_leave(d);
  return status;
}

runtime_status launch_run(launch_kernel *k, const launch_arguments *arguments, cuda_stream stream,
                          runtime_message *message) {
  runtime_status status = launch_check(k->record, arguments, message);
  return status == RUNTIME_OK ? launch_run_checked(k, arguments, stream, message) : status;
}

runtime_status launch_run_checked(launch_kernel *k, const launch_arguments *arguments, cuda_stream stream,
                                  runtime_message *message) {
  enum { USUAL_BYTES = 8192 }; /* whatever a kernel's 4 KiB of parameters are: 32 tensor maps, or 256 others */
  alignas(64) unsigned char usual[USUAL_BYTES];
  const call_layout layout = lay_out_call(k->record);
  unsigned char *memory = layout.bytes <= USUAL_BYTES ? usual : aligned_alloc(64, layout.bytes);
  if (!memory) return no_memory(k, message);
  launch_call *call = place_call(k, &layout, memory);
  runtime_status status = device_enter(k->device, message);
  if (status == RUNTIME_OK) {
    status = fill_call(k, arguments, call, message);
    if (status == RUNTIME_OK) status = enqueue(call, stream, message);
    device_leave(k->device);
  }
  if (memory != usual) free(memory);
  return status;
}
