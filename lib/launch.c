/* What a loaded kernel says of itself, and its launch: every tensor is checked against the record. */
#include "lib/kernel.h"

#include "emulator/emulator.h"
#include "ir/numeric.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* -- Sizes --------------------------------------------------------------------------------------------------------- */

static bool find_size(const bitblas_size *given, int count, const char *name, int64_t *value) {
  for (int i = 0; i < count; i++) {
    if (!given[i].name || strcmp(given[i].name, name) != 0) continue;
    *value = given[i].value;
    return true;
  }
  return false;
}

/* The extent of a tensor that is just this size. */
static bool infer_size(const record *r, const bitblas_tensor *tensors, int size, int64_t *value) {
  for (int i = 0; tensors && i < r->tensor_count; i++) {
    for (int d = 0; d < r->tensors[i].rank && d < tensors[i].rank; d++) {
      const size_expr *e = r->tensors[i].extents[d];
      if (e->op != SIZE_OP_NAME || e->value != size) continue;
      *value = tensors[i].shape[d];
      return true;
    }
  }
  return false;
}

/* Every name that was given is one of the kernel's. */
static bitblas_status check_names(const record *r, const bitblas_size *given, int count) {
  if (count < 0 || (count && !given))
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s: size_count is %d and sizes is %s", r->entry, count,
                    given ? "set" : "null");
  for (int i = 0; i < count; i++) {
    bool known = false;
    for (int s = 0; given[i].name && s < r->size_count; s++)
      known |= strcmp(r->sizes[s].name, given[i].name) == 0;
    if (!known)
      return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s has no size '%s'", r->entry,
                      given[i].name ? given[i].name : "(null)");
  }
  return BITBLAS_OK;
}

bitblas_status kernel_sizes(const bitblas_kernel *k, const bitblas_size *given, int given_count,
                            const bitblas_tensor *tensors, int64_t *values) {
  const record *r = k->record;
  bitblas_status status = check_names(r, given, given_count);
  if (status != BITBLAS_OK) return status;
  for (int i = 0; i < r->size_count; i++) {
    const char *name = r->sizes[i].name;
    if (find_size(given, given_count, name, &values[i]) || infer_size(r, tensors, i, &values[i])) continue;
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s: size %s is not given%s", r->entry, name,
                    tensors ? ", and is not the extent of a tensor" : "");
  }
  runtime_message message;
  return lib_runtime(launch_check_sizes(r, values, &message), &message);
}

/* -- What it says of itself ---------------------------------------------------------------------------------------- */

static bitblas_status check_index(const bitblas_kernel *k, int32_t index) {
  if (!k) return lib_fail(BITBLAS_ERROR_ARGUMENT, "kernel is null");
  if (index >= 0 && index < k->record->tensor_count) return BITBLAS_OK;
  return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s has %d tensors; there is no number %d", k->record->entry,
                  (int)k->record->tensor_count, (int)index);
}

int32_t bitblas_kernel_tensor_count(const bitblas_kernel *kernel) { return kernel ? kernel->record->tensor_count : 0; }

bitblas_status bitblas_kernel_tensor_info(const bitblas_kernel *kernel, int32_t index, bitblas_tensor_info *info) {
  static const bitblas_access access[] = {
      [RECORD_IN] = BITBLAS_READ, [RECORD_OUT] = BITBLAS_WRITE, [RECORD_INOUT] = BITBLAS_READ_WRITE};
  bitblas_tensor_info ours = BITBLAS_TENSOR_INFO_INIT;
  bitblas_status status = check_index(kernel, index);
  if (status == BITBLAS_OK) status = lib_take_config("info", info, &ours, sizeof ours, sizeof ours);
  if (status != BITBLAS_OK) return status;
  const record_tensor *t = &kernel->record->tensors[index];
  ours.name = t->name;
  ours.type = kernel->types[index];
  ours.rank = t->rank;
  ours.access = access[t->access];
  ours.alignment = t->alignment;
  ours.packed = t->packing != NULL;
  memcpy(info, &ours, sizeof ours);
  return BITBLAS_OK;
}

const char *bitblas_kernel_size_name(const bitblas_kernel *kernel, int32_t index) {
  return kernel && index >= 0 && index < kernel->record->size_count ? kernel->record->sizes[index].name : NULL;
}

bitblas_status bitblas_kernel_tensor_bytes(const bitblas_kernel *kernel, int32_t index, const bitblas_size *sizes,
                                           int32_t size_count, size_t *bytes) {
  int64_t values[RECORD_LIST_MAX];
  uint64_t result = 0;
  bitblas_status status = check_index(kernel, index);
  if (status == BITBLAS_OK && !bytes) status = lib_fail(BITBLAS_ERROR_ARGUMENT, "bytes is null");
  if (status == BITBLAS_OK) status = kernel_sizes(kernel, sizes, size_count, NULL, values);
  if (status != BITBLAS_OK) return status;
  runtime_message message;
  runtime_status answer = launch_tensor_bytes(kernel->record, values, index, &result, &message);
  *bytes = (size_t)result;
  return lib_runtime(answer, &message);
}

