/* The launch record of a kernel in the thread form: what the launcher must know, said over the run-time sizes. */
#include "codegen/emit.h"

#include <string.h>

typedef struct filler {
  arena *memory;
  diag *d;
  const ir_kernel *kernel;
  int *size_index; /* by value number; -1: fixed, or no size */
  int *tensor_index;
  record *r;
} filler;

enum { MAP_STRIDE_BYTES = 16, VECTOR_BYTES = 16 };

static const size_expr *fail(filler *f, src_loc loc, const char *what) {
  diag_error(f->d, DIAG_EMIT, loc, "%s is not an expression over the sizes that a launch can evaluate", what);
  return NULL;
}

/* -- Expressions --------------------------------------------------------------------------------------------------- */

static int size_op_of(ir_expr_kind kind) {
  switch (kind) {
  case IR_EXPR_ADD:
    return SIZE_OP_ADD;
  case IR_EXPR_SUB:
    return SIZE_OP_SUB;
  case IR_EXPR_MUL:
    return SIZE_OP_MUL;
  case IR_EXPR_DIV:
    return SIZE_OP_FLOORDIV;
  case IR_EXPR_MOD:
    return SIZE_OP_MOD;
  case IR_EXPR_CEILDIV:
    return SIZE_OP_CEILDIV;
  case IR_EXPR_MIN:
    return SIZE_OP_MIN;
  case IR_EXPR_MAX:
    return SIZE_OP_MAX;
  case IR_EXPR_EQ:
    return SIZE_OP_EQ;
  case IR_EXPR_NE:
    return SIZE_OP_NE;
  case IR_EXPR_LT:
    return SIZE_OP_LT;
  case IR_EXPR_LE:
    return SIZE_OP_LE;
  case IR_EXPR_GT:
    return SIZE_OP_GT;
  case IR_EXPR_GE:
    return SIZE_OP_GE;
  case IR_EXPR_AND:
    return SIZE_OP_AND;
  case IR_EXPR_OR:
    return SIZE_OP_OR;
  default:
    return SIZE_OP_COUNT;
  }
}

/* NULL when the expression is none over sizes. */
static const size_expr *size_of(filler *f, const ir_expr *x) {
  int64_t constant;
  if (!x) return NULL;
  if (ir_is_constant(x, &constant)) return size_const(f->memory, constant);
  if (x->kind == IR_EXPR_VALUE) {
    if (x->value->space != IR_SIZE) return NULL;
    if (x->value->bound >= 0) return size_const(f->memory, x->value->bound);
    return size_name(f->memory, f->size_index[x->value->number]);
  }
  if (x->kind == IR_EXPR_CAST && ir_is_integer(x->type)) return size_of(f, x->args[0]);
  if (x->kind == IR_EXPR_NOT && x->type == IR_PRED) {
    const size_expr *a = size_of(f, x->args[0]);
    return a ? size_binary(f->memory, SIZE_OP_EQ, a, size_const(f->memory, 0)) : NULL;
  }
  int64_t shift;
  if ((x->kind == IR_EXPR_SHL || x->kind == IR_EXPR_SHR) && ir_is_constant(x->args[1], &shift) && shift >= 0 &&
      shift < 31) {
    const size_expr *a = size_of(f, x->args[0]);
    size_op op = x->kind == IR_EXPR_SHL ? SIZE_OP_MUL : SIZE_OP_FLOORDIV;
    return a ? size_binary(f->memory, op, a, size_const(f->memory, 1ll << shift)) : NULL;
  }
  int op = size_op_of(x->kind);
  if (op == SIZE_OP_COUNT || ir_is_float(x->args[0]->type)) return NULL;
  bool bitwise = (x->kind == IR_EXPR_AND || x->kind == IR_EXPR_OR) && x->type != IR_PRED;
  const size_expr *a = size_of(f, x->args[0]), *b = size_of(f, x->args[1]);
  return a && b && !bitwise ? size_binary(f->memory, (size_op)op, a, b) : NULL;
}

/* Elements times bits, in bytes. */
static const size_expr *bytes_of(filler *f, const size_expr *elements, int bits) {
  if (bits % 8 == 0) return size_binary(f->memory, SIZE_OP_MUL, elements, size_const(f->memory, bits / 8));
  const size_expr *all = size_binary(f->memory, SIZE_OP_MUL, elements, size_const(f->memory, bits));
  return size_binary(f->memory, SIZE_OP_CEILDIV, all, size_const(f->memory, 8));
}

