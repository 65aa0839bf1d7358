/* A checkpoint's weight into a linear, and what a linear has loaded into a file and back. */
#include "ir/numeric.h"
#include "lib/checkpoint.h"
#include "lib/linear.h"
#include "lib/safetensors_write.h"
#include "lib/weight.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_integer(bitblas_type type) { return ir_is_integer(lib_ir_type(type)); }

static bool is_signed(bitblas_type type) { return ir_type_of(lib_ir_type(type))->class == IR_CLASS_SINT; }

/* -- What a weight is to a kernel ----------------------------------------------------------------------------------- */

/* Whether the codes mean something else than their type says. Writers rounded the table of nf4 in several ways. */
static bool has_own_table(const bitblas_weight_info *w) {
  if (!w->codebook || w->type != BITBLAS_TYPE_NF4) return w->codebook != NULL;
  for (unsigned code = 0; code < 16; code++)
    if (!(fabs((double)w->codebook[code] - ir_decode(IR_NF4, code)) < 1e-6)) return true;
  return false;
}

static int64_t groups_of(const bitblas_weight_info *w) { return (w->columns + w->group_size - 1) / w->group_size; }

/* Whether the weight is signs, -1 and 1, times a half of its scales: a linear of i1. */
static bool is_signs(const bitblas_weight_info *w) {
  if (w->type != BITBLAS_TYPE_U1 || w->codebook || w->zeros_mode != BITBLAS_WEIGHT_ZEROS_ORIGINAL) return false;
  for (int64_t i = 0; i < w->rows * groups_of(w); i++)
    if (w->zeros[i] != 0.5f) return false;
  return true;
}

/* -- What a linear for a weight would be --------------------------------------------------------------------------- */

/* The largest groups that divide both the weight's and its columns; the last group of a row may be shorter. */
static int64_t common_group(const bitblas_weight_info *w) {
  int64_t a = w->columns, b = w->group_size;
  while (b) {
    int64_t rest = a % b;
    a = b, b = rest;
  }
  return w->group_size >= w->columns ? w->columns : a;
}

/* Whether a kernel decodes these codes: a type of lib/matmul.def, in groups that are worth it. */
static bool is_decodable(const bitblas_weight_info *w) {
  enum { LEAST_GROUP = 16 };
  int bits = bitblas_type_bits(w->type);
  bool width = bits == 1 || bits == 2 || bits == 4 || bits == 8;
  int64_t group = common_group(w);
  bool whole = !(w->scales || w->zeros) || group >= LEAST_GROUP || group == w->group_size;
  return width && whole && !has_own_table(w) && w->type != BITBLAS_TYPE_E8M0 && w->type != BITBLAS_TYPE_I1;
}

static bool has_whole_zeros(const bitblas_weight_info *w) {
  double most = ldexp(1, bitblas_type_bits(w->type)) - 1;
  if (!is_integer(w->type) || is_signed(w->type) || w->zeros_mode != BITBLAS_WEIGHT_ZEROS_ORIGINAL) return false;
  for (int64_t i = 0; i < w->rows * groups_of(w); i++)
    if (!(w->zeros[i] == floorf(w->zeros[i]) && w->zeros[i] >= 0 && (double)w->zeros[i] <= most)) return false;
  return true;
}

/* Whether the type holds each number as well as its mantissa can: none is too large, too small or subnormal. */
static bool holds(bitblas_type type, const float *numbers, int64_t count) {
  double most = ldexp(1, type == BITBLAS_TYPE_F16 ? -11 : -8);
  for (int64_t i = 0; numbers && i < count; i++) {
    double x = (double)numbers[i], stored = ir_decode(lib_ir_type(type), ir_encode(lib_ir_type(type), x));
    if (isfinite(x) && !(fabs(stored - x) <= most * fabs(x))) return false;
  }
  return true;
}

static bitblas_type scale_for(const bitblas_weight_info *w, const bitblas_linear_config *c) {
  bitblas_type usual = c->A_dtype == BITBLAS_TYPE_NONE ? BITBLAS_TYPE_F16 : c->A_dtype;
  int64_t count = w->rows * groups_of(w);
  bool whole = !c->with_zeros || c->zeros_mode == BITBLAS_ZEROS_QUANTIZED;
  if (c->scale_dtype != BITBLAS_TYPE_NONE || bitblas_type_bits(usual) != 16) return c->scale_dtype;
  bool fits = holds(usual, w->scales, count) && (whole || holds(usual, w->zeros, count));
  return fits || !(c->with_scaling || c->with_zeros) ? BITBLAS_TYPE_NONE : BITBLAS_TYPE_F32;
}

