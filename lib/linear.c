/* bitblas_linear: a matmul that owns its weight. */
#include "lib/linear.h"

#include "lib/embedded.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* -- Creation ------------------------------------------------------------------------------------------------------ */

static bitblas_matmul_config matmul_config(const bitblas_linear_config *c) {
  static const int64_t usual[] = {1, 16, 32, 64, 128, 256, 512};
  bitblas_matmul_config m = BITBLAS_MATMUL_CONFIG_INIT;
  m.opt_M = c->opt_M_count ? c->opt_M : usual;
  m.opt_M_count = c->opt_M_count ? c->opt_M_count : (int32_t)(sizeof usual / sizeof *usual);
  m.N = c->out_features;
  m.K = c->in_features;
  m.A_dtype = c->A_dtype;
  m.W_dtype = c->W_dtype;
  m.accum_dtype = c->accum_dtype;
  m.out_dtype = c->out_dtype;
  m.with_bias = c->with_bias;
  m.group_size = c->group_size;
  m.with_scaling = c->with_scaling;
  m.with_zeros = c->with_zeros;
  m.zeros_mode = c->zeros_mode;
  m.scale_dtype = c->scale_dtype;
  m.fast_decoding = c->fast_decoding;
  m.activation = c->activation;
  m.overlap_launches = c->overlap_launches;
  m.fast_accum = c->fast_accum;
  return m;
}

static bitblas_status check_features(const char *field, int64_t value) {
  if (value >= 1 && value <= INT32_MAX) return BITBLAS_OK;
  return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.%s is %" PRId64 ", not 1 to %d", field, value, (int)INT32_MAX);
}

bitblas_status bitblas_linear_create(bitblas_context *context, const bitblas_linear_config *config,
                                     bitblas_linear **linear) {
  bitblas_linear_config c = BITBLAS_LINEAR_CONFIG_INIT;
  if (!context || !linear) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", context ? "linear" : "context");
  *linear = NULL;
  bitblas_status status =
      lib_take_config("config", config, &c, sizeof c, offsetof(bitblas_linear_config, overlap_launches));
  if (status == BITBLAS_OK) status = check_features("in_features", c.in_features);
  if (status == BITBLAS_OK) status = check_features("out_features", c.out_features);
  if (status != BITBLAS_OK) return status;
  bitblas_matmul_config m = matmul_config(&c);
  bitblas_matmul *matmul;
  status = bitblas_matmul_create(context, &m, &matmul);
  if (status != BITBLAS_OK) return status;
  bitblas_linear *l = calloc(1, sizeof *l);
  ASSERT(l);
  context_retain(context);
  l->context = context;
  l->matmul = matmul;
  *linear = l;
  return BITBLAS_OK;
}

void linear_unload(bitblas_linear *l) {
  void **memory[] = {&l->weight, &l->scales, &l->zeros, &l->bias, &l->permutation};
  for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
    bitblas_free(l->context, *memory[i]);
    *memory[i] = NULL;
  }
  bitblas_kernel_destroy(l->gather);
  l->gather = NULL;
  l->loaded = false;
}

void bitblas_linear_destroy(bitblas_linear *linear) {
  if (!linear) return;
  linear_unload(linear);
  bitblas_matmul_destroy(linear->matmul);
  context_release(linear->context);
  free(linear);
}

bitblas_status bitblas_linear_prepare(bitblas_linear *linear, const int64_t *M, int32_t count) {
  if (!linear) return lib_fail(BITBLAS_ERROR_ARGUMENT, "linear is null");
  return bitblas_matmul_prepare(linear->matmul, M, count);
}

bitblas_matmul *bitblas_linear_matmul(bitblas_linear *linear) { return linear ? linear->matmul : NULL; }

/* -- Loading ------------------------------------------------------------------------------------------------------- */

size_t linear_bias_bytes(const bitblas_linear *linear) {
  const bitblas_matmul_config *c = &linear->matmul->config;
  return c->with_bias ? (size_t)c->N * (size_t)bitblas_type_bits(c->out_dtype) / 8 : 0;
}

static bitblas_status to_device(bitblas_context *context, const void *from, size_t bytes, void **to) {
  bitblas_status status = bitblas_allocate(context, bytes, to);
  if (status == BITBLAS_OK) status = bitblas_upload(context, *to, from, bytes, NULL);
  return status == BITBLAS_OK ? bitblas_synchronize(context, NULL) : status;
}

