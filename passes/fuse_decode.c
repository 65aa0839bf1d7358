/* fuse-decode: put every decode where its consumer wants the decoded elements.
 *
 *   before  %Wd <- decode %Ws, %Ss, none {group = 128}       after  %Wd <- decode %Ws, %Ss, none {group = 128, place = operand}
 *           %acc <- dot %As, %Wd {transpose_b = 1}                  %acc <- dot %As, %Wd {transpose_b = 1, swap = 1}
 *
 * Rules
 * 1. A decoded tile whose only reader is one dot, later in the same block, goes straight into that dot's register operand (place = operand),
 *    when the tensor cores can do the dot: the codes are never written back decoded.
 * 2. Only the row operand of wgmma comes from registers, and weights as rows waste nothing when there are few tokens; so a decoded b, stored
 *    [n, k], makes the dot compute its transpose (swap = 1). The accumulator keeps its shape; only its layout is transposed.
 * 3. Any other decode becomes an elementwise loop over its destination (place = registers): right everywhere, fast nowhere.
 *
 * Where the weights' packed order and the scale's place come from is assign-layouts' business. */
#include "passes/pass.h"
#include "passes/tensor_core.h"

typedef struct usage {
  const ir_value *value;
  ir_op *reader;
  int readers, writers;
} usage;

static void usage_visit(void *data, ir_op *op, ir_value *value, bool written) {
  usage *u = data;
  if (value != u->value)
    return;
  if (written) {
    u->writers++;
  } else {
    u->readers++;
    u->reader = op;
  }
}

static usage usage_of(ir_kernel *kernel, const ir_value *value) {
  usage u = {value, NULL, 0, 0};
  for (ir_op *op = kernel->body.first; op; op = op->next)
    ir_op_visit(op, true, usage_visit, &u);
  return u;
}

/* The reason why the decode cannot be the register operand of its reader; NULL when it can. */
static const char *operand_refusal(ir_kernel *kernel, pass_env *env, ir_op *decode, ir_op **dot) {
  ir_value *decoded = decode->write[0].value;
  usage u = usage_of(kernel, decoded);
  if (env->options->level < 1)
    return "-O0 keeps decodes apart";
  if (decoded->space != IR_TILE)
    return "its destination is not a tile";
  if (u.writers != 1 || u.readers != 1 || u.reader->kind != IR_OP_DOT)
    return "it has other readers than one dot";
  if (decode->read[0].value->space != IR_SHARED)
    return "its codes are not in shared memory";
  bool later = false;
  for (ir_op *op = decode->next; op; op = op->next)
    later |= op == u.reader;
  if (!later)
    return "the dot stands in another block";
  *dot = u.reader;
  bool is_b = u.reader->read[1].value == decoded;
  if (is_b && !ir_attr_get(&u.reader->attrs, IR_ATTR_TRANSPOSE_B, 0))
    return "as b of the dot it would have to be stored [n, k]";
  if (!is_b && ir_attr_get(&u.reader->attrs, IR_ATTR_TRANSPOSE_A, 0))
    return "as a of the dot it would have to be stored [m, k]";
  ir_attr_set(&u.reader->attrs, IR_ATTR_SWAP, is_b);
  const char *mma = mma_refusal(kernel, u.reader), *wgmma = wgmma_refusal(kernel, u.reader);
  if (!mma || !wgmma)
    return NULL;
  ir_attr_clear(&u.reader->attrs, IR_ATTR_SWAP);
  return mma;
}

/* The element at [i, j] of a scale or zero operand: column j / group, or column 0 of a single one. */
static const ir_expr *group_element(arena *memory, ir_value *value, const ir_expr *const *index, int64_t group) {
  if (value->rank == 1)
    return ir_element(memory, value, NULL, 1, index);
  const ir_expr *at[2] = {index[0], ir_binary(memory, IR_EXPR_DIV, index[1], ir_int(memory, group))};
  if (ir_extent(value, 1) == 1)
    at[1] = ir_int(memory, 0);
  return ir_element(memory, value, NULL, 2, at);
}

/* decode -> parallel (rule 3). */
static void expand(ir_kernel *kernel, pass_env *env, ir_block *block, ir_op *decode) {
  arena *memory = env->memory;
  ir_value *decoded = decode->write[0].value, *codes = decode->read[0].value;
  ir_value *scale = decode->read[1].value, *zero = decode->read_count > 2 ? decode->read[2].value : NULL;
  int64_t group = ir_attr_get(&decode->attrs, IR_ATTR_GROUP, ir_extent(codes, 1));
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
  int64_t offset = ir_attr_get(&decode->attrs, IR_ATTR_OFFSET, 0);
  if (offset)
    value = ir_binary(memory, IR_EXPR_SUB, value, ir_float(memory, (double)offset));
  int64_t mode = ir_attr_get(&decode->attrs, IR_ATTR_ZERO_MODE, zero ? IR_ZERO_ORIGINAL : IR_ZERO_NONE);
  const ir_expr *zero_value = zero ? ir_cast(memory, IR_F32, group_element(memory, zero, index, group)) : NULL;
  if (zero && mode != IR_ZERO_RESCALE)
    value = ir_binary(memory, IR_EXPR_SUB, value, zero_value);
  if (scale)
    value = ir_binary(memory, IR_EXPR_MUL, value, ir_cast(memory, IR_F32, group_element(memory, scale, index, group)));
  if (zero && mode == IR_ZERO_RESCALE)
    value = ir_binary(memory, IR_EXPR_SUB, value, zero_value);
  ir_op *set = ir_op_create(memory, IR_OP_SET, decode->loc);
  ir_ref element = ir_ref_whole(decoded);
  element.count = 2;
  element.start[0] = index[0];
  element.start[1] = index[1];
  ir_op_add_write(set, element);
  ir_op_add_expr(memory, set, ir_is_integer(decoded->type) ? ir_cast(memory, ir_compute_type(decoded->type), value) : value);
  ir_block_append(&loop->body, set);
  ir_block_insert_before(block, decode, loop);
  ir_block_remove(block, decode);
}

static void fuse_block(ir_kernel *kernel, pass_env *env, ir_block *block) {
  ir_op *next;
  for (ir_op *op = block->first; op; op = next) {
    next = op->next;
    fuse_block(kernel, env, &op->body);
    fuse_block(kernel, env, &op->other);
    if (op->kind != IR_OP_DECODE)
      continue;
    ir_op *dot = NULL;
    const char *refusal = operand_refusal(kernel, env, op, &dot);
    const char *name = op->write[0].value->name;
    if (!refusal) {
      ir_attr_set(&op->attrs, IR_ATTR_PLACE, IR_PLACE_OPERAND);
      diag_remark(env->diagnostics, "fuse-decode", "fusion", true, op->loc, "%s is decoded into the registers of its dot", name);
    } else {
      diag_remark(env->diagnostics, "fuse-decode", "fusion", false, op->loc, "%s is decoded element by element: %s", name, refusal);
      expand(kernel, env, block, op);
    }
  }
}

bool fuse_decode(ir_kernel *kernel, pass_env *env) {
  fuse_block(kernel, env, &kernel->body);
  kernel->form = IR_FORM_FUSED;
  return true;
}
