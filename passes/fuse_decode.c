/* fuse-decode: put every decode where its consumer wants the decoded elements.
 *
 *   before  %Wd <- decode %Ws, %Ss, none {group = 128}       after  %Wd <- decode %Ws, %Ss, none {group = 128, place = operand}
 *           %acc <- dot %As, %Wd {transpose_b = 1}                  %acc <- dot %As, %Wd {transpose_b = 1, swap = 1}
 *
 * Rules
 * 1. A decoded tile whose only reader is one dot, later in the same block, goes straight into that dot's register
 *    operand (place = operand), when the tensor cores can do the dot: the codes are never written back decoded. Then
 *    the tensors of codes, scales and zeros are stored in blocks of 64 rows (packed = ...): a thread's 16 bytes of
 *    codes are those of its own registers, and a row block of a tile is one run. Tiles of 16, 32, 48, ... rows take
 *    pieces of blocks: the rows of one warp or two are one run of each block.
 *    Whole pieces are copied, so nothing may depend on what lies past the tensor's ends (packed_ends.h).
 * 2. Only the row operand of wgmma comes from registers, and weights as rows waste nothing when there are few tokens;
 *    so a decoded b, stored [n, k], makes the dot compute its transpose (swap = 1). The accumulator keeps its shape;
 *    only its layout is transposed.
 * 3. Any other decode becomes an elementwise loop over its destination, which lies in shared memory when dots read it:
 *    right everywhere, fast nowhere.
 *
 * So whoever calls the kernel packs its weights once; the launch record says how. A tensor that anyone else reads
 * stays as it is, and then rule 3 applies. */
#include "passes/packed_ends.h"
#include "passes/pass.h"
#include "passes/region.h"
#include "passes/tensor_core.h"

enum { BLOCK_WARPS = 4, WARP_ROWS = 16, BLOCK_ROWS = WARP_ROWS * BLOCK_WARPS, VECTOR_BITS = 128 };

typedef struct usage {
  const ir_value *value;
  ir_op *reader, *writer;
  int readers, writers;
} usage;

static void usage_visit(void *data, ir_op *op, ir_value *value, bool written) {
  usage *u = data;
  if (value != u->value) return;
  if (written) {
    u->writers++;
    u->writer = op;
  } else {
    u->readers++;
    u->reader = op;
  }
}

static usage usage_of(ir_kernel *kernel, const ir_value *value) {
  usage u = {value, NULL, NULL, 0, 0};
  for (ir_op *op = kernel->body.first; op; op = op->next)
    ir_op_visit(op, true, usage_visit, &u);
  return u;
}

/* -- Packing (rule 1) ---------------------------------------------------------------------------------------------- */

/* A tensor of a fused decode, and the blocks it will be stored in. */
typedef struct packing {
  ir_value *tensor;
  packed_layout layout;
} packing;

static bool is_multiple(const ir_expr *e, int64_t of) { return ir_known_divisor(e) % of == 0; }

typedef struct definition {
  const ir_value *value;
  const ir_expr *first; /* of a loop's variable, or what a let names */
} definition;

static bool find_definition(void *data, ir_block *block, ir_op *op) {
  definition *d = data;
  (void)block;
  if ((op->kind == IR_OP_FOR || op->kind == IR_OP_LET) && op->write[0].value == d->value) d->first = op->expr[0];
  return !d->first;
}

/* Whether the expression is never negative, by its form: sizes, indices of the grid and of loops that begin there, and
 * what adds, multiplies and divides them. */
static bool is_never_negative(ir_kernel *kernel, const ir_expr *e) {
  int64_t number;
  if (ir_is_constant(e, &number)) return number >= 0;
  if (e->kind == IR_EXPR_VALUE) {
    if (e->value->space == IR_SIZE) return true;
    for (int i = 0; i < kernel->grid_count; i++)
      if (kernel->grid[i].index == e->value) return true;
    definition d = {e->value, NULL};
    ir_walk(&kernel->body, find_definition, &d);
    return d.first && is_never_negative(kernel, d.first);
  }
  switch (e->kind) {
  case IR_EXPR_ADD:
  case IR_EXPR_MUL:
  case IR_EXPR_DIV:
  case IR_EXPR_MOD:
  case IR_EXPR_CEILDIV:
  case IR_EXPR_MIN:
  case IR_EXPR_MAX:
    return is_never_negative(kernel, e->args[0]) && is_never_negative(kernel, e->args[1]);
  default:
    return false;
  }
}

