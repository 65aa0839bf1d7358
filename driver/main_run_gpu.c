#include "driver/main_run_gpu.h"

#include "codegen/emit.h"
#include "ir/events.h"

#include <string.h>

runtime_status run_gpu_open(run_gpu *gpu, runtime_message *message) {
  memset(gpu, 0, sizeof *gpu);
  runtime_status status = cuda_open(NULL, &gpu->driver, message);
  return status == RUNTIME_OK ? device_open(&gpu->driver, 0, &gpu->device, message) : status;
}

void run_gpu_close(run_gpu *gpu) {
  device_close(gpu->device);
  gpu->device = NULL;
}

/* Device memory of one launch. */
typedef struct buffers {
  cuda_address *tensors;
  int count;
  cuda_address workspace;
} buffers;

/* A tensor's bytes as the device has them. */
typedef struct image {
  const unsigned char *bytes;
  size_t size;
} image;

static const image *images_of(const record *r, const run_gpu_launch *launch, arena *memory) {
  image *images = ARENA_ARRAY(memory, image, r->tensor_count);
  for (int i = 0; i < r->tensor_count; i++) {
    const data_tensor *t = launch->tensors[i];
    const record_packing *p = r->tensors[i].packing;
    images[i] = (image){t->actual, t->bytes};
    if (p)
      images[i].bytes =
          data_pack(t, p->block_rows, p->block_columns, data_order_of_record(p, memory), memory, &images[i].size);
  }
  return images;
}

static runtime_status prepare(device *d, const record *r, const run_gpu_launch *launch, const image *images,
                              arena *memory, buffers *b, launch_arguments *arguments, runtime_message *message) {
  for (int i = 0; i < r->tensor_count; i++) {
    runtime_status status = device_allocate(d, images[i].size, &b->tensors[i], message);
    if (status == RUNTIME_OK && images[i].size)
      status = device_upload(d, b->tensors[i], images[i].bytes, images[i].size, NULL, message);
    if (status != RUNTIME_OK) return status;
  }
  arguments->sizes = launch->sizes;
  arguments->tensors = b->tensors;
  arguments->scalars = ARENA_ARRAY(memory, launch_scalar, r->scalar_count);
  runtime_status status = launch_workspace_bytes(r, launch->sizes, &arguments->workspace_bytes, message);
  if (status != RUNTIME_OK || !arguments->workspace_bytes) return status;
  status = device_allocate(d, arguments->workspace_bytes, &b->workspace, message);
  arguments->workspace = b->workspace;
  return status == RUNTIME_OK ? device_fill(d, b->workspace, 0, arguments->workspace_bytes, NULL, message) : status;
}

static runtime_status download(device *d, const record *r, const run_gpu_launch *launch, const buffers *b,
                               runtime_message *message) {
  for (int i = 0; i < r->tensor_count; i++) {
    const data_tensor *t = launch->tensors[i];
    if (r->tensors[i].access == RECORD_IN || !t->bytes) continue;
    runtime_status status = device_download(d, t->actual, b->tensors[i], t->bytes, NULL, message);
    if (status != RUNTIME_OK) return status;
  }
  return device_synchronize(d, NULL, message);
}

static void release(device *d, const buffers *b) {
  for (int i = 0; i < b->count; i++)
    device_free(d, b->tensors[i]);
  device_free(d, b->workspace);
}

enum { MOST_SETS = 32 };

/* How many sets of tensors a timing goes round: what the other sets hold is more than the L2, so no launch finds its
 * own tensors there from the last time. */
static int sets_past_l2(const device *d, const record *r, const run_gpu_launch *launch) {
  size_t bytes = 1, l2 = (size_t)device_get_facts(d)->l2_bytes;
  for (int i = 0; i < r->tensor_count; i++)
    bytes += launch->tensors[i]->bytes;
  size_t sets = l2 / bytes + 2;
  return sets < MOST_SETS ? (int)sets : MOST_SETS;
}

static runtime_status measure(device *d, launch_kernel *kernel, const run_gpu_launch *launch, const image *images,
                              arena *memory, launch_timing *timing, runtime_message *message) {
  const record *r = launch_get_record(kernel);
  int count = sets_past_l2(d, r, launch);
  buffers *sets = ARENA_ARRAY(memory, buffers, count);
  launch_arguments *arguments = ARENA_ARRAY(memory, launch_arguments, count);
  runtime_status status = RUNTIME_OK;
  for (int i = 0; i < count; i++) {
    sets[i] = (buffers){ARENA_ARRAY(memory, cuda_address, r->tensor_count), r->tensor_count, 0};
    if (status == RUNTIME_OK) status = prepare(d, r, launch, images, memory, &sets[i], &arguments[i], message);
  }
  /* what overlaps the launch ahead is timed in a row of them: an event between two would part them */
  const launch_timing_options options = {.samples = launch->repeat, .launches_per_sample = r->pdl ? 20 : 1};
  if (status == RUNTIME_OK) status = launch_time(kernel, arguments, count, &options, NULL, timing, message);
  for (int i = 0; i < count; i++)
    release(d, &sets[i]);
  return status;
}

runtime_status run_gpu_execute(run_gpu *gpu, const run_gpu_launch *launch, arena *memory, launch_facts *facts,
                               launch_timing *timing, runtime_message *message) {
  launch_kernel *kernel = NULL;
  runtime_status status = launch_load(gpu->device, launch->cubin, launch->cubin_size, NULL, &kernel, message);
  if (status != RUNTIME_OK) return status;
  const record *r = launch_get_record(kernel);
  *facts = *launch_get_facts(kernel);
  buffers b = {ARENA_ARRAY(memory, cuda_address, r->tensor_count), r->tensor_count, 0};
  launch_arguments arguments = {0};
  const image *images = images_of(r, launch, memory);
  status = prepare(gpu->device, r, launch, images, memory, &b, &arguments, message);
  if (status == RUNTIME_OK) status = launch_run(kernel, &arguments, NULL, message);
  if (status == RUNTIME_OK) status = device_synchronize(gpu->device, NULL, message);
  if (status == RUNTIME_OK) status = download(gpu->device, r, launch, &b, message);
  release(gpu->device, &b);
  if (status == RUNTIME_OK && launch->events)
    status = launch_read_variable(kernel, emit_counts_name(r->entry, memory), launch->events,
                                  sizeof(uint64_t) * IR_EVENT_COUNT, message);
  if (status == RUNTIME_OK && launch->repeat > 0)
    status = measure(gpu->device, kernel, launch, images, memory, timing, message);
  launch_unload(kernel);
  return status;
}
