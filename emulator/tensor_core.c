/* mma.sync and wgmma: a warp's share of the product, on fragments laid out as PTX has them.
 *
 * With g = lane / 4, t = lane % 4 and e elements of an operand in a 32-bit register:
 *   accumulator  register i is row g + 8 * (i / 2 % 2), column 8 * (i / 4) + 2 t + i % 2
 *   A            register i is row g + 8 * (i % 2), k = 4 e * (i / 2) + e t ..
 *   A (sparse)   as for half of k: of each four, the two that metadata names
 *   B (mma)      register i is column g,          k = 4 e * i + e t ..
 * A warp of wgmma owns rows 16 w .. of the 64, w = warp % 4.
 *
 * Sums are those of f32, but for 8-bit floats: there the products and the old sum are cut off 13 binary places below the
 * largest exponent among them, a product's being the sum of its factors', and the new sum is cut to 13 places behind its
 * first. Known as about 14 bits (DeepSeek-V3's report, 3.3.2) or 22-bit floats (pytorch issue 147971); an H200's wgmma
 * gave the same 16384 sums of 8192 k, bit for bit. What promoting sums to f32 gains can be seen here.
 * mma.sync of sm_89 is taken to do the same, which was not measured.
 *
 * Sources: PTX ISA, "Matrix fragments for mma.m16n8k*", "Register fragments and shared memory matrix layouts". */
#include "emulator/machine.h"

#include "ir/numeric.h"

#include <math.h>
#include <string.h>

enum { ROWS = 16, MOST_COLUMNS = 256, MOST_DEPTH = 64, CHUNK = 16 };

/* Operands of one product, unpacked. */
typedef struct product {
  bool real, cut; /* cut: sums of 8-bit floats, which lose places */
  int columns, depth;
  float a[ROWS][MOST_DEPTH], b[MOST_DEPTH][MOST_COLUMNS], d[ROWS][MOST_COLUMNS];
  int16_t b_exponent[MOST_DEPTH][MOST_COLUMNS]; /* of cut sums */
  bool sparse;
  uint64_t taken[ROWS]; /* by a sparse mma: the k whose products it adds, a bit each */
  int32_t ai[ROWS][MOST_DEPTH], bi[MOST_DEPTH][MOST_COLUMNS];
  uint32_t di[ROWS][MOST_COLUMNS];
} product;

/* What the tensor core makes of an element: f32 operands are taken as tf32. */
static ir_type operand_type(ir_type type) { return type == IR_F32 ? IR_TF32 : type; }

/* Through mma of sm_90 they are converted to f16, whose sums keep their places. */
static bool is_cut(ir_type type) { return type == IR_F8E4M3 || type == IR_F8E5M2; }

static float real_of(const machine *m, ir_type type, uint64_t bits) {
  return m->decoded[type] ? m->decoded[type][bits] : (float)bits_cell(m, type, bits).f;
}

static void put_a(const machine *m, product *p, ir_type type, int row, int k, uint64_t bits) {
  if (p->real)
    p->a[row][k] = real_of(m, type, bits);
  else
    p->ai[row][k] = (int32_t)bits_cell(m, type, bits).i;
}

static void put_b(const machine *m, product *p, ir_type type, int k, int column, uint64_t bits) {
  if (p->real)
    p->b[k][column] = real_of(m, type, bits);
  else
    p->bi[k][column] = (int32_t)bits_cell(m, type, bits).i;
}

static uint64_t element_bits(uint64_t word, int index, int bits) {
  return word >> (index * bits) & (bits >= 32 ? 0xffffffffu : (1u << bits) - 1);
}

/* Columns come in eights, and loops of eight become vector instructions. */
enum { EIGHT = 8 };

static void multiply_row(const product *p, const float *a, float *d) {
  for (int k = 0; k < p->depth; k++) {
    float x = a[k];
    const float *b = p->b[k];
    for (int j = 0; j < p->columns; j += EIGHT)
      for (int i = 0; i < EIGHT; i++)
        d[j + i] += x * b[j + i];
  }
}

/* What is not taken is not multiplied: it may be infinite. */
static void multiply_sparse_row(const product *p, const float *a, uint64_t taken, float *d) {
  for (int k = 0; k < p->depth; k++)
    for (int j = 0; j < p->columns && (taken >> k & 1); j++)
      d[j] += a[k] * p->b[k][j];
}

