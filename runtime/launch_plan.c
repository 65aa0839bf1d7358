#include "runtime/launch_plan.h"

#include <inttypes.h>
#include <limits.h>

/* CUDA's limits on a grid, CUDA C++ programming guide, "Technical specifications per compute capability". */
static const int64_t grid_most[3] = {INT32_MAX, 65535, 65535};

static runtime_status evaluate(const record *r, const int64_t *sizes, const size_expr *e, const char *what,
                               int64_t *value, runtime_message *message) {
  const char *why = "";
  if (size_evaluate(e, sizes, r->size_count, value, &why)) return RUNTIME_OK;
  return runtime_fail(message, RUNTIME_BAD_ARGUMENT, "%s: %s: %s", r->entry, what, why);
}

/* The same for what is never negative: an extent, a number of bytes. */
static runtime_status evaluate_count(const record *r, const int64_t *sizes, const size_expr *e, const char *what,
                                     int64_t *value, runtime_message *message) {
  runtime_status status = evaluate(r, sizes, e, what, value, message);
  if (status == RUNTIME_OK && *value < 0)
    return runtime_fail(message, RUNTIME_BAD_ARGUMENT, "%s: %s is %" PRId64, r->entry, what, *value);
  return status;
}

static runtime_status check_constraint(const record *r, const int64_t *sizes, const record_constraint *c,
                                       runtime_message *message) {
  int64_t holds = 0;
  runtime_status status = evaluate(r, sizes, c->condition, c->text, &holds, message);
  if (status != RUNTIME_OK || holds) return status;
  str values = STR_EMPTY;
  for (int i = 0; i < r->size_count; i++)
    str_printf(&values, "%s%s = %" PRId64, i ? ", " : "", r->sizes[i].name, sizes[i]);
  runtime_fail(message, RUNTIME_CONSTRAINT, "%s: needs %s, but %s", r->entry, c->text, str_text(&values));
  str_free(&values);
  return RUNTIME_CONSTRAINT;
}

runtime_status launch_check_sizes(const record *r, const int64_t *sizes, runtime_message *message) {
  for (int i = 0; i < r->size_count; i++) {
    const record_size *s = &r->sizes[i];
    if (sizes[i] < 0 || sizes[i] > INT32_MAX)
      return runtime_fail(message, RUNTIME_BAD_ARGUMENT, "%s: %s = %" PRId64 " is not in 0..2147483647", r->entry,
                          s->name, sizes[i]);
    if (sizes[i] % s->multiple_of != 0)
      return runtime_fail(message, RUNTIME_CONSTRAINT, "%s: %s = %" PRId64 " is no multiple of %" PRId64, r->entry,
                          s->name, sizes[i], s->multiple_of);
  }
  for (int i = 0; i < r->constraint_count; i++) {
    runtime_status status = check_constraint(r, sizes, &r->constraints[i], message);
    if (status != RUNTIME_OK) return status;
  }
  return RUNTIME_OK;
}

static runtime_status check_tensor(const record *r, const launch_arguments *arguments, int tensor,
                                   runtime_message *message) {
  const record_tensor *t = &r->tensors[tensor];
  uint64_t address = arguments->tensors[tensor], bytes = 0;
  runtime_status status = launch_tensor_bytes(r, arguments->sizes, tensor, &bytes, message);
  if (status != RUNTIME_OK || bytes == 0) return status;
  if (address == 0) return runtime_fail(message, RUNTIME_BAD_ARGUMENT, "%s: %s is null", r->entry, t->name);
  if (address % (uint64_t)t->alignment != 0)
    return runtime_fail(message, RUNTIME_BAD_ARGUMENT, "%s: %s is at address 0x%" PRIx64 ", not aligned to %d bytes",
                        r->entry, t->name, address, (int)t->alignment);
  return RUNTIME_OK;
}

static runtime_status check_workspace(const record *r, const launch_arguments *arguments, runtime_message *message) {
  uint64_t bytes = 0;
  runtime_status status = launch_workspace_bytes(r, arguments->sizes, &bytes, message);
  if (status != RUNTIME_OK || bytes == 0) return status;
  if (arguments->workspace_bytes < bytes)
    return runtime_fail(message, RUNTIME_BAD_ARGUMENT, "%s: the workspace has %" PRIu64 " bytes and needs %" PRIu64,
                        r->entry, arguments->workspace_bytes, bytes);
  if (arguments->workspace == 0)
    return runtime_fail(message, RUNTIME_BAD_ARGUMENT, "%s: the workspace is null", r->entry);
  if (arguments->workspace % 16 != 0)
    return runtime_fail(message, RUNTIME_BAD_ARGUMENT,
                        "%s: the workspace is at address 0x%" PRIx64 ", not aligned to 16 bytes", r->entry,
                        arguments->workspace);
  return RUNTIME_OK;
}

runtime_status launch_check(const record *r, const launch_arguments *arguments, runtime_message *message) {
  runtime_status status = launch_check_sizes(r, arguments->sizes, message);
  for (int i = 0; status == RUNTIME_OK && i < r->tensor_count; i++)
    status = check_tensor(r, arguments, i, message);
  return status == RUNTIME_OK ? check_workspace(r, arguments, message) : status;
}