/* Whether every block of the grid begins its rows inside the tensor. Whole blocks are copied, and behind the last one
 * there is none: the copy takes the last one again, for rows that no result has. */
static bool begins_inside(const ir_kernel *kernel, const ir_ref *from) {
  const ir_expr *start = from->count ? from->start[0] : NULL, *extent = from->value->extent[0];
  int64_t first = 0, step, count, rows;
  if (!start || (ir_is_constant(start, &first) && first == 0)) return true;
  if (start->kind != IR_EXPR_MUL || start->args[0]->kind != IR_EXPR_VALUE || !ir_is_constant(start->args[1], &step) ||
      step < 1)
    return false;
  for (int i = 0; i < kernel->grid_count; i++) {
    if (kernel->grid[i].index != start->args[0]->value) continue;
    const ir_expr *blocks = kernel->grid[i].extent;
    if (ir_is_constant(blocks, &count) && ir_is_constant(extent, &rows)) return (count - 1) * step < rows;
    return blocks->kind == IR_EXPR_CEILDIV && ir_expr_equal(blocks->args[0], extent) &&
           ir_is_constant(blocks->args[1], &rows) && rows >= step;
  }
  return false;
}

/* The reason why the shared buffer cannot be filled with whole pieces of its tensor's blocks, which nobody else reads; NULL
 * when it can. */
static const char *tensor_refusal(ir_kernel *kernel, const ir_value *buffer, packing *p) {
  if (buffer->space != IR_SHARED || buffer->rank != 2) return "its operands are not all matrices in shared memory";
  usage u = usage_of(kernel, buffer);
  if (u.readers != 1 || u.writers != 1 || u.writer->kind != IR_OP_COPY || u.writer->expr_count ||
      u.writer->write[0].count)
    return "its operands are not all copied from a tensor for this decode alone";
  const ir_ref *from = &u.writer->read[0];
  p->tensor = from->value;
  if (p->tensor->space != IR_GLOBAL || p->tensor->rank != 2 || p->tensor->type != buffer->type ||
      p->tensor->stride[0] || p->tensor->stride[1])
    return "its operands are not all copied from contiguous matrices of the same type";
  usage whole = usage_of(kernel, p->tensor);
  if (whole.readers != 1 || whole.writers || p->tensor->direction != IR_IN)
    return "one of its tensors has other uses, so that it cannot be stored packed";
  int rows = packed_piece_rows((int)ir_extent(buffer, 0)), k = p->layout.k;
  if (rows < WARP_ROWS || ir_extent(buffer, 1) % k)
    return "one of its operands is not whole pieces of 16 rows and 16 bytes of codes a thread";
  for (int d = 0; d < from->count; d++)
    if (!from->span[d] || !is_multiple(from->start[d], d ? k : rows))
      return "one of its operands is not copied from whole pieces of its tensor";
  if (!begins_inside(kernel, from)) return "its rows are not known to begin inside its tensor";
  if (from->count && !is_never_negative(kernel, from->start[1])) return "its columns may begin before its tensor";
  return NULL;
}

/* Scales and zeros: a block is 64 rows of one group, in order, at least 16 bytes. Zeros may be codes. */
static bool pack_rows(ir_type type, bool codes, packed_layout *out) {
  int bits = ir_bits(type), row_bits = 0;
  bool is_real = type == IR_E8M0 || (ir_type_of(type)->class == IR_CLASS_FLOAT && (bits == 16 || type == IR_F32));
  bool is_code = ir_is_integer(type) && (bits == 2 || bits == 4 || bits == 8);
  while (1 << row_bits < BLOCK_ROWS)
    row_bits++;
  *out = (packed_layout){.rows = BLOCK_ROWS,
                         .k = 1,
                         .code_bits = bits,
                         .operand_bits = bits < 8 ? 8 : bits,
                         .map = linmap_identity(row_bits)};
  return codes ? is_code : is_real;
}