bitblas_status bitblas_linear_config_for(const bitblas_weight *weight, bitblas_linear_config *config) {
  bitblas_linear_config c = BITBLAS_LINEAR_CONFIG_INIT;
  bitblas_weight_info w = BITBLAS_WEIGHT_INFO_INIT;
  bitblas_status status = bitblas_weight_describe(weight, &w);
  if (status == BITBLAS_OK)
    status = lib_take_config("config", config, &c, sizeof c, offsetof(bitblas_linear_config, overlap_launches));
  if (status != BITBLAS_OK) return status;
  c.in_features = w.columns;
  c.out_features = w.rows;
  bool decodable = is_decodable(&w), signs = is_signs(&w);
  c.W_dtype = !decodable ? c.A_dtype : signs ? BITBLAS_TYPE_I1 : w.type;
  c.with_scaling = decodable && (w.scales || signs);
  c.with_zeros = decodable && w.zeros && !signs;
  c.group_size = c.with_scaling || c.with_zeros ? common_group(&w) : -1;
  c.zeros_mode = has_whole_zeros(&w)                            ? BITBLAS_ZEROS_QUANTIZED
                 : w.zeros_mode == BITBLAS_WEIGHT_ZEROS_RESCALE ? BITBLAS_ZEROS_RESCALE
                                                                : BITBLAS_ZEROS_ORIGINAL;
  c.scale_dtype = scale_for(&w, &c);
  memcpy(config, &c, c.size < sizeof c ? c.size : sizeof c);
  return BITBLAS_OK;
}

/* -- Loading ------------------------------------------------------------------------------------------------------- */

/* A load: the operands as the matmul's transform takes them. */
typedef struct loading {
  const bitblas_matmul *matmul;
  const bitblas_matmul_config *c;
  const bitblas_weight *weight;
  bitblas_weight_info w;
  bool by_code;   /* the linear gets the weight's codes; else its values, in the activation's type */
  double factor;  /* of the weight's scales */
  int64_t groups; /* of the linear's rows */
  void *codes, *scales, *zeros;
} loading;

static bitblas_status no_memory(size_t bytes) {
  return lib_fail(BITBLAS_ERROR_MEMORY, "no memory for %zu bytes of a weight", bytes);
}

static bitblas_status check_groups(const loading *l) {
  const bitblas_weight_info *w = &l->w;
  bool grouped = (w->scales && l->c->with_scaling) || (w->zeros && l->c->with_zeros);
  bool one = l->matmul->groups == 1 && w->group_size >= w->columns;
  if (!grouped || one || w->group_size % l->matmul->group_size == 0) return BITBLAS_OK;
  return lib_fail(BITBLAS_ERROR_SHAPE,
                  "the weight has groups of %" PRId64 " and the linear of %" PRId64 ", which must divide them",
                  w->group_size, l->matmul->group_size);
}

static int64_t weight_group(const loading *l, int64_t row, int64_t group) {
  return row * groups_of(&l->w) + group * l->matmul->group_size / l->w.group_size;
}

static double scale_of(const loading *l, int64_t row, int64_t group) {
  return l->factor * (l->w.scales ? (double)l->w.scales[weight_group(l, row, group)] : 1);
}

/* A linear without scaling stands for scales of 1. */
static bitblas_status check_scales(const loading *l) {
  int64_t groups = groups_of(&l->w);
  for (int64_t i = 0; i < l->w.rows * groups && !l->c->with_scaling; i++) {
    double scale = l->factor * (l->w.scales ? (double)l->w.scales[i] : 1);
    if (scale != 1)
      return lib_fail(BITBLAS_ERROR_TYPE,
                      "the weight has scales, [%" PRId64 ", %" PRId64 "] is %g, and the linear has none", i / groups,
                      i % groups, scale);
  }
  return BITBLAS_OK;
}

