/* bitblas_matmul: which kernels there are, and running them. */
#include "lib/matmul.h"

#include "lib/embedded.h"
#include "lib/parallel.h"

#include <inttypes.h>
#include <string.h>

/* -- Creation ------------------------------------------------------------------------------------------------------ */

bitblas_status bitblas_matmul_create(bitblas_context *context, const bitblas_matmul_config *config,
                                     bitblas_matmul **op) {
  if (!context || !op) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", context ? "op" : "context");
  *op = NULL;
  arena *memory = arena_create();
  bitblas_matmul *m = ARENA_NEW(memory, bitblas_matmul);
  m->memory = memory;
  bitblas_status status = matmul_decide(m, config);
  if (status == BITBLAS_OK) status = matmul_define(m);
  if (status != BITBLAS_OK) {
    arena_destroy(memory);
    return status;
  }
  context_retain(context);
  m->context = context;
  *op = m;
  return BITBLAS_OK;
}

void bitblas_matmul_destroy(bitblas_matmul *op) {
  if (!op) return;
  for (int i = 0; i < op->kernel_count; i++)
    bitblas_kernel_destroy(atomic_load(&op->kernel[i]));
  for (int form = 0; form < 3; form++)
    bitblas_kernel_destroy(atomic_load(&op->pack[form]));
  context_release(op->context);
  arena_destroy(op->memory);
}

int matmul_kernel_of(const bitblas_matmul *op, int64_t rows) {
  int i = 0;
  while (i < op->kernel_count - 1 && op->rows[i] < rows)
    i++;
  return i;
}

/* -- Preparation --------------------------------------------------------------------------------------------------- */

/* `expected` has room for the one size that may be expected. */
static bitblas_kernel_config kernel_config(const bitblas_matmul *op, int index, bitblas_size *expected) {
  *expected = (bitblas_size){"M", op->rows[index]};
  bitblas_kernel_config config = BITBLAS_KERNEL_CONFIG_INIT;
  config.path = EMBEDDED_DIRECTORY "matmul.tl";
  config.text = embedded_text("matmul.tl", &config.text_length);
  config.defines = op->defines;
  config.define_count = op->define_count;
  config.expected = expected;
  config.expected_count = op->config.M ? 0 : 1;
  config.overlap_launches = op->config.overlap_launches;
  return config;
}

bitblas_status matmul_create_kernel(const bitblas_matmul *op, int index, int plan, bitblas_kernel **kernel) {
  bitblas_size expected;
  const bitblas_kernel_config config = kernel_config(op, index, &expected);
  return kernel_create(op->context, &config, plan, kernel);
}

bitblas_status matmul_rank_plans(const bitblas_matmul *op, int index, compile_ranking *ranking) {
  bitblas_size expected;
  const bitblas_kernel_config config = kernel_config(op, index, &expected);
  return kernel_rank(op->context, &config, ranking);
}

static bool same_packing(const record_packing *a, const record_packing *b) {
  if (!a || !b) return !a && !b;
  return a->block_rows == b->block_rows && a->block_columns == b->block_columns && a->code_bits == b->code_bits &&
         a->column_count == b->column_count &&
         memcmp(a->columns, b->columns, sizeof *a->columns * (size_t)a->column_count) == 0;
}

bitblas_status matmul_check_order(const bitblas_kernel *a, const bitblas_kernel *b) {
  for (int i = 0; i < a->record->tensor_count; i++)
    if (!same_packing(a->record->tensors[i].packing, b->record->tensors[i].packing))
      return lib_fail(BITBLAS_ERROR_INTERNAL, "kernels of one matmul want %s in different orders",
                      a->record->tensors[i].name);
  return BITBLAS_OK;
}

static const bitblas_kernel *any_of(const bitblas_matmul *op) {
  for (int i = 0; i < op->kernel_count; i++) {
    const bitblas_kernel *kernel = atomic_load(&op->kernel[i]);
    if (kernel) return kernel;
  }
  return NULL;
}

/* When another thread was faster, its kernel stays. The order is compared once the kernel is in its place, so that of two
 * threads at least one sees the other's. */
