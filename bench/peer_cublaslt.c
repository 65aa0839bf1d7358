/* Names and values are those of the cuBLAS library's documentation, "Using the cuBLASLt API" (CUDA 12 and 13) and of
 * library_types.h; they are restated here, so that no CUDA header is needed to build. */
#include "bench/peer_cublaslt.h"

#include "bench/check.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum {
  CUDA_R_32F = 0,
  CUDA_R_16F = 2,
  CUDA_R_8I = 3,
  CUDA_R_32I = 10,
  CUDA_R_16BF = 14,
  CUDA_R_8F_E4M3 = 28,
  CUBLAS_COMPUTE_32F = 68,
  CUBLAS_COMPUTE_32I = 72,
  CUBLAS_OP_T = 1,
  CUBLASLT_MATMUL_DESC_TRANSA = 3,
  CUBLASLT_MATMUL_DESC_FAST_ACCUM = 25,
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,

  ALGORITHMS = 3, /* that are tried */
  TRIAL_LAUNCHES = 4,
  WORKSPACE_BYTES = 64 << 20,
};

/* cublasLtMatmulHeuristicResult_t: 96 bytes. */
typedef struct heuristic {
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
} heuristic;

struct cublaslt {
  const machine *m;
  void *library, *handle, *workspace;
  size_t (*get_version)(void);
  int (*create)(void **handle);
  int (*destroy)(void *handle);
  int (*describe)(void **description, int compute, int scale);
  int (*set_description)(void *description, int attribute, const void *value, size_t bytes);
  int (*drop_description)(void *description);
  int (*lay_out)(void **layout, int type, uint64_t rows, uint64_t columns, int64_t leading);
  int (*drop_layout)(void *layout);
  int (*prefer)(void **preference);
  int (*set_preference)(void *preference, int attribute, const void *value, size_t bytes);
  int (*drop_preference)(void *preference);
  int (*find)(void *handle, void *description, void *a, void *b, void *c, void *d, void *preference, int wanted,
              heuristic *results, int *found);
  int (*matmul)(void *handle, void *description, const void *alpha, const void *a, void *a_layout, const void *b,
                void *b_layout, const void *beta, const void *c, void *c_layout, void *d, void *d_layout,
                const uint64_t *algorithm, void *workspace, size_t workspace_bytes, cuda_stream stream);
};

struct cublaslt_product {
  cublaslt *l;
  const data *d;
  bitblas_type type, out;
  bool promotes;
  long m, n, k;
  void *description, *a_layout, *w_layout, *c_layout;
  heuristic best;
  int set_count;
  void *a[OURS_SETS], *w[OURS_SETS], *c[OURS_SETS];
};

/* -- The library --------------------------------------------------------------------------------------------------- */

static void *open_library(const char *path, complaint *problem) {
  static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so",
                                      "/usr/local/cuda/lib64/libcublasLt.so", "/usr/local/cuda/lib/libcublasLt.so"};
  void *library = NULL;
  if (!path) path = getenv("BITBLAS_CUBLASLT_PATH");
  if (path) {
    library = dlopen(path, RTLD_NOW);
    if (!library) complain(problem, "%s", dlerror());
    return library;
  }
  for (size_t i = 0; !library && i < sizeof names / sizeof *names; i++)
    library = dlopen(names[i], RTLD_NOW);
  if (!library) complain(problem, "there is no libcublasLt; --cublaslt says where it is");
  return library;
}

static bool find_functions(cublaslt *l, complaint *problem) {
  const struct {
    void *member;
    const char *symbol;
  } wanted[] = {{&l->get_version, "cublasLtGetVersion"},
                {&l->create, "cublasLtCreate"},
                {&l->destroy, "cublasLtDestroy"},
                {&l->describe, "cublasLtMatmulDescCreate"},
                {&l->set_description, "cublasLtMatmulDescSetAttribute"},
                {&l->drop_description, "cublasLtMatmulDescDestroy"},
                {&l->lay_out, "cublasLtMatrixLayoutCreate"},
                {&l->drop_layout, "cublasLtMatrixLayoutDestroy"},
                {&l->prefer, "cublasLtMatmulPreferenceCreate"},
                {&l->set_preference, "cublasLtMatmulPreferenceSetAttribute"},
                {&l->drop_preference, "cublasLtMatmulPreferenceDestroy"},
                {&l->find, "cublasLtMatmulAlgoGetHeuristic"},
                {&l->matmul, "cublasLtMatmul"}};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    void *found = dlsym(l->library, wanted[i].symbol);
    if (!found) return complain(problem, "libcublasLt has no %s", wanted[i].symbol);
    memcpy(wanted[i].member, &found, sizeof found);
  }
  return true;
}

