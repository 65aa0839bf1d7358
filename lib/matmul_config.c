/* What bitblas_matmul multiplies: checks a config, fills it in, and says it in the kernel's parameters. */
#include "lib/matmul.h"

#include <inttypes.h>
#include <string.h>

/* -- The table ----------------------------------------------------------------------------------------------------- */

typedef struct matmul_row {
  const char *activation, *weights, *accumulators, *outputs;
} matmul_row;

static const matmul_row table[] = {
#define MATMUL_ROW(activation, weights, accumulators, outputs) {activation, weights, accumulators, outputs},
#include "lib/matmul.def"
#undef MATMUL_ROW
};
enum { ROW_COUNT = sizeof table / sizeof *table };

static const matmul_row *row_of(bitblas_type activation) {
  for (int i = 0; i < ROW_COUNT; i++)
    if (strcmp(table[i].activation, bitblas_type_name(activation)) == 0) return &table[i];
  return NULL;
}

/* Whether the name is a word of the list. */
static bool is_listed(const char *list, const char *name) {
  size_t length = strlen(name);
  for (const char *at = list; (at = strstr(at, name)); at += length)
    if ((at == list || at[-1] == ' ') && (at[length] == ' ' || !at[length])) return true;
  return false;
}

static bitblas_type first_of(const char *list) { return lib_type_of(ir_type_by_name(list, strcspn(list, " "))); }

static bool is_integer(bitblas_type type) { return ir_is_integer(lib_ir_type(type)); }

static bool is_8_bit_float(bitblas_type type) { return bitblas_type_bits(type) == 8 && !is_integer(type); }

/* -- Checks -------------------------------------------------------------------------------------------------------- */

static bitblas_status check_flag(const char *field, int64_t value) {
  if (value == 0 || value == 1) return BITBLAS_OK;
  return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.%s is %" PRId64 ", not 0 or 1", field, value);
}

static bitblas_status check_choice(const char *field, int value, int count) {
  if (value >= 0 && value < count) return BITBLAS_OK;
  return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.%s is %d, not one of 0 to %d", field, value, count - 1);
}

static bitblas_status check_extent(const char *field, int64_t value) {
  if (value >= 1 && value <= INT32_MAX) return BITBLAS_OK;
  return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.%s is %" PRId64 ", not 1 to %d", field, value, (int)INT32_MAX);
}

/* Whether `type` is in the list; NONE becomes its first. */
static bitblas_status take_type(const char *field, bitblas_type *type, const char *list, bitblas_type activation) {
  if (*type == BITBLAS_TYPE_NONE) *type = first_of(list);
  if (is_listed(list, bitblas_type_name(*type))) return BITBLAS_OK;
  return lib_fail(BITBLAS_ERROR_TYPE, "config.%s is %s: with A_dtype %s there are %s", field, bitblas_type_name(*type),
                  bitblas_type_name(activation), list);
}

static bitblas_status decide_types(bitblas_matmul_config *c) {
  if (c->A_dtype == BITBLAS_TYPE_NONE) c->A_dtype = BITBLAS_TYPE_F16;
  const matmul_row *row = row_of(c->A_dtype);
  if (!row)
    return lib_fail(BITBLAS_ERROR_TYPE, "config.A_dtype is %s: there are f16, bf16, f8e4m3, f8e5m2, i8 and i4",
                    bitblas_type_name(c->A_dtype));
  bitblas_status status = take_type("W_dtype", &c->W_dtype, row->weights, c->A_dtype);
  if (status == BITBLAS_OK) status = take_type("accum_dtype", &c->accum_dtype, row->accumulators, c->A_dtype);
  if (status == BITBLAS_OK) status = take_type("out_dtype", &c->out_dtype, row->outputs, c->A_dtype);
  bool narrow = bitblas_type_bits(c->A_dtype) <= 8;
  if (c->scale_dtype == BITBLAS_TYPE_NONE) c->scale_dtype = narrow ? BITBLAS_TYPE_F32 : c->A_dtype;
  if (status == BITBLAS_OK && !is_listed("f16 bf16 f32 e8m0 f8e4m3", bitblas_type_name(c->scale_dtype)))
    status = lib_fail(BITBLAS_ERROR_TYPE, "config.scale_dtype is %s: there are f16, bf16, f32, e8m0 and f8e4m3",
                      bitblas_type_name(c->scale_dtype));
  return status;
}

