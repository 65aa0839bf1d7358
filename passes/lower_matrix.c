/* Matrix stores: a 16-bit tile in accumulator fragments goes to shared memory by stmatrix, 16 rows by 16 columns (or
 * their transpose) an instruction.
 *
 * Registers 8j .. 8j + 7 of an accumulator fragment are two neighbouring 8-column groups of 16 rows: words (columns
 * 0-1, rows 0-7), (rows 8-15), (columns 8-15, rows 0-7), (rows 8-15). Lane l names a 16-byte row: row (l & 15), column
 * group (l >> 4); transposed: the same of the transpose. */
#include "passes/lower.h"

/* Whether registers 0 .. 7 and the lanes are one 16 x 16 fragment of the last two dimensions; *flipped when rows and
 * columns change places. */
static bool is_fragment(const tile_layout *layout, bool *flipped) {
  static const int rows[8] = {0, 0, 8, 8, 0, 0, 8, 8}, columns[8] = {0, 1, 0, 1, 8, 9, 8, 9};
  if (layout->rank != 2 || layout->reg_count % 8) return false;
  for (int flip = 0; flip < 2; flip++) {
    bool matches = true;
    for (int lane = 0; lane < 32 && matches; lane++)
      for (int reg = 0; reg < 8 && matches; reg++) {
        int coord[LAYOUT_MAX_RANK];
        tile_layout_coord(layout, reg, lane, 0, coord);
        int row = rows[reg] + lane / 4, column = columns[reg] + 2 * (lane % 4);
        matches = coord[flip] == row && coord[1 - flip] == column;
      }
    if (matches) {
      *flipped = flip;
      return true;
    }
  }
  return false;
}

bool thread_matrix_store(lower *l, const ir_op *op) {
  ir_value *tile = op->read[0].value, *buffer = op->write[0].value;
  const tile_layout *layout = tile->tile;
  bool flipped = false;
  if (buffer->space != IR_SHARED || op->write[0].count || ir_bits(buffer->type) != 16 ||
      !is_fragment(layout, &flipped) || !tile_layout_is_injective(layout) ||
      !ir_target_of(l->kernel->target)->has_wgmma)
    return false;
  const shared_layout *shared = buffer->shared;
  if (shared_layout_vector(shared) < 8) return false;
  const thread_part part = thread_part_of(l, layout, &op->read[0], 8);
  if (!part.is_whole) return false;
  int groups = part.count;
  int *first[2] = {ARENA_ARRAY(l->env->scratch, int, groups), ARENA_ARRAY(l->env->scratch, int, groups)};
  for (int g = 0; g < groups; g++) {
    int coord[LAYOUT_MAX_RANK];
    tile_layout_coord(layout, part.group[g] * 8, 0, 0, coord);
    first[0][g] = coord[0] - part.first[0];
    first[1][g] = coord[1] - part.first[1];
  }
  /* The corner of a warp's fragment: the thread's part without the lane's. */
  int corner_row = flipped ? 1 : 0;
  const ir_expr *lane_row = ir_binary(l->memory, IR_EXPR_SHR, l->lane, thread_int(l, 2));
  const ir_expr *lane_column =
      thread_mul(l, ir_binary(l->memory, IR_EXPR_AND, l->lane, thread_int(l, 3)), thread_int(l, 2));
  const ir_expr *corner[2];
  for (int d = 0; d < 2; d++)
    corner[d] =
        ir_binary(l->memory, IR_EXPR_SUB, thread_own_coord(l, layout, d), d == corner_row ? lane_row : lane_column);
  const ir_expr *low = ir_binary(l->memory, IR_EXPR_AND, l->lane, thread_int(l, 15));
  const ir_expr *high = thread_mul(l, ir_binary(l->memory, IR_EXPR_SHR, l->lane, thread_int(l, 4)), thread_int(l, 8));
  /* Matrices in register order: (rows 0-7, columns 0-7), (rows 8-15, ..0-7), (..0-7, 8-15), (8-15, 8-15). Stored
   * transposed, a lane's 16 bytes run along the fragment's rows: lanes 0-7 address columns 0-7 at row 0, lanes 8-15
   * the same columns at row 8. */
  const ir_expr *offset[2];
  offset[corner_row] =
      flipped ? thread_mul(l,
                           ir_binary(l->memory, IR_EXPR_AND,
                                     ir_binary(l->memory, IR_EXPR_SHR, l->lane, thread_int(l, 3)), thread_int(l, 1)),
                           thread_int(l, 8))
              : low;
  offset[1 - corner_row] =
      flipped ? thread_add(l, ir_binary(l->memory, IR_EXPR_AND, l->lane, thread_int(l, 7)), high) : high;
  for (int d = 0; d < 2; d++)
    corner[d] = thread_role_let(l, "corner", thread_add(l, corner[d], offset[d]));

  ir_value *registers = thread_registers(l, tile);
  const ir_expr *group;
  const ir_expr *probe = thread_table(l, first[0], groups, thread_int(l, 0)),
                *other = thread_table(l, first[1], groups, thread_int(l, 0)),
                *number = thread_table(l, part.group, groups, thread_int(l, 0));
  if (!probe || !other || !number) return false;
  ir_block *saved = thread_loop(l, "r", thread_int(l, groups), 1, &group);
  const ir_expr *at[2];
  for (int d = 0; d < 2; d++)
    at[d] = thread_add(l, corner[d], thread_table(l, first[d], groups, group));
  number = thread_table(l, part.group, groups, group);
  bool direct = tile->type == buffer->type;
  ir_value *words = direct ? registers : thread_array(l, buffer->name, buffer->type, 8);
  const ir_expr *word = direct ? thread_mul(l, number, thread_int(l, 4)) : thread_int(l, 0);
  for (int i = 0; i < 4 && !direct; i++) {
    const ir_expr *values[2];
    for (int half = 0; half < 2; half++) {
      int per_word = thread_per_word(tile->type), element = 2 * i + half;
      values[half] = thread_read_element(
          l, registers,
          thread_add(l, thread_mul(l, number, thread_int(l, 8 / per_word)), thread_int(l, element / per_word)),
          element % per_word);
    }
    thread_set_word(l, words, thread_int(l, i), thread_pack(l, buffer->type, values, 2));
  }
  const ir_expr *address = thread_shared_address(l, buffer, op->write[0].slot, at);
  ir_op *store = thread_op(l, IR_OP_STMATRIX);
  ir_ref to = ir_ref_whole(buffer), from = ir_ref_whole(words);
  to.slot = op->write[0].slot;
  from.count = 1;
  from.start[0] = word;
  ir_op_add_write(store, to);
  ir_op_add_read(store, from);
  ir_op_add_expr(l->memory, store, address);
  ir_attr_set(&store->attrs, IR_ATTR_COUNT, 4);
  if (flipped) ir_attr_set(&store->attrs, IR_ATTR_TRANSPOSE, 1);
  thread_leave(l, saved);
  return true;
}
