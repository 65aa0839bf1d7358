/* place-shared: give every buffer and barrier of the block its place in shared memory.
 *
 *   before  alloc %As: shared f16[128, 64] slots 4          after  alloc %As: shared f16[128, 64] slots 4 offset 0
 *           alloc %full: barrier slots 4 arrivals 1                alloc %full: barrier slots 4 arrivals 1 offset 196608
 *
 * Buffers first, those of the largest alignment in front, then barriers, eight bytes a slot; every slot of a buffer
 * starts at a multiple of its alignment (1024 bytes under a 128-byte swizzle, since the swizzle acts on address bits).
 * Too much is an error that lists what takes how much.
 *
 * Runs on the thread form, when lowering has added its scratch buffers. A kernel that says where everything lies, as
 * text may, keeps its places. */
#include "passes/pass.h"

static int64_t slot_bytes(const ir_value *value) {
  int64_t alignment = value->shared->alignment;
  return (value->shared->byte_size + alignment - 1) / alignment * alignment;
}

static int alignment_of(const ir_value *value) {
  return value->space == IR_BARRIER ? 8 : value->space == IR_SHARED ? value->shared->alignment : 0;
}

static bool is_placed(const ir_kernel *kernel) {
  for (int i = 0; i < kernel->value_count; i++)
    if (alignment_of(kernel->values[i]) && kernel->values[i]->offset < 0) return false;
  return ir_attr_has(&kernel->attrs, IR_ATTR_SHARED_BYTES);
}

bool place_shared(ir_kernel *kernel, pass_env *env) {
  static const int alignments[] = {1024, 512, 256, 128, 8};
  bool placed = is_placed(kernel);
  int64_t offset = placed ? ir_attr_get(&kernel->attrs, IR_ATTR_SHARED_BYTES, 0) : 0;
  for (size_t a = 0; !placed && a < sizeof alignments / sizeof *alignments; a++)
    for (int i = 0; i < kernel->value_count; i++) {
      ir_value *value = kernel->values[i];
      if (alignment_of(value) != alignments[a]) continue;
      offset = (offset + alignments[a] - 1) / alignments[a] * alignments[a];
      value->offset = (int)offset;
      offset += value->space == IR_BARRIER ? 8 * (int64_t)value->slots : slot_bytes(value) * value->slots;
    }
  ir_attr_set(&kernel->attrs, IR_ATTR_SHARED_BYTES, offset);
  int64_t available = ir_target_of(kernel->target)->shared_bytes;
  if (offset <= available) return true;
  diag_error(env->diagnostics, DIAG_SHARED, kernel->loc,
             "%s needs %lld bytes of shared memory, %s has %lld for a block: use smaller tiles or fewer stages",
             kernel->name, (long long)offset, ir_target_of(kernel->target)->name, (long long)available);
  for (int i = 0; i < kernel->value_count; i++)
    if (kernel->values[i]->space == IR_SHARED)
      diag_note(env->diagnostics, kernel->values[i]->loc, "%s takes %lld bytes in %d slots", kernel->values[i]->name,
                (long long)(slot_bytes(kernel->values[i]) * kernel->values[i]->slots), kernel->values[i]->slots);
  return false;
}
