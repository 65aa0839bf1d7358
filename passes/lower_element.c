/* Single elements of tensors and shared buffers: loads, one a register. Of shared buffers also a word of neighbours.
 *
 *   before  %lengths[%b]      after  %lengths_1[0] <- ld.global %lengths, i64(%b) * 4L, %b < %B {width = 4}
 *                                    %lengths_1[0] */
#include "passes/lower.h"
#include "passes/region.h"

typedef struct source {
  ir_value *value;
  const ir_expr *slot;
} source;

/* registers[word] = `width` bytes at the address. */
static void load_bytes(lower *l, const source *s, ir_value *registers, int word, const ir_expr *address,
                       const ir_expr *predicate, int width) {
  ir_op *op = thread_op(l, s->value->space == IR_SHARED ? IR_OP_LD_SHARED : IR_OP_LD_GLOBAL);
  ir_ref to = ir_ref_whole(registers), from = ir_ref_whole(s->value);
  to.count = 1;
  to.start[0] = thread_int(l, word);
  from.slot = s->slot;
  ir_op_add_write(op, to);
  ir_op_add_read(op, from);
  ir_op_add_expr(l->memory, op, address);
  ir_op_add_expr(l->memory, op, predicate);
  ir_attr_set(&op->attrs, IR_ATTR_WIDTH, width);
}

/* The bit of its byte that an element begins at. Rows of shared buffers are whole bytes; those of tensors need not
 * be. */
static const ir_expr *bit_in_byte(lower *l, const ir_value *value, const ir_expr *const *coord) {
  const ir_expr *element = value->rank ? coord[value->rank - 1] : thread_int(l, 0);
  for (int d = 0; value->space == IR_GLOBAL && d < value->rank - 1; d++) {
    const ir_expr *stride = region_stride(l->memory, value, d);
    if (ir_known_divisor(stride) % 8) element = thread_add(l, element, thread_mul(l, coord[d], stride));
  }
  const ir_expr *bit = thread_mul(l, element, thread_int(l, ir_bits(value->type)));
  return thread_let(l, "bit", thread_u32(l, ir_binary(l->memory, IR_EXPR_AND, bit, thread_int(l, 7))));
}

static const ir_expr *both(lower *l, const ir_expr *a, const ir_expr *b) {
  return !a ? b : ir_binary(l->memory, IR_EXPR_AND, a, b);
}

const ir_expr *thread_load_element(lower *l, ir_value *value, const ir_expr *slot, const ir_expr *const *coord,
                                   const ir_expr *when) {
  source s = {value, slot};
  int bits = ir_bits(value->type);
  bool narrow = bits < 32, crosses = bits < 8 && 8 % bits, shared = value->space == IR_SHARED;
  ir_value *word = thread_array(l, value->name, narrow ? IR_U32 : value->type, crosses ? 2 : 1);
  const ir_expr *predicate = when ? when : ir_bool(l->memory, true);
  if (!shared) predicate = both(l, predicate, thread_inside(l, value, coord));
  const ir_expr *address =
      shared ? thread_shared_address(l, value, slot, coord) : thread_global_offset(l, value, coord);
  int width = bits < 8 ? 1 : bits / 8; /* of narrower elements their byte */
  load_bytes(l, &s, word, 0, address, predicate, width);
  const ir_expr *raw = thread_word(l, word, thread_int(l, 0));
  if (!narrow) return raw;
  if (bits < 8) {
    const ir_expr *bit = bit_in_byte(l, value, coord);
    if (crosses) { /* the rest is in the next byte */
      const ir_expr *further = ir_binary(l->memory, IR_EXPR_GT, bit, ir_typed_int(l->memory, IR_U32, 8 - bits));
      load_bytes(l, &s, word, 1, thread_add(l, address, ir_typed_int(l->memory, address->type, 1)),
                 both(l, predicate, further), width);
      const ir_expr *next = thread_word(l, word, thread_int(l, 1));
      raw = ir_binary(l->memory, IR_EXPR_OR, raw, ir_binary(l->memory, IR_EXPR_SHL, next, thread_int(l, 8)));
    }
    raw = ir_binary(l->memory, IR_EXPR_SHR, raw, bit);
  }
  const ir_expr *args[2] = {raw, thread_int(l, 0)};
  return ir_typed(l->memory, IR_EXPR_UNPACK, value->type, ir_compute_type(value->type), 2, args);
}

ir_value *thread_load_neighbours(lower *l, ir_value *buffer, const ir_expr *slot, const ir_expr *const *coord) {
  source s = {buffer, slot};
  ir_value *word = thread_array(l, buffer->name, buffer->type, thread_per_word(buffer->type));
  load_bytes(l, &s, word, 0, thread_shared_address(l, buffer, slot, coord), ir_bool(l->memory, true), 4);
  return word;
}
