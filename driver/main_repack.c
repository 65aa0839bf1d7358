/* bitblasc repack: converts the quantised weights of a checkpoint to the canonical form, one at a time, and copies every
 * other tensor as it is. */
#include "driver/main_session.h"

#include "lib/checkpoint.h"
#include "lib/format.h"
#include "lib/safetensors_write.h"

#include <inttypes.h>
#include <limits.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FORGET_BYTES = 1 << 20 }; /* copies of this size are worth a call to the system */

typedef struct repack {
  arena *memory;
  bitblas_checkpoint *checkpoint;
  safetensors_writer *writer;
  bitblas_weight_config config;
  const char *prefix; /* of the weights to convert */
  bool *used;         /* by tensor: it belongs to a weight that is converted */
  uint64_t done, all; /* bytes of the input */
  double start, shown;
  int converted;
  const char *note; /* the last one printed: many layers have the same */
} repack;

static int fail(compile_status status) {
  fprintf(stderr, "bitblasc: error: %s\n", bitblas_last_message());
  return (int)status;
}

/* -- Progress ------------------------------------------------------------------------------------------------------ */

static void show_progress(repack *r, bool last) {
  enum { WIDTH = 40, EVERY_MS = 100 };
  double now = session_now();
  if (!isatty(STDERR_FILENO) || (!last && now - r->shown < EVERY_MS)) return;
  r->shown = now;
  int filled = r->all ? (int)((double)r->done / (double)r->all * WIDTH) : WIDTH;
  char bar[WIDTH + 1];
  for (int i = 0; i < WIDTH; i++)
    bar[i] = i < filled ? '#' : '-';
  bar[WIDTH] = '\0';
  double seconds = (now - r->start) / 1000;
  fprintf(stderr, "\r[%s] %3.0f %% %6.2f of %.2f GB, %.2f GB/s%s", bar,
          r->all ? 100.0 * (double)r->done / (double)r->all : 100.0, (double)r->done * 1e-9, (double)r->all * 1e-9,
          seconds > 0 ? (double)r->done * 1e-9 / seconds : 0.0, last ? "\n" : "");
}

/* -- Layers -------------------------------------------------------------------------------------------------------- */

static bool is_wanted(const repack *r, int layer) {
  return strncmp(r->checkpoint->layers[layer].prefix, r->prefix, strlen(r->prefix)) == 0;
}

/* The experts of a stack become weights of their own: P.0, P.1 ... */
static const char *name_of(const repack *r, int layer, int64_t expert, int64_t experts) {
  const char *prefix = r->checkpoint->layers[layer].prefix;
  return experts == 1 ? prefix : arena_printf(r->memory, "%s.%" PRId64, prefix, expert);
}

static void print_note(repack *r, const char *name, const char *note) {
  if (!*note || (r->note && strcmp(r->note, note) == 0)) return;
  fprintf(stderr, "bitblasc: note: %s: %s\n", name, note);
  r->note = arena_strdup(r->memory, note);
}

static bitblas_status convert_one(repack *r, int layer, int64_t expert, int64_t experts) {
  const char *prefix = r->checkpoint->layers[layer].prefix, *name = name_of(r, layer, expert, experts);
  bitblas_weight *weight = NULL;
  bitblas_weight_info info = BITBLAS_WEIGHT_INFO_INIT;
  r->config.expert = (int32_t)expert;
  bitblas_status status = format_read(r->checkpoint, prefix, &r->config, r->used, &weight);
  if (status == BITBLAS_OK) status = bitblas_weight_describe(weight, &info);
  if (status == BITBLAS_OK) print_note(r, name, info.note);
  if (status == BITBLAS_OK) status = weight_write(r->writer, name, weight);
  bitblas_weight_destroy(weight);
  r->converted++;
  return status;
}

static uint64_t count_used(const repack *r) {
  uint64_t bytes = 0;
  for (int32_t i = 0; i < r->checkpoint->count; i++)
    bytes += r->used[i] ? r->checkpoint->tensors[i].bytes : 0;
  return bytes;
}

