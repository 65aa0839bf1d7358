/* FlashAtten through the public interface, on the emulator, against float64 over the same inputs. */
#include "tests/unit/unit.h"

#include "include/bitblas.h"
#include "ir/numeric.h"

#include <ftw.h>
#include <math.h>
#include <unistd.h>

enum { SEQUENCES_MAX = 4 };

typedef struct fixture {
  char directory[1024]; /* of the store */
  uint64_t random;
} fixture;

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  const char *base = getenv("TMPDIR");
  snprintf(f->directory, sizeof f->directory, "%s/bitblas-attention-XXXXXX", base && *base ? base : "/tmp");
  assert_non_null(mkdtemp(f->directory));
  f->random = 1;
  *state = f;
  return 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
  (void)info, (void)kind, (void)walk;
  return remove(path);
}

static int tear_down(void **state) {
  fixture *f = *state;
  nftw(f->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  free(f);
  return 0;
}

static void check(bitblas_status status) {
  if (status != BITBLAS_OK) fail_msg("%s: %s", bitblas_status_name(status), bitblas_last_message());
}

static bitblas_context *open_context(const fixture *f, const char *target) {
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.device = BITBLAS_DEVICE_EMULATOR;
  config.target = target;
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

static double element(const rows *r, int64_t b, int64_t t, int64_t h, int64_t d) {
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
    s->starts_q[b + 1] = sum_q, s->starts_k[b + 1] = sum_k, s->lengths[b] = p->keys[b];
    if (p->queries[b] > most_q) most_q = p->queries[b];
    if (p->keys[b] > most_k) most_k = p->keys[b];
    if (c->page_size) pages += (p->keys[b] + c->page_size - 1) / c->page_size;
  }
  if (c->page_size) columns = (most_k + c->page_size - 1) / c->page_size + 1;
  enum { SPARE = 3 }; /* rows after the last sequence: not seen and not written */
  int length_q = c->varlen_q ? sum_q + SPARE : most_q;
  int length_k = c->page_size ? c->page_size : c->varlen_kv ? sum_k + SPARE : p->room ? p->room : most_k;
  int batch_q = c->varlen_q ? -1 : p->batch, batch_k = c->page_size ? pages : c->varlen_kv ? -1 : p->batch;
  bitblas_type out = c->out_type ? c->out_type : c->type;
  make_rows(&s->q, c->type, c->layout, false, batch_q, length_q, c->heads, c->dim, 1);
  make_rows(&s->k, c->type, c->layout, true, batch_k, length_k, kv_heads, c->dim, OUTSIDE);
  make_rows(&s->v, c->type, c->layout, false, batch_k, length_k, kv_heads, v_dim, OUTSIDE);
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
    size_t count = (size_t)((c->varlen_q ? 1 : p->batch) * c->heads * length_q);
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

/* -- The reference and what may differ from it --------------------------------------------------------------------- */

static double unit_roundoff(ir_type type) { return type == IR_F16 ? 0x1p-11 : type == IR_BF16 ? 0x1p-8 : 0x1p-24; }

/* One query of one head. The bound, to first order, with u the roundoff of V's type, w the softmax, A = sum w |v|:
 *   weights rounded to V's type          A * u, and for f16, whose least step is 2^-24, sum |v| * 2^-25
 *   O rounded to its type                |o| * u_out
 *   f32 on the way                       A * e, e twice the error of a score and of the sum of `keys` weights */
static void check_query(const problem *p, const setup *s, int b, int t, int h, double *scores) {
  const bitblas_flash_atten_config *c = &p->config;
  int group = c->kv_heads ? c->heads / c->kv_heads : 1, kv = h / group, keys = p->keys[b];
  int64_t v_dim = c->v_dim ? c->v_dim : c->dim;
  if (c->causal && t + keys - p->queries[b] + 1 < keys) keys = t + keys - p->queries[b] + 1;
  double scale = c->scale > 0 ? (double)c->scale : 1 / sqrt(c->dim), most = -INFINITY, sum = 0, size = 0;
  for (int k = 0; k < keys; k++) {
    double dot = 0, absolute = 0;
    for (int d = 0; d < c->dim; d++) {
      double product = element(&s->q, b, t, h, d) * element(&s->k, b, k, kv, d);
      dot += product, absolute += fabs(product);
    }
    scores[k] = dot * scale;
    most = fmax(most, scores[k]);
    size = fmax(size, absolute * scale);
  }
  for (int k = 0; k < keys; k++)
    sum += scores[k] = exp(scores[k] - most);
  const double f32 = 0x1p-23, score_error = size * (c->dim / 16 + 4) * f32; /* a step of the tensor core sums 16 */
  const double e = 2 * score_error + (keys + 8) * f32;
  for (int64_t d = 0; d < v_dim; d++) {
    double o = 0, weighed = 0, all = 0;
    for (int k = 0; k < keys; k++) {
      double v = element(&s->v, b, k, kv, d);
      o += scores[k] * v / sum, weighed += scores[k] * fabs(v) / sum, all += fabs(v);
    }
    double bound = weighed * (unit_roundoff(s->v.type) + e) + fabs(o) * unit_roundoff(s->o.type) + 1e-30;
    if (s->v.type == IR_F16) bound += all * 0x1p-25;
    if (s->o.type == IR_F16) bound += 0x1p-25;
    double is = element(&s->o, b, t, h, d);
    if (!(fabs(is - o) <= bound))
      fail_msg("O of sequence %d, query %d, head %d, %d is %g and should be %g +- %g", b, t, h, (int)d, is, o, bound);
  }
  if (!c->lse) return;
  int64_t length = s->o.length, row = c->varlen_q ? h * length + s->starts_q[b] + t : (b * c->heads + h) * length + t;
  double lse = keys > 0 ? most + log(sum) : -INFINITY, is = (double)s->lse[row];
  if (!(is == lse || fabs(is - lse) <= score_error + (keys + 8) * f32 + 4 * fabs(lse) * f32))
    fail_msg("lse of sequence %d, query %d, head %d is %g and should be %g", b, t, h, is, lse);
}

static void check_untouched(const problem *p, const setup *s) {
  if (!p->config.varlen_q) return;
  for (int64_t t = s->starts_q[p->batch]; t < s->o.length; t++)
    for (int64_t h = 0; h < s->o.heads; h++) {
      for (int64_t d = 0; d < s->o.dim; d++)
        assert_true(element(&s->o, 0, t, h, d) == ir_round(s->o.type, UNTOUCHED));
      if (s->lse) assert_true((double)s->lse[h * s->o.length + t] == UNTOUCHED);
    }
}

/* Runs it and compares; returns the bytes of workspace that it took. */
static size_t solve(fixture *f, const problem *given) {
  problem p = *given;
  p.config.size = sizeof p.config;
  if (p.config.type == BITBLAS_TYPE_NONE) p.config.type = BITBLAS_TYPE_F16;
  setup s;
  make_setup(f, &p, &s);
  bitblas_context *context = open_context(f, p.target);
  bitblas_flash_atten *op = NULL;
  check(bitblas_flash_atten_create(context, &p.config, &op));
  bitblas_context_destroy(context);
  check(bitblas_flash_atten_prepare(op));
  check(bitblas_flash_atten_workspace_bytes(op, &s.args, &s.args.workspace_bytes));
  size_t bytes = s.args.workspace_bytes;
  if (bytes) s.args.workspace = aligned_alloc(256, (bytes + 255) / 256 * 256);
  check(bitblas_flash_atten_run(op, &s.args));
  int most = 1;
  for (int b = 0; b < p.batch; b++)
    most = p.keys[b] > most ? p.keys[b] : most;
  double *scores = malloc((size_t)most * sizeof *scores);
  for (int b = 0; b < p.batch; b++)
    for (int t = 0; t < p.queries[b]; t++)
      for (int h = 0; h < p.config.heads; h++)
        check_query(&p, &s, b, t, h, scores);
  check_untouched(&p, &s);
  free(scores);
  free(s.args.workspace);
  free_setup(&s);
  bitblas_flash_atten_destroy(op);
  return bytes;
}

/* -- Results ------------------------------------------------------------------------------------------------------- */

/* The cases of BitBLAS's own tests, a quarter as long. */
static void original_cases(void **state) {
  for (int layout = BITBLAS_FLASH_ATTEN_NNN; layout <= BITBLAS_FLASH_ATTEN_NTN; layout++)
    for (int causal = 0; causal < 2; causal++) {
      problem p = {.config = {.heads = 4, .dim = 256, .batch = 1, .seq_len = 64, .kv_seq_len = 64},
                   .batch = 1,
                   .queries = {64},
                   .keys = {64},
                   .range = 0.5};
      p.config.layout = (bitblas_flash_atten_layout)layout;
      p.config.causal = causal;
      assert_int_equal(solve(*state, &p), 0);
    }
}

static void layouts_and_dims(void **state) {
  static const int dims[] = {64, 96, 128, 192, 256};
  for (int i = 0; i < 5; i++)
    for (int layout = 0; layout < 3; layout++) {
      problem p = {.config = {.heads = 2, .kv_heads = 1, .dim = dims[i], .splits = 1, .lse = 1},
                   .batch = 1,
                   .queries = {65},
                   .keys = {63}};
      p.config.layout = (bitblas_flash_atten_layout)layout;
      p.config.causal = (i + layout) % 2;
      p.config.type = layout == 2 ? BITBLAS_TYPE_BF16 : BITBLAS_TYPE_F16;
      solve(*state, &p);
    }
}

/* Lengths around the edges of blocks, more keys than queries and fewer, heads that share. */
static void ragged_sizes(void **state) {
  static const int lengths[][2] = {{1, 1}, {1, 63}, {63, 1}, {64, 64}, {65, 130}, {129, 127}};
  static const char *const targets[] = {"sm_80", "sm_89", "sm_90a"};
  for (int i = 0; i < 6; i++)
    for (int causal = 0; causal < 2; causal++) {
      problem p = {.target = targets[i % 3],
                   .config = {.heads = 3, .kv_heads = 1, .dim = 64, .splits = 1, .lse = 1},
                   .batch = 2,
                   .queries = {lengths[i][0], lengths[i][0]},
                   .keys = {lengths[i][1], lengths[i][1]}};
      p.config.causal = causal;
      p.config.out_type = i % 2 ? BITBLAS_TYPE_F32 : BITBLAS_TYPE_NONE;
      p.config.layout = i == 4 ? BITBLAS_FLASH_ATTEN_BHSD : BITBLAS_FLASH_ATTEN_NNN;
      solve(*state, &p);
    }
}

/* V of another dim, a scale of one's own, scores far apart. */
static void other_dims_and_scales(void **state) {
  problem p = {.config = {.heads = 2, .dim = 192, .v_dim = 128, .splits = 1, .scale = 0.25f, .causal = 1, .lse = 1},
               .batch = 1,
               .queries = {70},
               .keys = {100},
               .range = 4};
  solve(*state, &p);
  p.config.dim = 64, p.config.v_dim = 256, p.config.type = BITBLAS_TYPE_BF16, p.config.scale = 1;
  solve(*state, &p);
  p.config.splits = 3;
  solve(*state, &p);
}

/* Sequences of every length behind one another; the rows after the last are nobody's. */
static void variable_lengths(void **state) {
  static const char *const targets[] = {"sm_80", "sm_90a"};
  for (int target = 0; target < 2; target++)
    for (int layout = 0; layout < 3; layout++)
      for (int splits = 1; splits < 5; splits += 3) {
        problem p = {.target = targets[target],
                     .config = {.heads = 2, .kv_heads = 1, .dim = 64, .varlen_q = 1, .varlen_kv = 1, .lse = 1},
                     .batch = 4,
                     .queries = {1, 63, 0, 66},
                     .keys = {65, 40, 7, 130}};
        p.config.layout = (bitblas_flash_atten_layout)layout;
        p.config.causal = layout != 1;
        p.config.splits = splits;
        solve(*state, &p);
      }
}

/* Queries behind one another over a cache in which each sequence has room for as many keys. */
static void cache_lengths(void **state) {
  for (int varlen = 0; varlen < 2; varlen++)
    for (int splits = 1; splits < 4; splits += 2) {
      problem p = {.config = {.heads = 4, .kv_heads = 2, .dim = 64, .kv_lengths = 1, .causal = 1, .lse = 1},
                   .batch = 3,
                   .queries = {5, 5, 5},
                   .keys = {0, 5, 100},
                   .room = 130};
      if (varlen) p.queries[0] = 1, p.queries[1] = 70;
      p.config.varlen_q = varlen;
      p.config.splits = splits;
      p.config.layout = varlen ? BITBLAS_FLASH_ATTEN_NTN : BITBLAS_FLASH_ATTEN_BHSD;
      solve(*state, &p);
    }
}

static void pages(void **state) {
  static const char *const targets[] = {"sm_80", "sm_90a"};
  static const int sizes[] = {16, 64, 256};
  for (int target = 0; target < 2; target++)
    for (int size = 0; size < 3; size++)
      for (int splits = 1; splits < 4; splits += 2) {
        problem p = {.target = targets[target],
                     .config = {.heads = 4, .kv_heads = 1, .dim = 64, .kv_lengths = 1, .causal = 1},
                     .batch = 3,
                     .queries = {2, 2, 2},
                     .keys = {64, 131, 17}};
        if (size == 1) p.config.varlen_q = 1, p.queries[0] = 1, p.queries[2] = 0;
        p.config.page_size = sizes[size];
        p.config.splits = splits;
        p.config.layout = size == 2 ? BITBLAS_FLASH_ATTEN_BHSD : BITBLAS_FLASH_ATTEN_NNN;
        solve(*state, &p);
      }
}

/* One new token over many keys: cut by itself, in parts of which some have no key. */
static void decoding(void **state) {
  static const int dims[] = {64, 96, 128, 192, 256};
  for (int i = 0; i < 5; i++) {
    problem p = {.target = i % 2 ? "sm_80" : "sm_90a",
                 .config = {.heads = 8, .kv_heads = 1, .dim = dims[i], .lse = 1},
                 .batch = 1,
                 .queries = {1},
                 .keys = {513 + 64 * i}};
    p.config.layout = (bitblas_flash_atten_layout)(i % 3);
    assert_true(solve(*state, &p) >= 2 * 8 * (size_t)dims[i] * sizeof(float));
    p.config.splits = 11;
    p.keys[0] = 100;
    p.config.type = BITBLAS_TYPE_BF16;
    solve(*state, &p);
  }
}

/* -- What is refused ----------------------------------------------------------------------------------------------- */

/* The call failed so, and its message has all the words. */
static void refuses(bitblas_status is, bitblas_status wanted, const char *words[3]) {
  const char *message = bitblas_last_message();
  bool found = is == wanted;
  for (int i = 0; i < 3 && words[i]; i++)
    found &= strstr(message, words[i]) != NULL;
  if (!found)
    fail_msg("%s: '%s' (wanted %s, '%s')", bitblas_status_name(is), message, bitblas_status_name(wanted), words[0]);
}

static const bitblas_flash_atten_config good = {.size = sizeof good, .heads = 8, .dim = 64};

static void refuses_configs(void **state) {
  bitblas_context *context = open_context(*state, NULL);
#define REFUSE(status, field, value, ...)                                                                              \
  do {                                                                                                                 \
    bitblas_flash_atten_config c = good;                                                                               \
    bitblas_flash_atten *op = NULL;                                                                                    \
    c.field = value;                                                                                                   \
    refuses(bitblas_flash_atten_create(context, &c, &op), BITBLAS_ERROR_##status,                                      \
            (const char *[3]){"config." #field, __VA_ARGS__});                                                         \
    assert_null(op);                                                                                                   \
  } while (0)
  REFUSE(ARGUMENT, heads, 0, "is 0", "nearest is 1");
  REFUSE(ARGUMENT, heads, 1 << 20, "is 1048576", "nearest is 65536");
  REFUSE(ARGUMENT, kv_heads, 3, "is 3 and config.heads is 8", "is 2");
  REFUSE(ARGUMENT, kv_heads, -1, "is -1", "is 1");
  REFUSE(ARGUMENT, dim, 0, "is 0", "nearest is 64");
  REFUSE(ARGUMENT, dim, 100, "is 100", "nearest is 96");
  REFUSE(ARGUMENT, v_dim, 1000, "is 1000", "nearest is 256");
  REFUSE(TYPE, type, BITBLAS_TYPE_F32, "is f32", "nearest is f16");
  REFUSE(TYPE, accum_type, BITBLAS_TYPE_F16, "is f16", "nearest is f32");
  REFUSE(TYPE, out_type, BITBLAS_TYPE_F64, "is f64", "nearest is f32");
  REFUSE(ARGUMENT, layout, (bitblas_flash_atten_layout)7, "is 7", "nearest is 2");
  REFUSE(ARGUMENT, causal, 2, "is 2", "nearest is 1");
  REFUSE(ARGUMENT, lse, -1, "is -1", "nearest is 0");
  REFUSE(ARGUMENT, scale, -1.0f, "is -1", "0.125");
  REFUSE(ARGUMENT, scale, NAN, "nan", "0.125");
  REFUSE(ARGUMENT, batch, -5, "is -5", "is 0");
  REFUSE(ARGUMENT, seq_len, (int64_t)1 << 40, "is 1099511627776", "is 2147483647");
  REFUSE(ARGUMENT, splits, 129, "is 129", "nearest is 128");
  REFUSE(ARGUMENT, page_size, 48, "is 48", "nearest is 64");
  REFUSE(ARGUMENT, page_size, 5, "is 5", "nearest is 16");
#undef REFUSE
  bitblas_flash_atten_config c = good;
  bitblas_flash_atten *op = NULL;
  c.page_size = 64;
  refuses(bitblas_flash_atten_create(context, &c, &op), BITBLAS_ERROR_ARGUMENT,
          (const char *[3]){"config.kv_lengths is 0", "config.page_size is 64"});
  c.kv_lengths = 1, c.kv_seq_len = 5;
  refuses(bitblas_flash_atten_create(context, &c, &op), BITBLAS_ERROR_ARGUMENT,
          (const char *[3]){"config.kv_seq_len is 5", "config.page_size", "0"});
  c.kv_seq_len = 0, c.layout = BITBLAS_FLASH_ATTEN_NTN;
  refuses(bitblas_flash_atten_create(context, &c, &op), BITBLAS_ERROR_UNSUPPORTED,
          (const char *[3]){"config.layout is ntn", "config.page_size is 64", "nnn"});
  c = good, c.size = 4;
  refuses(bitblas_flash_atten_create(context, &c, &op), BITBLAS_ERROR_ARGUMENT, (const char *[3]){"size 4", "_INIT"});
  refuses(bitblas_flash_atten_create(NULL, &c, &op), BITBLAS_ERROR_ARGUMENT, (const char *[3]){"context is null"});
  bitblas_context_destroy(context);
}

/* Each wrong argument alone; nothing is written by any of them. */
static void refuses_arguments(void **state) {
  const problem p = {.config = {.size = sizeof p.config,
                                .heads = 2,
                                .dim = 64,
                                .varlen_q = 1,
                                .kv_lengths = 1,
                                .splits = 2,
                                .type = BITBLAS_TYPE_F16},
                     .batch = 2,
                     .queries = {3, 4},
                     .keys = {5, 6}};
  setup s;
  make_setup(*state, &p, &s);
  bitblas_context *context = open_context(*state, NULL);
  bitblas_flash_atten *op = NULL;
  check(bitblas_flash_atten_create(context, &p.config, &op));
  const bitblas_flash_atten_args right = s.args;
  bitblas_flash_atten_args a = right;
  size_t bytes = 0;
  check(bitblas_flash_atten_workspace_bytes(op, &a, &bytes));
  assert_true(bytes >= 2 * 10 * 2 * 65 * sizeof(float));
  char *workspace = aligned_alloc(256, bytes);
  a.workspace = workspace, a.workspace_bytes = bytes;
  const bitblas_flash_atten_args ready = a;
  assert_null(bitblas_flash_atten_get_source(op, 1, BITBLAS_SOURCE_TL));
  refuses(bitblas_flash_atten_run(op, &a), BITBLAS_ERROR_ARGUMENT, (const char *[3]){"prepare was not called"});
  check(bitblas_flash_atten_prepare(op));
  check(bitblas_flash_atten_prepare(op));
  assert_null(bitblas_flash_atten_get_source(op, 0, BITBLAS_SOURCE_TL)); /* with splits given, never whole rows */
  assert_non_null(strstr(bitblas_flash_atten_get_source(op, 1, BITBLAS_SOURCE_TL), "kernel flash_decode"));
  assert_non_null(strstr(bitblas_flash_atten_get_source(op, 2, BITBLAS_SOURCE_CUDA), "flash_merge"));
  assert_null(bitblas_flash_atten_get_source(op, 3, BITBLAS_SOURCE_TL));
#define REFUSE(status, change, ...)                                                                                    \
  do {                                                                                                                 \
    a = ready;                                                                                                         \
    change;                                                                                                            \
    refuses(bitblas_flash_atten_run(op, &a), BITBLAS_ERROR_##status, (const char *[3]){__VA_ARGS__});                  \
  } while (0)
  REFUSE(ARGUMENT, a.size = 3, "args has size 3");
  REFUSE(TYPE, a.Q.type = BITBLAS_TYPE_BF16, "Q is bf16[10, 2, 64]", "f16[*, 2, 64]");
  REFUSE(SHAPE, a.Q.rank = 4, "Q is f16[10, 2, 64, 0]", "f16[*, 2, 64]");
  REFUSE(SHAPE, a.Q.rank = 400, "Q is ", "f16[*, 2, 64]");
  REFUSE(SHAPE, a.Q.shape[0] = -1, "Q is f16[-1, 2, 64]");
  REFUSE(SHAPE, (a.Q.shape[0] = a.O.shape[0] = INT64_MAX / 128), "Q is too large");
  REFUSE(SHAPE, a.K.shape[0] = 3, "K is f16[3, 6, 2, 64]", "f16[2, *, 2, 64]");
  REFUSE(SHAPE, a.V.shape[1] = 7, "V is f16[2, 7, 2, 64]", "f16[2, 6, 2, 64]");
  REFUSE(SHAPE, a.O.shape[2] = 96, "O is f16[10, 2, 96]", "f16[10, 2, 64]");
  REFUSE(SHAPE, a.O.stride[2] = 2, "stride of O along dimension 2 is 2", "should be 1");
  REFUSE(SHAPE, a.kv_lengths.shape[0] = 1, "kv_lengths is i32[1]", "i32[2]");
  REFUSE(TYPE, a.kv_lengths = a.lse, "kv_lengths is ?[]", "i32[2]");
  REFUSE(ARGUMENT, a.block_table = a.kv_lengths, "block_table is given");
  REFUSE(ARGUMENT, a.max_seq_len = 0, "max_seq_len is 0", "nearest possible is 1");
  REFUSE(ARGUMENT, a.max_seq_len = 11, "max_seq_len is 11", "10 queries", "nearest possible is 10");
  REFUSE(ARGUMENT, a.K.data = NULL, "data of K is null");
  REFUSE(ALIGNMENT, a.V.data = (char *)a.V.data + 2, "V is at ", "16 bytes");
  REFUSE(WORKSPACE, a.workspace_bytes--, "workspace has", "needs");
  REFUSE(WORKSPACE, a.workspace = NULL, "workspace has 0 bytes", "needs");
  REFUSE(ALIGNMENT, a.workspace = workspace + 4, "workspace is at", "16 bytes");
#undef REFUSE
  for (size_t i = 0; i < s.o.count; i++)
    assert_true(ir_decode(IR_F16, ir_get_bits(s.o.tensor.data, i, 16)) == ir_round(IR_F16, UNTOUCHED));
  bitblas_context_destroy(context);
  bitblas_flash_atten_destroy(op);
  free(workspace);
  free_setup(&s);
}

/* A size of the config is the only one that runs; nothing to do and nothing to see are no errors. */
static void fixed_and_empty_sizes(void **state) {
  problem p = {.config = {.size = sizeof p.config,
                          .heads = 2,
                          .dim = 64,
                          .batch = 1,
                          .seq_len = 4,
                          .lse = 1,
                          .type = BITBLAS_TYPE_F16},
               .batch = 1,
               .queries = {4},
               .keys = {0}};
  solve(*state, &p); /* zeros, and a logarithm of -inf */
  setup s;
  make_setup(*state, &p, &s);
  bitblas_context *context = open_context(*state, NULL);
  bitblas_flash_atten *op = NULL;
  check(bitblas_flash_atten_create(context, &p.config, &op));
  s.args.Q.shape[1] = 5;
  refuses(bitblas_flash_atten_run(op, &s.args), BITBLAS_ERROR_SHAPE,
          (const char *[3]){"Q is f16[1, 5, 2, 64]", "f16[1, 4, 2, 64]"});
  bitblas_flash_atten_destroy(op);
  p.config.seq_len = 0;
  check(bitblas_flash_atten_create(context, &p.config, &op));
  check(bitblas_flash_atten_prepare(op));
  s.args.Q.shape[1] = s.args.O.shape[1] = s.args.lse.shape[2] = 0;
  check(bitblas_flash_atten_run(op, &s.args));
  bitblas_flash_atten_destroy(op);
  bitblas_context_destroy(context);
  free_setup(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(original_cases, set_up, tear_down),
    cmocka_unit_test_setup_teardown(layouts_and_dims, set_up, tear_down),
    cmocka_unit_test_setup_teardown(ragged_sizes, set_up, tear_down),
    cmocka_unit_test_setup_teardown(other_dims_and_scales, set_up, tear_down),
    cmocka_unit_test_setup_teardown(variable_lengths, set_up, tear_down),
    cmocka_unit_test_setup_teardown(cache_lengths, set_up, tear_down),
    cmocka_unit_test_setup_teardown(pages, set_up, tear_down),
    cmocka_unit_test_setup_teardown(decoding, set_up, tear_down),
    cmocka_unit_test_setup_teardown(refuses_configs, set_up, tear_down),
    cmocka_unit_test_setup_teardown(refuses_arguments, set_up, tear_down),
    cmocka_unit_test_setup_teardown(fixed_and_empty_sizes, set_up, tear_down),
};

int main(void) { return cmocka_run_group_tests(tests, NULL, NULL); }