static bitblas_status check_fit(loading *l) {
  const bitblas_weight_info *w = &l->w;
  const bitblas_matmul_config *c = l->c;
  if (w->rows != c->N || w->columns != c->K)
    return lib_fail(BITBLAS_ERROR_SHAPE,
                    "the weight is [%" PRId64 ", %" PRId64 "] and the linear [%" PRId64 ", %" PRId64 "]", w->rows,
                    w->columns, c->N, c->K);
  l->by_code = matmul_is_decoded(c) || (w->type == c->W_dtype && bitblas_type_bits(w->type) <= 8);
  l->groups = l->matmul->groups;
  l->factor = 1;
  if (!l->by_code) return BITBLAS_OK;
  if (has_own_table(w))
    return lib_fail(BITBLAS_ERROR_TYPE, "the weight has a table of its own: a linear with W_dtype %s takes it decoded",
                    bitblas_type_name(c->A_dtype));
  if (c->W_dtype == BITBLAS_TYPE_I1 && is_signs(w)) {
    l->w.type = BITBLAS_TYPE_I1;
    l->w.zeros = NULL;
    l->factor = 0.5;
  } else if (w->type == BITBLAS_TYPE_I1) {
    return lib_fail(BITBLAS_ERROR_TYPE, "the weight's codes are i1, which are 0 and -1, and the linear's %s",
                    bitblas_type_name(c->W_dtype));
  }
  if (w->zeros && !c->with_zeros) return lib_fail(BITBLAS_ERROR_TYPE, "the weight has zeros and the linear none");
  bitblas_status status = check_scales(l);
  return status == BITBLAS_OK ? check_groups(l) : status;
}

/* How much larger the linear's codes are: those of i4 as u4 are raised by 8. */
static int raise_of(const loading *l) {
  bool raised = is_integer(l->w.type) && is_signed(l->w.type) && !is_signed(l->c->W_dtype);
  return raised ? 1 << (bitblas_type_bits(l->w.type) - 1) : 0;
}

static bitblas_status has_not(ir_type type, double value, const char *what, int64_t row, int64_t column) {
  return lib_fail(BITBLAS_ERROR_TYPE, "the weight's %s [%" PRId64 ", %" PRId64 "] is %g, which %s has not", what, row,
                  column, value, ir_type_of(type)->name);
}

/* Stores a number of the weight. Types of 8 bits and fewer have it exactly; the larger ones may round it. */
static bitblas_status put(void *to, size_t at, ir_type type, double value, const char *what, int64_t row,
                          int64_t column) {
  uint64_t code = ir_encode(type, value);
  double stored = ir_decode(type, code);
  bool lost = isnan(value) ? !isnan(stored) : ir_bits(type) <= 8 ? stored != value : isinf(stored) && !isinf(value);
  if (lost) return has_not(type, value, what, row, column);
  ir_put_bits(to, at, ir_bits(type), code);
  return BITBLAS_OK;
}

/* Same codes, or the same numbers shifted: signed codes in an unsigned linear with zeros. */
static bitblas_status take_codes(loading *l) {
  bitblas_type from = l->w.type, to = l->c->W_dtype;
  bool shifted = is_integer(to) && bitblas_type_bits(from) == bitblas_type_bits(to) && raise_of(l) && l->c->with_zeros;
  if (from != to && !shifted)
    return lib_fail(BITBLAS_ERROR_TYPE, "the weight's codes are %s and the linear's %s", bitblas_type_name(from),
                    bitblas_type_name(to));
  int bits = bitblas_type_bits(from);
  size_t count = (size_t)l->w.rows * (size_t)l->w.columns, bytes = ir_packed_bytes(count, bits);
  unsigned char *stream = malloc(bytes);
  if (!stream) return no_memory(bytes);
  l->codes = stream;
  bitblas_status status = bitblas_weight_stream(l->weight, stream, bytes);
  unsigned flip = 0; /* the sign bit of each code in a byte */
  for (int b = bits - 1; shifted && b < 8; b += bits)
    flip |= 1u << b;
  for (size_t i = 0; flip && i < bytes; i++)
    stream[i] ^= (unsigned char)flip;
  return status;
}

/* Decoded to the activation's type. */
static bitblas_status take_values(loading *l) {
  ir_type type = lib_ir_type(l->c->W_dtype);
  size_t count = (size_t)l->w.rows * (size_t)l->w.columns, bytes = count * (size_t)ir_bits(type) / 8;
  float *values = malloc(count * sizeof *values);
  l->codes = calloc(1, bytes + 1);
  if (!values || !l->codes) {
    free(values);
    return no_memory(count * sizeof *values + bytes);
  }
  bitblas_status status = bitblas_weight_decode(l->weight, values, count); /* puts the inputs into their own order */
  for (int64_t row = 0; row < l->w.rows; row++)
    for (int64_t k = 0; k < l->w.columns && status == BITBLAS_OK; k++) {
      size_t at = (size_t)(row * l->w.columns + k);
      status = put(l->codes, at, type, (double)values[at], "value", row, k);
    }
  free(values);
  l->w.scales = l->w.zeros = NULL;
  l->w.permutation = NULL;
  return status;
}