static bitblas_status prepare_one(bitblas_matmul *op, int index) {
  if (atomic_load(&op->kernel[index])) return BITBLAS_OK;
  bitblas_kernel *kernel, *none = NULL;
  bitblas_status status = matmul_create_kernel(op, index, matmul_tuned_plan(op, index), &kernel);
  if (status != BITBLAS_OK) return status;
  if (!atomic_compare_exchange_strong(&op->kernel[index], &none, kernel)) bitblas_kernel_destroy(kernel);
  kernel = atomic_load(&op->kernel[index]);
  for (int i = 0; i < op->kernel_count && status == BITBLAS_OK; i++) {
    const bitblas_kernel *other = atomic_load(&op->kernel[i]);
    if (other) status = matmul_check_order(other, kernel);
  }
  return status;
}

typedef struct preparation {
  bitblas_matmul *op;
  int index[MATMUL_MAX_KERNELS];
} preparation;

static bitblas_status prepare_piece(void *data, int piece) {
  preparation *p = data;
  return prepare_one(p->op, p->index[piece]);
}

bitblas_status matmul_check_rows(const bitblas_matmul *op, int64_t rows, const char *what) {
  int64_t least = op->config.M ? op->config.M : 1, most = op->config.M ? op->config.M : INT32_MAX;
  if (rows >= least && rows <= most) return BITBLAS_OK;
  if (op->config.M)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is %" PRId64 ", not %" PRId64 ", the config's", what, rows, least);
  return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is %" PRId64 ", not %" PRId64 " to %" PRId64, what, rows, least, most);
}

bitblas_status bitblas_matmul_prepare(bitblas_matmul *op, const int64_t *M, int32_t count) {
  bool wanted[MATMUL_MAX_KERNELS] = {false};
  if (!op || count < 0 || (count && !M))
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s", !op ? "op is null" : count < 0 ? "count is negative" : "M is null");
  for (int i = 0; i < count; i++) {
    bitblas_status status = matmul_check_rows(op, M[i], "M");
    if (status != BITBLAS_OK) return status;
    wanted[matmul_kernel_of(op, M[i])] = true;
  }
  preparation p = {.op = op};
  int pieces = 0;
  for (int i = 0; i < op->kernel_count; i++)
    if (wanted[i] || !count) p.index[pieces++] = i;
  return lib_parallel(pieces, prepare_piece, &p);
}

bitblas_status matmul_any_kernel(bitblas_matmul *op, const bitblas_kernel **kernel) {
  bitblas_status status = any_of(op) ? BITBLAS_OK : prepare_one(op, 0);
  *kernel = any_of(op);
  return status;
}

/* -- Running ------------------------------------------------------------------------------------------------------- */

static bitblas_status find_kernel(const bitblas_matmul *op, int64_t rows, const bitblas_kernel **kernel) {
  bitblas_status status = matmul_check_rows(op, rows, "M");
  if (status != BITBLAS_OK) return status;
  *kernel = atomic_load(&op->kernel[matmul_kernel_of(op, rows)]);
  return *kernel ? BITBLAS_OK
                 : lib_fail(BITBLAS_ERROR_ARGUMENT, "no kernel is prepared for M %" PRId64 ": bitblas_matmul_prepare",
                            rows);
}

/* The kernel's tensors in its order, with the run's addresses. */
typedef struct operands {
  bitblas_tensor tensor[6];
  int count;
  bitblas_status status;
} operands;

static void add(operands *o, const char *name, bool present, const void *data, bitblas_type type, int rank,
                int64_t extent0, int64_t extent1) {
  if (o->status != BITBLAS_OK) return;
  if (!present != !data)
    o->status = lib_fail(BITBLAS_ERROR_ARGUMENT, "args.%s is %s, and the config has %s", name, data ? "set" : "null",
                         present ? "one" : "none");
  if (!present) return;
  o->tensor[o->count++] =
      (bitblas_tensor){.data = (void *)(uintptr_t)data, .type = type, .rank = rank, .shape = {extent0, extent1}};
}