bitblas_status bitblas_kernel_workspace_bytes(const bitblas_kernel *kernel, const bitblas_size *sizes,
                                              int32_t size_count, size_t *bytes) {
  int64_t values[RECORD_LIST_MAX];
  uint64_t result = 0;
  if (!kernel || !bytes) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", kernel ? "bytes" : "kernel");
  bitblas_status status = kernel_sizes(kernel, sizes, size_count, NULL, values);
  if (status != BITBLAS_OK) return status;
  runtime_message message;
  runtime_status answer = launch_workspace_bytes(kernel->record, values, &result, &message);
  *bytes = (size_t)result;
  return lib_runtime(answer, &message);
}

/* -- Packing ------------------------------------------------------------------------------------------------------- */

/* The element of a block that lies at position p of it. */
static int64_t element_at(const record_packing *p, uint32_t position) {
  uint32_t element = 0;
  for (int b = 0; b < p->column_count; b++) {
    if (position >> b & 1) element ^= p->columns[b];
  }
  return (int64_t)element;
}

/* Copies elements from one order to the other, by what `packs` says. */
static void permute_matrix(const record_packing *p, int bits, int64_t rows, int64_t columns, const void *from, void *to,
                           bool packs) {
  int64_t high = (rows + p->block_rows - 1) / p->block_rows, wide = (columns + p->block_columns - 1) / p->block_columns;
  uint32_t count = 1u << p->column_count;
  typedef struct spot {
    int32_t row, column;
  } spot;
  spot *spots = malloc(count * sizeof *spots); /* of each position in a block */
  ASSERT(spots);
  for (uint32_t position = 0; position < count; position++) {
    int64_t element = element_at(p, position);
    spots[position] = (spot){(int32_t)(element / p->block_columns), (int32_t)(element % p->block_columns)};
  }
  size_t place = 0;
  for (int64_t block = 0; block < high * wide; block++) {
    int64_t first_row = block / wide * p->block_rows, first_column = block % wide * p->block_columns;
    for (uint32_t position = 0; position < count; position++, place++) {
      int64_t row = first_row + spots[position].row, column = first_column + spots[position].column;
      size_t at = (size_t)(row * columns + column);
      if (row < rows && column < columns)
        ir_put_bits(to, packs ? place : at, bits, ir_get_bits(from, packs ? at : place, bits));
    }
  }
  free(spots);
}

void kernel_unpack(const record_tensor *t, int64_t rows, int64_t columns, const void *packed, void *elements) {
  permute_matrix(t->packing, t->bits, rows, columns, packed, elements, false);
}

bitblas_status bitblas_kernel_pack(const bitblas_kernel *kernel, int32_t index, const bitblas_size *sizes,
                                   int32_t size_count, const void *elements, void *packed, size_t packed_bytes) {
  size_t wanted = 0;
  bitblas_status status = bitblas_kernel_tensor_bytes(kernel, index, sizes, size_count, &wanted);
  if (status != BITBLAS_OK) return status;
  const record *r = kernel->record;
  const record_tensor *t = &r->tensors[index];
  if (!t->packing || t->rank != 2) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s: %s is not packed", r->entry, t->name);
  if (packed_bytes != wanted)
    return lib_fail(BITBLAS_ERROR_SHAPE, "%s: packed has %zu bytes and %s takes %zu", r->entry, packed_bytes, t->name,
                    wanted);
  if (!wanted) return BITBLAS_OK;
  if (!elements || !packed) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", elements ? "packed" : "elements");
  int64_t values[RECORD_LIST_MAX], extents[RECORD_RANK_MAX];
  status = kernel_sizes(kernel, sizes, size_count, NULL, values);
  runtime_message message;
  if (status == BITBLAS_OK) status = lib_runtime(launch_tensor_extents(r, values, index, extents, &message), &message);
  if (status != BITBLAS_OK) return status;
  memset(packed, 0, packed_bytes);
  permute_matrix(t->packing, t->bits, extents[0], extents[1], elements, packed, true);
  return BITBLAS_OK;
}

/* -- Checks -------------------------------------------------------------------------------------------------------- */

/* "f16[64, 4096]". */
static void describe(str *out, const char *type, const int64_t *shape, int rank) {
  str_printf(out, "%s[", type);
  for (int d = 0; d < rank; d++)
    str_printf(out, "%s%" PRId64, d ? ", " : "", shape[d]);
  str_append_char(out, ']');
}