static bitblas_status take_scales(loading *l) {
  if (!l->c->with_scaling) return BITBLAS_OK;
  ir_type type = lib_ir_type(l->c->scale_dtype);
  size_t count = (size_t)(l->c->N * l->groups);
  l->scales = calloc(count, 4);
  if (!l->scales) return no_memory(4 * count);
  bitblas_status status = BITBLAS_OK;
  for (int64_t row = 0; row < l->c->N; row++)
    for (int64_t g = 0; g < l->groups && status == BITBLAS_OK; g++) {
      size_t at = (size_t)(row * l->groups + g);
      double scale = scale_of(l, row, g);
      status = put(l->scales, at, type, scale, "scale", row, g);
      bool vanished = scale != 0 && ir_decode(type, ir_get_bits(l->scales, at, ir_bits(type))) == 0;
      if (status == BITBLAS_OK && vanished) status = has_not(type, scale, "scale", row, g);
    }
  return status;
}

/* The zero of a group in the linear's mode, to go with the scale as it is stored. NaN: it has none there. */
static double zero_of(const loading *l, int64_t row, int64_t group) {
  double z = l->w.zeros ? (double)l->w.zeros[weight_group(l, row, group)] : 0, s = 1;
  ir_type type = lib_ir_type(l->c->scale_dtype);
  if (l->c->with_scaling) s = ir_decode(type, ir_encode(type, scale_of(l, row, group)));
  bool from = l->w.zeros && l->w.zeros_mode == BITBLAS_WEIGHT_ZEROS_RESCALE;
  bool to = l->c->zeros_mode == BITBLAS_ZEROS_RESCALE;
  if (from != to && z != 0) z = to ? z * s : s != 0 ? z / s : NAN;
  int raise = raise_of(l);
  return raise ? z + (to ? raise * s : raise) : z;
}

static bitblas_status take_zeros(loading *l) {
  if (!l->c->with_zeros) return BITBLAS_OK;
  bool quantized = l->c->zeros_mode == BITBLAS_ZEROS_QUANTIZED;
  ir_type type = lib_ir_type(quantized ? l->c->W_dtype : l->c->scale_dtype);
  size_t bits = (size_t)ir_bits(type), line = ((size_t)l->c->N * bits + 7) / 8 * 8 / bits; /* of quantized zeros */
  l->zeros = calloc(line * (size_t)l->groups + 1, 4);
  if (!l->zeros) return no_memory(4 * line * (size_t)l->groups);
  bitblas_status status = BITBLAS_OK;
  for (int64_t row = 0; row < l->c->N; row++)
    for (int64_t g = 0; g < l->groups && status == BITBLAS_OK; g++) {
      size_t at = quantized ? (size_t)g * line + (size_t)row : (size_t)(row * l->groups + g);
      status = put(l->zeros, at, type, zero_of(l, row, g), "zero", row, g);
    }
  return status;
}

bitblas_status bitblas_linear_load(bitblas_linear *linear, const bitblas_weight *weight, const void *bias) {
  if (!linear) return lib_fail(BITBLAS_ERROR_ARGUMENT, "linear is null");
  loading l = {.matmul = linear->matmul, .c = &linear->matmul->config, .weight = weight, .w = BITBLAS_WEIGHT_INFO_INIT};
  bitblas_status status = bitblas_weight_describe(weight, &l.w);
  linear_unload(linear);
  if (status == BITBLAS_OK) status = check_fit(&l);
  if (status == BITBLAS_OK) status = l.by_code ? take_codes(&l) : take_values(&l);
  if (status == BITBLAS_OK) status = take_scales(&l);
  if (status == BITBLAS_OK) status = take_zeros(&l);
  if (status == BITBLAS_OK) {
    bitblas_linear_values v = BITBLAS_LINEAR_VALUES_INIT;
    v.form = BITBLAS_FORM_PACKED;
    v.weight = l.codes, v.scales = l.scales, v.zeros = l.zeros, v.bias = bias;
    status = linear_load(linear, &v, l.w.permutation);
  }
  free(l.codes);
  free(l.scales);
  free(l.zeros);
  return status;
}

