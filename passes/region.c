#include "passes/region.h"

const ir_expr *region_stride(arena *memory, const ir_value *tensor, int dim) {
  if (tensor->stride[dim])
    return tensor->stride[dim];
  const ir_expr *product = ir_int(memory, 1);
  for (int d = dim + 1; d < tensor->rank; d++)
    product = ir_binary(memory, IR_EXPR_MUL, product, tensor->extent[d]);
  return product;
}

int region_inner_dim(const ir_ref *ref) {
  if (!ref->count)
    return ref->value->rank - 1;
  for (int d = ref->count - 1; d >= 0; d--)
    if (ref->span[d])
      return d;
  return -1;
}

/* The largest power of two that divides `value`, up to 4096; 0 counts as 4096. */
static int64_t power_of_two(int64_t value) {
  int64_t power = 1;
  while (power < 4096 && value % (power * 2) == 0)
    power *= 2;
  return power;
}

static int64_t known_power(const ir_expr *e) {
  return power_of_two(ir_known_divisor(e));
}

int region_access_bytes(arena *memory, const ir_ref *ref) {
  const ir_value *tensor = ref->value;
  int inner = region_inner_dim(ref);
  if (inner != tensor->rank - 1 || (tensor->stride[inner] && known_power(tensor->stride[inner]) != 1))
    return 0;
  int64_t stride_one;
  if (tensor->stride[inner] && !(ir_is_constant(tensor->stride[inner], &stride_one) && stride_one == 1))
    return 0;
  int64_t elements = known_power(tensor->extent[inner]);
  if (ref->count) {
    int64_t start = known_power(ref->start[inner]), span = power_of_two(ref->span[inner]);
    elements = elements < start ? elements : start;
    elements = elements < span ? elements : span;
  }
  for (int d = 0; d < inner; d++) {
    int64_t stride = known_power(region_stride(memory, tensor, d));
    elements = elements < stride ? elements : stride;
  }
  int64_t bits = elements * ir_bits(tensor->type);
  return bits < 8 ? 0 : bits >= 128 ? 16 : (int)(bits / 8);
}

const char *region_tma_refusal(arena *memory, const ir_ref *ref) {
  const ir_value *tensor = ref->value;
  int bits = ir_bits(tensor->type), inner = region_inner_dim(ref);
  if (bits < 8)
    return "its elements are smaller than a byte";
  if (inner != tensor->rank - 1)
    return "its innermost dimension is not the tensor's contiguous one";
  int64_t one;
  if (tensor->stride[inner] && !(ir_is_constant(tensor->stride[inner], &one) && one == 1))
    return "its innermost stride is not 1";
  int64_t span = ref->count ? ref->span[inner] : ir_extent(tensor, inner);
  if (span * bits / 8 % 16)
    return "a row of the tile is not a multiple of 16 bytes";
  for (int d = 0; d < inner; d++)
    if (known_power(region_stride(memory, tensor, d)) * bits / 8 % 16)
      return "the tensor's rows are not known to be multiples of 16 bytes (a fact such as `where K % 8 == 0` would say so)";
  return NULL;
}