static bitblas_status wrong_shape(const record *r, const record_tensor *t, const bitblas_tensor *given,
                                  const int64_t *wanted) {
  str text = STR_EMPTY;
  str_printf(&text, "%s: %s is ", r->entry, t->name);
  describe(&text, bitblas_type_name(given->type), given->shape, given->rank);
  str_append(&text, " and should be ");
  describe(&text, t->type, wanted, t->rank);
  lib_fail(BITBLAS_ERROR_SHAPE, "%s", str_text(&text));
  str_free(&text);
  return BITBLAS_ERROR_SHAPE;
}

/* The strides that the kernel was compiled for; those of dimensions with one element do not matter. */
static bitblas_status check_strides(const record *r, const record_tensor *t, const bitblas_tensor *given,
                                    const int64_t *values) {
  bool plain = true;
  for (int d = 0; d < t->rank; d++)
    plain &= given->stride[d] == 0;
  int64_t wanted = 1;
  for (int d = t->rank - 1; d >= 0; d--) {
    const char *why = "";
    int64_t dense = wanted;
    if (t->strides[d] && !size_evaluate(t->strides[d], values, r->size_count, &wanted, &why))
      return lib_fail(BITBLAS_ERROR_SHAPE, "%s: %s: %s", r->entry, t->name, why);
    int64_t is = plain ? dense : given->stride[d];
    if (given->shape[d] > 1 && is != wanted)
      return lib_fail(BITBLAS_ERROR_SHAPE,
                      "%s: the stride of %s along dimension %d is %" PRId64 " and should be %" PRId64, r->entry,
                      t->name, d, is, wanted);
    if (__builtin_mul_overflow(wanted, given->shape[d], &wanted))
      return lib_fail(BITBLAS_ERROR_SHAPE, "%s: %s is too large", r->entry, t->name);
  }
  return BITBLAS_OK;
}

static bitblas_status check_tensor(const record *r, int index, const bitblas_tensor *given, const int64_t *values) {
  const record_tensor *t = &r->tensors[index];
  int64_t wanted[RECORD_RANK_MAX];
  uint64_t bytes = 0;
  runtime_message message;
  runtime_status status = launch_tensor_extents(r, values, index, wanted, &message);
  if (status == RUNTIME_OK) status = launch_tensor_bytes(r, values, index, &bytes, &message);
  if (status != RUNTIME_OK) return lib_runtime(status, &message);
  for (int d = 0; d < t->rank; d++) {
    if (given->shape[d] != wanted[d]) return wrong_shape(r, t, given, wanted);
  }
  if (!bytes) return BITBLAS_OK;
  bitblas_status strides = check_strides(r, t, given, values);
  if (strides != BITBLAS_OK) return strides;
  if (!given->data) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s: the data of %s is null", r->entry, t->name);
  if ((uintptr_t)given->data % (uintptr_t)t->alignment)
    return lib_fail(BITBLAS_ERROR_ALIGNMENT, "%s: %s is at %p and must be aligned to %d bytes", r->entry, t->name,
                    given->data, (int)t->alignment);
  return BITBLAS_OK;
}

/* Before the sizes are taken from the shapes: number, types, ranks. */
static bitblas_status check_kinds(const bitblas_kernel *k, const bitblas_launch *launch) {
  const record *r = k->record;
  if (launch->tensor_count != r->tensor_count || (r->tensor_count && !launch->tensors))
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s takes %d tensors and was given %d", r->entry, (int)r->tensor_count,
                    launch->tensors ? (int)launch->tensor_count : 0);
  for (int i = 0; i < r->tensor_count; i++) {
    const record_tensor *t = &r->tensors[i];
    const bitblas_tensor *given = &launch->tensors[i];
    if (given->type != k->types[i])
      return lib_fail(BITBLAS_ERROR_TYPE, "%s: %s is of type %s and should be %s", r->entry, t->name,
                      bitblas_type_name(given->type), t->type);
    if (given->rank != t->rank)
      return lib_fail(BITBLAS_ERROR_SHAPE, "%s: %s has %d dimensions and should have %d", r->entry, t->name,
                      (int)given->rank, (int)t->rank);
  }
  return BITBLAS_OK;
}

static bitblas_status check_workspace(const record *r, const bitblas_launch *launch, const int64_t *values) {
  uint64_t bytes = 0;
  runtime_message message;
  runtime_status status = launch_workspace_bytes(r, values, &bytes, &message);
  if (status != RUNTIME_OK) return lib_runtime(status, &message);
  if (bytes && (!launch->workspace || launch->workspace_bytes < bytes))
    return lib_fail(BITBLAS_ERROR_WORKSPACE, "%s: the workspace has %zu bytes and needs %" PRIu64, r->entry,
                    launch->workspace ? launch->workspace_bytes : 0, bytes);
  if (bytes && (uintptr_t)launch->workspace % 16)
    return lib_fail(BITBLAS_ERROR_ALIGNMENT, "%s: the workspace is at %p and must be aligned to 16 bytes", r->entry,
                    launch->workspace);
  return BITBLAS_OK;
}