bool cublaslt_open(const machine *m, const char *path, cublaslt **out, complaint *problem) {
  cublaslt *l = *out = calloc(1, sizeof *l);
  if (!l) return complain(problem, "no memory for cuBLASLt");
  l->m = m;
  l->library = open_library(path, problem);
  if (!l->library || !find_functions(l, problem)) return false;
  int status = l->create(&l->handle);
  if (status != 0) return complain(problem, "cublasLtCreate answers %d", status);
  return is_done(bitblas_allocate(m->context, WORKSPACE_BYTES, &l->workspace), "a workspace for cuBLASLt", problem);
}

void cublaslt_close(cublaslt *l) {
  if (!l) return;
  bitblas_free(l->m->context, l->workspace);
  if (l->handle) l->destroy(l->handle);
  free(l);
}

size_t cublaslt_version(const cublaslt *l) { return l->get_version(); }

/* -- A product ----------------------------------------------------------------------------------------------------- */

typedef struct types {
  int in, out, compute, scale;
} types;

static types types_of(bitblas_type type) {
  switch (type) {
  case BITBLAS_TYPE_I8:
    return (types){CUDA_R_8I, CUDA_R_32I, CUBLAS_COMPUTE_32I, CUDA_R_32I};
  case BITBLAS_TYPE_F8E4M3:
    return (types){CUDA_R_8F_E4M3, CUDA_R_16F, CUBLAS_COMPUTE_32F, CUDA_R_32F};
  case BITBLAS_TYPE_BF16:
    return (types){CUDA_R_16BF, CUDA_R_16BF, CUBLAS_COMPUTE_32F, CUDA_R_32F};
  default:
    return (types){CUDA_R_16F, CUDA_R_16F, CUBLAS_COMPUTE_32F, CUDA_R_32F};
  }
}

/* Matrices of cuBLASLt are column-major: ours is C^T[n, m] = W[k, n]^T * A^T[k, m], the one order that 8 bits have too. */
static bool describe(cublaslt_product *p, complaint *problem) {
  const cublaslt *l = p->l;
  const types t = types_of(p->type);
  const int transposed = CUBLAS_OP_T;
  const int8_t fast = !p->promotes;
  uint64_t m = (uint64_t)p->m, n = (uint64_t)p->n, k = (uint64_t)p->k;
  bool ok = l->describe(&p->description, t.compute, t.scale) == 0 &&
            l->set_description(p->description, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed) == 0 &&
            l->lay_out(&p->w_layout, t.in, k, n, (int64_t)k) == 0 &&
            l->lay_out(&p->a_layout, t.in, k, m, (int64_t)k) == 0 &&
            l->lay_out(&p->c_layout, t.out, n, m, (int64_t)n) == 0;
  if (ok && p->type == BITBLAS_TYPE_F8E4M3)
    ok = l->set_description(p->description, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast, sizeof fast) == 0;
  return ok || complain(problem, "cuBLASLt has no such product");
}

static bool run_product(void *object, int set, complaint *problem) {
  cublaslt_product *p = object;
  const cublaslt *l = p->l;
  const float one = 1, zero = 0;
  const int32_t one_i32 = 1, zero_i32 = 0;
  bool is_integer = p->type == BITBLAS_TYPE_I8;
  int status = l->matmul(l->handle, p->description, is_integer ? (const void *)&one_i32 : &one, p->w[set], p->w_layout,
                         p->a[set], p->a_layout, is_integer ? (const void *)&zero_i32 : &zero, p->c[set], p->c_layout,
                         p->c[set], p->c_layout, p->best.algorithm, l->workspace, WORKSPACE_BYTES, l->m->stream);
  return status == 0 || complain(problem, "cublasLtMatmul answers %d", status);
}

contestant cublaslt_contestant(cublaslt_product *p, bool in_graph) {
  return (contestant){.object = p, .run = run_product, .set_count = p->set_count, .in_graph = in_graph};
}

