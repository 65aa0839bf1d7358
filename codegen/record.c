#include "codegen/record.h"

#include "support/diag.h"

#include <string.h>

/* -- Tables -------------------------------------------------------------------------------------------------------- */

size_names record_size_names(const record *r, arena *a) {
  const char **names = ARENA_ARRAY(a, const char *, r->size_count);
  for (int i = 0; i < r->size_count; i++)
    names[i] = r->sizes[i].name;
  return (size_names){names, r->size_count};
}

int32_t record_scalar_bytes(const char *type) {
  static const struct {
    const char *name;
    int32_t bytes;
  } scalar_types[] = {{"i32", 4}, {"u32", 4}, {"f32", 4}, {"i64", 8}, {"u64", 8}, {"f64", 8}};
  for (size_t i = 0; i < sizeof scalar_types / sizeof *scalar_types; i++)
    if (strcmp(scalar_types[i].name, type) == 0) return scalar_types[i].bytes;
  return 0;
}

bool record_map_type(const char *type, int *code, int32_t *element_bytes) {
#define MAP_TYPE(type_name, type_code, bytes) {type_name, type_code, bytes},
  static const struct {
    const char *name;
    int code;
    int32_t bytes;
  } map_types[] = {
#include "codegen/map_types.def"
  };
#undef MAP_TYPE
  for (size_t i = 0; i < sizeof map_types / sizeof *map_types; i++) {
    if (strcmp(map_types[i].name, type) != 0) continue;
    *code = map_types[i].code;
    *element_bytes = map_types[i].bytes;
    return true;
  }
  return false;
}

int record_swizzle_code(int32_t swizzle_bytes) {
  switch (swizzle_bytes) {
  case 0:
    return 0;
  case 32:
    return 1;
  case 64:
    return 2;
  case 128:
    return 3;
  default:
    return -1;
  }
}

int record_promotion_code(int32_t promotion_bytes) {
  switch (promotion_bytes) {
  case 0:
    return 0;
  case 64:
    return 1;
  case 128:
    return 2;
  case 256:
    return 3;
  default:
    return -1;
  }
}

/* -- Verifying ----------------------------------------------------------------------------------------------------- */

typedef struct verifier {
  const record *record;
  arena *memory;
  const char *error; /* the first */
} verifier;

