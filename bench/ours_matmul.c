/* Products with a decoded weight, through Matmul with M fixed. */
#include "bench/check.h"

#include "ir/numeric.h"
#include "lib/matmul.h"
#include "lib/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Order of the tensors; scales and zeros may be missing. */
enum { TENSOR_A, TENSOR_W, FIRST_OPERAND };

static bitblas_matmul_config config_of(const bench_case *c) {
  bitblas_matmul_config config = BITBLAS_MATMUL_CONFIG_INIT;
  config.M = c->m, config.N = c->n, config.K = c->k;
  config.A_dtype = c->a, config.W_dtype = c->w;
  config.with_scaling = c->group != 0;
  config.group_size = c->group > 0 ? c->group : -1;
  config.scale_dtype = c->scale;
  config.with_zeros = c->with_zeros;
  config.zeros_mode = c->zeros_mode;
  return config;
}

static long groups_of(const bench_case *c) { return c->group > 0 ? c->k / c->group : 1; }

/* -- Scales and zeros ---------------------------------------------------------------------------------------------- */

/* Root of the mean square of what the codes stand for, less a zero in the middle of them. */
static double size_of_codes(const bench_case *c) {
  double sum = 0, sum_of_squares = 0;
  uint32_t count = 1u << bitblas_type_bits(c->w);
  if (c->w == BITBLAS_TYPE_F8E4M3) return 1; /* normal */
  for (uint32_t code = 0; code < count; code++) {
    double value = data_decode(c->w, code);
    sum += value / count;
    sum_of_squares += value * value / count;
  }
  return sqrt(sum_of_squares - (c->with_zeros ? sum * sum : 0));
}

/* Scales of 0.5 to 2 times what makes elements of C have variance 1 or so; zeros within the codes, or as large as a
 * scaled code. */
static bool make_tables(ours *o, complaint *problem) {
  const bench_case *c = o->c;
  bool is_code = c->zeros_mode == BITBLAS_ZEROS_QUANTIZED;
  double unit = 1 / (size_of_codes(c) * sqrt((double)c->k)), codes = ldexp(1, bitblas_type_bits(c->w));
  o->scale_type = c->scale;
  o->zero_type = is_code ? c->w : c->scale;
  o->scale_codes = calloc(OURS_TABLE, sizeof *o->scale_codes);
  if (c->with_zeros) o->zero_codes = calloc(OURS_TABLE, sizeof *o->zero_codes);
  if (!o->scale_codes || (c->with_zeros && !o->zero_codes)) return complain(problem, "no memory for scales");
  for (uint64_t i = 0; i < OURS_TABLE; i++) {
    double x = (double)(data_mix(i) >> 11) * 0x1p-53, y = (double)(data_mix(~i) >> 11) * 0x1p-53;
    double zero = c->zeros_mode == BITBLAS_ZEROS_RESCALE ? (2 * y - 1) / sqrt((double)c->k) : y * codes;
    o->scale_codes[i] = (uint32_t)ir_encode(lib_ir_type(o->scale_type), unit * exp2(2 * x - 1));
    if (c->with_zeros)
      o->zero_codes[i] = is_code ? (uint32_t)(y * codes) : (uint32_t)ir_encode(lib_ir_type(o->zero_type), zero);
  }
  return true;
}

/* What the transform takes: rows of groups; of zeros that are codes rows of weights, packed. */
static unsigned char *lay_out(const bench_case *c, const uint32_t *table, bitblas_type type, bool by_group,
                              size_t *bytes) {
  size_t rows = (size_t)c->n, groups = (size_t)groups_of(c), bits = (size_t)bitblas_type_bits(type);
  size_t line = by_group ? (rows * bits + 7) / 8 * 8 / bits : 0; /* elements from one group to the next */
  *bytes = by_group ? groups * ((rows * bits + 7) / 8) : rows * groups * bits / 8;
  unsigned char *out = calloc(1, *bytes + 8);
  for (size_t n = 0; out && n < rows; n++)
    for (size_t g = 0; g < groups; g++)
      ir_put_bits(out, by_group ? g * line + n : n * groups + g, (int)bits, table[(n * groups + g) % OURS_TABLE]);
  return out;
}