/* A divisor of every value of the expression, as far as powers of two matter. */
static int64_t divisor_of(const filler *f, const size_expr *e) {
  enum { LARGEST = 1 << 20 };
  int64_t a, b, product;
  switch (e->op) {
  case SIZE_OP_CONST:
    product = e->value;
    break;
  case SIZE_OP_NAME:
    product = f->r->sizes[e->value].multiple_of;
    break;
  case SIZE_OP_MUL:
    product = divisor_of(f, e->left) * divisor_of(f, e->right);
    break;
  case SIZE_OP_ADD:
  case SIZE_OP_SUB:
    a = divisor_of(f, e->left);
    b = divisor_of(f, e->right);
    product = a < b ? a : b;
    break;
  case SIZE_OP_CEILDIV:
  case SIZE_OP_FLOORDIV:
    a = divisor_of(f, e->left);
    if (!size_is_const(e->right, &b) || b <= 0 || a % b) return 1;
    product = a / b;
    break;
  default:
    return 1;
  }
  product = product ? product & -product : LARGEST;
  return product > LARGEST ? LARGEST : product;
}

/* -- Lists --------------------------------------------------------------------------------------------------------- */

static void fill_sizes(filler *f, ir_value *const *parameters, int count) {
  record_size *sizes = ARENA_ARRAY(f->memory, record_size, count);
  for (int i = 0; i < count; i++) {
    const ir_value *value = parameters[i];
    if (value->space != IR_SIZE) continue;
    f->size_index[value->number] = f->r->size_count;
    sizes[f->r->size_count++] = (record_size){value->name, value->multiple_of > 1 ? value->multiple_of : 1};
  }
  f->r->sizes = sizes;
}

static const record_packing *packing_of(filler *f, const packed_layout *layout) {
  if (!layout) return NULL;
  record_packing *packing = ARENA_NEW(f->memory, record_packing);
  uint32_t *columns = ARENA_ARRAY(f->memory, uint32_t, layout->map.in_bits);
  for (int b = 0; b < layout->map.in_bits; b++)
    columns[b] = (uint32_t)layout->map.col[b];
  *packing = (record_packing){layout->rows, layout->k, layout->code_bits, layout->map.in_bits, columns};
  return packing;
}

/* What the widest access asks of the tensor's address. */
typedef struct alignments {
  const ir_kernel *kernel;
  int32_t *bytes; /* by value number */
} alignments;

static void raise_alignment(alignments *a, const ir_value *value, int64_t bytes) {
  if (bytes > VECTOR_BYTES) bytes = VECTOR_BYTES;
  if (a->bytes[value->number] < bytes) a->bytes[value->number] = (int32_t)bytes;
}

static bool see_access(void *context, ir_block *block, ir_op *op) {
  (void)block;
  alignments *a = context;
  int64_t bytes = op->kind == IR_OP_BULK_LOAD ? VECTOR_BYTES : ir_attr_get(&op->attrs, IR_ATTR_WIDTH, 1);
  for (int i = 0; i < op->read_count; i++)
    if (op->read[i].value && op->read[i].value->space == IR_GLOBAL) raise_alignment(a, op->read[i].value, bytes);
  for (int i = 0; i < op->write_count; i++)
    if (op->write[i].value && op->write[i].value->space == IR_GLOBAL) raise_alignment(a, op->write[i].value, bytes);
  return true;
}

static const int32_t *alignments_of(filler *f) {
  alignments a = {f->kernel, ARENA_ARRAY(f->memory, int32_t, f->kernel->value_count)};
  for (int i = 0; i < f->kernel->value_count; i++) {
    const ir_value *value = f->kernel->values[i];
    if (value->space == IR_GLOBAL) {
      int bytes = ir_bits(value->type) / 8;
      raise_alignment(&a, value, bytes & (bytes - 1) || !bytes ? 1 : bytes);
    }
    if (value->space == IR_MAP) raise_alignment(&a, value->tensor, VECTOR_BYTES);
  }
  ir_walk((ir_block *)&f->kernel->body, see_access, &a);
  return a.bytes;
}

static bool fill_tensor(filler *f, const ir_value *value, record_tensor *t) {
  static const record_access access[] = {[IR_IN] = RECORD_IN, [IR_OUT] = RECORD_OUT, [IR_INOUT] = RECORD_INOUT};
  *t = (record_tensor){.name = value->name,
                       .type = ir_type_of(value->type)->name,
                       .bits = ir_bits(value->type),
                       .access = access[value->direction],
                       .rank = value->rank,
                       .packing = packing_of(f, value->packed)};
  bool strided = false;
  for (int d = 0; d < value->rank; d++) {
    t->extents[d] = size_of(f, value->extent[d]);
    if (!t->extents[d]) return fail(f, value->loc, "an extent of a tensor") != NULL;
    strided |= value->stride[d] != NULL;
  }
  const size_expr *contiguous = size_const(f->memory, 1);
  for (int d = value->rank - 1; strided && d >= 0; d--) {
    t->strides[d] = value->stride[d] ? size_of(f, value->stride[d]) : contiguous;
    if (!t->strides[d]) return fail(f, value->loc, "a stride of a tensor") != NULL;
    contiguous = size_binary(f->memory, SIZE_OP_MUL, t->strides[d], t->extents[d]);
  }
  return true;
}