static bitblas_status decide_rows(bitblas_matmul *op) {
  static const int64_t usual[] = {1, 16, 32, 64, 128, 256, 512, 1024};
  bitblas_matmul_config *c = &op->config;
  if (c->M < 0 || c->M > INT32_MAX)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.M is %" PRId64 ", not 0 to %d", c->M, (int)INT32_MAX);
  if (c->opt_M_count < 0 || c->opt_M_count > MATMUL_MAX_KERNELS || (c->opt_M_count && !c->opt_M))
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.opt_M_count is %d and opt_M is %s: it is at most %d",
                    (int)c->opt_M_count, c->opt_M ? "set" : "null", MATMUL_MAX_KERNELS);
  if (c->M && c->opt_M_count)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.M is %" PRId64 " and opt_M has %d entries: opt_M goes with M 0",
                    c->M, (int)c->opt_M_count);
  const int64_t *rows = c->M ? &c->M : c->opt_M_count ? c->opt_M : usual;
  op->kernel_count = c->M ? 1 : c->opt_M_count ? c->opt_M_count : (int)(sizeof usual / sizeof *usual);
  for (int i = 0; i < op->kernel_count; i++) {
    int64_t before = i ? rows[i - 1] : 0;
    if (rows[i] <= before || rows[i] > INT32_MAX)
      return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.opt_M[%d] is %" PRId64 ", not %" PRId64 " to %d", i, rows[i],
                      before + 1, (int)INT32_MAX);
    op->rows[i] = rows[i];
  }
  c->opt_M = op->rows;
  c->opt_M_count = op->kernel_count;
  return BITBLAS_OK;
}

/* The divisor of n nearest to g. */
static int64_t nearest_divisor(int64_t n, int64_t g) {
  for (int64_t apart = 0;; apart++) {
    if (g + apart <= n && g + apart > 0 && n % (g + apart) == 0) return g + apart;
    if (g > apart && n % (g - apart) == 0) return g - apart;
  }
}

static bitblas_status decide_groups(bitblas_matmul *op) {
  bitblas_matmul_config *c = &op->config;
  if (c->group_size == 0 || c->group_size == -1) c->group_size = c->K;
  if (c->group_size < 1 || c->group_size > c->K || c->K % c->group_size)
    return lib_fail(
        BITBLAS_ERROR_ARGUMENT,
        "config.group_size is %" PRId64 " and K is %" PRId64 ": it divides K; the nearest that does is %" PRId64,
        c->group_size, c->K, nearest_divisor(c->K, c->group_size < 1 || c->group_size > c->K ? c->K : c->group_size));
  op->group_size = c->group_size;
  op->groups = c->K / c->group_size;
  return BITBLAS_OK;
}

static bitblas_status check_layout(const bitblas_matmul_config *c) {
  bool packed = matmul_is_decoded(c) || bitblas_type_bits(c->A_dtype) < 8;
  if (packed && c->layout != BITBLAS_LAYOUT_NT)
    return lib_fail(BITBLAS_ERROR_ARGUMENT,
                    "config.layout is %d with A_dtype %s and W_dtype %s: packed codes are nt (0)", (int)c->layout,
                    bitblas_type_name(c->A_dtype), bitblas_type_name(c->W_dtype));
  if (bitblas_type_bits(c->A_dtype) < 8 && c->K % 2)
    return lib_fail(BITBLAS_ERROR_ARGUMENT,
                    "config.K is %" PRId64 " with A_dtype %s: rows are whole bytes; the nearest is %" PRId64, c->K,
                    bitblas_type_name(c->A_dtype), c->K + 1);
  return BITBLAS_OK;
}

static bitblas_status check_zeros(const bitblas_matmul_config *c) {
  if (!c->with_zeros) return BITBLAS_OK;
  if (!matmul_is_decoded(c) || !is_integer(c->W_dtype) || c->W_dtype == BITBLAS_TYPE_I1)
    return lib_fail(BITBLAS_ERROR_TYPE,
                    "config.with_zeros is 1 with A_dtype %s and W_dtype %s: zeros go with integer "
                    "codes that are decoded, such as u4",
                    bitblas_type_name(c->A_dtype), bitblas_type_name(c->W_dtype));
  if (is_integer(c->A_dtype) && c->zeros_mode != BITBLAS_ZEROS_QUANTIZED)
    return lib_fail(BITBLAS_ERROR_TYPE,
                    "config.zeros_mode is %d with A_dtype %s: sums of integers take quantized zeros (%d)",
                    (int)c->zeros_mode, bitblas_type_name(c->A_dtype), BITBLAS_ZEROS_QUANTIZED);
  bool real =
      c->scale_dtype == BITBLAS_TYPE_F16 || c->scale_dtype == BITBLAS_TYPE_BF16 || c->scale_dtype == BITBLAS_TYPE_F32;
  if (c->zeros_mode != BITBLAS_ZEROS_QUANTIZED && !real)
    return lib_fail(BITBLAS_ERROR_TYPE,
                    "config.scale_dtype is %s, which zeros of mode %d have too: there are f16, bf16 and f32",
                    bitblas_type_name(c->scale_dtype), (int)c->zeros_mode);
  return BITBLAS_OK;
}