/* The blocks of codes, scales and zeros; the reason why one of them cannot be packed, or NULL. */
static const char *packing_refusal(ir_kernel *kernel, const ir_op *decode, packing *packings) {
  ir_type decoded = decode->write[0].value->type;
  int64_t group = ir_attr_get(&decode->attrs, IR_ATTR_GROUP, 0),
          mode = ir_attr_get(&decode->attrs, IR_ATTR_ZERO_MODE, IR_ZERO_NONE);
  bool has_zero = decode->read_count > 2 && decode->read[2].value;
  if (ir_bits(decoded) != 16 && ir_bits(decoded) != 8) return "its elements are neither 16 nor 8 bits";
  if (has_zero != (mode != IR_ZERO_NONE)) return "its zeros are not used";
  for (int i = 0; i < decode->read_count; i++) {
    ir_value *buffer = decode->read[i].value;
    packings[i].tensor = NULL;
    if (!buffer) continue;
    int bits = ir_bits(buffer->type);
    if (i == 0 && !packed_layout_block(BLOCK_WARPS, bits, ir_bits(decoded), &packings[i].layout))
      return "its codes are not of 1, 2, 4 or 8 bits";
    if (i == 0 && decode_joins_parts(buffer->type, decoded)) packed_layout_join_parts(&packings[i].layout);
    if (i > 0 && !pack_rows(buffer->type, i == 2 && mode == IR_ZERO_QUANTIZED, &packings[i].layout))
      return "its scales or zeros are neither 16- nor 32-bit floats, nor e8m0, nor codes of 2, 4 or 8 bits";
    const char *why = tensor_refusal(kernel, buffer, &packings[i]);
    if (why) return why;
    /* a register pair, or the bytes of a register, must share a scale with its neighbours in the quad */
    if (i > 0 && ir_extent(buffer, 1) > 1 && (group <= 0 || group % (VECTOR_BITS / ir_bits(decoded))))
      return "its groups are too narrow";
  }
  return NULL;
}

/* The reason why the decode cannot be the register operand of its reader; NULL when it can. */
static const char *operand_refusal(ir_kernel *kernel, pass_env *env, const ir_block *block, ir_op *decode,
                                   packing *packings) {
  ir_value *decoded = decode->write[0].value;
  usage u = usage_of(kernel, decoded);
  if (env->options->level < 1) return "-O0 keeps decodes apart";
  if (decoded->space != IR_TILE) return "its destination is not a tile";
  if (u.writers != 1 || u.readers != 1 || u.reader->kind != IR_OP_DOT) return "it has other readers than one dot";
  bool later = false;
  for (ir_op *op = decode->next; op; op = op->next)
    later |= op == u.reader;
  if (!later) return "the dot stands in another block";
  bool is_b = u.reader->read[1].value == decoded;
  if (is_b && !ir_attr_get(&u.reader->attrs, IR_ATTR_TRANSPOSE_B, 0))
    return "as b of the dot it would have to be stored [n, k]";
  if (!is_b && ir_attr_get(&u.reader->attrs, IR_ATTR_TRANSPOSE_A, 0))
    return "as a of the dot it would have to be stored [m, k]";
  const char *why = packing_refusal(kernel, decode, packings);
  if (!why) why = packed_ends_refusal(kernel, env, block, decode, u.reader);
  if (why) return why;
  ir_attr_set(&u.reader->attrs, IR_ATTR_SWAP, is_b);
  const char *mma = mma_refusal(kernel, u.reader), *wgmma = wgmma_refusal(kernel, u.reader);
  if (!mma || !wgmma) return NULL;
  ir_attr_clear(&u.reader->attrs, IR_ATTR_SWAP);
  return mma;
}

/* The element at [i, j] of a scale or zero operand: column j / group, or column 0 of a single one. */
static const ir_expr *group_element(arena *memory, ir_value *value, const ir_expr *const *index, int64_t group) {
  if (value->rank == 1) return ir_element(memory, value, NULL, 1, index);
  const ir_expr *at[2] = {index[0], ir_binary(memory, IR_EXPR_DIV, index[1], ir_int(memory, group))};
  if (ir_extent(value, 1) == 1) at[1] = ir_int(memory, 0);
  return ir_element(memory, value, NULL, 2, at);
}

typedef struct widening {
  ir_kernel *kernel;
  arena *memory;
  ir_value *buffer;
} widening;

/* Goes on until a copy into the buffer whose rows in memory are not known to begin at whole bytes. */
static bool copies_bytes(void *data, ir_block *block, ir_op *op) {
  const widening *w = data;
  (void)block;
  if (op->kind != IR_OP_COPY || op->write[0].value != w->buffer || op->read[0].value->space != IR_GLOBAL) return true;
  return region_access_bytes(w->memory, &op->read[0]) > 0;
}

/* Whether rows of codes are no whole number of bytes (one zero for each row, or a few in memory), or codes cross them
 * (3 bits). */
static bool crosses_bytes(ir_kernel *kernel, pass_env *env, ir_value *buffer) {
  if (!buffer || buffer->space != IR_SHARED || ir_type_of(buffer->type)->class == IR_CLASS_TABLE || buffer->rank < 1)
    return false;
  int bits = ir_bits(buffer->type);
  widening w = {kernel, env->memory, buffer};
  return bits < 8 &&
         (8 % bits || ir_extent(buffer, buffer->rank - 1) * bits % 8 || !ir_walk(&kernel->body, copies_bytes, &w));
}