/* -- Files --------------------------------------------------------------------------------------------------------- */

/* An operand back on the host, row-major, in the kernel's type. */
static bitblas_status fetch(const bitblas_linear *l, bitblas_operand which, const void *from, void **elements) {
  size_t bytes = 0;
  bitblas_status status = bitblas_matmul_operand_bytes(l->matmul, which, &bytes);
  if (status != BITBLAS_OK || !bytes) return status;
  void *packed = malloc(bytes);
  *elements = calloc(1, bytes + 8);
  if (!packed || !*elements) {
    free(packed);
    return no_memory(2 * bytes);
  }
  status = bitblas_download(l->context, packed, from, bytes, NULL);
  if (status == BITBLAS_OK) status = bitblas_synchronize(l->context, NULL);
  if (status == BITBLAS_OK) status = matmul_restore(l->matmul, which, packed, *elements);
  free(packed);
  return status;
}

static void put_floats(const void *elements, bitblas_type type, int64_t count, float *to) {
  int bits = bitblas_type_bits(type);
  for (int64_t i = 0; i < count; i++)
    to[i] = (float)ir_decode(lib_ir_type(type), ir_get_bits(elements, (size_t)i, bits));
}

/* Codes 0 and 1 that are -1 and 1: (code - 1/2) * 2 * scale. */
static void make_signs(bitblas_weight *w) {
  int64_t count = w->info.rows * weight_groups(w);
  bool scaled = w->scales != NULL;
  if (!scaled) w->scales = weight_room(w);
  w->zeros = weight_room(w);
  w->info.zeros_mode = BITBLAS_WEIGHT_ZEROS_ORIGINAL;
  for (int64_t i = 0; i < count; i++) {
    w->scales[i] = scaled ? 2 * w->scales[i] : 2;
    w->zeros[i] = 0.5f;
  }
}

/* What is loaded, as a weight. */
static bitblas_status describe_loaded(const bitblas_linear *l, bitblas_weight *w) {
  const bitblas_matmul_config *c = &l->matmul->config;
  void *codes = NULL, *scales = NULL, *zeros = NULL;
  bool quantized = c->zeros_mode == BITBLAS_ZEROS_QUANTIZED;
  bitblas_status status = fetch(l, BITBLAS_OPERAND_WEIGHT, l->weight, &codes);
  if (status == BITBLAS_OK) status = fetch(l, BITBLAS_OPERAND_SCALES, l->scales, &scales);
  if (status == BITBLAS_OK) status = fetch(l, BITBLAS_OPERAND_ZEROS, l->zeros, &zeros);
  if (status == BITBLAS_OK) {
    int bits = bitblas_type_bits(c->W_dtype), bytes = weight_code_bytes(c->W_dtype);
    weight_shape(w, matmul_kernel_weight(l->matmul), c->N, c->K,
                 c->with_scaling || c->with_zeros ? l->matmul->group_size : c->K);
    for (int64_t i = 0; i < c->N * c->K; i++) {
      uint64_t code = ir_get_bits(codes, (size_t)i, bits);
      memcpy(w->codes + i * bytes, &code, (size_t)bytes);
    }
    int64_t count = c->N * l->matmul->groups;
    if (scales) put_floats(scales, matmul_kernel_scale(l->matmul), count, w->scales = weight_room(w));
    if (zeros)
      put_floats(zeros, quantized ? matmul_kernel_weight(l->matmul) : matmul_kernel_scale(l->matmul), count,
                 w->zeros = weight_room(w));
    w->info.zeros_mode = !zeros                                   ? BITBLAS_WEIGHT_ZEROS_NONE
                         : c->zeros_mode == BITBLAS_ZEROS_RESCALE ? BITBLAS_WEIGHT_ZEROS_RESCALE
                                                                  : BITBLAS_WEIGHT_ZEROS_ORIGINAL;
    if (c->W_dtype == BITBLAS_TYPE_I1) make_signs(w);
    if (l->permutation) {
      w->permutation = ARENA_ARRAY(w->memory, int32_t, c->K);
      status = bitblas_download(l->context, w->permutation, l->permutation, (size_t)c->K * sizeof(int32_t), NULL);
      if (status == BITBLAS_OK) status = bitblas_synchronize(l->context, NULL);
    }
  }
  free(codes);
  free(scales);
  free(zeros);
  return status;
}