enum { CUT_PLACES = 13, CUT_LEAST = 100, NO_EXPONENT = -1000 };

/* `value` less what lies below 13 places behind its first: both are whole numbers. */
static float cut_sum(float value) {
  float unit = 1;
  while (fabsf(value) >= unit * (2 << CUT_PLACES))
    unit *= 2;
  return unit * truncf(value / unit);
}

/* Of a number in [2^n, 2^(n+1)): n; of 0 the least. */
static int exponent_of(float value) {
  int exponent;
  return frexpf(value, &exponent) == 0 ? NO_EXPONENT : exponent - 1;
}

/* The sum of the terms, cut off CUT_PLACES below `exponent`. */
static float add_cut(const float *term, int count, int exponent) {
  float plain = 0;
  for (int k = 0; k < count; k++)
    plain += term[k];
  if (!isfinite(plain) || exponent < -CUT_LEAST) return plain;
  float places = ldexpf(1, CUT_PLACES - exponent), sum = 0;
  for (int k = 0; k < count; k++)
    sum += (float)(int)(term[k] * places);
  return cut_sum(sum) / places;
}

static void multiply_cut_row(const product *p, const float *a, float *d) {
  float term[MOST_DEPTH + 1];
  int exponent[MOST_DEPTH];
  for (int k = 0; k < p->depth; k++)
    exponent[k] = exponent_of(a[k]);
  for (int j = 0; j < p->columns; j++) {
    int largest = exponent_of(d[j]);
    for (int k = 0; k < p->depth; k++) {
      int own = exponent[k] + p->b_exponent[k][j];
      term[k] = a[k] * p->b[k][j];
      largest = own > largest ? own : largest;
    }
    term[p->depth] = d[j];
    d[j] = add_cut(term, p->depth + 1, largest);
  }
}

static void multiply_integer_row(const product *p, const int32_t *a, uint32_t *d) {
  for (int k = 0; k < p->depth; k++) {
    uint32_t x = (uint32_t)a[k];
    const int32_t *b = p->bi[k];
    for (int j = 0; j < p->columns; j += EIGHT)
      for (int i = 0; i < EIGHT; i++)
        d[j + i] += x * (uint32_t)b[j + i];
  }
}

static void multiply(product *p) {
  for (int k = 0; k < p->depth && p->cut; k++)
    for (int j = 0; j < p->columns; j++)
      p->b_exponent[k][j] = (int16_t)exponent_of(p->b[k][j]);
  for (int row = 0; row < ROWS; row++)
    if (p->cut)
      multiply_cut_row(p, p->a[row], p->d[row]);
    else if (p->sparse)
      multiply_sparse_row(p, p->a[row], p->taken[row], p->d[row]);
    else if (p->real)
      multiply_row(p, p->a[row], p->d[row]);
    else
      multiply_integer_row(p, p->ai[row], p->di[row]);
}

/* -- Registers ----------------------------------------------------------------------------------------------------- */

static bool read_a_registers(machine *m, agent *a, const operand *o, product *p) {
  ir_type type = operand_type(o->value->type);
  int bits = ir_bits(type), each = 32 / bits, words = p->depth / (4 * each) * 2;
  const uint64_t *word = register_read_words(m, a, o, words);
  if (!word) return false;
  for (int i = 0; i < words; i++)
    for (int l = 0; l < LANES; l++)
      for (int e = 0; e < each; e++)
        put_a(m, p, type, (l >> 2) + 8 * (i % 2), 4 * each * (i / 2) + each * (l & 3) + e,
              element_bits(word[i * LANES + l], e, bits));
  return true;
}

/* A of a sparse mma: k of each four come in two, in the places that 4 bits of metadata say, the lower one first. The lanes 4g
 * + 2 selector and the one behind it have them, for 16 k each: of row g in the low half of the word, of row g + 8 above. */