static void add_constraint(filler *f, const size_expr *condition, const char *text) {
  int64_t constant;
  if (size_is_const(condition, &constant) && constant) return;
  if (!text) {
    str printed = STR_EMPTY;
    size_print(condition, record_size_names(f->r, f->memory), &printed);
    text = arena_strdup(f->memory, str_text(&printed));
    str_free(&printed);
  }
  int count = f->r->constraint_count;
  for (int i = 0; i < count; i++)
    if (size_equal(f->r->constraints[i].condition, condition)) return;
  record_constraint *list =
      arena_grow(f->memory, f->r->constraints, sizeof *list * (size_t)count, sizeof *list * (size_t)(count + 1));
  list[count] = (record_constraint){condition, text};
  f->r->constraints = list;
  f->r->constraint_count = count + 1;
}

/* How the hardware sees an element; types it does not know travel as bytes. */
static const char *map_type_of(ir_type type) {
  int code;
  int32_t bytes;
  const char *name = ir_type_of(type)->name;
  if (ir_bits(type) >= 16 && record_map_type(name, &code, &bytes)) return name;
  return ir_bits(type) == 16 ? "u16" : ir_bits(type) == 32 ? "u32" : ir_bits(type) == 64 ? "u64" : "u8";
}

/* A tensor in packed order: words of a block, blocks along k, blocks along rows. */
static bool fill_packed_map(filler *f, const ir_value *value, record_map *m) {
  const packed_layout *packed = value->tensor->packed;
  const record_tensor *t = &f->r->tensors[m->tensor];
  int words = packed->rows * packed->k * packed->code_bits / 32;
  const size_expr *across = size_binary(f->memory, SIZE_OP_CEILDIV, t->extents[1], size_const(f->memory, packed->k));
  m->type = "u32";
  m->extents[0] = size_const(f->memory, words);
  m->extents[1] = across;
  m->extents[2] = size_binary(f->memory, SIZE_OP_CEILDIV, t->extents[0], size_const(f->memory, packed->rows));
  m->strides[0] = size_const(f->memory, words * 4);
  m->strides[1] = size_binary(f->memory, SIZE_OP_MUL, across, m->strides[0]);
  for (int i = 0; i < m->rank; i++) {
    m->box[i] = value->box[m->rank - 1 - i];
    m->element_strides[i] = 1;
  }
  return true;
}

/* Dimensions innermost first; strides in bytes, each a multiple of 16 or the launch refuses. The panels of a map that
 * has them come last. */
static bool fill_map(filler *f, const ir_value *value, record_map *m) {
  const ir_value *tensor = value->tensor;
  int bits = ir_bits(tensor->type), rank = tensor->rank;
  bool as_bytes = bits < 16;
  *m = (record_map){.tensor = f->tensor_index[tensor->number],
                    .type = map_type_of(tensor->type),
                    .rank = value->rank,
                    .swizzle_bytes = (int32_t)value->swizzle,
                    .promotion_bytes = value->fetch};
  if (tensor->packed) return fill_packed_map(f, value, m);
  const record_tensor *t = &f->r->tensors[m->tensor];
  const size_expr *elements = size_const(f->memory, 1);
  const int *box = value->box + (value->rank - rank); /* of the tensor's dimensions */
  for (int i = 0; i < rank; i++) {
    int d = rank - 1 - i;
    m->extents[i] = i == 0 && as_bytes ? bytes_of(f, t->extents[d], bits) : t->extents[d];
    m->box[i] = i == 0 && as_bytes ? box[d] * bits / 8 : box[d];
    m->element_strides[i] = 1;
    if (i) {
      m->strides[i - 1] = bytes_of(f, t->strides[d] ? t->strides[d] : elements, bits);
      if (divisor_of(f, m->strides[i - 1]) % MAP_STRIDE_BYTES) {
        const size_expr *unit = size_const(f->memory, MAP_STRIDE_BYTES);
        const size_expr *rest = size_binary(f->memory, SIZE_OP_MOD, m->strides[i - 1], unit);
        add_constraint(
            f, size_binary(f->memory, SIZE_OP_EQ, rest, size_const(f->memory, 0)),
            arena_printf(f->memory, "the rows of %s are multiples of %d bytes apart", tensor->name, MAP_STRIDE_BYTES));
      }
    }
    elements = size_binary(f->memory, SIZE_OP_MUL, elements, t->extents[d]);
  }
  if (!ir_map_has_panels(value)) return true;
  const size_expr *panel = size_const(f->memory, m->box[0]);
  m->extents[rank] = size_binary(f->memory, SIZE_OP_FLOORDIV, m->extents[0], panel);
  m->extents[0] = panel;
  m->strides[rank - 1] = size_const(f->memory, box[rank - 1] * bits / 8);
  m->box[rank] = value->box[0];
  m->element_strides[rank] = 1;
  return true;
}