/* copy -> parallel: an element for an element. */
static bool widen_copy(void *data, ir_block *block, ir_op *op) {
  widening *w = data;
  (void)block;
  if (op->kind != IR_OP_COPY || op->write[0].value != w->buffer || op->write[0].count ||
      op->read[0].value->space != IR_GLOBAL || op->expr_count)
    return true;
  ir_ref from = op->read[0], to = op->write[0];
  const ir_expr *at[IR_MAX_RANK];
  op->kind = IR_OP_PARALLEL;
  op->read_count = op->write_count = 0;
  op->variable_count = to.count = w->buffer->rank;
  op->variable = ARENA_ARRAY(w->memory, ir_value *, op->variable_count);
  for (int d = 0; d < to.count; d++) {
    op->variable[d] = ir_value_create(w->memory, w->kernel, IR_INDEX, IR_I32, d ? "j" : "i", op->loc);
    ir_op_add_expr(w->memory, op, w->buffer->extent[d]);
    to.start[d] = ir_read(w->memory, op->variable[d]);
  }
  for (int d = 0, spanned = 0; d < from.value->rank; d++) {
    at[d] = from.count ? from.start[d] : ir_int(w->memory, 0);
    if (!from.count || from.span[d]) at[d] = ir_binary(w->memory, IR_EXPR_ADD, at[d], to.start[spanned++]);
  }
  ir_op *set = ir_op_create(w->memory, IR_OP_SET, op->loc);
  ir_op_add_write(set, to);
  /* Beyond the end reads as zero anyhow. */
  const ir_expr *element = ir_element(w->memory, from.value, NULL, from.value->rank, at), *inside = NULL;
  for (int d = 0; d < from.count; d++) {
    if (!region_may_be_negative(w->kernel, from.start[d])) continue;
    const ir_expr *reached = ir_binary(w->memory, IR_EXPR_GE, at[d], ir_int(w->memory, 0));
    inside = inside ? ir_binary(w->memory, IR_EXPR_AND, inside, reached) : reached;
  }
  if (inside) {
    const ir_expr *zero = ir_cast(w->memory, element->type, ir_int(w->memory, 0));
    element = ir_ternary(w->memory, IR_EXPR_SELECT, inside, element, zero);
  }
  ir_op_add_expr(w->memory, set, element);
  ir_block_append(&op->body, set);
  return true;
}

/* A byte for each code: f8e4m3 has every value of the floats of 4 and 6 bits. */
static void widen(ir_kernel *kernel, pass_env *env, ir_value *buffer) {
  widening w = {kernel, env->memory, buffer};
  ir_class class = ir_type_of(buffer->type)->class;
  buffer->type = class == IR_CLASS_SINT ? IR_I8 : class == IR_CLASS_UINT ? IR_U8 : IR_F8E4M3;
  ir_walk(&kernel->body, widen_copy, &w);
}

typedef struct feeding {
  const ir_value *value;
  bool dots, others;
} feeding;

static void feeding_visit(void *data, ir_op *op, ir_value *value, bool written) {
  feeding *f = data;
  if (value != f->value || written) return;
  f->dots |= op->kind == IR_OP_DOT;
  f->others |= op->kind != IR_OP_DOT;
}

/* Whether the decoded tile is an operand of dots and nothing else. */
static bool feeds_dots(ir_kernel *kernel, const ir_value *tile) {
  feeding f = {tile, false, false};
  for (ir_op *op = kernel->body.first; op; op = op->next)
    ir_op_visit(op, true, feeding_visit, &f);
  return tile->space == IR_TILE && f.dots && !f.others && ir_bits(tile->type) >= 8;
}

