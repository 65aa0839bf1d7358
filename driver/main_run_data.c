#include "driver/main_run_data.h"

#include "ir/numeric.h"
#include "runtime/npy.h"
#include "support/hash.h"
#include "support/parallel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t element_count(const data_tensor *t) {
  size_t count = 1;
  for (int d = 0; d < t->rank; d++)
    count *= (size_t)t->extent[d];
  return count;
}

bool data_shape(data_tensor *t, const int64_t *strides) {
  const int64_t most = INT64_C(1) << 40; /* elements */
  int64_t next = 1, last = 0, count = 1;
  for (int d = t->rank - 1; d >= 0; d--) {
    t->stride[d] = strides ? strides[d] : next;
    if (t->extent[d] < 0 || t->stride[d] < 0 || t->stride[d] > most || t->extent[d] > most) return false;
    if (t->extent[d] > 0 && (next > most / t->extent[d] || t->stride[d] > most / t->extent[d])) return false;
    next *= t->extent[d];
    count *= t->extent[d];
    last += (t->extent[d] - 1) * t->stride[d];
  }
  t->stored = count ? (size_t)last + 1 : 0;
  if (t->stored > (size_t)most) return false;
  t->bytes = ir_packed_bytes(t->stored, ir_bits(t->type));
  return true;
}

/* Steps through the elements in row-major order, keeping their place in memory. */
typedef struct walk {
  int64_t at[RECORD_RANK_MAX];
  size_t place;
} walk;

static void step(const data_tensor *t, walk *w) {
  for (int d = t->rank - 1; d >= 0; d--) {
    w->place += (size_t)t->stride[d];
    if (++w->at[d] < t->extent[d]) return;
    w->place -= (size_t)(t->stride[d] * t->extent[d]);
    w->at[d] = 0;
  }
}

