/* FlashAtten through the public interface, against float64 over the same inputs: on the emulator, or with
 * `test_flash_atten gpu` on a GPU, which is then the only target. */
#include "tests/unit/lib/attention.h"

#include <pthread.h>

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

/* Each tensor in memory of the device; O and lse with what they hold. */
static void upload_all(bitblas_context *context, bitblas_flash_atten_args *a) {
  bitblas_tensor *const all[] = {
      &a->Q, &a->K, &a->V, &a->O, &a->lse, &a->cu_seqlens_q, &a->cu_seqlens_k, &a->kv_lengths, &a->block_table};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    size_t bytes = all[i]->data ? (size_t)bitblas_type_bits(all[i]->type) / 8 : 0;
    for (int d = 0; d < all[i]->rank; d++)
      bytes *= (size_t)all[i]->shape[d];
    void *host = all[i]->data;
    check(bitblas_allocate(context, bytes, &all[i]->data));
    check(bitblas_upload(context, all[i]->data, host, bytes, NULL));
  }
  check(bitblas_allocate(context, a->workspace_bytes, &a->workspace));
  check(bitblas_synchronize(context, NULL));
}

static void free_all(bitblas_context *context, const bitblas_flash_atten_args *a) {
  void *const all[] = {a->Q.data,
                       a->K.data,
                       a->V.data,
                       a->O.data,
                       a->lse.data,
                       a->cu_seqlens_q.data,
                       a->cu_seqlens_k.data,
                       a->kv_lengths.data,
                       a->block_table.data,
                       a->workspace};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    check(bitblas_free(context, all[i]));
}

static void check_all(const problem *p, const setup *s) {
  int most = 1;
  for (int b = 0; b < p->batch; b++)
    most = p->keys[b] > most ? p->keys[b] : most;
  double *scores = malloc((size_t)most * sizeof *scores);
  for (int b = 0; b < p->batch; b++)
    for (int t = 0; t < p->queries[b]; t++)
      for (int h = 0; h < p->config.heads; h++)
        check_query(p, s, b, t, h, scores);
  check_untouched(p, s);
  free(scores);
}

static bitblas_flash_atten *make_op(bitblas_context *context, const problem *p) {
  bitblas_flash_atten *op = NULL;
  check(bitblas_flash_atten_create(context, &p->config, &op));
  check(bitblas_flash_atten_prepare(op));
  return op;
}

static problem complete(const problem *given) {
  problem p = *given;
  p.config.size = sizeof p.config;
  if (p.config.dtype == BITBLAS_TYPE_NONE) p.config.dtype = BITBLAS_TYPE_F16;
  return p;
}

/* Runs it and compares; returns the bytes of workspace that it took. */
static size_t solve(fixture *f, const problem *given) {
  const problem p = complete(given);
  setup s;
  make_setup(f, &p, &s);
  bitblas_context *context = open_context(f, p.target);
  bitblas_flash_atten *op = make_op(context, &p);
  check(bitblas_flash_atten_workspace_bytes(op, &s.args, &s.args.workspace_bytes));
  bitblas_flash_atten_args args = s.args;
  upload_all(context, &args);
  check(bitblas_flash_atten_run(op, &args));
  check(bitblas_download(context, s.o.tensor.data, args.O.data, s.o.count * (size_t)ir_bits(s.o.type) / 8, NULL));
  if (s.lse) check(bitblas_download(context, s.lse, args.lse.data, s.lse_count * sizeof *s.lse, NULL));
  check(bitblas_synchronize(context, NULL));
  free_all(context, &args);
  bitblas_context_destroy(context);
  bitblas_flash_atten_destroy(op);
  check_all(&p, &s);
  free_setup(&s);
  return args.workspace_bytes;
}

/* -- Results ------------------------------------------------------------------------------------------------------- */

