#include "bench/cases.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#define TYPE(name) BITBLAS_TYPE_##name
enum { HAS_ZEROS_NONE = 0, HAS_ZEROS_ORIGINAL = 1, HAS_ZEROS_RESCALE = 1, HAS_ZEROS_QUANTIZED = 1 };
enum { MODE_NONE = 0, MODE_ORIGINAL = 0, MODE_RESCALE = 1, MODE_QUANTIZED = 2 }; /* of bitblas_zeros_mode */

#define PRODUCT(row_, goal, type, M, N, K, older_, promotes_)                                                          \
  {.kind = CASE_DENSE,                                                                                                 \
   .peer = PEER_CUBLASLT,                                                                                              \
   .row = row_,                                                                                                        \
   .label = "matmul",                                                                                                  \
   .least = goal,                                                                                                      \
   .older = older_,                                                                                                    \
   .promotes = promotes_,                                                                                              \
   .m = M,                                                                                                             \
   .n = N,                                                                                                             \
   .k = K,                                                                                                             \
   .a = TYPE(type),                                                                                                    \
   .w = TYPE(type)},
#define DECODED(row_, goal, tbps, peer_, label_, A, W, group_, scale_, zeros, M, N, K, in_graph_, older_)              \
  {.kind = CASE_WEIGHT,                                                                                                \
   .peer = PEER_##peer_,                                                                                               \
   .row = row_,                                                                                                        \
   .label = label_,                                                                                                    \
   .least = goal,                                                                                                      \
   .least_tbps = tbps,                                                                                                 \
   .shows_bytes = M <= 16,                                                                                             \
   .in_graph = in_graph_,                                                                                              \
   .older = older_,                                                                                                    \
   .m = M,                                                                                                             \
   .n = N,                                                                                                             \
   .k = K,                                                                                                             \
   .a = TYPE(A),                                                                                                       \
   .w = TYPE(W),                                                                                                       \
   .group = group_,                                                                                                    \
   .scale = TYPE(scale_),                                                                                              \
   .with_zeros = HAS_ZEROS_##zeros,                                                                                    \
   .zeros_mode = (bitblas_zeros_mode)MODE_##zeros},
#define HEADS(kind_, row_, goal, tbps, label_, type, batch_, heads_, kv, Sq, Sk, D, causal_, times, growth)            \
  {.kind = kind_,                                                                                                      \
   .peer = PEER_SDPA,                                                                                                  \
   .row = row_,                                                                                                        \
   .label = label_,                                                                                                    \
   .least = goal,                                                                                                      \
   .least_tbps = tbps,                                                                                                 \
   .shows_bytes = Sq == 1,                                                                                             \
   .a = TYPE(type),                                                                                                    \
   .batch = batch_,                                                                                                    \
   .heads = heads_,                                                                                                    \
   .kv_heads = kv,                                                                                                     \
   .queries = Sq,                                                                                                      \
   .keys = Sk,                                                                                                         \
   .dim = D,                                                                                                           \
   .causal = causal_,                                                                                                  \
   .query_times = times,                                                                                               \
   .key_growth = growth},

#define DENSE(row, goal, type, M, N, K)    PRODUCT(row, goal, type, M, N, K, false, false)
#define PROMOTED(row, goal, type, M, N, K) PRODUCT(row, goal, type, M, N, K, false, true)
#define OLDER(row, goal, type, M, N, K)    PRODUCT(row, goal, type, M, N, K, true, false)
#define WEIGHT(...)                        DECODED_IN(__VA_ARGS__, false, false)
#define GRAPH(...)                         DECODED_IN(__VA_ARGS__, true, false)
#define OLDER_WEIGHT(...)                  DECODED_IN(__VA_ARGS__, false, true)
#define DECODED_IN(...)                    DECODED(__VA_ARGS__)
#define ATTENTION(row, goal, label, type, batch, heads, kv_heads, S, D, causal)                                        \
  HEADS(CASE_ATTENTION, row, goal, 0, label, type, batch, heads, kv_heads, S, S, D, causal, 0, 0)
#define SHARP(row, goal, type, batch, heads, S, D, causal, times, growth)                                              \
  HEADS(CASE_ATTENTION, row, goal, 0, "attention", type, batch, heads, heads, S, S, D, causal, times, growth)
#define DECODE(row, goal, tbps, batch, heads, kv_heads, keys, D)                                                       \
  HEADS(CASE_DECODE, row, goal, tbps, "decode", F16, batch, heads, kv_heads, 1, keys, D, false, 0, 0)
#define WINDOW(row_, goal, batch_, heads_, S, D, window_)                                                              \
  {.kind = CASE_ATTENTION,                                                                                             \
   .peer = PEER_OWN,                                                                                                   \
   .row = row_,                                                                                                        \
   .label = "window",                                                                                                  \
   .least = goal,                                                                                                      \
   .a = TYPE(F16),                                                                                                     \
   .batch = batch_,                                                                                                    \
   .heads = heads_,                                                                                                    \
   .kv_heads = heads_,                                                                                                 \
   .queries = S,                                                                                                       \
   .keys = S,                                                                                                          \
   .dim = D,                                                                                                           \
   .causal = true,                                                                                                     \
   .window = window_,                                                                                                  \
   .cap = 50},
#define FUSED(row_, goal, kernel, M, N, K)                                                                             \
  {.kind = CASE_FUSED,                                                                                                 \
   .peer = PEER_OWN,                                                                                                   \
   .row = row_,                                                                                                        \
   .label = kernel,                                                                                                    \
   .least = goal,                                                                                                      \
   .m = M,                                                                                                             \
   .n = N,                                                                                                             \
   .k = K,                                                                                                             \
   .a = TYPE(F16),                                                                                                     \
   .w = TYPE(F16)},
#define ROWS(row_, goal, kernel, M, N)                                                                                 \
  {.kind = CASE_ROWS,                                                                                                  \
   .peer = PEER_COPY,                                                                                                  \
   .row = row_,                                                                                                        \
   .label = kernel,                                                                                                    \
   .least = goal,                                                                                                      \
   .shows_bytes = true,                                                                                                \
   .m = M,                                                                                                             \
   .n = N,                                                                                                             \
   .a = TYPE(F16)},

static const bench_case cases[] = {
#include "bench/cases.def"
};

const bench_case *cases_all(int *count) {
  *count = (int)(sizeof cases / sizeof *cases);
  return cases;
}

static const bench_case tuned[] = {
#include "bench/tuning.def"
};

const bench_case *cases_tuned(int *count) {
  *count = (int)(sizeof tuned / sizeof *tuned);
  return tuned;
}

static const char *zeros_name(const bench_case *c) {
  static const char *const names[] = {"-original", "-rescale", "-quantized"};
  return c->with_zeros ? names[c->zeros_mode] : "";
}

void case_name(const bench_case *c, char *text, size_t size) {
  char group[32] = "", times[32] = "";
  switch (c->kind) {
  case CASE_DENSE:
  case CASE_FUSED:
    snprintf(text, size, "%s-%s%s-%ldx%ldx%ld%s", c->label, bitblas_type_name(c->a), c->promotes ? "-promoted" : "",
             c->m, c->n, c->k, c->older ? "-sm80" : "");
    return;
  case CASE_WEIGHT:
    if (c->group > 0) snprintf(group, sizeof group, "-g%ld", c->group);
    if (c->group < 0) snprintf(group, sizeof group, "-gk");
    snprintf(text, size, "%s%s%s-m%ld-%ldx%ld%s%s", c->label, group, zeros_name(c), c->m, c->n, c->k,
             c->in_graph ? "-graph" : "", c->older ? "-sm80" : "");
    return;
  case CASE_ATTENTION:
    if (c->window) snprintf(group, sizeof group, "-w%ld", c->window);
    if (c->query_times) snprintf(times, sizeof times, "-x%ld", c->query_times);
    snprintf(text, size, "%s-%s-d%ld-s%ld%s%s%s%s", c->label, bitblas_type_name(c->a), c->dim, c->keys, group, times,
             c->key_growth ? "-ramp" : "", c->causal && !c->window ? "-causal" : "");
    return;
  case CASE_DECODE:
    snprintf(text, size, "%s-%s-d%ld-kv%ld-b%ld", c->label, bitblas_type_name(c->a), c->dim, c->keys, c->batch);
    return;
  default:
    snprintf(text, size, "%s-%s-%ldx%ld", c->label, bitblas_type_name(c->a), c->m, c->n);
  }
}

bool case_is_sharp(const bench_case *c) { return c->query_times || c->key_growth; }

void case_group(const bench_case *c, char *text, size_t size) {
  if (case_is_sharp(c))
    snprintf(text, size, "row %d, sharp", c->row);
  else if (c->kind == CASE_ATTENTION && !c->window)
    snprintf(text, size, "row %d, D = %ld", c->row, c->dim);
  else
    snprintf(text, size, "row %d, %s%s", c->row, c->kind == CASE_DENSE ? bitblas_type_name(c->a) : c->label,
             c->promotes ? ", promoted" : "");
}

static bool has_two_weights(const bench_case *c) { return c->kind == CASE_FUSED && strcmp(c->label, "swiglu") == 0; }

bench_case case_own_peer(const bench_case *c) {
  bench_case own = *c;
  own.peer = PEER_NONE;
  if (c->kind == CASE_ATTENTION) {
    own.label = "attention";
    own.window = 0, own.cap = 0;
    return own;
  }
  return (bench_case){.kind = CASE_DENSE,
                      .label = "matmul",
                      .m = c->m,
                      .n = has_two_weights(c) ? 2 * c->n : c->n,
                      .k = c->k,
                      .a = c->a,
                      .w = c->a};
}

/* Keys that a query sees, summed over the queries of a head. A causal mask is taken to hide half, as others count it. */
static double pairs_of_head(const bench_case *c) {
  double queries = (double)c->queries, keys = (double)c->keys, window = (double)c->window;
  if (c->window && c->window < c->keys) return window * (window + 1) / 2 + (queries - window) * window;
  return queries * keys * (c->causal ? 0.5 : 1);
}

double case_flop(const bench_case *c) {
  switch (c->kind) {
  case CASE_DENSE:
  case CASE_WEIGHT:
  case CASE_FUSED:
    return (has_two_weights(c) ? 4.0 : 2.0) * (double)c->m * (double)c->n * (double)c->k;
  case CASE_ATTENTION:
  case CASE_DECODE:
    return 4.0 * (double)c->batch * (double)c->heads * pairs_of_head(c) * (double)c->dim;
  default:
    return 4.0 * (double)c->m * (double)c->n; /* of rmsnorm; of softmax about as many, and exponentials */
  }
}

static double bytes_of(bitblas_type type) { return bitblas_type_bits(type) / 8.0; }

static double bytes_of_weight(const bench_case *c) {
  double groups = c->group > 0 ? (double)(c->k / c->group) : c->group < 0 ? 1 : 0, weights = (double)c->n;
  double zero = !c->with_zeros ? 0 : c->zeros_mode == BITBLAS_ZEROS_QUANTIZED ? bytes_of(c->w) : bytes_of(c->scale);
  return weights * ((double)c->k * bytes_of(c->w) + groups * (bytes_of(c->scale) + zero));
}

double case_bytes(const bench_case *c) {
  double heads = (double)c->batch * bytes_of(c->a) * (double)c->dim;
  switch (c->kind) {
  case CASE_DENSE: {
    double out = bitblas_type_bits(c->a) == 16 ? 2 : c->a == BITBLAS_TYPE_I8 ? 4 : 2;
    return bytes_of(c->a) * (double)c->k * (double)(c->m + c->n) + out * (double)c->m * (double)c->n;
  }
  case CASE_FUSED: {
    double results = (double)c->m * (double)c->n, weights = (double)c->n * (double)c->k;
    double more = has_two_weights(c) ? weights : results + (double)c->n; /* the residual, and the bias */
    return bytes_of(c->a) * ((double)c->m * (double)c->k + weights + results + more);
  }
  case CASE_WEIGHT:
    return bytes_of_weight(c) + (double)c->m * (double)c->k * bytes_of(c->a);
  case CASE_ATTENTION:
  case CASE_DECODE:
    return heads * (2.0 * (double)c->heads * (double)c->queries + 2.0 * (double)c->kv_heads * (double)c->keys);
  default:
    return 2 * bytes_of(c->a) * (double)c->m * (double)c->n;
  }
}

static long at_most(long value, long most) { return value < most ? value : most; }

bench_case case_made_small(const bench_case *c) {
  bench_case s = *c;
  if (c->kind == CASE_DENSE || c->kind == CASE_WEIGHT || c->kind == CASE_FUSED) {
    s.m = at_most(c->m, c->kind != CASE_WEIGHT || c->m > 64 ? 128 : c->m);
    s.n = at_most(c->n, 128);
    s.k = at_most(c->k, 256);
  } else if (c->kind == CASE_ROWS) {
    s.m = at_most(c->m, 8);
    s.n = at_most(c->n, 2048);
  } else {
    long sharing = c->heads / c->kv_heads;
    s.batch = at_most(c->batch, 2);
    s.kv_heads = 1;
    s.heads = sharing;
    s.queries = at_most(c->queries, 128);
    s.keys = at_most(c->keys, c->kind == CASE_DECODE ? 1024 : case_is_sharp(c) ? 512 : c->window ? 256 : 128);
    if (c->window) s.queries = s.keys;
    s.window = at_most(c->window, 80);
  }
  return s;
}

bool case_is_same(const bench_case *a, const bench_case *b) {
  return a->kind == b->kind && strcmp(a->label, b->label) == 0 && a->older == b->older && a->promotes == b->promotes &&
         a->m == b->m && a->n == b->n && a->k == b->k && a->a == b->a && a->w == b->w && a->group == b->group &&
         a->scale == b->scale && a->with_zeros == b->with_zeros && a->zeros_mode == b->zeros_mode &&
         a->heads == b->heads && a->kv_heads == b->kv_heads && a->queries == b->queries && a->keys == b->keys &&
         a->dim == b->dim && a->causal == b->causal && a->window == b->window && a->query_times == b->query_times &&
         a->key_growth == b->key_growth;
}

bool case_is_chosen(const bench_case *c, const char *const *patterns, int pattern_count) {
  char name[128];
  case_name(c, name, sizeof name);
  for (int i = 0; i < pattern_count; i++)
    if (fnmatch(patterns[i], name, 0) == 0) return true;
  return pattern_count == 0;
}