static bool read_sparse_a(machine *m, agent *a, const instruction *in, product *p) {
  const operand *o = &in->read[0], *metadata = &in->read[2];
  ir_type type = o->value->type;
  int selector = (int)ir_attr_get(&in->op->attrs, IR_ATTR_SELECTOR, 0), bits = ir_bits(type), each = 32 / bits;
  if (!p->real || bits != 16 || p->depth != 32 || metadata->value->type != IR_U32) {
    finding(m, a, EMULATOR_UNSUPPORTED, nowhere, nowhere, "a sparse mma of depth %d on %s", p->depth,
            ir_type_of(type)->name);
    return false;
  }
  const uint64_t *word = register_read_words(m, a, metadata, 1);
  if (!word) return false;
  int place[ROWS][MOST_DEPTH / 2];
  for (int row = 0; row < ROWS; row++)
    for (int i = 0; i < p->depth / 2; i += 2) {
      int lane = row % 8 * 4 + 2 * selector + i / 8;
      uint64_t four = word[lane] >> (row / 8 * 16 + i % 8 * 2);
      int first = (int)(four & 3), second = (int)(four >> 2 & 3);
      if (first >= second) {
        finding(m, a, EMULATOR_UNSUPPORTED, nowhere, nowhere,
                "metadata of lane %d names places %d and %d of four: ordered_metadata has the lower one first", lane,
                first, second);
        return false;
      }
      place[row][i] = i * 2 + first;
      place[row][i + 1] = i * 2 + second;
    }
  int words = p->depth / (8 * each) * 2;
  word = register_read_words(m, a, o, words);
  if (!word) return false;
  memset(p->taken, 0, sizeof p->taken);
  for (int i = 0; i < words; i++)
    for (int l = 0; l < LANES; l++)
      for (int e = 0; e < each; e++) {
        int row = (l >> 2) + 8 * (i % 2), k = 4 * each * (i / 2) + each * (l & 3) + e;
        put_a(m, p, type, row, place[row][k], element_bits(word[i * LANES + l], e, bits));
        p->taken[row] |= (uint64_t)1 << place[row][k];
      }
  return true;
}

static bool read_b_registers(machine *m, agent *a, const operand *o, product *p) {
  ir_type type = operand_type(o->value->type);
  int bits = ir_bits(type), each = 32 / bits, words = p->depth / (4 * each);
  const uint64_t *word = register_read_words(m, a, o, words);
  if (!word) return false;
  for (int i = 0; i < words; i++)
    for (int l = 0; l < LANES; l++)
      for (int e = 0; e < each; e++)
        put_b(m, p, type, 4 * each * i + each * (l & 3) + e, l >> 2, element_bits(word[i * LANES + l], e, bits));
  return true;
}

