/* Elimination over GF(2). Vectors are words; a basis is kept fully reduced, so that every result is unique. */
#include "ir/linmap.h"

#include "support/diag.h"

/* A vector and the combination of the input bits that it is the image of. */
typedef struct pair {
  uint32_t image;
  uint32_t input;
} pair;

/* The image in reduced echelon form with preimages, and the kernel, both by descending highest bit. */
typedef struct echelon {
  int rank;
  pair image[LINMAP_MAX_BITS];
  int nullity;
  uint32_t kernel[LINMAP_MAX_BITS];
} echelon;

static uint32_t bits_below(int count) { return count >= 32 ? UINT32_MAX : ((uint32_t)1 << count) - 1; }

/* x != 0 */
static uint32_t highest_bit(uint32_t x) { return (uint32_t)1 << (31 - __builtin_clz(x)); }

/* Inserts v, already reduced by the basis and not zero, where its highest bit belongs, and reduces the others by it. */
static void insert_kernel(echelon *e, uint32_t v) {
  uint32_t top = highest_bit(v);
  int at = 0;
  for (int i = 0; i < e->nullity; i++) {
    if (e->kernel[i] > v) at = i + 1;
    if (e->kernel[i] & top) e->kernel[i] ^= v;
  }
  for (int i = e->nullity; i > at; i--)
    e->kernel[i] = e->kernel[i - 1];
  e->kernel[at] = v;
  e->nullity++;
}

static void insert_image(echelon *e, pair v) {
  uint32_t top = highest_bit(v.image);
  int at = 0;
  for (int i = 0; i < e->rank; i++) {
    if (e->image[i].image > v.image) at = i + 1;
    if (e->image[i].image & top) {
      e->image[i].image ^= v.image;
      e->image[i].input ^= v.input;
    }
  }
  for (int i = e->rank; i > at; i--)
    e->image[i] = e->image[i - 1];
  e->image[at] = v;
  e->rank++;
}

static uint32_t reduce_by_kernel(const echelon *e, uint32_t x) {
  for (int i = 0; i < e->nullity; i++)
    if (x & highest_bit(e->kernel[i])) x ^= e->kernel[i];
  return x;
}

static pair reduce_by_image(const echelon *e, pair v) {
  for (int i = 0; i < e->rank; i++)
    if (v.image & highest_bit(e->image[i].image)) {
      v.image ^= e->image[i].image;
      v.input ^= e->image[i].input;
    }
  return v;
}

static void eliminate(const linmap *map, echelon *e) {
  e->rank = e->nullity = 0;
  for (int i = 0; i < map->in_bits; i++) {
    pair v = reduce_by_image(e, (pair){map->col[i], (uint32_t)1 << i});
    if (v.image) {
      insert_image(e, v);
      continue;
    }
    /* Bit i is new, so v.input cannot be in the span of the kernel so far. */
    insert_kernel(e, reduce_by_kernel(e, v.input));
  }
}

linmap linmap_zero(int in_bits, int out_bits) {
  if (in_bits < 0 || in_bits > LINMAP_MAX_BITS || out_bits < 0 || out_bits > 32)
    BUG("linear map from %d to %d bits", in_bits, out_bits);
  return (linmap){(uint8_t)in_bits, (uint8_t)out_bits, {0}};
}

linmap linmap_identity(int bits) {
  linmap map = linmap_zero(bits, bits);
  for (int i = 0; i < bits; i++)
    map.col[i] = (uint32_t)1 << i;
  return map;
}

linmap linmap_compose(const linmap *outer, const linmap *inner) {
  if (outer->in_bits != inner->out_bits)
    BUG("composition of a map from %d bits with one to %d bits", outer->in_bits, inner->out_bits);
  linmap map = linmap_zero(inner->in_bits, outer->out_bits);
  for (int i = 0; i < inner->in_bits; i++)
    map.col[i] = linmap_apply(outer, inner->col[i]);
  return map;
}

bool linmap_inverse(const linmap *map, linmap *inverse) {
  if (map->in_bits != map->out_bits) return false;
  echelon e;
  eliminate(map, &e);
  if (e.nullity) return false;
  /* Fully reduced and of full rank: row i is the unit vector of bit rank - 1 - i. */
  linmap result = linmap_zero(map->in_bits, map->in_bits);
  for (int i = 0; i < e.rank; i++)
    result.col[e.rank - 1 - i] = e.image[i].input;
  *inverse = result;
  return true;
}