/* The fastest of the first algorithms: the heuristic's own order is not always that of their times. */
static bool choose(cublaslt_product *p, complaint *problem) {
  const cublaslt *l = p->l;
  heuristic found[ALGORITHMS];
  const size_t most = WORKSPACE_BYTES;
  void *preference = NULL;
  int count = 0;
  bool ok = l->prefer(&preference) == 0 &&
            l->set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most) == 0 &&
            l->find(l->handle, p->description, p->w_layout, p->a_layout, p->c_layout, p->c_layout, preference,
                    ALGORITHMS, found, &count) == 0;
  if (preference) l->drop_preference(preference);
  if (!ok || !count) return complain(problem, "cuBLASLt knows no algorithm for it");
  double least = 0;
  int best = -1;
  for (int i = 0; i < count; i++) {
    contestant c = cublaslt_contestant(p, false);
    double us;
    p->best = found[i];
    if (!contest_segment(l->m, &c, TRIAL_LAUNCHES, &us, problem) ||
        !contest_segment(l->m, &c, TRIAL_LAUNCHES, &us, problem))
      continue;
    if (best < 0 || us < least) best = i, least = us;
  }
  if (best < 0) return false;
  p->best = found[best];
  return true;
}

static bool place(cublaslt_product *p, complaint *problem) {
  const machine *m = p->l->m;
  size_t a = (size_t)(p->m * p->k), w = (size_t)(p->n * p->k), c = (size_t)(p->m * p->n);
  size_t in = (size_t)bitblas_type_bits(p->type) / 8, out = (size_t)bitblas_type_bits(p->out) / 8;
  p->set_count = ours_sets_of(m, (a + w) * in + c * out);
  for (int set = 0; set < p->set_count; set++) {
    bool ok = is_done(bitblas_allocate(m->context, a * in, &p->a[set]), "a tensor of cuBLASLt", problem) &&
              is_done(bitblas_allocate(m->context, w * in, &p->w[set]), "a tensor of cuBLASLt", problem) &&
              is_done(bitblas_allocate(m->context, c * out, &p->c[set]), "a tensor of cuBLASLt", problem) &&
              data_fill(p->d, p->type, data_first(p->d, 2 * set), a, p->a[set], problem) &&
              data_fill(p->d, p->type, data_first(p->d, 2 * set + 1), w, p->w[set], problem) &&
              machine_fill(m, p->c[set], 0xff, c * out, problem);
    if (!ok) return false;
  }
  return machine_wait(m, problem);
}

bool cublaslt_product_create(cublaslt *l, const data *d, bitblas_type type, bool promotes, long m, long n, long k,
                             cublaslt_product **out, complaint *problem) {
  cublaslt_product *p = *out = calloc(1, sizeof *p);
  if (!p) return complain(problem, "no memory for a product");
  p->l = l;
  p->d = d;
  p->type = type;
  p->promotes = promotes;
  p->out = type == BITBLAS_TYPE_I8 ? BITBLAS_TYPE_I32 : type == BITBLAS_TYPE_F8E4M3 ? BITBLAS_TYPE_F16 : type;
  p->m = m, p->n = n, p->k = k;
  return describe(p, problem) && place(p, problem) && choose(p, problem);
}

bool cublaslt_product_check(cublaslt_product *p, complaint *problem) {
  const known_product known = {.a = {.d = p->d, .type = p->type, .first = data_first(p->d, 0), .columns = p->k},
                               .w = {.d = p->d, .type = p->type, .first = data_first(p->d, 1), .columns = p->k},
                               .m = p->m,
                               .n = p->n,
                               .k = p->k,
                               .in_core = p->promotes ? PROMOTED_SUM : p->k,
                               .out = p->out};
  size_t bytes = (size_t)(p->m * p->n) * (size_t)bitblas_type_bits(p->out) / 8;
  return machine_fill(p->l->m, p->c[0], 0xff, bytes, problem) && run_product(p, 0, problem) &&
         check_product(p->l->m, &known, p->c[0], problem);
}

void cublaslt_product_destroy(cublaslt_product *p) {
  if (!p) return;
  const cublaslt *l = p->l;
  for (int set = 0; set < p->set_count; set++) {
    bitblas_free(l->m->context, p->a[set]);
    bitblas_free(l->m->context, p->w[set]);
    bitblas_free(l->m->context, p->c[set]);
  }
  if (p->description) l->drop_description(p->description);
  if (p->a_layout) l->drop_layout(p->a_layout);
  if (p->w_layout) l->drop_layout(p->w_layout);
  if (p->c_layout) l->drop_layout(p->c_layout);
  free(p);
}