/* -- Made-up values -- */

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators). */
static uint64_t mix(uint64_t x) {
  x += UINT64_C(0x9e3779b97f4a7c15);
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

static double uniform(uint64_t bits, double lo, double hi) { return lo + (hi - lo) * (double)(bits >> 11) * 0x1p-53; }

/* Mean 0, variance 1: the sum of four uniform numbers, which needs no library function. */
static double normal(uint64_t bits) {
  double sum = 0;
  for (int i = 0; i < 4; i++)
    sum += (double)(bits >> (16 * i) & 0xffff) + 0.5;
  return (sum / 65536 - 2) * 1.7320508075688772;
}

static uint64_t make_code(const data_tensor *t, uint64_t bits) {
  const ir_type_info *type = ir_type_of(t->type);
  double unit = t->code_bits > 1 ? ldexp(1, t->code_bits - 1) : 1;
  if (t->role == DATA_SCALE && ir_is_float(t->type)) {
    double scale = uniform(bits, 0.5, 2);
    return ir_encode(t->type, type->class == IR_CLASS_SCALE ? scale : scale / unit);
  }
  if (t->role == DATA_ZERO && ir_is_float(t->type)) return ir_encode(t->type, uniform(bits, -2, 2));
  /* Codes and narrow numbers in full; wider integers are lengths and indices as a rule. */
  if (type->bits < 8 || type->class == IR_CLASS_TABLE) return bits & ((UINT64_C(1) << type->bits) - 1);
  switch (type->class) {
  case IR_CLASS_SCALE:
    return ir_encode(t->type, uniform(bits, 0.5, 2));
  case IR_CLASS_FLOAT:
    return ir_encode(t->type, normal(bits));
  case IR_CLASS_SINT:
    return type->bits == 8 ? bits & 0xff : ir_encode(t->type, (double)(bits % 16) - 8);
  default:
    return type->bits == 8 ? bits & 0xff : bits % 16;
  }
}

/* A tensor in pieces for several threads. A piece is whole bytes, whatever the type. */
enum { PIECE = 1 << 16 };

typedef struct making {
  const data_tensor *tensor;
  uint64_t key;
} making;

static void make_piece(void *data, int index) {
  const making *m = data;
  const data_tensor *t = m->tensor;
  size_t first = (size_t)index * PIECE, end = first + PIECE < t->stored ? first + PIECE : t->stored;
  for (size_t i = first; i < end; i++)
    ir_put_bits(t->actual, i, ir_bits(t->type), make_code(t, mix(m->key + i)));
}

void data_make_up(data_tensor *t, uint64_t seed) {
  making m = {t, mix(seed ^ hash128_bytes(t->name, strlen(t->name)).low)};
  parallel_run((int)((t->stored + PIECE - 1) / PIECE), make_piece, &m);
}

/* -- Files -- */

static double float_item(const npy_array *a, size_t i) {
  const unsigned char *at = (const unsigned char *)a->data + i * (size_t)a->item_bytes;
  uint64_t code = 0;
  memcpy(&code, at, (size_t)a->item_bytes);
  return ir_decode(a->item_bytes == 2 ? IR_F16 : a->item_bytes == 4 ? IR_F32 : IR_F64, code);
}

static int64_t integer_item(const npy_array *a, size_t i) {
  uint64_t code = 0;
  memcpy(&code, (const unsigned char *)a->data + i * (size_t)a->item_bytes, (size_t)a->item_bytes);
  int unused = 64 - 8 * a->item_bytes;
  return a->kind == 'i' ? (int64_t)(code << unused) >> unused : (int64_t)code;
}

static bool same_shape(const data_tensor *t, const npy_array *a) {
  if (a->rank != t->rank) return false;
  for (int d = 0; d < t->rank; d++) {
    if (a->extents[d] != t->extent[d]) return false;
  }
  return true;
}

static void print_shape(int rank, const int64_t *extents, str *out) {
  str_append_char(out, '[');
  for (int d = 0; d < rank; d++)
    str_printf(out, "%s%lld", d ? ", " : "", (long long)extents[d]);
  str_append_char(out, ']');
}

bool data_read(data_tensor *t, const char *path, arena *memory, str *error) {
  (void)memory;
  npy_array a;
  runtime_message message = {""};
  if (npy_read(path, &a, &message) != RUNTIME_OK) {
    str_printf(error, "%s: %s", path, message.text);
    return false;
  }
  bool ok = same_shape(t, &a);
  if (!ok) {
    str_printf(error, "%s: the array is ", path);
    print_shape(a.rank, a.extents, error);
    str_printf(error, ", and %s is ", t->name);
    print_shape(t->rank, t->extent, error);
  }
  int bits = ir_bits(t->type);
  size_t count = ok ? element_count(t) : 0;
  walk w = {{0}, 0};
  for (size_t i = 0; i < count; i++, step(t, &w)) {
    uint64_t code;
    if (a.kind == 'f')
      code = ir_encode(t->type, float_item(&a, i));
    else
      code = (uint64_t)integer_item(&a, i);
    if (bits < 64) code &= (UINT64_C(1) << bits) - 1;
    ir_put_bits(t->actual, w.place, bits, code);
  }
  npy_free(&a);
  return ok;
}

/* How the type is written: its own width where NumPy has it, else values as f4, or codes widened to whole bytes. */
static void npy_kind(ir_type type, char *kind, int *bytes) {
  const ir_type_info *info = ir_type_of(type);
  if (ir_is_integer(type)) {
    *kind = info->class == IR_CLASS_SINT ? 'i' : 'u';
    *bytes = info->bits <= 8 ? 1 : info->bits / 8;
  } else {
    *kind = 'f';
    *bytes = type == IR_F16 ? 2 : type == IR_F64 ? 8 : 4;
  }
}

bool data_write(const data_tensor *t, const char *path, str *error) {
  npy_array a = {.rank = t->rank};
  npy_kind(t->type, &a.kind, &a.item_bytes);
  for (int d = 0; d < t->rank; d++)
    a.extents[d] = t->extent[d];
  size_t count = element_count(t);
  a.data_bytes = count * (size_t)a.item_bytes;
  a.data = calloc(count ? count : 1, (size_t)a.item_bytes);
  if (!a.data) {
    str_printf(error, "%s: out of memory", path);
    return false;
  }
  walk w = {{0}, 0};
  for (size_t i = 0; i < count; i++, step(t, &w)) {
    uint64_t code = ir_get_bits(t->actual, w.place, ir_bits(t->type));
    if (a.kind != 'f')
      code = (uint64_t)ir_wrap(t->type, (int64_t)code);
    else if (t->type != IR_F16 && t->type != IR_F64)
      code = ir_encode(IR_F32, ir_decode(t->type, code));
    memcpy((unsigned char *)a.data + i * (size_t)a.item_bytes, &code, (size_t)a.item_bytes);
  }
  runtime_message message = {""};
  bool ok = npy_write(path, &a, &message) == RUNTIME_OK;
  if (!ok) str_printf(error, "%s: %s", path, message.text);
  npy_free(&a);
  return ok;
}

/* -- Packing -- */

const int32_t *data_order_of_layout(const packed_layout *layout, arena *memory) {
  int count = layout->rows * layout->k;
  int32_t *order = ARENA_ARRAY(memory, int32_t, count);
  for (int p = 0; p < count; p++) {
    int row, column;
    packed_layout_coord(layout, p, &row, &column);
    order[p] = row * layout->k + column;
  }
  return order;
}

const int32_t *data_order_of_record(const record_packing *packing, arena *memory) {
  int count = 1 << packing->column_count;
  int32_t *order = ARENA_ARRAY(memory, int32_t, count);
  for (int p = 0; p < count; p++) {
    for (int b = 0; b < packing->column_count; b++) {
      if (p >> b & 1) order[p] ^= (int32_t)packing->columns[b];
    }
  }
  return order;
}

typedef struct blocks_to_pack {
  const data_tensor *tensor;
  unsigned char *packed;
  const int32_t *order;
  int64_t block_rows, block_columns, rows, columns, row_stride, high, wide;
} blocks_to_pack;

/* A row of blocks; `index` counts those of all matrices. */
static void pack_blocks(void *data, int index) {
  const blocks_to_pack *b = data;
  const data_tensor *t = b->tensor;
  data_tensor leading = *t; /* the tensor without its last two dimensions */
  leading.rank = t->rank > 2 ? t->rank - 2 : 0;
  walk w = {{0}, 0};
  for (int64_t matrix = index / b->high; matrix > 0; matrix--)
    step(&leading, &w);
  int bits = ir_bits(t->type);
  int64_t size = b->block_rows * b->block_columns, first_row = index % b->high * b->block_rows;
  size_t place = (size_t)(index * b->wide * size);
  for (int64_t block = 0; block < b->wide; block++) {
    for (int64_t p = 0; p < size; p++, place++) {
      int64_t row = first_row + b->order[p] / b->block_columns,
              column = block * b->block_columns + b->order[p] % b->block_columns;
      if (row >= b->rows || column >= b->columns) continue;
      size_t from = w.place + (size_t)(row * b->row_stride + column * t->stride[t->rank - 1]);
      ir_put_bits(b->packed, place, bits, ir_get_bits(t->actual, from, bits));
    }
  }
}

unsigned char *data_pack(const data_tensor *t, int block_rows, int block_columns, const int32_t *order, arena *memory,
                         size_t *bytes) {
  blocks_to_pack b = {.tensor = t,
                      .order = order,
                      .block_rows = block_rows,
                      .block_columns = block_columns,
                      .rows = t->rank >= 2 ? t->extent[t->rank - 2] : 1,
                      .columns = t->extent[t->rank - 1],
                      .row_stride = t->rank >= 2 ? t->stride[t->rank - 2] : 0};
  int64_t matrices = 1;
  for (int d = 0; d < t->rank - 2; d++)
    matrices *= t->extent[d];
  b.high = (b.rows + block_rows - 1) / block_rows;
  b.wide = (b.columns + block_columns - 1) / block_columns;
  *bytes = ir_packed_bytes((size_t)(matrices * b.high * b.wide * block_rows * block_columns), ir_bits(t->type));
  b.packed = arena_alloc(memory, *bytes);
  parallel_run((int)(matrices * b.high), pack_blocks, &b);
  return b.packed;
}

/* -- Comparison -- */

static double unit_roundoff(ir_type type) {
  const ir_type_info *info = ir_type_of(type);
  return info->class == IR_CLASS_FLOAT ? ldexp(1, -info->mantissa_bits - 1) : 0;
}

/* Root mean square of `count` elements along the last dimension. */
static double row_size(const data_tensor *t, size_t place, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) {
    double value = t->wide[place + (size_t)(i * t->stride[t->rank - 1])];
    if (isfinite(value)) sum += value * value;
  }
  return count ? sqrt(sum / (double)count) : 0;
}

