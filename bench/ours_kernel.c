/* Cases that are a kernel of examples/. */
#include "bench/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEFINES = 8, MOST_SIZES = 8 };

typedef struct recipe {
  const char *file;
  bitblas_define defines[MOST_DEFINES];
  int define_count;
  char path[4096], dim[16], window[16], cap[32], n[24], k[24];
  bitblas_size sizes[MOST_SIZES];
  int size_count;
} recipe;

static void define(recipe *r, const char *name, const char *value) {
  r->defines[r->define_count++] = (bitblas_define){name, value};
}

static void expect(recipe *r, const char *name, int64_t value) {
  r->sizes[r->size_count++] = (bitblas_size){name, value};
}

static void describe_matmul(ours *o, recipe *r) {
  const bench_case *c = o->c;
  bitblas_type out = c->a == BITBLAS_TYPE_I8 ? BITBLAS_TYPE_I32 : c->a == BITBLAS_TYPE_F8E4M3 ? BITBLAS_TYPE_F16 : c->a;
  r->file = "matmul.tl";
  define(r, "T", bitblas_type_name(c->a));
  snprintf(r->n, sizeof r->n, "%ld", c->n); /* a weight's sizes are known, as they are to bitblas_matmul */
  snprintf(r->k, sizeof r->k, "%ld", c->k);
  define(r, "N", r->n);
  define(r, "K", r->k);
  if (c->a == BITBLAS_TYPE_F8E4M3 && !c->promotes) define(r, "PROMOTE", "0");
  expect(r, "M", c->m);
  ours_add_tensor(o, TENSOR_RANDOM, c->a, (const int64_t[]){c->m, c->k, 0});
  ours_add_tensor(o, TENSOR_RANDOM, c->w, (const int64_t[]){c->n, c->k, 0});
  ours_add_tensor(o, TENSOR_OUTPUT, out, (const int64_t[]){c->m, c->n, 0});
}

static void describe_attention(ours *o, recipe *r) {
  const bench_case *c = o->c;
  r->file = "flash_attention.tl";
  snprintf(r->dim, sizeof r->dim, "%ld", c->dim);
  define(r, "T", bitblas_type_name(c->a));
  define(r, "D", r->dim);
  define(r, "CAUSAL", c->causal ? "true" : "false");
  expect(r, "B", c->batch);
  expect(r, "H", c->heads);
  expect(r, "HKV", c->kv_heads);
  expect(r, "Sq", c->queries);
  expect(r, "Sk", c->keys);
  const int64_t of_queries[] = {c->batch, c->heads, c->queries, c->dim, 0};
  const int64_t of_keys[] = {c->batch, c->kv_heads, c->keys, c->dim, 0};
  ours_tensor *q = ours_add_tensor(o, TENSOR_RANDOM, c->a, of_queries);
  ours_tensor *k = ours_add_tensor(o, TENSOR_RANDOM, c->a, of_keys);
  if (c->query_times) q->gain = (data_gain){.times = (double)c->query_times, .growth = 1, .rows = c->queries};
  if (c->key_growth) k->gain = (data_gain){.times = 1, .growth = (double)c->key_growth, .rows = c->keys};
  ours_add_tensor(o, TENSOR_RANDOM, c->a, of_keys);
  ours_add_tensor(o, TENSOR_OUTPUT, c->a, of_queries);
}

static void describe_window(ours *o, recipe *r) {
  const bench_case *c = o->c;
  describe_attention(o, r);
  r->file = "attention_window.tl";
  r->define_count--; /* it is always causal */
  snprintf(r->window, sizeof r->window, "%ld", c->window);
  snprintf(r->cap, sizeof r->cap, "%.4f", c->cap);
  define(r, "WINDOW", r->window);
  define(r, "CAP", r->cap);
}

static bool is_swiglu(const bench_case *c) { return strcmp(c->label, "swiglu") == 0; }

/* Two weights, or a weight, a bias and a residual. */
static void describe_fused(ours *o, recipe *r) {
  const bench_case *c = o->c;
  describe_matmul(o, r);
  ours_tensor out = o->tensors[--o->tensor_count];
  o->tensors[o->tensor_count] = (ours_tensor){.bytes = 0};
  r->file = is_swiglu(c) ? "swiglu.tl" : "matmul_gelu_residual.tl";
  if (is_swiglu(c)) {
    ours_add_tensor(o, TENSOR_RANDOM, c->w, (const int64_t[]){c->n, c->k, 0});
  } else {
    ours_add_tensor(o, TENSOR_RANDOM, c->a, (const int64_t[]){c->n, 0});
    ours_add_tensor(o, TENSOR_RANDOM, c->a, (const int64_t[]){c->m, c->n, 0});
  }
  o->tensors[o->tensor_count++] = out;
}

static bool is_rmsnorm(const bench_case *c) { return strcmp(c->label, "rmsnorm") == 0; }

static void describe_rows(ours *o, recipe *r) {
  const bench_case *c = o->c;
  r->file = is_rmsnorm(c) ? "rmsnorm.tl" : "softmax.tl";
  expect(r, "M", c->m);
  expect(r, "N", c->n);
  ours_add_tensor(o, TENSOR_RANDOM, c->a, (const int64_t[]){c->m, c->n, 0});
  if (is_rmsnorm(c)) ours_add_tensor(o, TENSOR_RANDOM, c->a, (const int64_t[]){c->n, 0});
  ours_add_tensor(o, TENSOR_OUTPUT, c->a, (const int64_t[]){c->m, c->n, 0});
}

static void describe(ours *o, recipe *r) {
  switch (o->c->kind) {
  case CASE_DENSE:
    describe_matmul(o, r);
    return;
  case CASE_FUSED:
    describe_fused(o, r);
    return;
  case CASE_ATTENTION:
    (o->c->window ? describe_window : describe_attention)(o, r);
    return;
  default:
    describe_rows(o, r);
  }
}