bool matmul_is_decoded(const bitblas_matmul_config *config) {
  return config->W_dtype != config->A_dtype || bitblas_type_bits(config->A_dtype) < 8;
}

bitblas_type matmul_kernel_weight(const bitblas_matmul *op) {
  return op->config.W_dtype == BITBLAS_TYPE_I1 ? BITBLAS_TYPE_U1 : op->config.W_dtype;
}

bitblas_type matmul_kernel_scale(const bitblas_matmul *op) {
  const bitblas_matmul_config *c = &op->config;
  if (c->scale_dtype != BITBLAS_TYPE_F8E4M3) return c->scale_dtype;
  return bitblas_type_bits(c->A_dtype) == 16 ? c->A_dtype : BITBLAS_TYPE_F32; /* each has every value of f8e4m3 */
}

bitblas_status matmul_decide(bitblas_matmul *op, const bitblas_matmul_config *given) {
  op->config = (bitblas_matmul_config)BITBLAS_MATMUL_CONFIG_INIT;
  bitblas_matmul_config *c = &op->config;
  bitblas_status status =
      lib_take_config("config", given, c, sizeof *c, offsetof(bitblas_matmul_config, overlap_launches));
  if (status == BITBLAS_OK) status = check_extent("N", c->N);
  if (status == BITBLAS_OK) status = check_extent("K", c->K);
  if (status == BITBLAS_OK) status = decide_types(c);
  if (status == BITBLAS_OK) status = check_choice("layout", (int)c->layout, 4);
  if (status == BITBLAS_OK) status = check_choice("zeros_mode", (int)c->zeros_mode, 3);
  if (status == BITBLAS_OK) status = check_choice("fast_decoding", (int)c->fast_decoding, 3);
  if (status == BITBLAS_OK) status = check_choice("activation", (int)c->activation, 4);
  if (status == BITBLAS_OK) status = check_flag("with_bias", c->with_bias);
  if (status == BITBLAS_OK) status = check_flag("with_scaling", c->with_scaling);
  if (status == BITBLAS_OK) status = check_flag("with_zeros", c->with_zeros);
  if (status == BITBLAS_OK) status = check_flag("A_strided", c->A_strided);
  if (status == BITBLAS_OK) status = check_flag("overlap_launches", c->overlap_launches);
  if (status == BITBLAS_OK) status = check_flag("fast_accum", c->fast_accum);
  if (status == BITBLAS_OK) status = check_layout(c);
  if (status == BITBLAS_OK) status = decide_groups(op);
  if (status == BITBLAS_OK) status = check_zeros(c);
  if (status == BITBLAS_OK) status = decide_rows(op);
  if (status == BITBLAS_OK && is_integer(c->out_dtype) && c->activation > BITBLAS_ACTIVATION_RELU)
    status =
        lib_fail(BITBLAS_ERROR_TYPE, "config.activation is %d with out_dtype %s: integers take none (0) or relu (1)",
                 (int)c->activation, bitblas_type_name(c->out_dtype));
  return status;
}

/* -- Parameters ---------------------------------------------------------------------------------------------------- */

static void define(bitblas_matmul *op, const char *name, const char *value) {
  ASSERT(op->define_count < MATMUL_MAX_DEFINES);
  op->defines[op->define_count++] = (bitblas_define){name, value};
}

static void define_int(bitblas_matmul *op, const char *name, int64_t value) {
  define(op, name, arena_printf(op->memory, "%" PRId64, value));
}

/* Whether tiles of `depth` along K suit the groups, and the packed order: the conditions of matmul.tl. */
static bool depth_fits(const bitblas_matmul *op, int64_t depth, int64_t pack, bool grouped) {
  int64_t group = op->group_size;
  if (depth % pack) return false;
  return grouped ? group % depth == 0 : depth % group == 0 || group % depth == 0;
}