static bool reject(verifier *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool reject(verifier *v, const char *format, ...) {
  str text = STR_EMPTY;
  va_list args;
  va_start(args, format);
  str_vprintf(&text, format, args);
  va_end(args);
  v->error = arena_strdup(v->memory, str_text(&text));
  str_free(&text);
  return false;
}

static bool is_identifier(const char *text) {
  if (!text || !*text) return false;
  for (const char *c = text; *c; c++) {
    bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
    if (!letter && !(c != text && *c >= '0' && *c <= '9')) return false;
  }
  return strlen(text) < 256;
}

static bool is_power_of_two(int64_t n) { return n > 0 && (n & (n - 1)) == 0; }

static bool verify_name(verifier *v, const char *what, const char *name) {
  static const char *const taken[] = {"workspace", "workspace_bytes", "min", "max", "ceildiv"};
  if (!is_identifier(name)) return reject(v, "%s name '%s' is no identifier", what, name ? name : "");
  for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
    if (strcmp(taken[i], name) == 0) return reject(v, "%s name '%s' is reserved", what, name);
  return true;
}

/* Arguments of all kinds share one name space: the launcher makes them members of one struct. */
static const char *argument_name(const record *r, int index) {
  if (index < r->size_count) return r->sizes[index].name;
  index -= r->size_count;
  if (index < r->tensor_count) return r->tensors[index].name;
  return r->scalars[index - r->tensor_count].name;
}

static bool verify_names(verifier *v) {
  const record *r = v->record;
  int count = r->size_count + r->tensor_count + r->scalar_count;
  for (int i = 0; i < count; i++) {
    const char *what = i < r->size_count ? "size" : i < r->size_count + r->tensor_count ? "tensor" : "scalar";
    if (!verify_name(v, what, argument_name(r, i))) return false;
    for (int j = 0; j < i; j++)
      if (strcmp(argument_name(r, i), argument_name(r, j)) == 0)
        return reject(v, "two arguments are named '%s'", argument_name(r, i));
  }
  return true;
}

static bool verify_expr(verifier *v, const char *what, const size_expr *e) {
  if (!e) return reject(v, "%s is missing", what);
  if (e->op == SIZE_OP_CONST) return true;
  if (e->op == SIZE_OP_NAME)
    return (e->value >= 0 && e->value < v->record->size_count) || reject(v, "%s uses a size that is not there", what);
  if (e->op < 0 || e->op >= SIZE_OP_COUNT) return reject(v, "%s has an unknown operation", what);
  return verify_expr(v, what, e->left) && verify_expr(v, what, e->right);
}

static bool verify_packing(verifier *v, const record_tensor *t) {
  const record_packing *p = t->packing;
  if (!p) return true;
  if (t->rank != 2) return reject(v, "packed tensor '%s' has rank %d, not 2", t->name, (int)t->rank);
  if (p->block_rows < 1 || p->block_columns < 1 || p->code_bits < 1 || p->code_bits > 32)
    return reject(v, "the packing of '%s' is out of range", t->name);
  if (p->column_count < 0 || p->column_count > 30 ||
      (int64_t)p->block_rows * p->block_columns != (int64_t)1 << p->column_count)
    return reject(v, "the packing of '%s' has %d columns for a block of %d x %d", t->name, (int)p->column_count,
                  (int)p->block_rows, (int)p->block_columns);
  for (int i = 0; i < p->column_count; i++)
    if (p->columns[i] >> p->column_count)
      return reject(v, "column %d of the packing of '%s' leaves the block", i, t->name);
  return true;
}

static bool verify_tensor(verifier *v, const record_tensor *t) {
  if (!is_identifier(t->type)) return reject(v, "tensor '%s' has no type", t->name);
  if (t->bits < 1 || t->bits > 64) return reject(v, "tensor '%s' has elements of %d bits", t->name, (int)t->bits);
  if (t->access < RECORD_IN || t->access > RECORD_INOUT) return reject(v, "tensor '%s' has no direction", t->name);
  if (t->rank < 0 || t->rank > RECORD_RANK_MAX) return reject(v, "tensor '%s' has rank %d", t->name, (int)t->rank);
  if (!is_power_of_two(t->alignment) || t->alignment > 4096)
    return reject(v, "tensor '%s' is aligned to %d bytes", t->name, (int)t->alignment);
  for (int i = 0; i < t->rank; i++) {
    if (!verify_expr(v, "an extent", t->extents[i])) return false;
    if (!t->strides[i] != !t->strides[0]) return reject(v, "tensor '%s' has strides for some dimensions only", t->name);
    if (t->strides[i] && !verify_expr(v, "a stride", t->strides[i])) return false;
  }
  return verify_packing(v, t);
}

/* The rules of cuTensorMapEncodeTiled that need no run-time size. */
static bool verify_map(verifier *v, int index, const record_map *m) {
  int code = 0;
  int32_t bytes = 0;
  if (m->tensor < 0 || m->tensor >= v->record->tensor_count) return reject(v, "tensor map %d is of no tensor", index);
  if (!m->type || !record_map_type(m->type, &code, &bytes))
    return reject(v, "tensor map %d has type '%s', which the hardware does not know", index, m->type ? m->type : "");
  if (m->rank < 1 || m->rank > RECORD_MAP_RANK_MAX) return reject(v, "tensor map %d has rank %d", index, (int)m->rank);
  for (int i = 0; i < m->rank; i++) {
    if (!verify_expr(v, "an extent of a tensor map", m->extents[i])) return false;
    if (i + 1 < m->rank && !verify_expr(v, "a stride of a tensor map", m->strides[i])) return false;
    if (m->box[i] < 1 || m->box[i] > 256)
      return reject(v, "tensor map %d has a box of %d elements", index, (int)m->box[i]);
    if (m->element_strides[i] < 1 || m->element_strides[i] > 8)
      return reject(v, "tensor map %d has element stride %d", index, (int)m->element_strides[i]);
  }
  int32_t inner = m->box[0] * bytes;
  if (inner % 16 != 0)
    return reject(v, "tensor map %d has an inner box of %d bytes, no multiple of 16", index, (int)inner);
  if (record_swizzle_code(m->swizzle_bytes) < 0)
    return reject(v, "tensor map %d has swizzle %d", index, (int)m->swizzle_bytes);
  if (m->swizzle_bytes && inner > m->swizzle_bytes)
    return reject(v, "tensor map %d has an inner box of %d bytes, wider than its swizzle of %d", index, (int)inner,
                  (int)m->swizzle_bytes);
  if (record_promotion_code(m->promotion_bytes) < 0)
    return reject(v, "tensor map %d has L2 promotion %d", index, (int)m->promotion_bytes);
  return true;
}

static bool verify_parameter(verifier *v, int position, const record_parameter *p) {
  const record *r = v->record;
  int32_t count = 0;
  switch (p->kind) {
  case RECORD_TENSOR:
    count = r->tensor_count;
    break;
  case RECORD_MAP:
    count = r->map_count;
    break;
  case RECORD_SIZE:
    count = r->size_count;
    break;
  case RECORD_SCALAR:
    count = r->scalar_count;
    break;
  case RECORD_WORKSPACE:
    count = r->workspace_bytes != NULL;
    break;
  }
  return (p->index >= 0 && p->index < count) || reject(v, "kernel parameter %d refers to nothing", position);
}

static bool verify_counts(verifier *v) {
  const record *r = v->record;
  const int32_t counts[] = {r->size_count, r->tensor_count,    r->scalar_count,
                            r->map_count,  r->parameter_count, r->constraint_count};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
    if (counts[i] < 0 || counts[i] > RECORD_LIST_MAX) return reject(v, "a list of %d entries", (int)counts[i]);
  return true;
}

static bool verify_launch(verifier *v) {
  const record *r = v->record;
  if (!is_identifier(r->entry)) return reject(v, "entry '%s' is no identifier", r->entry ? r->entry : "");
  if (!is_identifier(r->target)) return reject(v, "target '%s' is no target", r->target ? r->target : "");
  if (!r->version || !r->source_file || !r->source_hash) return reject(v, "version, source file or hash is missing");
  if (r->block_threads < 1 || r->block_threads > 1024) return reject(v, "a block of %d threads", (int)r->block_threads);
  int64_t blocks = 1;
  for (int i = 0; i < 3; i++) {
    if (r->cluster[i] < 1 || r->cluster[i] > 16) return reject(v, "a cluster of %d blocks", (int)r->cluster[i]);
    blocks *= r->cluster[i];
  }
  if (blocks > 16) return reject(v, "a cluster of %d blocks", (int)blocks);
  if (r->persistent && r->cluster[1] * r->cluster[2] != 1)
    return reject(v, "a persistent kernel with a cluster not along x");
  if (r->min_blocks < 0 || r->min_blocks > 64) return reject(v, "%d blocks an SM", (int)r->min_blocks);
  if (r->shared_bytes < 0 || r->shared_bytes > 1 << 20)
    return reject(v, "%lld bytes of shared memory", (long long)r->shared_bytes);
  if (r->persistent) return verify_expr(v, "the number of tiles", r->tiles);
  for (int i = 0; i < 3; i++)
    if (!verify_expr(v, "the grid", r->grid[i])) return false;
  return true;
}

static bool verify(verifier *v) {
  const record *r = v->record;
  if (!verify_counts(v) || !verify_launch(v) || !verify_names(v)) return false;
  for (int i = 0; i < r->size_count; i++)
    if (r->sizes[i].multiple_of < 1 || r->sizes[i].multiple_of > INT32_MAX)
      return reject(v, "size '%s' is a multiple of %lld", r->sizes[i].name, (long long)r->sizes[i].multiple_of);
  for (int i = 0; i < r->tensor_count; i++)
    if (!verify_tensor(v, &r->tensors[i])) return false;
  for (int i = 0; i < r->scalar_count; i++)
    if (!r->scalars[i].type || !record_scalar_bytes(r->scalars[i].type))
      return reject(v, "scalar '%s' has no scalar type", r->scalars[i].name);
  for (int i = 0; i < r->map_count; i++)
    if (!verify_map(v, i, &r->maps[i])) return false;
  if (r->workspace_bytes && !verify_expr(v, "the workspace", r->workspace_bytes)) return false;
  for (int i = 0; i < r->parameter_count; i++)
    if (!verify_parameter(v, i, &r->parameters[i])) return false;
  for (int i = 0; i < r->constraint_count; i++) {
    if (!verify_expr(v, "a constraint", r->constraints[i].condition)) return false;
    if (!r->constraints[i].text) return reject(v, "constraint %d has no text", i);
  }
  return true;
}

bool record_verify(const record *r, arena *a, const char **error) {
  verifier v = {.record = r, .memory = a};
  bool ok = verify(&v);
  if (!ok) *error = v.error;
  return ok;
}