static float word_float(uint64_t word) {
  uint32_t bits = (uint32_t)word;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint64_t float_word(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* 16-bit accumulators are pairs in a word. */
static int accumulator_words(const ir_value *value, int columns) {
  return ir_bits(value->type) == 16 ? columns / 4 : columns / 2;
}

static void clear_accumulator(product *p) {
  for (int i = 0; i < ROWS; i++) {
    memset(p->d[i], 0, sizeof(float) * (size_t)p->columns);
    memset(p->di[i], 0, sizeof(uint32_t) * (size_t)p->columns);
  }
}

static void read_accumulator(machine *m, const uint64_t *word, ir_type type, product *p) {
  bool packed = ir_bits(type) == 16;
  for (int i = 0; i < p->columns / 2; i++)
    for (int l = 0; l < LANES; l++) {
      int row = (l >> 2) + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (l & 3) + i % 2;
      if (packed)
        p->d[row][column] = (float)bits_cell(m, type, element_bits(word[i / 2 * LANES + l], i % 2, 16)).f;
      else if (p->real)
        p->d[row][column] = word_float(word[i * LANES + l]);
      else
        p->di[row][column] = (uint32_t)word[i * LANES + l];
    }
}

static void write_accumulator(uint64_t *word, ir_type type, const product *p) {
  bool packed = ir_bits(type) == 16;
  for (int i = 0; i < p->columns / 2; i++)
    for (int l = 0; l < LANES; l++) {
      int row = (l >> 2) + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (l & 3) + i % 2;
      if (packed) {
        cell x = {.f = (double)p->d[row][column]};
        uint64_t *at = &word[i / 2 * LANES + l];
        if (i % 2 == 0) *at = 0;
        *at |= cell_bits(type, x) << (16 * (i % 2));
      } else if (p->real) {
        word[i * LANES + l] = float_word(p->d[row][column]);
      } else {
        word[i * LANES + l] = p->di[row][column];
      }
    }
}

/* -- mma.sync ------------------------------------------------------------------------------------------------------ */

static bool good_types(machine *m, agent *a, ir_type acc, ir_type left, ir_type right) {
  bool good = is_real(left) == is_real(right) && is_real(acc) == is_real(left) && (is_real(acc) || acc == IR_I32);
  good = good && ir_bits(left) == ir_bits(right) && ir_bits(left) >= 8 && ir_bits(left) <= 32;
  if (!good)
    finding(m, a, EMULATOR_UNSUPPORTED, nowhere, nowhere, "no tensor core multiplies %s and %s into %s",
            ir_type_of(left)->name, ir_type_of(right)->name, ir_type_of(acc)->name);
  return good;
}

static void execute_mma(machine *m, agent *a, const instruction *in) {
  const ir_op *op = in->op;
  const operand *acc = &in->write[0];
  ir_type left = in->read[0].value->type, right = in->read[1].value->type;
  require_warp(m, a, op);
  product p;
  p.real = is_real(left);
  p.cut = is_cut(left) && ir_target_of(m->kernel->target)->has_native_fp8_mma;
  p.columns = 8;
  p.depth = (int)ir_attr_get(&op->attrs, IR_ATTR_K, 16);
  p.sparse = op->read_count > 2;
  if (!good_types(m, a, acc->value->type, left, right)) return;
  if (p.depth > MOST_DEPTH || p.depth * ir_bits(left) % 128 != 0) {
    finding(m, a, EMULATOR_UNSUPPORTED, nowhere, nowhere, "an mma of depth %d on %s", p.depth, ir_type_of(left)->name);
    return;
  }
  int words = accumulator_words(acc->value, p.columns);
  const uint64_t *old = register_read_words(m, a, acc, words);
  if (!old || !(p.sparse ? read_sparse_a(m, a, in, &p) : read_a_registers(m, a, &in->read[0], &p)) ||
      !read_b_registers(m, a, &in->read[1], &p))
    return;
  read_accumulator(m, old, acc->value->type, &p);
  multiply(&p);
  uint64_t result[4 * LANES];
  write_accumulator(result, acc->value->type, &p);
  int64_t first = register_first(m, a, acc);
  for (int i = 0; i < words; i++)
    for (int l = 0; l < LANES; l++)
      register_write_word(m, a, acc->value, first + i, l, result[i * LANES + l]);
  tensor_core_count(m, 2 * ROWS * p.columns * p.depth);
}

/* -- wgmma: operands in shared memory ------------------------------------------------------------------------------ */

/* A matrix descriptor and what the buffer's layout says of it. */
typedef struct matrix {
  const operand *o;
  wgmma_operand facts;
  int64_t start; /* address */
  int span;      /* of the swizzle; 0: none */
  ir_type type;
} matrix;

static bool matrix_of(machine *m, agent *a, const operand *o, const program *low, bool transpose, matrix *out) {
  static const int spans[] = {0, SHARED_SWIZZLE_128, SHARED_SWIZZLE_64, SHARED_SWIZZLE_32};
  const ir_value *value = o->value;
  const shared_layout *layout = value->shared;
  int other = layout ? (layout->contiguous == layout->rank - 1 ? layout->rank - 2 : layout->rank - 1) : 0;
  int k_dim = layout ? (transpose ? other : layout->contiguous) : 0;
  if (!layout || k_dim < 0 || !shared_layout_wgmma(layout, k_dim, &out->facts) || out->facts.mn_major != transpose) {
    finding(m, a, EMULATOR_UNSUPPORTED, nowhere, value->loc, "no matrix descriptor describes '%s' for this wgmma",
            value->name);
    return false;
  }
  out->o = o;
  out->start = (evaluate_uniform(m, a, low).i & 0x3fff) << 4;
  out->span = spans[out->facts.swizzle_code];
  out->type = operand_type(value->type);
  return true;
}

/* Address of 16 bytes of the operand before the swizzle: row `r` (m or n) from byte `byte` of k; or, with m or n
 * contiguous, k `r` from byte `byte` of the row. */
static int64_t chunk_address(const matrix *x, int64_t r, int64_t byte) {
  const wgmma_operand *f = &x->facts;
  int64_t lbo = f->lbo_bytes, sbo = f->sbo_bytes;
  if (!f->mn_major && x->span) return x->start + r / 8 * sbo + r % 8 * x->span + byte;
  if (!f->mn_major) return x->start + r / 8 * sbo + r % 8 * CHUNK + byte / CHUNK * lbo;
  if (x->span) return x->start + byte / x->span * lbo + r / 8 * sbo + r % 8 * x->span + byte % x->span;
  return x->start + byte / CHUNK * sbo + r / 8 * lbo + r % 8 * CHUNK;
}

/* The 16 bytes, or NULL after a finding. They are read until the group of the wgmma is waited for. */
static const uint8_t *chunk_at(machine *m, agent *a, const matrix *x, access *touch, int64_t r, int64_t byte) {
  int64_t address = (int64_t)shared_swizzle_apply((shared_swizzle)x->span, (uint32_t)chunk_address(x, r, byte));
  const ir_value *value = x->o->value;
  int64_t offset = address - SHARED_BASE, slots = value->slots > 0 ? value->slots : 1;
  if (offset < value->offset || offset + CHUNK > value->offset + m->slot_bytes[value->number] * slots) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, value->loc, "wgmma reads shared address %lld, outside '%s'",
            (long long)address, value->name);
    return NULL;
  }
  shared_touch(m, touch, a->block, offset, CHUNK);
  return a->block->shared + offset;
}