runtime_status launch_tensor_extents(const record *r, const int64_t *sizes, int tensor,
                                     int64_t extents[RECORD_RANK_MAX], runtime_message *message) {
  const record_tensor *t = &r->tensors[tensor];
  for (int i = 0; i < t->rank; i++) {
    runtime_status status = evaluate_count(r, sizes, t->extents[i], t->name, &extents[i], message);
    if (status != RUNTIME_OK) return status;
  }
  return RUNTIME_OK;
}

/* Elements from the first to one past the last; false on overflow. */
static bool span_of(const int64_t *extents, const int64_t *strides, int rank, int64_t *span) {
  *span = 1;
  for (int i = 0; i < rank; i++) {
    int64_t reach = 0;
    if (extents[i] == 0) {
      *span = 0;
      return true;
    }
    if (!strides) {
      if (__builtin_mul_overflow(*span, extents[i], span)) return false;
    } else if (__builtin_mul_overflow(extents[i] - 1, strides[i], &reach) ||
               __builtin_add_overflow(*span, reach, span)) {
      return false;
    }
  }
  return true;
}

/* Whole blocks: an extent that is no multiple of the block's is padded up to it. */
static void pad_to_blocks(const record_packing *p, int64_t extents[2]) {
  const int64_t block[2] = {p->block_rows, p->block_columns};
  for (int i = 0; i < 2; i++) {
    int64_t rest = extents[i] % block[i];
    if (rest && __builtin_add_overflow(extents[i], block[i] - rest, &extents[i])) extents[i] = INT64_MAX;
  }
}

runtime_status launch_tensor_bytes(const record *r, const int64_t *sizes, int tensor, uint64_t *bytes,
                                   runtime_message *message) {
  const record_tensor *t = &r->tensors[tensor];
  int64_t extents[RECORD_RANK_MAX], strides[RECORD_RANK_MAX], elements = 0, bits = 0;
  runtime_status status = launch_tensor_extents(r, sizes, tensor, extents, message);
  if (status != RUNTIME_OK) return status;
  if (t->packing) pad_to_blocks(t->packing, extents);
  bool strided = t->rank > 0 && t->strides[0];
  for (int i = 0; strided && i < t->rank; i++) {
    status = evaluate_count(r, sizes, t->strides[i], t->name, &strides[i], message);
    if (status != RUNTIME_OK) return status;
  }
  if (!span_of(extents, strided ? strides : NULL, t->rank, &elements) ||
      __builtin_mul_overflow(elements, (int64_t)t->bits, &bits))
    return runtime_fail(message, RUNTIME_BAD_ARGUMENT, "%s: %s is too large", r->entry, t->name);
  *bytes = (uint64_t)bits / 8 + (bits % 8 != 0);
  return RUNTIME_OK;
}

runtime_status launch_workspace_bytes(const record *r, const int64_t *sizes, uint64_t *bytes,
                                      runtime_message *message) {
  int64_t value = 0;
  runtime_status status =
      r->workspace_bytes ? evaluate_count(r, sizes, r->workspace_bytes, "the workspace", &value, message) : RUNTIME_OK;
  *bytes = (uint64_t)value;
  return status;
}

static runtime_status persistent_blocks(const record *r, int64_t tiles, int64_t resident_blocks, int64_t *blocks,
                                        runtime_message *message) {
  int64_t cluster = r->cluster[0], most = resident_blocks / cluster * cluster;
  if (most < cluster)
    return runtime_fail(message, RUNTIME_BAD_ARGUMENT, "%s: the GPU cannot hold one cluster of %d blocks", r->entry,
                        (int)cluster);
  *blocks = tiles < most ? (tiles + cluster - 1) / cluster * cluster : most;
  return RUNTIME_OK;
}

runtime_status launch_grid(const record *r, const int64_t *sizes, int64_t resident_blocks, uint32_t grid[3],
                           runtime_message *message) {
  int64_t blocks[3] = {1, 1, 1};
  if (r->persistent) {
    runtime_status status = evaluate_count(r, sizes, r->tiles, "the number of tiles", &blocks[0], message);
    if (status == RUNTIME_OK && blocks[0] > INT32_MAX)
      return runtime_fail(message, RUNTIME_BAD_ARGUMENT, "%s: %" PRId64 " tiles are too many", r->entry, blocks[0]);
    if (status == RUNTIME_OK) status = persistent_blocks(r, blocks[0], resident_blocks, &blocks[0], message);
    if (status != RUNTIME_OK) return status;
  }
  for (int i = 0; i < 3; i++) {
    runtime_status status =
        r->persistent ? RUNTIME_OK : evaluate_count(r, sizes, r->grid[i], "the grid", &blocks[i], message);
    if (status != RUNTIME_OK) return status;
    if (blocks[i] > grid_most[i])
      return runtime_fail(message, RUNTIME_BAD_ARGUMENT,
                          "%s: the grid has %" PRId64 " blocks along %c, more than %" PRId64, r->entry, blocks[i],
                          'x' + i, grid_most[i]);
    if (blocks[i] % r->cluster[i] != 0)
      return runtime_fail(message, RUNTIME_BAD_ARGUMENT,
                          "%s: the grid has %" PRId64 " blocks along %c, no multiple of the cluster's %d", r->entry,
                          blocks[i], 'x' + i, (int)r->cluster[i]);
    grid[i] = (uint32_t)blocks[i];
  }
  return RUNTIME_OK;
}