static bool fill_parameters(filler *f, ir_value *const *parameters, int count) {
  record_tensor *tensors = ARENA_ARRAY(f->memory, record_tensor, count);
  record_map *maps = ARENA_ARRAY(f->memory, record_map, count);
  record_parameter *list = ARENA_ARRAY(f->memory, record_parameter, count);
  const int32_t *alignment = alignments_of(f);
  f->r->tensors = tensors;
  f->r->maps = maps;
  for (int i = 0; i < count; i++) {
    const ir_value *value = parameters[i];
    switch (value->space) {
    case IR_GLOBAL:
      list[i] = (record_parameter){RECORD_TENSOR, f->r->tensor_count};
      f->tensor_index[value->number] = f->r->tensor_count;
      if (!fill_tensor(f, value, &tensors[f->r->tensor_count])) return false;
      tensors[f->r->tensor_count++].alignment = value->packed ? VECTOR_BYTES : alignment[value->number];
      break;
    case IR_MAP:
      list[i] = (record_parameter){RECORD_MAP, f->r->map_count};
      if (!fill_map(f, value, &maps[f->r->map_count])) return false;
      f->r->map_count++;
      break;
    default:
      list[i] = (record_parameter){RECORD_SIZE, f->size_index[value->number]};
      break;
    }
  }
  f->r->parameters = list;
  f->r->parameter_count = count;
  return true;
}

static bool see_persistent(void *context, ir_block *block, ir_op *op) {
  (void)block;
  bool *persistent = context;
  if (op->kind == IR_OP_FOR && ir_attr_get(&op->attrs, IR_ATTR_PERSISTENT, 0)) *persistent = true;
  return !*persistent;
}

static bool fill_grid(filler *f) {
  const ir_kernel *kernel = f->kernel;
  const size_expr *blocks = kernel->block_count ? size_of(f, kernel->block_count) : NULL;
  if (!blocks) return fail(f, kernel->loc, "the number of blocks") != NULL;
  f->r->persistent = ir_attr_get(&kernel->attrs, IR_ATTR_PERSISTENT, 0) != 0;
  if (!f->r->persistent) ir_walk((ir_block *)&kernel->body, see_persistent, &f->r->persistent);
  if (f->r->persistent) {
    f->r->tiles = blocks;
    return true;
  }
  f->r->grid[0] = blocks;
  f->r->grid[1] = f->r->grid[2] = size_const(f->memory, 1);
  return true;
}

static const char *base_name(const char *path) {
  const char *slash = path ? strrchr(path, '/') : NULL;
  return slash ? slash + 1 : path ? path : "";
}

record *fill_record(const ir_module *module, const ir_kernel *kernel, arena *memory, diag *d) {
  filler f = {.memory = memory, .d = d, .kernel = kernel, .r = ARENA_NEW(memory, record)};
  f.size_index = ARENA_ARRAY(memory, int, kernel->value_count);
  f.tensor_index = ARENA_ARRAY(memory, int, kernel->value_count);
  const ir_attrs *attrs = &kernel->attrs;
  *f.r = (record){
      .entry = emit_entry_name(kernel, memory),
      .target = ir_target_of(kernel->target)->name,
      .version = BITBLASC_VERSION,
      .source_file = base_name(module->source_name),
      .source_hash = "",
      .block_threads = (int32_t)ir_attr_get(attrs, IR_ATTR_THREADS, 0),
      .cluster = {(int32_t)ir_attr_get(attrs, IR_ATTR_CLUSTER, 1), 1, 1},
      .min_blocks = (int32_t)ir_attr_get(attrs, IR_ATTR_MIN_BLOCKS, 0),
      .shared_bytes = ir_attr_get(attrs, IR_ATTR_SHARED_BYTES, 0),
      .pdl = ir_attr_get(attrs, IR_ATTR_PDL, 0) != 0,
  };
  int count;
  ir_value *const *parameters = emit_parameters(kernel, memory, &count);
  fill_sizes(&f, parameters, count);
  for (int i = 0; i < kernel->fact_count; i++) {
    const size_expr *condition = size_of(&f, kernel->facts[i].condition);
    if (!condition) {
      fail(&f, kernel->facts[i].loc, "a fact");
      return NULL;
    }
    add_constraint(&f, condition, NULL);
  }
  return fill_parameters(&f, parameters, count) && fill_grid(&f) ? f.r : NULL;
}