/* decode -> parallel (rule 3). */
static void expand(ir_kernel *kernel, pass_env *env, ir_block *block, ir_op *decode) {
  arena *memory = env->memory;
  ir_value *decoded = decode->write[0].value, *codes = decode->read[0].value;
  ir_value *scale = decode->read[1].value, *zero = decode->read_count > 2 ? decode->read[2].value : NULL;
  int64_t group = ir_attr_get(&decode->attrs, IR_ATTR_GROUP, ir_extent(codes, 1));
  for (int i = 0; i < decode->read_count; i++)
    if (crosses_bytes(kernel, env, decode->read[i].value)) widen(kernel, env, decode->read[i].value);
  if (feeds_dots(
          kernel,
          decoded)) { /* fragments of a whole operand would fill the registers: the tensor cores read it from shared memory */
    decoded->space = IR_SHARED;
    decoded->slots = 1;
    decoded->offset = -1;
  }
  ir_op *loop = ir_op_create(memory, IR_OP_PARALLEL, decode->loc);
  loop->variable_count = 2;
  loop->variable = ARENA_ARRAY(memory, ir_value *, 2);
  const ir_expr *index[2];
  for (int d = 0; d < 2; d++) {
    loop->variable[d] = ir_value_create(memory, kernel, IR_INDEX, IR_I32, d ? "j" : "i", decode->loc);
    ir_op_add_expr(memory, loop, decoded->extent[d]);
    index[d] = ir_read(memory, loop->variable[d]);
  }
  const ir_expr *value = ir_cast(memory, IR_F32, ir_element(memory, codes, NULL, 2, index));
  int64_t factor = ir_attr_get(&decode->attrs, IR_ATTR_FACTOR, 1),
          offset = ir_attr_get(&decode->attrs, IR_ATTR_OFFSET, 0);
  if (factor != 1) value = ir_binary(memory, IR_EXPR_MUL, value, ir_float(memory, (double)factor));
  if (offset) value = ir_binary(memory, IR_EXPR_SUB, value, ir_float(memory, (double)offset));
  int64_t mode = ir_attr_get(&decode->attrs, IR_ATTR_ZERO_MODE, zero ? IR_ZERO_ORIGINAL : IR_ZERO_NONE);
  const ir_expr *zero_value = zero ? ir_cast(memory, IR_F32, group_element(memory, zero, index, group)) : NULL;
  if (zero && mode != IR_ZERO_RESCALE) value = ir_binary(memory, IR_EXPR_SUB, value, zero_value);
  if (scale)
    value = ir_binary(memory, IR_EXPR_MUL, value, ir_cast(memory, IR_F32, group_element(memory, scale, index, group)));
  if (zero && mode == IR_ZERO_RESCALE) value = ir_binary(memory, IR_EXPR_SUB, value, zero_value);
  ir_op *set = ir_op_create(memory, IR_OP_SET, decode->loc);
  ir_ref element = ir_ref_whole(decoded);
  element.count = 2;
  element.start[0] = index[0];
  element.start[1] = index[1];
  ir_op_add_write(set, element);
  ir_op_add_expr(memory, set, ir_is_integer(decoded->type) ? ir_cast(memory, decoded->type, value) : value);
  ir_block_append(&loop->body, set);
  ir_block_insert_before(block, decode, loop);
  ir_block_remove(block, decode);
}

/* Rules 1 and 2, of all decodes before rule 3 changes what they are copied from. */
static void fuse_block(ir_kernel *kernel, pass_env *env, ir_block *block) {
  for (ir_op *op = block->first; op; op = op->next) {
    fuse_block(kernel, env, &op->body);
    fuse_block(kernel, env, &op->other);
    if (op->kind != IR_OP_DECODE) continue;
    packing packings[IR_MAX_REFS];
    const char *refusal = operand_refusal(kernel, env, block, op, packings);
    const char *name = op->write[0].value->name;
    diag_remark(env->diagnostics, "fuse-decode", "fusion", !refusal, op->loc,
                refusal ? "%s is decoded element by element: %s" : "%s is decoded into the registers of its dot%s",
                name, refusal ? refusal : "");
    if (refusal) continue;
    ir_attr_set(&op->attrs, IR_ATTR_PLACE, IR_PLACE_OPERAND);
    for (int i = 0; i < op->read_count; i++)
      if (packings[i].tensor)
        packings[i].tensor->packed = arena_copy(env->memory, &packings[i].layout, sizeof packings[i].layout);
  }
}

static void expand_block(ir_kernel *kernel, pass_env *env, ir_block *block) {
  for (ir_op *op = block->first, *next; op; op = next) {
    next = op->next;
    expand_block(kernel, env, &op->body);
    expand_block(kernel, env, &op->other);
    if (op->kind == IR_OP_DECODE && ir_attr_get(&op->attrs, IR_ATTR_PLACE, 0) != IR_PLACE_OPERAND)
      expand(kernel, env, block, op);
  }
}

bool fuse_decode(ir_kernel *kernel, pass_env *env) {
  fuse_block(kernel, env, &kernel->body);
  expand_block(kernel, env, &kernel->body);
  kernel->form = IR_FORM_FUSED;
  return true;
}
