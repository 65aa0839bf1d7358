/* prove-layouts: every element of every tile and buffer has a place, and no two share one.
 *
 * Tiles: some thread holds each element. Buffers: elements have different addresses, all inside the slot. Tensor maps:
 * boxes that the copy engine takes. Copies in parts: each part of the role holds its own share. Nothing is changed. */
#include "passes/pass.h"
#include "passes/region.h"

static bool fail(pass_env *env, const ir_value *value, const char *what) {
  return diag_error(env->diagnostics, DIAG_PROOF, value->loc,
                    "the layout of %s %s; assign-layouts should have prevented it", value->name, what);
}

static bool check_extents(pass_env *env, const ir_value *value, int rank, const int *extent) {
  if (rank != value->rank) return fail(env, value, "has another number of dimensions");
  for (int d = 0; d < rank; d++)
    if (extent[d] != ir_extent(value, d)) return fail(env, value, "has other extents");
  return true;
}

static bool check_tile(pass_env *env, const ir_value *value) {
  if (!value->tile) return fail(env, value, "is missing");
  if (!check_extents(env, value, value->tile->rank, value->tile->extent)) return false;
  return tile_layout_verify(value->tile) || fail(env, value, "leaves elements without a thread");
}

static bool check_shared(pass_env *env, const ir_value *value) {
  const shared_layout *layout = value->shared;
  if (!layout) return fail(env, value, "is missing");
  if (!check_extents(env, value, layout->rank, layout->extent)) return false;
  if (layout->element_bits != ir_bits(value->type)) return fail(env, value, "has elements of another width");
  int64_t row_bits = (int64_t)layout->extent[layout->contiguous] * layout->element_bits;
  if ((int64_t)layout->panel_count * layout->panel_bytes * 8 < row_bits ||
      (int64_t)layout->panel_count * layout->panel_bytes * layout->rows > layout->byte_size)
    return fail(env, value, "does not hold all elements");
  linmap map;
  if (shared_layout_map(layout, &map) && linmap_rank(&map) != map.in_bits)
    return fail(env, value, "gives two elements one address");
  return true;
}

static bool check_parts(void *data, ir_block *block, ir_op *op) {
  pass_env *env = data;
  int parts = (int)ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1);
  (void)block;
  if (op->kind != IR_OP_COPY || parts == 1 || op->write[0].value->space == IR_GLOBAL ||
      region_shares_apart(op, (int)ir_attr_get(&op->attrs, IR_ATTR_AXIS, 0), parts))
    return true;
  return diag_error(env->diagnostics, DIAG_PROOF, op->loc,
                    "the %d parts of the role do not hold a share of %s each; part-stores should have prevented it",
                    parts, op->write[0].value->name);
}

bool prove_layouts(ir_kernel *kernel, pass_env *env) {
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    if (value->space == IR_TILE && !check_tile(env, value)) return false;
    if (value->space == IR_SHARED && !check_shared(env, value)) return false;
  }
  return ir_walk(&kernel->body, check_parts, env);
}