/* One element; the difference and what is allowed. */
static bool is_near(const data_tensor *t, double actual, double expected, double size, const data_precision *p,
                    double *error, double *allowed) {
  *error = 0;
  *allowed = p->factor * (2 * unit_roundoff(t->type) * fabs(expected) + 6 * p->rounding * size);
  if (ir_is_integer(t->type) && p->rounding > 0) *allowed += p->factor;
  if (isnan(expected)) return isnan(actual);
  if (actual == expected) return true;
  if (isfinite(actual)) *error = fabs(actual - expected);
  if (actual == ir_round(t->type, expected)) return true; /* it may overflow to infinity */
  *error = fabs(actual - expected);
  return *error <= *allowed;
}

data_comparison data_compare(const data_tensor *t, const data_precision *precision) {
  data_comparison c = {.compared = element_count(t)};
  int64_t columns = t->rank ? t->extent[t->rank - 1] : 1;
  walk w = {{0}, 0};
  double total = 0, size = 0;
  for (size_t i = 0; i < c.compared; i++, step(t, &w)) {
    if (isfinite(t->wide[w.place])) total += t->wide[w.place] * t->wide[w.place];
  }
  total = c.compared ? sqrt(total / (double)c.compared) : 0;
  w = (walk){{0}, 0};
  for (size_t i = 0; i < c.compared; i++, step(t, &w)) {
    if (i % (size_t)columns == 0) {
      size = t->rank ? row_size(t, w.place, columns) : 0;
      if (size < total) size = total;
    }
    double actual = ir_decode(t->type, ir_get_bits(t->actual, w.place, ir_bits(t->type)));
    double error, allowed;
    bool near = is_near(t, actual, t->wide[w.place], size, precision, &error, &allowed);
    if (isnan(error)) error = INFINITY;
    if (error > c.worst_error) {
      c.worst_error = error;
      c.worst_allowed = allowed;
    }
    if (near) continue;
    if (c.wrong++ == 0) {
      memcpy(c.first, w.at, sizeof c.first);
      c.first_actual = actual;
      c.first_expected = t->wide[w.place];
    }
  }
  return c;
}
