/* Problems for FlashAtten: tensors in every layout, filled and laid out. */
#ifndef BITBLASC_TESTS_UNIT_LIB_ATTENTION_H
#define BITBLASC_TESTS_UNIT_LIB_ATTENTION_H

#include "tests/unit/temporary.h"

#include "include/bitblas.h"
#include "ir/numeric.h"

#include <math.h>
#include <unistd.h>

enum { SEQUENCES_MAX = 4 };

static bool on_gpu; /* set by main: instead of the emulator */

typedef struct fixture {
  char directory[TEMPORARY_BYTES]; /* of the store */
  uint64_t random;
} fixture;

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  temporary_make(f->directory);
  f->random = 1;
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  temporary_remove(f->directory);
  free(f);
  return 0;
}

static void check(bitblas_status status) {
  if (status != BITBLAS_OK) fail_msg("%s: %s", bitblas_status_name(status), bitblas_last_message());
}

static bitblas_context *open_context(const fixture *f, const char *target) {
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.device = on_gpu ? BITBLAS_DEVICE_GPU : BITBLAS_DEVICE_EMULATOR;
  config.target = on_gpu ? NULL : target;
  config.cache_directory = f->directory;
  bitblas_context *context = NULL;
  check(bitblas_context_create(&config, &context));
  return context;
}

static double next_random(fixture *f) { /* in [-1, 1) */
  f->random = f->random * 6364136223846793005u + 1442695040888963407u;
  return (double)(int64_t)f->random / 9223372036854775808.0;
}

/* -- A problem ----------------------------------------------------------------------------------------------------- */

typedef struct problem {
  const char *target; /* NULL: sm_90a */
  bitblas_flash_atten_config config;
  int batch, queries[SEQUENCES_MAX], keys[SEQUENCES_MAX]; /* of each sequence */
  int room;                                               /* keys that K holds of each, where lengths are given */
  double range;                                           /* of Q and K; 0: 2 */
} problem;

/* A tensor of rows: where row t of sequence b lies. */
typedef struct rows {
  ir_type type;
  bitblas_tensor tensor;
  bool by_head, transposed;
  int64_t length, heads, dim;       /* length: of a batch's rows; of varlen, of all */
  int64_t page;                     /* 0: no pages */
  const int32_t *starts;            /* of varlen */
  int32_t table[SEQUENCES_MAX][16]; /* of pages */
  size_t count;
} rows;

static size_t place(const rows *r, int64_t b, int64_t t, int64_t h, int64_t d) {
  if (r->starts) t += r->starts[b], b = 0;
  if (r->page) b = r->table[b][t / r->page], t %= r->page;
  int64_t at = r->transposed ? ((b * r->dim + d) * r->heads + h) * r->length + t
               : r->by_head  ? ((b * r->heads + h) * r->length + t) * r->dim + d
                             : ((b * r->length + t) * r->heads + h) * r->dim + d;
  return (size_t)at;
}

static inline double element(const rows *r, int64_t b, int64_t t, int64_t h, int64_t d) {
  int bits = ir_bits(r->type);
  return ir_decode(r->type, ir_get_bits(r->tensor.data, place(r, b, t, h, d), bits));
}

static ir_type type_of(bitblas_type type) {
  const char *name = bitblas_type_name(type);
  return ir_type_by_name(name, strlen(name));
}

/* `batch` -1: varlen. Everything is `outside` at first. */
static void make_rows(rows *r, bitblas_type type, bitblas_flash_atten_layout layout, bool is_k, int64_t batch,
                      int64_t length, int64_t heads, int64_t dim, double outside) {
  *r = (rows){.type = type_of(type), .length = length, .heads = heads, .dim = dim};
  r->by_head = layout == BITBLAS_FLASH_ATTEN_BHSD;
  r->transposed = layout == BITBLAS_FLASH_ATTEN_NTN && is_k;
  r->tensor.type = type;
  int64_t *shape = r->tensor.shape;
  int n = 0;
  if (batch >= 0) shape[n++] = batch;
  shape[n++] = r->transposed ? dim : r->by_head ? heads : length;
  shape[n++] = r->by_head ? length : heads;
  shape[n++] = r->transposed ? length : dim;
  r->tensor.rank = n;
  r->count = (size_t)((batch < 0 ? 1 : batch) * length * heads * dim);
  r->tensor.data = aligned_alloc(256, (r->count * 4 + 256) / 256 * 256);
  for (size_t i = 0; i < r->count; i++)
    ir_put_bits(r->tensor.data, i, ir_bits(r->type), ir_encode(r->type, outside));
}

static void fill_rows(fixture *f, rows *r, int batch, const int *lengths, double range) {
  for (int b = 0; b < batch; b++)
    for (int64_t t = 0; t < lengths[b]; t++)
      for (int64_t h = 0; h < r->heads; h++)
        for (int64_t d = 0; d < r->dim; d++)
          ir_put_bits(r->tensor.data, place(r, b, t, h, d), ir_bits(r->type),
                      ir_encode(r->type, range * next_random(f)));
}

typedef struct setup {
  rows q, k, v, o;
  float *lse;
  size_t lse_count;
  _Alignas(16) int32_t starts_q[SEQUENCES_MAX + 1];
  _Alignas(16) int32_t starts_k[SEQUENCES_MAX + 1];
  _Alignas(16) int32_t lengths[SEQUENCES_MAX];
  _Alignas(16) int32_t table[SEQUENCES_MAX * 16];
  int longest;
  bitblas_flash_atten_args args;
} setup;