static bitblas_status convert_layers(repack *r) {
  bitblas_status status = BITBLAS_OK;
  for (int layer = 0; layer < r->checkpoint->layer_count && status == BITBLAS_OK; layer++) {
    if (!is_wanted(r, layer)) continue;
    int64_t experts = format_experts(r->checkpoint, layer);
    for (int64_t expert = 0; expert < experts && status == BITBLAS_OK; expert++)
      status = convert_one(r, layer, expert, experts);
    r->done = count_used(r);
    checkpoint_forget(r->checkpoint);
    show_progress(r, false);
  }
  return status;
}

static bitblas_status copy_others(repack *r) {
  bitblas_status status = BITBLAS_OK;
  for (int32_t i = 0; i < r->checkpoint->count && status == BITBLAS_OK; i++) {
    const bitblas_checkpoint_tensor *t = &r->checkpoint->tensors[i];
    if (r->used[i]) continue;
    status = safetensors_add(r->writer, t->name, t->encoding, t->rank, t->shape, t->data, t->bytes);
    r->done += t->bytes;
    if (t->bytes > FORGET_BYTES) checkpoint_forget(r->checkpoint);
    show_progress(r, false);
  }
  return status;
}

static size_t header_bytes(const repack *r) {
  size_t bytes = 0;
  for (int32_t i = 0; i < r->checkpoint->count; i++)
    bytes += safetensors_header_bytes(r->checkpoint->tensors[i].name);
  for (int layer = 0; layer < r->checkpoint->layer_count; layer++) {
    int64_t experts = is_wanted(r, layer) ? format_experts(r->checkpoint, layer) : 0;
    for (int64_t expert = 0; expert < experts; expert++)
      bytes += weight_header_bytes(name_of(r, layer, expert, experts));
  }
  return bytes;
}

/* Everything into the file, whose name appears when all of it is there. */
static int write_all(repack *r, const char *path) {
  if (safetensors_create(path, header_bytes(r), &r->writer) != BITBLAS_OK) return fail(COMPILE_ENVIRONMENT);
  bitblas_status status = convert_layers(r);
  if (status == BITBLAS_OK) status = copy_others(r);
  if (status != BITBLAS_OK) {
    safetensors_abandon(r->writer);
    return fail(COMPILE_INPUT);
  }
  uint64_t written = safetensors_written(r->writer);
  if (safetensors_finish(r->writer) != BITBLAS_OK) return fail(COMPILE_ENVIRONMENT);
  show_progress(r, true);
  int copied = 0;
  for (int32_t i = 0; i < r->checkpoint->count; i++)
    copied += !r->used[i];
  printf("%d weights converted, %d tensors copied, %" PRIu64 " bytes written to %s\n", r->converted, copied, written,
         path);
  return 0;
}

/* One weight after the other needs the same large buffers. Given back to the system each time, their pages would be
 * faulted in and cleared anew, which costs more than the conversion. */
static void keep_memory(void) {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
}

int command_repack(const command_line *command, arena *memory) {
  const char *output = command_value(command, OPTION_OUTPUT_FILE, NULL);
  const char *to = command_value(command, OPTION_TO, "canonical");
  if (command->inputs.count != 1) return usage_error("repack takes one checkpoint, not %d", command->inputs.count);
  if (!output) return usage_error("repack needs -o FILE");
  if (strcmp(to, "canonical") != 0) return usage_error("--to takes canonical, not '%s'", to);
  keep_memory();
  repack r = {.memory = memory, .prefix = command_value(command, OPTION_PREFIX, ""), .start = session_now()};
  r.config = (bitblas_weight_config)BITBLAS_WEIGHT_CONFIG_INIT;
  r.config.format = command_value(command, OPTION_FORMAT, NULL);
  if (bitblas_checkpoint_open(command->inputs.items[0], &r.checkpoint) != BITBLAS_OK) return fail(COMPILE_INPUT);
  r.used = ARENA_ARRAY(memory, bool, r.checkpoint->count);
  for (int32_t i = 0; i < r.checkpoint->count; i++)
    r.all += r.checkpoint->tensors[i].bytes;
  int status = write_all(&r, output);
  bitblas_checkpoint_close(r.checkpoint);
  return status;
}