/* -- Launching ----------------------------------------------------------------------------------------------------- */

static bitblas_status run_on_gpu(const bitblas_kernel *k, const bitblas_launch *launch, const int64_t *values) {
  uint64_t addresses[RECORD_LIST_MAX];
  for (int i = 0; i < k->record->tensor_count; i++)
    addresses[i] = (uint64_t)(uintptr_t)launch->tensors[i].data;
  const launch_arguments arguments = {.sizes = values,
                                      .tensors = addresses,
                                      .workspace = (uint64_t)(uintptr_t)launch->workspace,
                                      .workspace_bytes = launch->workspace_bytes};
  runtime_message message;
  return lib_runtime(launch_run_checked(k->loaded, &arguments, launch->stream, &message), &message);
}

static bitblas_status emulate(const bitblas_kernel *k, const bitblas_launch *launch, const int64_t *values,
                              int blocks) {
  const record *r = k->record;
  const ir_kernel *kernel = k->emulated;
  arena *memory = arena_create();
  emulator_launch e = {.tensors = ARENA_ARRAY(memory, emulator_tensor, r->tensor_count),
                       .tensor_count = r->tensor_count};
  int64_t *sizes = ARENA_ARRAY(memory, int64_t, kernel->value_count);
  for (int i = 0; i < r->tensor_count; i++) {
    uint64_t bytes = 0;
    launch_tensor_bytes(r, values, i, &bytes, NULL);
    e.tensors[i] = (emulator_tensor){.bytes = launch->tensors[i].data, .byte_size = (size_t)bytes};
  }
  for (int i = 0, open = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    if (value->space == IR_SIZE) sizes[e.size_count++] = value->bound >= 0 ? value->bound : values[open++];
  }
  e.sizes = sizes;
  e.options.blocks = blocks;
  emulator_report report;
  bitblas_status status = BITBLAS_OK;
  if (!emulator_run(kernel, &e, &report)) {
    str text = STR_EMPTY;
    emulator_report_text(&report, NULL, &text);
    status = lib_fail(BITBLAS_ERROR_EMULATOR, "%s: %s", r->entry, str_text(&text));
    str_free(&text);
  }
  emulator_report_free(&report);
  arena_destroy(memory);
  return status;
}

static bitblas_status run_on_emulator(const bitblas_kernel *k, const bitblas_launch *launch, const int64_t *values) {
  runtime_message message;
  uint32_t grid[3] = {0, 0, 0};
  int sms = ir_target_of(k->context->target)->sms;
  runtime_status status = launch_grid(k->record, values, sms, grid, &message);
  if (status != RUNTIME_OK) return lib_runtime(status, &message);
  if (!grid[0] || !grid[1] || !grid[2]) return BITBLAS_OK;
  return emulate(k, launch, values, k->record->persistent ? (int)grid[0] : 0);
}

/* Fills in `launch` and the sizes. */
static bitblas_status check_launch(const bitblas_kernel *kernel, const bitblas_launch *given, bitblas_launch *launch,
                                   int64_t *values) {
  if (!kernel) return lib_fail(BITBLAS_ERROR_ARGUMENT, "kernel is null");
  const record *r = kernel->record;
  bitblas_status status = lib_take_config("launch", given, launch, sizeof *launch, sizeof *launch);
  if (status == BITBLAS_OK) status = check_kinds(kernel, launch);
  if (status == BITBLAS_OK) status = kernel_sizes(kernel, launch->sizes, launch->size_count, launch->tensors, values);
  for (int i = 0; status == BITBLAS_OK && i < r->tensor_count; i++)
    status = check_tensor(r, i, &launch->tensors[i], values);
  return status == BITBLAS_OK ? check_workspace(r, launch, values) : status;
}

bitblas_status kernel_check(const bitblas_kernel *kernel, const bitblas_launch *given) {
  bitblas_launch launch;
  int64_t values[RECORD_LIST_MAX];
  return check_launch(kernel, given, &launch, values);
}

bitblas_status bitblas_kernel_run(const bitblas_kernel *kernel, const bitblas_launch *given) {
  bitblas_launch launch;
  int64_t values[RECORD_LIST_MAX];
  bitblas_status status = check_launch(kernel, given, &launch, values);
  if (status != BITBLAS_OK) return status;
  return context_is_emulator(kernel->context) ? run_on_emulator(kernel, &launch, values)
                                              : run_on_gpu(kernel, &launch, values);
}
