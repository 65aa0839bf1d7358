/* choose-products: let a code of one bit choose, in the tensor core, between the two products that it stands for.
 *
 *   before  %Wd <- decode %Ws {factor = 2, offset = 1}       after  %Wd <- decode %Ws {factor = 2, offset = 1, low = -1, high = 1}
 *           %acc <- dot %As, %Wd, %Ss {swap = 1}                    %acc <- dot %As, %Wd, %Ss {swap = 1, low = -1, high = 1}
 *
 * A sparse mma takes two of each four k, those that its metadata names, so that half of A need not be there. Here all of
 * A is ones, k 2i and 2i + 1 of B are a[i] * low and a[i] * high, and the code of weight i is the bit of metadata that
 * takes one of them: weights are never decoded. 5 instructions make the metadata of 64 k of 16 rows, where decoding takes
 * 32 and, with an offset, 64; an mma keeps the pipe that they run on busy for half its time. Products by 0, 1 and -1 are
 * exact, so what is added is the same. Columns cost more: the sparse mma is 1.3 times as long as that of decoded
 * weights, and each element becomes a pair, which the row blocks of a warp share: it has four of them where it can
 * (schedule).
 *
 * Fires for codes of one bit in the register operand of one mma dot of 16-bit floats into f32, without scales (which
 * defer-scales took) or zeros, where a warp has one block of columns and two of rows or more. */
#include "passes/choose_products.h"

#include "passes/pass.h"
#include "passes/tensor_core.h"

enum { LEAST_ROWS = 2 * MMA_ROWS /* of a warp */ };

typedef struct uses {
  const ir_value *decoded;
  ir_op *decode, *dot;
  int count;
} uses;

static void count_use(void *data, ir_op *op, ir_value *value, bool written) {
  uses *u = data;
  if (value != u->decoded) return;
  u->count++;
  if (written && op->kind == IR_OP_DECODE) u->decode = op;
  if (!written && op->kind == IR_OP_DOT && dot_shape_of(op).rows->value == value) u->dot = op;
}

static uses uses_of(ir_kernel *kernel, const ir_value *decoded) {
  uses u = {.decoded = decoded};
  for (ir_op *op = kernel->body.first; op; op = op->next)
    ir_op_visit(op, true, count_use, &u);
  return u;
}

static bool has_one_bit(const ir_op *decode) {
  ir_type type = decode->read[0].value->type;
  return ir_is_integer(type) && ir_bits(type) == 1 && ir_attr_get(&decode->attrs, IR_ATTR_PLACE, 0) == IR_PLACE_OPERAND;
}

/* The value of a code. */
static int64_t value_of(const ir_op *decode, int code) {
  bool is_signed = ir_type_of(decode->read[0].value->type)->class == IR_CLASS_SINT;
  return ir_attr_get(&decode->attrs, IR_ATTR_FACTOR, 1) * (is_signed ? -code : code) -
         ir_attr_get(&decode->attrs, IR_ATTR_OFFSET, 0);
}

static bool is_exact(int64_t value) { return value >= -1 && value <= 1; }

/* The reason why the codes are decoded, whatever the schedule; NULL when they may choose. */
static const char *refusal(const uses *u) {
  if (!u->decode || !u->dot || u->count != 2) return "not one dot alone has them as rows";
  dot_shape s = dot_shape_of(u->dot);
  ir_type type = s.columns->value->type;
  if (!ir_is_float(type) || ir_bits(type) != 16 || s.accumulator->type != IR_F32)
    return "its dot does not sum 16-bit floats in f32";
  if (u->decode->read_count > 2 && u->decode->read[2].value) return "they have zeros";
  if (!is_exact(value_of(u->decode, 0)) || !is_exact(value_of(u->decode, 1))) return "they are not -1, 0 and 1";
  if (s.columns->value->space != IR_SHARED || !s.columns_k_major) return "k is not contiguous in the other operand";
  int64_t group = ir_attr_get(&u->decode->attrs, IR_ATTR_GROUP, s.k);
  return s.k / s.parts % CHOICE_DEPTH || (group > 0 && group < s.k && group % CHOICE_DEPTH)
             ? "its groups are no multiple of what a word of codes holds"
             : NULL;
}

/* The same, as scheduled. */
static const char *scheduled_refusal(const uses *u) {
  const char *why = refusal(u);
  if (why) return why;
  if (ir_attr_get(&u->dot->attrs, IR_ATTR_INSTRUCTION, 0) != IR_INSTRUCTION_MMA) return "its dot does not use mma";
  if (u->decode->read_count > 1 && u->decode->read[1].value) return "their scales multiply them";
  dot_shape d = dot_shape_of(u->dot);
  if (d.n / ir_attr_get(&u->dot->attrs, IR_ATTR_WARPS_N, 1) > MMA_COLUMNS) return "there are many columns";
  return d.m / ir_attr_get(&u->dot->attrs, IR_ATTR_WARPS_M, 1) < LEAST_ROWS ? "a warp has few rows" : NULL;
}

bool dot_may_choose(ir_kernel *kernel, const ir_op *dot) {
  dot_shape s = dot_shape_of(dot);
  if (s.rows->value->space != IR_TILE || s.n > MMA_COLUMNS) return false;
  uses u = uses_of(kernel, s.rows->value);
  return u.decode && has_one_bit(u.decode) && !refusal(&u);
}

typedef struct context {
  ir_kernel *kernel;
  pass_env *env;
} context;

static bool choose(void *data, ir_block *block, ir_op *op) {
  const context *c = data;
  (void)block;
  if (op->kind != IR_OP_DECODE || !has_one_bit(op) || ir_attr_has(&op->attrs, IR_ATTR_LOW)) return true;
  uses u = uses_of(c->kernel, op->write[0].value);
  const char *why = scheduled_refusal(&u), *name = op->read[0].value->name;
  diag_remark(c->env->diagnostics, "choose-products", "mma", !why, op->loc,
              why ? "codes of %s are decoded: %s" : "codes of %s choose between products%s", name, why ? why : "");
  if (why) return true;
  for (int code = 0; code < 2; code++) {
    ir_attr_set(&op->attrs, code ? IR_ATTR_HIGH : IR_ATTR_LOW, value_of(op, code));
    ir_attr_set(&u.dot->attrs, code ? IR_ATTR_HIGH : IR_ATTR_LOW, value_of(op, code));
  }
  return true;
}

bool choose_products(ir_kernel *kernel, pass_env *env) {
  context c = {kernel, env};
  ir_walk(&kernel->body, choose, &c);
  return true;
}
