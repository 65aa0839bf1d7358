/* Layouts as text. Readers check as they go; what they accept has passed the same checks as what constructors make. */
#include "ir/layout.h"

#include <string.h>

/* -- Reading ---------------------------------------------------------------------------------------------------------
 */

typedef struct reader {
  const char *at;
  const char *error; /* the first one; NULL while all is well */
} reader;

static void fail(reader *r, const char *error) {
  if (!r->error) r->error = error;
}

static void skip_space(reader *r) {
  while (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')
    r->at++;
}

/* Takes `text` when it comes next. */
static bool accept(reader *r, const char *text) {
  skip_space(r);
  size_t length = strlen(text);
  if (r->error || strncmp(r->at, text, length) != 0) return false;
  r->at += length;
  return true;
}

static void expect(reader *r, const char *text, const char *error) {
  if (!accept(r, text)) fail(r, error);
}

/* A number up to 2^24; 0 after an error. */
static int read_number(reader *r) {
  skip_space(r);
  if (r->error || *r->at < '0' || *r->at > '9') {
    fail(r, "expected a number");
    return 0;
  }
  int value = 0;
  while (*r->at >= '0' && *r->at <= '9') {
    value = value * 10 + (*r->at - '0');
    if (value > 1 << 24) {
      fail(r, "number is too large");
      return 0;
    }
    r->at++;
  }
  return value;
}

/* 64x96 */
static int read_extents(reader *r, int *extent) {
  int rank = 0;
  do {
    if (rank == LAYOUT_MAX_RANK) {
      fail(r, "a layout has at most four dimensions");
      return rank;
    }
    extent[rank++] = read_number(r);
  } while (accept(r, "x"));
  return rank;
}

static bool finish(reader *r, const char **cursor, const char **error) {
  *cursor = r->at;
  if (r->error) *error = r->error;
  return !r->error;
}

/* -- Tiles -----------------------------------------------------------------------------------------------------------
 */

static int dim_shift(const tile_layout *layout, int dim) {
  int shift = 0;
  for (int d = layout->rank - 1; d > dim; d--)
    shift += layout->dim_bits[d];
  return shift;
}

static void print_extents(str *out, int rank, const int *extent) {
  for (int d = 0; d < rank; d++)
    str_printf(out, d ? "x%d" : "%d", extent[d]);
}

void tile_layout_print(const tile_layout *layout, str *out) {
  static const char *const axis_name[] = {"reg", "lane", "warp"};
  str_append(out, "#tile[");
  print_extents(out, layout->rank, layout->extent);
  str_append(out, "]{");
  int ends[] = {layout->reg_bits, layout->reg_bits + TILE_LANE_BITS, layout->map.in_bits}, column = 0;
  for (int axis = TILE_REG; axis <= TILE_WARP; axis++) {
    str_printf(out, "%s%s:", axis ? "; " : "", axis_name[axis]);
    for (; column < ends[axis]; column++)
      for (int d = 0; d < layout->rank; d++) {
        uint32_t part = layout->map.col[column] >> dim_shift(layout, d) & (((uint32_t)1 << layout->dim_bits[d]) - 1);
        str_printf(out, "%s%u%s", d ? "," : " (", part, d == layout->rank - 1 ? ")" : "");
      }
  }
  for (int i = 0; i < layout->repeat_count; i++) {
    const tile_repeat *repeat = &layout->repeat[i];
    str_printf(out, "; repeat %d dim %d by %d %s %d", repeat->count, repeat->dim, repeat->delta,
               axis_name[repeat->axis], repeat->stride);
  }
  str_append(out, "}");
}

/* (8,0) (0,8) ...: appends the coordinates of each bit. */
static int read_columns(reader *r, int rank, int coords[LINMAP_MAX_BITS][LAYOUT_MAX_RANK], int count) {
  while (accept(r, "(")) {
    if (count == LINMAP_MAX_BITS) {
      fail(r, "a layout has at most 24 bits");
      return count;
    }
    for (int d = 0; d < rank; d++) {
      if (d) expect(r, ",", "expected ',': one coordinate a dimension");
      coords[count][d] = read_number(r);
    }
    expect(r, ")", "expected ')': one coordinate a dimension");
    count++;
  }
  return count;
}

static void read_repeat(reader *r, tile_layout *layout) {
  if (layout->repeat_count == TILE_MAX_REPEATS) {
    fail(r, "a layout has at most four repeats");
    return;
  }
  tile_repeat *repeat = &layout->repeat[layout->repeat_count++];
  int count = read_number(r);
  expect(r, "dim", "expected 'dim'");
  int dim = read_number(r);
  expect(r, "by", "expected 'by'");
  repeat->delta = read_number(r);
  if (accept(r, "warp"))
    repeat->axis = TILE_WARP;
  else
    expect(r, "reg", "expected 'reg' or 'warp'");
  repeat->stride = read_number(r);
  if (count < 2 || count > TILE_MAX_REGISTERS) fail(r, "a repeat's count is 2 to 1024");
  if (dim >= layout->rank) fail(r, "a repeat's dimension is not one of the tile's");
  repeat->count = (uint16_t)count;
  repeat->dim = (uint8_t)dim;
  int *total = repeat->axis == TILE_REG ? &layout->reg_count : &layout->warp_count;
  if (!r->error && *total <= TILE_MAX_REGISTERS) *total *= count;
}

/* A dimension's linear bits reach up to its innermost repeat, or all of it. */
static void find_dim_bits(reader *r, tile_layout *layout) {
  for (int d = 0; d < layout->rank; d++) {
    int reach = layout->extent[d];
    for (int i = 0; i < layout->repeat_count; i++)
      if (layout->repeat[i].dim == d && layout->repeat[i].delta && layout->repeat[i].delta < reach)
        reach = layout->repeat[i].delta;
    if (reach < 1 || (reach & (reach - 1))) {
      fail(r, "an extent is neither a power of two nor one times repeats");
      return;
    }
    layout->dim_bits[d] = (uint8_t)(31 - __builtin_clz((unsigned)reach));
  }
}

static void place_columns(reader *r, tile_layout *layout, int coords[LINMAP_MAX_BITS][LAYOUT_MAX_RANK], int count) {
  int out_bits = 0;
  for (int d = 0; d < layout->rank; d++)
    out_bits += layout->dim_bits[d];
  if (out_bits > LINMAP_MAX_BITS) {
    fail(r, "the tile is too large");
    return;
  }
  layout->map = linmap_zero(count, out_bits);
  for (int i = 0; i < count; i++)
    for (int d = 0; d < layout->rank; d++) {
      if (coords[i][d] >> layout->dim_bits[d]) fail(r, "a coordinate lies outside the tile's linear part");
      layout->map.col[i] |= (uint32_t)coords[i][d] << dim_shift(layout, d);
    }
}

bool tile_layout_parse(const char **cursor, tile_layout *layout, const char **error) {
  reader r = {*cursor, NULL};
  int coords[LINMAP_MAX_BITS][LAYOUT_MAX_RANK] = {{0}};
  tile_layout result = {.rank = 1};
  expect(&r, "#tile[", "expected '#tile['");
  result.rank = (uint8_t)read_extents(&r, result.extent);
  expect(&r, "]", "expected ']'");
  expect(&r, "{", "expected '{'");
  expect(&r, "reg:", "expected 'reg:'");
  int registers = read_columns(&r, result.rank, coords, 0);
  expect(&r, ";", "expected ';'");
  expect(&r, "lane:", "expected 'lane:'");
  int lanes = read_columns(&r, result.rank, coords, registers);
  if (lanes - registers != TILE_LANE_BITS) fail(&r, "there are five lane bits");
  expect(&r, ";", "expected ';'");
  expect(&r, "warp:", "expected 'warp:'");
  int warps = read_columns(&r, result.rank, coords, lanes);
  result.reg_bits = (uint8_t)registers;
  result.warp_bits = (uint8_t)(warps - lanes);
  result.reg_count = 1 << registers;
  result.warp_count = 1 << result.warp_bits;
  while (accept(&r, ";")) {
    expect(&r, "repeat", "expected 'repeat'");
    read_repeat(&r, &result);
    if (r.error) break;
  }
  expect(&r, "}", "expected '}'");
  if (!r.error) find_dim_bits(&r, &result);
  if (!r.error) place_columns(&r, &result, coords, warps);
  if (!r.error && !tile_layout_verify(&result))
    fail(&r, "not a layout of the tile: elements are missing or out of range");
  if (!r.error) *layout = result;
  return finish(&r, cursor, error);
}

/* -- Shared buffers --------------------------------------------------------------------------------------------------
 */

void shared_layout_print(const shared_layout *layout, str *out) {
  str_append(out, "#shared[");
  print_extents(out, layout->rank, layout->extent);
  str_printf(out, " %db]{", layout->element_bits);
  if (layout->swizzle)
    str_printf(out, "swizzle %d", (int)layout->swizzle);
  else
    str_append(out, "swizzle none");
  if (layout->contiguous != layout->rank - 1) str_printf(out, ", contiguous %d", layout->contiguous);
  if (!layout->swizzle && layout->panel_count > 1) str_printf(out, ", panel %d", layout->panel_bytes);
  str_append(out, "}");
}

bool shared_layout_parse(const char **cursor, shared_layout *layout, const char **error) {
  reader r = {*cursor, NULL};
  int extent[LAYOUT_MAX_RANK] = {0};
  expect(&r, "#shared[", "expected '#shared['");
  int rank = read_extents(&r, extent);
  int element_bits = read_number(&r);
  expect(&r, "b]", "expected 'b]' behind the element's bits");
  expect(&r, "{", "expected '{'");
  expect(&r, "swizzle", "expected 'swizzle'");
  int swizzle = accept(&r, "none") ? 0 : read_number(&r);
  int contiguous = rank - 1, panel = 0;
  if (accept(&r, ", contiguous")) contiguous = read_number(&r);
  if (accept(&r, ", panel")) panel = read_number(&r);
  expect(&r, "}", "expected '}'");
  if (!r.error && swizzle != 0 && swizzle != 32 && swizzle != 64 && swizzle != 128)
    fail(&r, "swizzle is none, 32, 64 or 128");
  shared_layout result;
  if (!r.error && !shared_layout_make(rank, extent, element_bits, contiguous, (shared_swizzle)swizzle, panel, &result))
    fail(&r, "not a layout of the buffer: rows must be whole panels");
  if (!r.error) *layout = result;
  return finish(&r, cursor, error);
}

/* -- Packed weights --------------------------------------------------------------------------------------------------
 */

void packed_layout_print(const packed_layout *layout, str *out) {
  str_printf(out, "#packed[%dx%d %db in %db]{", layout->rows, layout->k, layout->code_bits, layout->operand_bits);
  for (int i = 0; i < layout->map.in_bits; i++) {
    int row, column;
    packed_layout_coord(layout, 1 << i, &row, &column);
    str_printf(out, "%s(%d,%d)", i ? " " : "", row, column);
  }
  str_append(out, "}");
}

static bool is_power(int n) { return n > 0 && (n & (n - 1)) == 0; }

bool packed_layout_parse(const char **cursor, packed_layout *layout, const char **error) {
  reader r = {*cursor, NULL};
  int extent[LAYOUT_MAX_RANK] = {0}, coords[LINMAP_MAX_BITS][LAYOUT_MAX_RANK] = {{0}};
  expect(&r, "#packed[", "expected '#packed['");
  int rank = read_extents(&r, extent);
  packed_layout result = {.rows = extent[0], .k = extent[1]};
  result.code_bits = read_number(&r);
  expect(&r, "b in", "expected 'b in'");
  result.operand_bits = read_number(&r);
  expect(&r, "b]", "expected 'b]'");
  expect(&r, "{", "expected '{'");
  int count = read_columns(&r, 2, coords, 0);
  expect(&r, "}", "expected '}'");
  if (!r.error && (rank != 2 || !is_power(result.rows) || !is_power(result.k) ||
                   (int64_t)result.rows * result.k != (int64_t)1 << count))
    fail(&r, "a packed block is rows x k, powers of two, with a bit for each of their bits");
  if (!r.error && (!is_power(result.code_bits) || !is_power(result.operand_bits) || result.operand_bits < 8 ||
                   result.operand_bits > 32 || result.code_bits > result.operand_bits))
    fail(&r, "codes are 1, 2, 4, 8, 16 or 32 bits in 8, 16 or 32");
  result.map = linmap_zero(count, count);
  for (int i = 0; i < count && !r.error; i++) {
    if (coords[i][0] >= result.rows || coords[i][1] >= result.k) fail(&r, "a coordinate lies outside the block");
    result.map.col[i] = (uint32_t)(coords[i][0] * result.k + coords[i][1]);
  }
  if (!r.error && linmap_rank(&result.map) != count) fail(&r, "two codes of a packed block are the same element");
  if (!r.error) *layout = result;
  return finish(&r, cursor, error);
}