static const char prefix[] = "linear", bias_name[] = "linear.bias";

static const char *encoding_of(bitblas_type type) {
  static const struct {
    const char *name;
    bitblas_type type;
  } encodings[] = {
#define DTYPE(name, bits, type) {name, BITBLAS_TYPE_##type},
#include "lib/dtypes.def"
#undef DTYPE
  };
  size_t i = 0;
  while (i < sizeof encodings / sizeof *encodings - 1 && encodings[i].type != type)
    i++;
  return encodings[i].name;
}

static bitblas_status write_bias(const bitblas_linear *l, safetensors_writer *writer) {
  size_t bytes = linear_bias_bytes(l);
  if (!bytes) return BITBLAS_OK;
  void *bias = malloc(bytes);
  if (!bias) return no_memory(bytes);
  const int64_t shape[] = {l->matmul->config.N};
  bitblas_status status = bitblas_download(l->context, bias, l->bias, bytes, NULL);
  if (status == BITBLAS_OK) status = bitblas_synchronize(l->context, NULL);
  if (status == BITBLAS_OK)
    status = safetensors_add(writer, bias_name, encoding_of(l->matmul->config.out_dtype), 1, shape, bias, bytes);
  free(bias);
  return status;
}

bitblas_status bitblas_linear_save(const bitblas_linear *linear, const char *path) {
  if (!linear || !path) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", linear ? "path" : "linear");
  if (!linear->loaded) return lib_fail(BITBLAS_ERROR_ARGUMENT, "nothing is loaded into this linear");
  bitblas_weight *w = weight_create();
  safetensors_writer *writer = NULL;
  bitblas_status status = describe_loaded(linear, w);
  if (status == BITBLAS_OK) {
    w->info.format = "canonical";
    weight_seal(w);
    status = safetensors_create(path, weight_header_bytes(prefix) + safetensors_header_bytes(bias_name), &writer);
  }
  if (status == BITBLAS_OK) status = weight_write(writer, prefix, w);
  if (status == BITBLAS_OK) status = write_bias(linear, writer);
  if (status == BITBLAS_OK)
    status = safetensors_finish(writer);
  else
    safetensors_abandon(writer);
  bitblas_weight_destroy(w);
  return status;
}

static bitblas_status check_bias(const bitblas_linear *linear, const char *path,
                                 const bitblas_checkpoint_tensor *bias) {
  const bitblas_matmul_config *c = &linear->matmul->config;
  if (!c->with_bias) return lib_fail(BITBLAS_ERROR_SHAPE, "%s: it has %s, and the linear has none", path, bias->name);
  if (bias->type != c->out_dtype)
    return lib_fail(BITBLAS_ERROR_TYPE, "%s: %s is %s and the linear's %s", path, bias->name, bias->encoding,
                    bitblas_type_name(c->out_dtype));
  if (bias->bytes != linear_bias_bytes(linear))
    return lib_fail(BITBLAS_ERROR_SHAPE, "%s: %s has %zu bytes and the linear's %zu", path, bias->name, bias->bytes,
                    linear_bias_bytes(linear));
  return BITBLAS_OK;
}

bitblas_status bitblas_linear_load_file(bitblas_linear *linear, const char *path) {
  if (!linear || !path) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", linear ? "path" : "linear");
  bitblas_checkpoint *file = NULL;
  bitblas_weight *weight = NULL;
  bitblas_checkpoint_tensor bias = BITBLAS_CHECKPOINT_TENSOR_INIT;
  bitblas_weight_config config = BITBLAS_WEIGHT_CONFIG_INIT;
  config.format = "canonical";
  linear_unload(linear);
  bitblas_status status = bitblas_checkpoint_open(path, &file);
  if (status == BITBLAS_OK) status = bitblas_weight_read(file, prefix, &config, &weight);
  bool has_bias = status == BITBLAS_OK && bitblas_checkpoint_find(file, bias_name, &bias) == BITBLAS_OK;
  if (has_bias) status = check_bias(linear, path, &bias);
  if (status == BITBLAS_OK) status = bitblas_linear_load(linear, weight, has_bias ? bias.data : NULL);
  bitblas_weight_destroy(weight);
  bitblas_checkpoint_close(file);
  return status;
}