/* The recipe of what is described already. */
static void find_recipe(const ours *o, recipe *r) {
  ours again = {.m = o->m, .c = o->c};
  *r = (recipe){.file = NULL};
  describe(&again, r);
}

/* Points into the recipe, whose path it makes. */
static bitblas_kernel_config config_of(const ours *o, const char *directory, recipe *r) {
  bitblas_kernel_config config = BITBLAS_KERNEL_CONFIG_INIT;
  snprintf(r->path, sizeof r->path, "%s/%s", directory, r->file);
  config.path = r->path;
  config.defines = r->defines, config.define_count = r->define_count;
  config.expected = r->sizes, config.expected_count = r->size_count;
  config.overlap_launches = o->m->overlaps;
  return config;
}

static bool example_create(ours *o, const char *directory, complaint *problem) {
  recipe r = {.file = NULL};
  describe(o, &r);
  const bitblas_kernel_config config = config_of(o, directory, &r);
  if (!is_done(bitblas_kernel_create(ours_context(o), &config, &o->kernel), "compiling", problem)) return false;
  if (bitblas_kernel_tensor_count(o->kernel) != o->tensor_count)
    return complain(problem, "%s has %d tensors and %d are known here", r.file, bitblas_kernel_tensor_count(o->kernel),
                    o->tensor_count);
  return is_done(bitblas_kernel_workspace_bytes(o->kernel, r.sizes, r.size_count, &o->workspace_bytes), "workspace",
                 problem);
}

static bool example_run(const ours *o, int set, complaint *problem) {
  bitblas_tensor tensors[OURS_TENSORS];
  for (int t = 0; t < o->tensor_count; t++) {
    tensors[t] = o->tensors[t].shape;
    tensors[t].data = o->tensors[t].address[set];
  }
  bitblas_launch launch = BITBLAS_LAUNCH_INIT;
  launch.tensors = tensors, launch.tensor_count = o->tensor_count;
  launch.workspace = o->workspace, launch.workspace_bytes = o->workspace_bytes;
  launch.stream = o->m->stream;
  return is_done(bitblas_kernel_run(o->kernel, &launch), "running", problem);
}

static known_matrix matrix_of(const ours *o, int tensor, int set, long columns) {
  const ours_tensor *t = &o->tensors[tensor];
  return (known_matrix){.d = o->d, .type = t->shape.type, .first = t->first[set], .columns = columns, .gain = t->gain};
}

static bool example_check(const ours *o, int set, complaint *problem) {
  const bench_case *c = o->c;
  const ours_tensor *out = &o->tensors[o->tensor_count - 1];
  if (c->kind == CASE_DENSE || c->kind == CASE_FUSED) {
    bool two = c->kind == CASE_FUSED && is_swiglu(c), follows = c->kind == CASE_FUSED && !two;
    const known_matrix up = matrix_of(o, 2, set, c->k), bias = up, residual = matrix_of(o, 3, set, c->n);
    const known_product p = {.a = matrix_of(o, 0, set, c->k),
                             .w = matrix_of(o, 1, set, c->k),
                             .up = two ? &up : NULL,
                             .bias = follows ? &bias : NULL,
                             .residual = follows ? &residual : NULL,
                             .m = c->m,
                             .n = c->n,
                             .k = c->k,
                             .in_core = c->promotes ? PROMOTED_SUM : c->k,
                             .out = out->shape.type};
    return check_product(o->m, &p, out->address[set], problem);
  }
  if (c->kind == CASE_ATTENTION) {
    const known_matrix q = matrix_of(o, 0, set, c->dim), k = matrix_of(o, 1, set, c->dim),
                       v = matrix_of(o, 2, set, c->dim);
    return check_attention(o->m, c, &q, &k, &v, out->address[set], problem);
  }
  const known_matrix x = matrix_of(o, 0, set, c->n), weight = matrix_of(o, 1, set, c->n);
  return check_rows(o->m, c, &x, is_rmsnorm(c) ? &weight : NULL, out->address[set], problem);
}

static void example_destroy(ours *o) { bitblas_kernel_destroy(o->kernel); }

/* -- Plans --------------------------------------------------------------------------------------------------------- */

static bool example_rank_plans(const ours *o, const char *directory, compile_ranking *ranking, complaint *problem) {
  recipe r;
  find_recipe(o, &r);
  const bitblas_kernel_config config = config_of(o, directory, &r);
  return is_done(kernel_rank(ours_context(o), &config, ranking), "comparing plans", problem);
}

static bool example_create_plan(const ours *o, const char *directory, int plan, bitblas_kernel **kernel,
                                complaint *problem) {
  recipe r;
  find_recipe(o, &r);
  const bitblas_kernel_config config = config_of(o, directory, &r);
  return is_done(kernel_create(ours_context(o), &config, plan, kernel), "compiling", problem);
}

static bool example_exchange(ours *o, bitblas_kernel **kernel, complaint *problem) {
  recipe r;
  bitblas_kernel *before = o->kernel;
  find_recipe(o, &r);
  if (!is_done(bitblas_kernel_workspace_bytes(*kernel, r.sizes, r.size_count, &o->workspace_bytes), "workspace",
               problem))
    return false;
  o->kernel = *kernel;
  *kernel = before;
  return true;
}

const ours_calls ours_kernel_calls = {.create = example_create,
                                      .run = example_run,
                                      .check = example_check,
                                      .destroy = example_destroy,
                                      .rank = example_rank_plans,
                                      .create_plan = example_create_plan,
                                      .exchange = example_exchange};