static const double OUTSIDE = 777, UNTOUCHED = -12345;

/* Pages of sequences alternate, the first ones last. Pages beyond a length are none. */
static void make_table(setup *s, const problem *p, int pages, int columns) {
  int next = pages;
  for (int i = 0; i < SEQUENCES_MAX * 16; i++)
    s->table[i] = -7;
  for (int j = 0; j < columns; j++)
    for (int b = 0; b < p->batch; b++)
      if (j * p->config.page_size < p->keys[b])
        s->table[b * columns + j] = s->k.table[b][j] = s->v.table[b][j] = --next;
  s->args.block_table = (bitblas_tensor){s->table, BITBLAS_TYPE_I32, 2, {p->batch, columns}, {0}};
}

static void make_setup(fixture *f, const problem *p, setup *s) {
  const bitblas_flash_atten_config *c = &p->config;
  int64_t kv_heads = c->kv_heads ? c->kv_heads : c->heads, v_dim = c->v_dim ? c->v_dim : c->dim;
  int sum_q = 0, sum_k = 0, most_q = 0, most_k = 0, pages = 0, columns = 0;
  *s = (setup){.args = BITBLAS_FLASH_ATTEN_ARGS_INIT};
  for (int b = 0; b < p->batch; b++) {
    sum_q += p->queries[b], sum_k += p->keys[b];
    s->starts_q[b + 1] = sum_q, s->starts_k[b + 1] = sum_k;
    s->lengths[b] = p->room && p->keys[b] == p->room ? INT32_MAX : p->keys[b];
    if (p->queries[b] > most_q) most_q = p->queries[b];
    if (p->keys[b] > most_k) most_k = p->keys[b];
    if (c->page_size) pages += (p->keys[b] + c->page_size - 1) / c->page_size;
  }
  if (c->page_size) columns = (most_k + c->page_size - 1) / c->page_size + 1;
  enum { SPARE = 3 }; /* rows after the last sequence: not seen and not written */
  int length_q = c->varlen_q ? sum_q + SPARE : most_q;
  int length_k = c->page_size ? c->page_size : c->varlen_kv ? sum_k + SPARE : p->room ? p->room : most_k;
  int batch_q = c->varlen_q ? -1 : p->batch, batch_k = c->page_size ? pages : c->varlen_kv ? -1 : p->batch;
  bitblas_type out = c->out_dtype ? c->out_dtype : c->dtype;
  make_rows(&s->q, c->dtype, c->layout, false, batch_q, length_q, c->heads, c->dim, 1);
  make_rows(&s->k, c->dtype, c->layout, true, batch_k, length_k, kv_heads, c->dim, OUTSIDE);
  make_rows(&s->v, c->dtype, c->layout, false, batch_k, length_k, kv_heads, v_dim, OUTSIDE);
  make_rows(&s->o, out, c->layout, false, batch_q, length_q, c->heads, v_dim, UNTOUCHED);
  if (c->varlen_q) s->q.starts = s->o.starts = s->starts_q;
  if (c->varlen_kv) s->k.starts = s->v.starts = s->starts_k;
  s->k.page = s->v.page = c->page_size;
  if (c->page_size) make_table(s, p, pages, columns);
  double range = p->range > 0 ? p->range : 2;
  fill_rows(f, &s->q, p->batch, p->queries, range);
  fill_rows(f, &s->k, p->batch, p->keys, range);
  fill_rows(f, &s->v, p->batch, p->keys, 1);
  bitblas_flash_atten_args *a = &s->args;
  a->Q = s->q.tensor, a->K = s->k.tensor, a->V = s->v.tensor, a->O = s->o.tensor;
  if (c->varlen_q)
    a->cu_seqlens_q = (bitblas_tensor){s->starts_q, BITBLAS_TYPE_I32, 1, {p->batch + 1}, {0}}, a->max_seq_len = most_q;
  if (c->varlen_kv) a->cu_seqlens_k = (bitblas_tensor){s->starts_k, BITBLAS_TYPE_I32, 1, {p->batch + 1}, {0}};
  if (c->kv_lengths) a->kv_lengths = (bitblas_tensor){s->lengths, BITBLAS_TYPE_I32, 1, {p->batch}, {0}};
  if (c->lse) {
    size_t count = s->lse_count = (size_t)((c->varlen_q ? 1 : p->batch) * c->heads * length_q);
    s->lse = aligned_alloc(256, (count * sizeof *s->lse + 256) / 256 * 256);
    for (size_t i = 0; i < count; i++)
      s->lse[i] = (float)UNTOUCHED;
    a->lse = c->varlen_q ? (bitblas_tensor){s->lse, BITBLAS_TYPE_F32, 2, {c->heads, length_q}, {0}}
                         : (bitblas_tensor){s->lse, BITBLAS_TYPE_F32, 3, {p->batch, c->heads, length_q}, {0}};
  }
}

static void free_setup(setup *s) {
  free(s->q.tensor.data);
  free(s->k.tensor.data);
  free(s->v.tensor.data);
  free(s->o.tensor.data);
  free(s->lse);
}

#endif