bool linmap_solve(const linmap *map, uint32_t y, uint32_t *x) {
  echelon e;
  eliminate(map, &e);
  pair v = reduce_by_image(&e, (pair){y, 0});
  if (v.image) return false;
  *x = reduce_by_kernel(&e, v.input);
  return true;
}

bool linmap_left_divide(const linmap *a, const linmap *b, linmap *x) {
  echelon e;
  eliminate(a, &e);
  linmap result = linmap_zero(b->in_bits, a->in_bits);
  for (int i = 0; i < b->in_bits; i++) {
    pair v = reduce_by_image(&e, (pair){b->col[i], 0});
    if (v.image) return false;
    result.col[i] = reduce_by_kernel(&e, v.input);
  }
  *x = result;
  return true;
}

int linmap_rank(const linmap *map) {
  echelon e;
  eliminate(map, &e);
  return e.rank;
}

int linmap_kernel(const linmap *map, uint32_t basis[LINMAP_MAX_BITS]) {
  echelon e;
  eliminate(map, &e);
  for (int i = 0; i < e.nullity; i++)
    basis[i] = e.kernel[i];
  return e.nullity;
}

int linmap_image(const linmap *map, uint32_t basis[LINMAP_MAX_BITS]) {
  echelon e;
  eliminate(map, &e);
  for (int i = 0; i < e.rank; i++)
    basis[i] = e.image[i].image;
  return e.rank;
}

bool linmap_image_contains(const uint32_t *basis, int count, uint32_t y) {
  for (int i = 0; i < count; i++)
    if (y & highest_bit(basis[i])) y ^= basis[i];
  return y == 0;
}

linmap linmap_product(const linmap *low, const linmap *high) {
  linmap map = linmap_zero(low->in_bits + high->in_bits, low->out_bits + high->out_bits);
  for (int i = 0; i < low->in_bits; i++)
    map.col[i] = low->col[i];
  for (int i = 0; i < high->in_bits; i++)
    map.col[low->in_bits + i] = (uint32_t)((uint64_t)high->col[i] << low->out_bits);
  return map;
}

linmap linmap_join(const linmap *low, const linmap *high) {
  linmap map =
      linmap_zero(low->in_bits + high->in_bits, low->out_bits > high->out_bits ? low->out_bits : high->out_bits);
  for (int i = 0; i < low->in_bits; i++)
    map.col[i] = low->col[i];
  for (int i = 0; i < high->in_bits; i++)
    map.col[low->in_bits + i] = high->col[i];
  return map;
}

linmap linmap_slice(const linmap *map, int in_first, int in_bits, int out_first, int out_bits) {
  if (in_first < 0 || in_first + in_bits > map->in_bits || out_first < 0 || out_first + out_bits > map->out_bits)
    BUG("slice of %d bits at %d, %d bits at %d of a map from %d to %d bits", in_bits, in_first, out_bits, out_first,
        map->in_bits, map->out_bits);
  linmap result = linmap_zero(in_bits, out_bits);
  for (int i = 0; i < in_bits; i++)
    result.col[i] = (uint32_t)((uint64_t)map->col[in_first + i] >> out_first) & bits_below(out_bits);
  return result;
}

bool linmap_equal(const linmap *a, const linmap *b) {
  if (a->in_bits != b->in_bits || a->out_bits != b->out_bits) return false;
  for (int i = 0; i < a->in_bits; i++)
    if (a->col[i] != b->col[i]) return false;
  return true;
}

int linmap_identity_prefix(const linmap *map) {
  int count = 0;
  while (count < map->in_bits && map->col[count] == (uint32_t)1 << count)
    count++;
  return count;
}

int linmap_terms(const linmap *map, linmap_term *terms, int capacity) {
  linmap left = *map; /* the ones of the matrix that no term has taken yet */
  int count = 0;
  for (int i = 0; i < map->in_bits; i++)
    while (left.col[i]) {
      int out = __builtin_ctz(left.col[i]);
      int width = 0;
      /* One run is a stretch of a diagonal of ones. */
      while (i + width < map->in_bits && out + width < 32 && left.col[i + width] >> (out + width) & 1) {
        left.col[i + width] ^= (uint32_t)1 << (out + width);
        width++;
      }
      if (count < capacity) terms[count] = (linmap_term){(uint8_t)i, (uint8_t)width, (uint8_t)out};
      count++;
    }
  return count;
}

bool linmap_terms_disjoint(const linmap *map) {
  uint32_t seen = 0;
  for (int i = 0; i < map->in_bits; i++) {
    if (seen & map->col[i]) return false;
    seen |= map->col[i];
  }
  return true;
}