static access matrix_access(agent *a, const ir_op *op, const ir_value *value) {
  access x = access_generic(a, op, false, value);
  x.async = true;
  x.clock_index = a->clock_index + CLOCK_DOT;
  x.clock = a->dot_open;
  return x;
}

/* `count` rows from `first`: into b, or the warp's rows into a. */
static bool read_matrix(machine *m, agent *a, const ir_op *op, const matrix *x, int first, int count, bool is_b,
                        product *p) {
  int bits = ir_bits(x->type), each = CHUNK * 8 / bits;
  bool mn = x->facts.mn_major;
  access touch = matrix_access(a, op, x->o->value);
  int lines = mn ? p->depth : count, length = mn ? count : p->depth;
  for (int line = 0; line < lines; line++)
    for (int at = 0; at < length; at += each) {
      int64_t byte = (int64_t)(at + (mn ? first : 0)) * bits / 8;
      const uint8_t *chunk = chunk_at(m, a, x, &touch, line + (mn ? 0 : first), byte);
      if (!chunk) return false;
      for (int e = 0; e < each; e++) {
        uint16_t half;
        memcpy(&half, chunk + (bits == 16 ? 2 * e : 0), sizeof half);
        uint64_t element = bits == 16 ? half : ir_get_bits(chunk, (size_t)e, bits);
        int row = mn ? at + e : line, k = mn ? line : at + e;
        if (is_b)
          put_b(m, p, x->type, k, row, element);
        else
          put_a(m, p, x->type, row, k, element);
      }
    }
  return true;
}

/* Registers of wgmma: written by others only before a fence, and not at all while in flight. */
static bool check_fragment(machine *m, agent *a, const operand *o, int words, bool accumulator) {
  register_array *r = &a->registers[o->value->number];
  int64_t first = register_first(m, a, o);
  if (first < 0 || first + words > r->words) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, o->value->loc, "words %lld to %lld of '%s', which has %d", (long long)first,
            (long long)(first + words - 1), o->value->name, r->words);
    return false;
  }
  for (int64_t i = first; i < first + words && m->checks; i++) {
    if (r->touched[i] == a->fences)
      finding(m, a, EMULATOR_FENCE, nowhere, o->value->loc, "word %lld of '%s' was accessed after the last wgmma.fence",
              (long long)i, o->value->name);
    bool busy = accumulator ? r->read_group[i] > a->dot_done : r->written_group[i] > a->dot_done;
    if (busy)
      finding(m, a, EMULATOR_IN_FLIGHT, nowhere, m->code.instructions[r->flight_instruction[i]].op->loc,
              "word %lld of '%s' is used while another wgmma that uses it is in flight", (long long)i, o->value->name);
  }
  return true;
}

static void mark_flight(agent *a, const operand *o, int64_t first, int words, bool accumulator) {
  register_array *r = &a->registers[o->value->number];
  for (int64_t i = first; i < first + words; i++) {
    (accumulator ? r->written_group : r->read_group)[i] = a->dot_open;
    r->flight_instruction[i] = a->pc;
    if (accumulator) r->initialised[i] = ~0u;
  }
}

/* A's registers are read without counting as an access that needs a fence. */
static bool read_a_fragment(machine *m, agent *a, const operand *o, product *p) {
  int words = p->depth * ir_bits(o->value->type) / 64;
  if (!check_fragment(m, a, o, words, false)) return false;
  register_array *r = &a->registers[o->value->number];
  int64_t first = register_first(m, a, o);
  uint32_t touched[MOST_DEPTH];
  memcpy(touched, r->touched + first, sizeof(uint32_t) * (size_t)words);
  bool good = read_a_registers(m, a, o, p);
  memcpy(r->touched + first, touched, sizeof(uint32_t) * (size_t)words);
  if (good) mark_flight(a, o, first, words, false);
  return good;
}