/* The weight's codes to the device, which puts them in order: a host takes nanoseconds for each, and there are millions. */
static bitblas_status transform_there(bitblas_linear *l, bitblas_form form, const void *from, size_t bytes, void **to) {
  size_t from_bytes = matmul_given_bytes(l->matmul, BITBLAS_OPERAND_WEIGHT, form);
  void *codes = NULL;
  bitblas_status status = to_device(l->context, from, from_bytes, &codes);
  if (status == BITBLAS_OK) status = bitblas_allocate(l->context, bytes, to);
  if (status == BITBLAS_OK)
    status = bitblas_matmul_transform_on_device(l->matmul, form, codes, from_bytes, *to, bytes, NULL);
  if (status == BITBLAS_OK) status = bitblas_synchronize(l->context, NULL);
  bitblas_free(l->context, codes);
  if (status != BITBLAS_OK) {
    bitblas_free(l->context, *to);
    *to = NULL;
  }
  return status;
}

/* Of numbers, one a byte, the host alone says which the type has not. */
static bool can_transform_there(bitblas_linear *l, bitblas_operand which, bitblas_form form) {
  return which == BITBLAS_OPERAND_WEIGHT && form != BITBLAS_FORM_VALUES && !context_is_emulator(l->context) &&
         matmul_has_device_order(l->matmul, form);
}

static bitblas_status load_operand(bitblas_linear *l, bitblas_operand which, bitblas_form form, const char *name,
                                   const void *from, void **to) {
  size_t bytes = 0;
  bitblas_status status = bitblas_matmul_operand_bytes(l->matmul, which, &bytes);
  if (status != BITBLAS_OK) return status;
  if (!bytes != !from)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "values.%s is %s, and the config has %s", name, from ? "set" : "null",
                    bytes ? "one" : "none");
  if (!from) return BITBLAS_OK;
  /* No room for the codes, or no NVRTC to compile the kernel: the host does it. */
  if (can_transform_there(l, which, form) && transform_there(l, form, from, bytes, to) == BITBLAS_OK) return BITBLAS_OK;
  void *packed = malloc(bytes);
  if (!packed) return lib_fail(BITBLAS_ERROR_MEMORY, "no memory for %zu bytes of %s", bytes, name);
  status =
      bitblas_matmul_transform(l->matmul, which, form, from, matmul_given_bytes(l->matmul, which, form), packed, bytes);
  if (status == BITBLAS_OK) status = to_device(l->context, packed, bytes, to);
  free(packed);
  return status;
}

static bitblas_status load_permutation(bitblas_linear *l, const int32_t *permutation) {
  const bitblas_matmul_config *c = &l->matmul->config;
  if (!permutation) return BITBLAS_OK;
  if (bitblas_type_bits(c->A_dtype) < 8)
    return lib_fail(BITBLAS_ERROR_UNSUPPORTED,
                    "the weight's inputs are permuted, and A is %s: inputs of 8 bits and "
                    "more can be gathered",
                    bitblas_type_name(c->A_dtype));
  const bitblas_define defines[] = {{"T", bitblas_type_name(c->A_dtype)}};
  const bitblas_size sizes[] = {{"M", 1}, {"K", c->K}};
  bitblas_kernel_config config = BITBLAS_KERNEL_CONFIG_INIT;
  config.path = EMBEDDED_DIRECTORY "gather.tl";
  config.text = embedded_text("gather.tl", &config.text_length);
  config.defines = defines, config.define_count = 1;
  config.expected = sizes, config.expected_count = 2;
  config.overlap_launches = c->overlap_launches;
  bitblas_status status = bitblas_kernel_create(l->context, &config, &l->gather);
  return status == BITBLAS_OK ? to_device(l->context, permutation, (size_t)c->K * sizeof *permutation, &l->permutation)
                              : status;
}

bitblas_status linear_load(bitblas_linear *l, const bitblas_linear_values *v, const int32_t *permutation) {
  size_t bias = linear_bias_bytes(l);
  if (!v->weight) return lib_fail(BITBLAS_ERROR_ARGUMENT, "values.weight is null");
  if (!bias != !v->bias)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "values.bias is %s, and the config has %s", v->bias ? "set" : "null",
                    bias ? "one" : "none");
  bitblas_status status = load_operand(l, BITBLAS_OPERAND_WEIGHT, v->form, "weight", v->weight, &l->weight);
  if (status == BITBLAS_OK)
    status = load_operand(l, BITBLAS_OPERAND_SCALES, BITBLAS_FORM_VALUES, "scales", v->scales, &l->scales);
  if (status == BITBLAS_OK) status = load_operand(l, BITBLAS_OPERAND_ZEROS, v->form, "zeros", v->zeros, &l->zeros);
  if (status == BITBLAS_OK && bias) status = to_device(l->context, v->bias, bias, &l->bias);
  if (status == BITBLAS_OK) status = load_permutation(l, permutation);
  l->loaded = status == BITBLAS_OK;
  if (status != BITBLAS_OK) linear_unload(l);
  return status;
}