static bool add_operand(ours *o, bitblas_operand which, const uint32_t *table, bitblas_type type, bool by_group,
                        complaint *problem) {
  size_t from_bytes = 0, bytes = 0;
  unsigned char *from = lay_out(o->c, table, type, by_group, &from_bytes);
  ours_tensor *t = ours_add_tensor(o, TENSOR_HOST, type, (const int64_t[]){1, 0});
  bool ok = is_done(bitblas_matmul_operand_bytes(o->matmul, which, &bytes), "scales", problem);
  t->bytes = bytes;
  t->host = malloc(bytes + 1);
  bitblas_form form = by_group ? BITBLAS_FORM_PACKED : BITBLAS_FORM_VALUES;
  if (ok && (!from || !t->host)) ok = complain(problem, "no memory for scales");
  ok = ok &&
       is_done(bitblas_matmul_transform(o->matmul, which, form, from, from_bytes, t->host, bytes), "scales", problem);
  free(from);
  return ok;
}

static bool add_scales(ours *o, complaint *problem) {
  if (!make_tables(o, problem)) return false;
  if (!add_operand(o, BITBLAS_OPERAND_SCALES, o->scale_codes, o->scale_type, false, problem)) return false;
  return !o->c->with_zeros || add_operand(o, BITBLAS_OPERAND_ZEROS, o->zero_codes, o->zero_type,
                                          o->c->zeros_mode == BITBLAS_ZEROS_QUANTIZED, problem);
}

/* -- The weight ---------------------------------------------------------------------------------------------------- */

/* On the device, which is far faster than on the host; plain rows are as they are. */
static bitblas_status transform(const ours *o, const void *from, size_t from_bytes, void *to, size_t to_bytes,
                                bool *is_plain) {
  bitblas_status status =
      bitblas_matmul_transform_on_device(o->matmul, BITBLAS_FORM_PACKED, from, from_bytes, to, to_bytes, o->m->stream);
  *is_plain = status == BITBLAS_ERROR_UNSUPPORTED && from_bytes == to_bytes;
  return *is_plain ? BITBLAS_OK : status;
}

static bool matmul_pack(const ours *o, const void *from, size_t from_bytes, void *to, size_t to_bytes,
                        complaint *problem) {
  bool is_plain;
  return is_done(transform(o, from, from_bytes, to, to_bytes, &is_plain), "packing the weight", problem) &&
         (!is_plain || machine_copy(o->m, to, from, to_bytes, problem));
}

/* The kernel that packs is compiled when it is first needed: here, and not between measurements. */
static bool compile_packing(const ours *o, const ours_tensor *w, complaint *problem) {
  size_t from_bytes = (size_t)o->c->n * (size_t)o->c->k * (size_t)bitblas_type_bits(o->c->w) / 8;
  void *from = NULL, *to = NULL;
  bool is_plain, ok = is_done(bitblas_allocate(o->m->context, from_bytes, &from), "codes", problem) &&
                      is_done(bitblas_allocate(o->m->context, w->bytes, &to), "codes", problem) &&
                      is_done(transform(o, from, from_bytes, to, w->bytes, &is_plain), "packing the weight", problem) &&
                      machine_wait(o->m, problem);
  bitblas_free(o->m->context, from);
  bitblas_free(o->m->context, to);
  return ok;
}

/* -- The case ------------------------------------------------------------------------------------------------------ */

static bool matmul_create(ours *o, const char *directory, complaint *problem) {
  const bench_case *c = o->c;
  bitblas_matmul_config config = config_of(c);
  config.overlap_launches = o->m->overlaps;
  config.fast_accum = !c->promotes;
  (void)directory;
  if (!is_done(bitblas_matmul_create(ours_context(o), &config, &o->matmul), "making a Matmul", problem) ||
      !is_done(bitblas_matmul_prepare(o->matmul, NULL, 0), "compiling", problem))
    return false;
  ours_add_tensor(o, TENSOR_RANDOM, c->a, (const int64_t[]){c->m, c->k, 0});
  ours_tensor *w = ours_add_tensor(o, TENSOR_CODES, c->w, (const int64_t[]){c->n, c->k, 0});
  if (!is_done(bitblas_matmul_operand_bytes(o->matmul, BITBLAS_OPERAND_WEIGHT, &w->bytes), "the weight", problem))
    return false;
  if (o->m->driver && !compile_packing(o, w, problem)) return false;
  if (c->group != 0 && !add_scales(o, problem)) return false;
  ours_add_tensor(o, TENSOR_OUTPUT, c->a == BITBLAS_TYPE_I8 ? BITBLAS_TYPE_I32 : c->a,
                  (const int64_t[]){c->m, c->n, 0});
  return is_done(bitblas_matmul_workspace_bytes(o->matmul, c->m, &o->workspace_bytes), "workspace", problem);
}