static bitblas_status take_operands(const bitblas_matmul *op, const bitblas_matmul_args *args, int64_t rows,
                                    operands *o) {
  const bitblas_matmul_config *c = &op->config;
  bool ta = c->layout == BITBLAS_LAYOUT_TN || c->layout == BITBLAS_LAYOUT_TT;
  bool tb = c->layout == BITBLAS_LAYOUT_NT || c->layout == BITBLAS_LAYOUT_TT;
  int64_t groups = c->with_scaling || c->with_zeros ? op->groups : 1;
  bitblas_type scale = matmul_kernel_scale(op), weight = matmul_kernel_weight(op);
  *o = (operands){.count = 0, .status = BITBLAS_OK};
  add(o, "A", true, args->A, c->A_dtype, 2, ta ? c->K : rows, ta ? rows : c->K);
  if (c->A_strided) {
    int64_t dense = ta ? rows : c->K;
    o->tensor[0].stride[0] = args->A_stride ? args->A_stride : dense;
    o->tensor[0].stride[1] = 1;
    if (o->tensor[0].stride[0] < dense)
      return lib_fail(BITBLAS_ERROR_SHAPE, "args.A_stride is %" PRId64 ", and rows of A have %" PRId64 " elements",
                      args->A_stride, dense);
  } else if (args->A_stride) {
    return lib_fail(BITBLAS_ERROR_SHAPE, "args.A_stride is %" PRId64 ", and the config has no A_strided",
                    args->A_stride);
  }
  add(o, "W", true, args->W, weight, 2, tb ? c->N : c->K, tb ? c->K : c->N);
  add(o, "scales", c->with_scaling, args->scales, scale, 2, c->N, groups);
  add(o, "zeros", c->with_zeros, args->zeros, c->zeros_mode == BITBLAS_ZEROS_QUANTIZED ? weight : scale, 2, c->N,
      groups);
  add(o, "bias", c->with_bias, args->bias, c->out_dtype, 1, c->N, 0);
  add(o, "C", true, args->C, c->out_dtype, 2, rows, c->N);
  return o->status;
}

typedef bitblas_status launcher(const bitblas_kernel *kernel, const bitblas_launch *launch);

static bitblas_status with_launch(const bitblas_matmul *op, const bitblas_matmul_args *given, launcher *run) {
  bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
  if (!op) return lib_fail(BITBLAS_ERROR_ARGUMENT, "op is null");
  bitblas_status status = lib_take_config("args", given, &args, sizeof args, sizeof args);
  if (status != BITBLAS_OK) return status;
  int64_t rows = args.M ? args.M : op->config.M;
  if (rows == 0) return BITBLAS_OK;
  const bitblas_kernel *kernel = NULL;
  operands o;
  status = find_kernel(op, rows, &kernel);
  if (status == BITBLAS_OK) status = take_operands(op, &args, rows, &o);
  if (status != BITBLAS_OK) return status;
  bitblas_size stride = {"lda", op->config.A_strided ? o.tensor[0].stride[0] : 0};
  bitblas_launch launch = BITBLAS_LAUNCH_INIT;
  launch.tensors = o.tensor;
  launch.tensor_count = o.count;
  launch.sizes = &stride;
  launch.size_count = op->config.A_strided;
  launch.workspace = args.workspace;
  launch.workspace_bytes = args.workspace_bytes;
  launch.stream = args.stream;
  return run(kernel, &launch);
}

bitblas_status matmul_check_run(const bitblas_matmul *op, const bitblas_matmul_args *args) {
  return with_launch(op, args, kernel_check);
}

bitblas_status bitblas_matmul_run(const bitblas_matmul *op, const bitblas_matmul_args *args) {
  return with_launch(op, args, bitblas_kernel_run);
}

bitblas_status bitblas_matmul_workspace_bytes(const bitblas_matmul *op, int64_t M, size_t *bytes) {
  if (!op || !bytes) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", op ? "bytes" : "op");
  *bytes = 0;
  const bitblas_kernel *kernel = NULL;
  bitblas_status status = find_kernel(op, M ? M : op->config.M, &kernel);
  if (status != BITBLAS_OK) return status;
  const bitblas_size sizes[] = {{"lda", (op->config.K + 127) / 128 * 128}, {"M", M}}; /* any that is aligned */
  int first = op->config.A_strided ? 0 : 1, last = op->config.M ? 1 : 2;
  return bitblas_kernel_workspace_bytes(kernel, sizes + first, last - first, bytes);
}

const char *bitblas_matmul_get_source(const bitblas_matmul *op, int64_t M, bitblas_source source) {
  if (!op) return NULL;
  return bitblas_kernel_source(atomic_load(&op->kernel[matmul_kernel_of(op, M)]), source);
}