static void check_initialised(machine *m, agent *a, const operand *o, int64_t first, int words) {
  const register_array *r = &a->registers[o->value->number];
  for (int64_t i = first; i < first + words && m->checks; i++)
    if (r->initialised[i] != ~0u)
      finding(m, a, EMULATOR_UNINITIALISED, nowhere, o->value->loc,
              "word %lld of '%s' is accumulated to before it was written", (long long)i, o->value->name);
}

static void execute_wgmma(machine *m, agent *a, const instruction *in) {
  enum { WARPS = 4 };
  const ir_op *op = in->op;
  const operand *acc = &in->write[0], *left = in->read[0].value ? &in->read[0] : &in->read[1], *right = &in->read[2];
  require_warp(m, a, op);
  a->wgmmas++;
  product p;
  p.columns = (int)ir_attr_get(&op->attrs, IR_ATTR_N, 8);
  p.depth = (int)ir_attr_get(&op->attrs, IR_ATTR_K, 16);
  p.sparse = false;
  matrix x, y;
  if (!left->value || !right->value || p.columns % 8 != 0 || p.columns > MOST_COLUMNS ||
      p.depth * ir_bits(right->value->type) != 256) {
    finding(m, a, EMULATOR_UNSUPPORTED, nowhere, nowhere, "no wgmma of m64n%dk%d with these operands", p.columns,
            p.depth);
    return;
  }
  p.real = is_real(right->value->type);
  p.cut = is_cut(right->value->type);
  if (a->fences == 1 && m->checks)
    finding(m, a, EMULATOR_FENCE, nowhere, nowhere, "the first wgmma of a warpgroup has no wgmma.fence before it");
  if (!good_types(m, a, acc->value->type, left->value->type, right->value->type)) return;
  int words = accumulator_words(acc->value, p.columns);
  int64_t first = register_first(m, a, acc);
  bool transpose_a = ir_attr_get(&op->attrs, IR_ATTR_TRANSPOSE_A, 0) != 0,
       transpose_b = ir_attr_get(&op->attrs, IR_ATTR_TRANSPOSE_B, 0) != 0;
  if (!check_fragment(m, a, acc, words, true)) return;
  bool from_registers = left == &in->read[0];
  if (from_registers) {
    if (!read_a_fragment(m, a, left, &p)) return;
  } else if (!matrix_of(m, a, left, in->expr[0], transpose_a, &x) ||
             !read_matrix(m, a, op, &x, a->number % WARPS * ROWS, ROWS, false, &p)) {
    return;
  }
  if (!matrix_of(m, a, right, in->expr[1], transpose_b, &y) || !read_matrix(m, a, op, &y, 0, p.columns, true, &p))
    return;
  uint64_t *word = a->registers[acc->value->number].word + first * LANES;
  if (evaluate_uniform(m, a, in->expr[2]).i) {
    check_initialised(m, a, acc, first, words);
    read_accumulator(m, word, acc->value->type, &p);
  } else {
    clear_accumulator(&p);
  }
  multiply(&p);
  write_accumulator(word, acc->value->type, &p);
  mark_flight(a, acc, first, words, true);
  if (a->number % WARPS == 0) tensor_core_count(m, 2 * WARPS * ROWS * p.columns * p.depth);
}

void tensor_core_count(machine *m, int64_t flops) {
  m->report->counts.events[IR_EVENT_MMAS]++;
  m->report->counts.events[IR_EVENT_MMA_FLOPS] += (uint64_t)flops;
}

outcome execute_tensor_core(machine *m, agent *a, const instruction *in) {
  switch (in->op->kind) {
  case IR_OP_MMA:
    execute_mma(m, a, in);
    return OUTCOME_NEXT;
  case IR_OP_WGMMA:
    execute_wgmma(m, a, in);
    return OUTCOME_NEXT;
  case IR_OP_WGMMA_FENCE:
    require_warp(m, a, in->op);
    a->fences++;
    return OUTCOME_NEXT;
  default: /* commit and wait */
    require_warp(m, a, in->op);
    return execute_sync(m, a, in);
  }
}