static bool matmul_run(const ours *o, int set, complaint *problem) {
  bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
  args.A = o->tensors[TENSOR_A].address[set];
  args.W = o->tensors[TENSOR_W].address[set];
  if (o->c->group != 0) args.scales = o->tensors[FIRST_OPERAND].address[set];
  if (o->c->with_zeros) args.zeros = o->tensors[FIRST_OPERAND + 1].address[set];
  args.C = o->tensors[o->tensor_count - 1].address[set];
  args.workspace = o->workspace, args.workspace_bytes = o->workspace_bytes;
  args.stream = o->m->stream;
  return is_done(bitblas_matmul_run(o->matmul, &args), "running", problem);
}

/* Of a decoded weight: nf4's table, code minus a zero that is no code, and the product with a scale are rounded. */
static double roundings_of(const bench_case *c) {
  if (c->a == BITBLAS_TYPE_I8) return 0;
  bool float_zero = c->with_zeros && c->zeros_mode != BITBLAS_ZEROS_QUANTIZED;
  return (c->w == BITBLAS_TYPE_NF4) + float_zero + (c->group != 0);
}

static bool matmul_check(const ours *o, int set, complaint *problem) {
  const bench_case *c = o->c;
  const ours_tensor *a = &o->tensors[TENSOR_A], *w = &o->tensors[TENSOR_W], *out = &o->tensors[o->tensor_count - 1];
  const known_product p = {.a = {.d = o->d, .type = c->a, .first = a->first[set], .columns = c->k},
                           .w = {.d = o->d,
                                 .type = c->w,
                                 .first = w->first[set],
                                 .columns = c->k,
                                 .scale_codes = o->scale_codes,
                                 .zero_codes = o->zero_codes,
                                 .scale_type = o->scale_type,
                                 .zero_type = o->zero_type,
                                 .group = c->group > 0 ? c->group : c->k,
                                 .groups = groups_of(c),
                                 .zeros_mode = c->zeros_mode},
                           .m = c->m,
                           .n = c->n,
                           .k = c->k,
                           .out = out->shape.type,
                           .roundings = roundings_of(c)};
  return check_product(o->m, &p, out->address[set], problem);
}

static void matmul_destroy(ours *o) { bitblas_matmul_destroy(o->matmul); }

/* -- Plans --------------------------------------------------------------------------------------------------------- */

static bool matmul_rank(const ours *o, const char *directory, compile_ranking *ranking, complaint *problem) {
  (void)directory;
  return is_done(matmul_rank_plans(o->matmul, matmul_kernel_of(o->matmul, o->c->m), ranking), "comparing plans",
                 problem);
}

static bool matmul_create_plan(const ours *o, const char *directory, int plan, bitblas_kernel **kernel,
                               complaint *problem) {
  (void)directory;
  return is_done(matmul_create_kernel(o->matmul, matmul_kernel_of(o->matmul, o->c->m), plan, kernel), "compiling",
                 problem);
}

static bool matmul_exchange(ours *o, bitblas_kernel **kernel, complaint *problem) {
  _Atomic(bitblas_kernel *) *slot = &o->matmul->kernel[matmul_kernel_of(o->matmul, o->c->m)];
  if (!is_done(matmul_check_order(atomic_load(slot), *kernel), "another plan", problem)) return false;
  *kernel = atomic_exchange(slot, *kernel);
  if (is_done(bitblas_matmul_workspace_bytes(o->matmul, o->c->m, &o->workspace_bytes), "workspace", problem))
    return true;
  *kernel = atomic_exchange(slot, *kernel);
  return false;
}

const ours_calls ours_matmul_calls = {.create = matmul_create,
                                      .pack = matmul_pack,
                                      .run = matmul_run,
                                      .check = matmul_check,
                                      .destroy = matmul_destroy,
                                      .rank = matmul_rank,
                                      .create_plan = matmul_create_plan,
                                      .exchange = matmul_exchange};