bitblas_status bitblas_linear_load_values(bitblas_linear *linear, const bitblas_linear_values *values) {
  bitblas_linear_values v = BITBLAS_LINEAR_VALUES_INIT;
  if (!linear) return lib_fail(BITBLAS_ERROR_ARGUMENT, "linear is null");
  linear_unload(linear);
  bitblas_status status = lib_take_config("values", values, &v, sizeof v, sizeof v);
  return status == BITBLAS_OK ? linear_load(linear, &v, NULL) : status;
}

/* -- Running ------------------------------------------------------------------------------------------------------- */

/* A's rows gathered, in front of the matmul's own workspace. */
static size_t gathered_bytes(const bitblas_linear *l, int64_t rows) {
  const bitblas_matmul_config *c = &l->matmul->config;
  size_t bytes = (size_t)rows * (size_t)c->K * ((size_t)bitblas_type_bits(c->A_dtype) / 8);
  return l->gather ? (bytes + 255) / 256 * 256 : 0;
}

bitblas_status bitblas_linear_workspace_bytes(const bitblas_linear *linear, int64_t M, size_t *bytes) {
  if (!linear || !bytes) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", linear ? "bytes" : "linear");
  bitblas_status status = bitblas_matmul_workspace_bytes(linear->matmul, M, bytes);
  if (status == BITBLAS_OK) *bytes += gathered_bytes(linear, M);
  return status;
}

static bitblas_status gather(const bitblas_linear *l, const bitblas_linear_args *args) {
  const bitblas_matmul_config *c = &l->matmul->config;
  const bitblas_tensor tensors[] = {
      {(void *)(uintptr_t)args->A, c->A_dtype, 2, {args->M, c->K}, {0}},
      {l->permutation, BITBLAS_TYPE_I32, 1, {c->K}, {0}},
      {args->workspace, c->A_dtype, 2, {args->M, c->K}, {0}},
  };
  bitblas_launch launch = BITBLAS_LAUNCH_INIT;
  launch.tensors = tensors;
  launch.tensor_count = 3;
  launch.stream = args->stream;
  return bitblas_kernel_run(l->gather, &launch);
}

bitblas_status bitblas_linear_forward(const bitblas_linear *linear, const bitblas_linear_args *given) {
  bitblas_linear_args args = BITBLAS_LINEAR_ARGS_INIT;
  if (!linear) return lib_fail(BITBLAS_ERROR_ARGUMENT, "linear is null");
  bitblas_status status = lib_take_config("args", given, &args, sizeof args, sizeof args);
  if (status != BITBLAS_OK) return status;
  if (!linear->loaded) return lib_fail(BITBLAS_ERROR_ARGUMENT, "nothing is loaded into this linear");
  if (args.M == 0) return BITBLAS_OK;
  bitblas_matmul_args m = BITBLAS_MATMUL_ARGS_INIT;
  m.M = args.M, m.A = args.A, m.C = args.C;
  m.W = linear->weight, m.scales = linear->scales, m.zeros = linear->zeros, m.bias = linear->bias;
  m.workspace = args.workspace, m.workspace_bytes = args.workspace_bytes;
  m.stream = args.stream;
  if (!linear->gather) return bitblas_matmul_run(linear->matmul, &m);
  status = matmul_check_rows(linear->matmul, args.M, "args.M");
  if (status != BITBLAS_OK) return status;
  if (!args.A) return lib_fail(BITBLAS_ERROR_ARGUMENT, "args.A is null");
  size_t gathered = gathered_bytes(linear, args.M);
  if (!args.workspace || args.workspace_bytes < gathered)
    return lib_fail(BITBLAS_ERROR_WORKSPACE, "the workspace has %zu bytes, and gathering A takes %zu",
                    args.workspace ? args.workspace_bytes : 0, gathered);
  m.A = args.workspace;
  m.workspace = (char *)args.workspace + gathered, m.workspace_bytes = args.workspace_bytes - gathered;
  status = matmul_check_run(linear->matmul, &m); /* before anything is enqueued */
  if (status == BITBLAS_OK) status = gather(linear, &args);
  return status == BITBLAS_OK ? bitblas_matmul_run(linear->matmul, &m) : status;
}