/* The depth nearest to `usual` that fits; 0: none up to `most`. */
static int64_t find_depth(const bitblas_matmul *op, int64_t usual, int64_t pack, bool grouped, int64_t most) {
  int64_t best = 0;
  for (int64_t depth = pack; depth <= most; depth += pack) {
    int64_t apart = depth > usual ? depth - usual : usual - depth, before = best > usual ? best - usual : usual - best;
    if (depth_fits(op, depth, pack, grouped) && (!best || apart < before)) best = depth;
  }
  return best;
}

/* Chooses the tile's depth where the kernel's own does not suit the groups, and gives fast decoding up where none does. */
static bitblas_status define_depth(bitblas_matmul *op) {
  enum { USUAL = 64, DEEPEST = 512 };
  const bitblas_matmul_config *c = &op->config;
  bool decoded = matmul_is_decoded(c), uses_groups = (c->with_scaling || c->with_zeros) && op->groups > 1;
  bool fast = decoded && c->fast_decoding != BITBLAS_FAST_DECODING_OFF;
  bool grouped = uses_groups && c->with_scaling && (is_integer(c->A_dtype) || !decoded);
  int64_t pack = fast ? 256 / bitblas_type_bits(c->W_dtype) : 1, usual = pack > USUAL ? pack : USUAL;
  if (uses_groups && fast && !find_depth(op, usual, pack, grouped, DEEPEST)) {
    if (c->fast_decoding == BITBLAS_FAST_DECODING_ON)
      return lib_fail(BITBLAS_ERROR_ARGUMENT,
                      "config.fast_decoding is on with group_size %" PRId64
                      " and W_dtype %s: it takes groups such as %" PRId64 "; automatic or off decode any",
                      op->group_size, bitblas_type_name(c->W_dtype), pack);
    fast = false;
    pack = 1;
    usual = USUAL;
  }
  if (decoded && !fast) define(op, "FAST", "false");
  if (decoded && !fast && c->W_dtype == BITBLAS_TYPE_NF4 && c->K % 2)
    return lib_fail(BITBLAS_ERROR_ARGUMENT,
                    "config.K is %" PRId64 " with W_dtype nf4 and no fast decoding (off, or group_size %" PRId64
                    "): plain rows of it are whole bytes; the nearest is %" PRId64,
                    c->K, op->group_size, c->K + 1);
  if (!uses_groups) return BITBLAS_OK;
  define_int(op, "G", op->group_size);
  if (!depth_fits(op, usual, pack, grouped) || (decoded && !fast))
    define_int(op, "BK", find_depth(op, usual, pack, grouped, DEEPEST));
  return BITBLAS_OK;
}

bitblas_status matmul_define(bitblas_matmul *op) {
  static const char *const layouts[] = {"nt", "nn", "tn", "tt"}, *const zeros[] = {"original", "rescale", "quantized"},
                           *const activations[] = {"identity", "relu", "gelu", "silu"};
  const bitblas_matmul_config *c = &op->config;
  bool narrow = bitblas_type_bits(c->A_dtype) < 8;
  if (c->M) define_int(op, "M", c->M);
  define_int(op, "N", c->N);
  define_int(op, "K", c->K);
  define(op, "T", narrow ? "i8" : bitblas_type_name(c->A_dtype));
  if (narrow) define(op, "AT", bitblas_type_name(c->A_dtype));
  define(op, "WT", bitblas_type_name(matmul_kernel_weight(op)));
  define(op, "ACC", bitblas_type_name(c->accum_dtype));
  define(op, "OUT", bitblas_type_name(c->out_dtype));
  define(op, "LAYOUT", layouts[c->layout]);
  if (c->with_scaling || c->with_zeros) define(op, "ST", bitblas_type_name(matmul_kernel_scale(op)));
  if (c->with_scaling) define(op, "SCALE", "true");
  if (c->with_zeros) define(op, "ZERO", zeros[c->zeros_mode]);
  if (c->with_bias) define(op, "BIAS", "true");
  if (c->W_dtype == BITBLAS_TYPE_I1) {
    define(op, "FACTOR", "2");
    define(op, "OFFSET", "1");
  }
  if (c->fast_accum && is_8_bit_float(c->A_dtype)) define_int(op, "PROMOTE", 0);
  if (c->activation) define(op, "ACTIVATION", activations[c->activation]);
  if (c->A_strided) define_int(op, "LDA", 128 / bitblas_type_bits(c->A_dtype));
  return define_depth(op);
}