/* The cases of BitBLAS's own tests; on the emulator a quarter as long. */
static void original_cases(void **state) {
  const int length = on_gpu ? 256 : 64;
  for (int layout = BITBLAS_FLASH_ATTEN_NNN; layout <= BITBLAS_FLASH_ATTEN_NTN; layout++)
    for (int causal = 0; causal < 2; causal++) {
      problem p = {.config = {.heads = 4, .dim = 256, .batch = 1, .seq_len = length, .kv_seq_len = length},
                   .batch = 1,
                   .queries = {length},
                   .keys = {length},
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
      p.config.dtype = layout == 2 ? BITBLAS_TYPE_BF16 : BITBLAS_TYPE_F16;
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
      p.config.out_dtype = i % 2 ? BITBLAS_TYPE_F32 : BITBLAS_TYPE_NONE;
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
  p.config.dim = 64, p.config.v_dim = 256, p.config.dtype = BITBLAS_TYPE_BF16, p.config.scale = 1;
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
                     .config = {.heads = 2, .kv_heads = 1, .dim = 96, .varlen_q = 1, .varlen_kv = 1, .lse = 1},
                     .batch = 4,
                     .queries = {1, 63, 0, 66},
                     .keys = {65, 40, 7, 130}};
        p.config.layout = (bitblas_flash_atten_layout)layout;
        p.config.causal = layout != 1;
        p.config.splits = splits;
        solve(*state, &p);
      }
}

/* Queries behind one another over a cache in which each sequence has room for as many keys; a length beyond is cut. */
static void cache_lengths(void **state) {
  for (int varlen = 0; varlen < 2; varlen++)
    for (int splits = 1; splits < 4; splits += 2) {
      problem p = {.config = {.heads = 4, .kv_heads = 2, .dim = 64, .kv_lengths = 1, .causal = 1, .lse = 1},
                   .batch = 4,
                   .queries = {5, 5, 5, 5},
                   .keys = {0, 130, 100, 5},
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
                     .config = {.heads = 4, .kv_heads = 1, .dim = 96, .kv_lengths = 1, .causal = 1},
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
    p.config.splits = i == 2 ? 40 : 11;
    p.keys[0] = 100;
    p.config.dtype = BITBLAS_TYPE_BF16;
    solve(*state, &p);
  }
}

/* As many heads as there is room for blocks: one part, which needs no merge. */
static void one_part(void **state) {
  enum { HEADS = 133, DIM = 64 };
  for (int lse = 0; lse < 2; lse++) {
    problem p = {.config = {.heads = HEADS, .dim = DIM, .lse = lse}, .batch = 1, .queries = {1}, .keys = {512}};
    size_t bytes = solve(*state, &p);
    if (!on_gpu) assert_in_range(bytes, HEADS * (DIM + 1) * sizeof(float), 2 * HEADS * DIM * sizeof(float) - 1);
  }
}

/* Zeros, and logarithms of -inf. */
static void no_keys(void **state) {
  problem p = {.config = {.heads = 2, .dim = 64, .lse = 1}, .batch = 1, .queries = {4}};
  solve(*state, &p);
  p.config.varlen_q = p.config.varlen_kv = 1;
  solve(*state, &p);
}

typedef struct thread_work {
  const bitblas_flash_atten *op;
  const bitblas_flash_atten_args *args;
  bitblas_status status;
} thread_work;

static void *run_work(void *data) {
  thread_work *w = data;
  w->status = bitblas_flash_atten_run(w->op, w->args);
  return NULL;
}

/* One op, a workspace for each. */
static void several_threads(void **state) {
  enum { THREADS = 3 };
  const problem p =
      complete(&(problem){.config = {.heads = 2, .dim = 64, .splits = 2}, .batch = 1, .queries = {3}, .keys = {70}});
  if (on_gpu) return; /* tensors lie in host memory */
  bitblas_context *context = open_context(*state, NULL);
  bitblas_flash_atten *op = make_op(context, &p);
  bitblas_context_destroy(context);
  setup s[THREADS];
  thread_work work[THREADS];
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) {
    make_setup(*state, &p, &s[i]);
    check(bitblas_flash_atten_workspace_bytes(op, &s[i].args, &s[i].args.workspace_bytes));
    s[i].args.workspace = aligned_alloc(256, s[i].args.workspace_bytes);
    work[i] = (thread_work){op, &s[i].args, BITBLAS_ERROR_INTERNAL};
    assert_int_equal(pthread_create(&threads[i], NULL, run_work, &work[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(work[i].status, BITBLAS_OK);
    check_all(&p, &s[i]);
    free(s[i].args.workspace);
    free_setup(&s[i]);
  }
  bitblas_flash_atten_destroy(op);
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
    cmocka_unit_test_setup_teardown(one_part, set_up, tear_down),
    cmocka_unit_test_setup_teardown(no_keys, set_up, tear_down),
    cmocka_unit_test_setup_teardown(several_threads, set_up, tear_down),
};

int main(int argc, char **argv) {
  on_gpu = argc > 1 && strcmp(argv[1], "gpu") == 0;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
