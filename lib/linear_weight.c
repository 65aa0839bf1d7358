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

/* -- What a linear for a weight would be --------------------------------------------------------------------------- */

/* Whether a kernel decodes these codes: a type of lib/matmul.def in whole groups. */
static bool is_decodable(const bitblas_weight_info *w) {
  int bits = bitblas_type_bits(w->type);
  bool whole = bits == 1 || bits == 2 || bits == 4 || bits == 8;
  return whole && !w->codebook && w->columns % w->group_size == 0 && w->type != BITBLAS_TYPE_E8M0;
}

static bool has_whole_zeros(const bitblas_weight_info *w) {
  int64_t count = w->rows * (w->columns / w->group_size);
  double most = ldexp(1, bitblas_type_bits(w->type)) - 1;
  if (!is_integer(w->type) || is_signed(w->type) || w->zeros_mode != BITBLAS_WEIGHT_ZEROS_ORIGINAL) return false;
  for (int64_t i = 0; i < count; i++)
    if (w->zeros[i] != floorf(w->zeros[i]) || w->zeros[i] < 0 || (double)w->zeros[i] > most) return false;
  return true;
}

bitblas_status bitblas_linear_config_for(const bitblas_weight *weight, bitblas_linear_config *config) {
  bitblas_linear_config c = BITBLAS_LINEAR_CONFIG_INIT;
  bitblas_weight_info w = BITBLAS_WEIGHT_INFO_INIT;
  bitblas_status status = bitblas_weight_describe(weight, &w);
  if (status == BITBLAS_OK) status = lib_take_config("config", config, &c, sizeof c, sizeof c);
  if (status != BITBLAS_OK) return status;
  c.in_features = w.columns;
  c.out_features = w.rows;
  bool decodable = is_decodable(&w);
  c.W_dtype = decodable ? w.type : c.A_dtype;
  c.group_size = decodable ? w.group_size : -1;
  c.with_scaling = decodable && w.scales != NULL;
  c.with_zeros = decodable && w.zeros != NULL;
  c.zeros_mode = has_whole_zeros(&w)                            ? BITBLAS_ZEROS_QUANTIZED
                 : w.zeros_mode == BITBLAS_WEIGHT_ZEROS_RESCALE ? BITBLAS_ZEROS_RESCALE
                                                                : BITBLAS_ZEROS_ORIGINAL;
  memcpy(config, &c, sizeof c);
  return BITBLAS_OK;
}

/* -- Loading ------------------------------------------------------------------------------------------------------- */

/* A load: the operands as the matmul's transform takes them. */
typedef struct loading {
  const bitblas_matmul *matmul;
  const bitblas_matmul_config *c;
  const bitblas_weight *weight;
  bitblas_weight_info w;
  int64_t groups, repeat; /* of the linear's rows; its groups in one of the weight's */
  void *codes, *scales, *zeros;
} loading;

static bitblas_status no_memory(size_t bytes) {
  return lib_fail(BITBLAS_ERROR_MEMORY, "no memory for %zu bytes of a weight", bytes);
}

static bitblas_status check_fit(loading *l) {
  const bitblas_weight_info *w = &l->w;
  const bitblas_matmul_config *c = l->c;
  if (w->rows != c->N || w->columns != c->K)
    return lib_fail(BITBLAS_ERROR_SHAPE,
                    "the weight is [%" PRId64 ", %" PRId64 "] and the linear [%" PRId64 ", %" PRId64 "]", w->rows,
                    w->columns, c->N, c->K);
  if (!matmul_is_decoded(c)) return BITBLAS_OK;
  if (w->codebook)
    return lib_fail(BITBLAS_ERROR_TYPE, "the weight has a table of its own: a linear with W_dtype %s takes it decoded",
                    bitblas_type_name(c->A_dtype));
  bool grouped = w->scales || w->zeros;
  if (grouped && w->group_size % l->matmul->group_size)
    return lib_fail(BITBLAS_ERROR_SHAPE,
                    "the weight has groups of %" PRId64 " and the linear of %" PRId64 ", which must divide them",
                    w->group_size, l->matmul->group_size);
  if (w->scales && !c->with_scaling) return lib_fail(BITBLAS_ERROR_TYPE, "the weight has scales and the linear none");
  if (w->zeros && !c->with_zeros) return lib_fail(BITBLAS_ERROR_TYPE, "the weight has zeros and the linear none");
  l->groups = l->matmul->groups;
  l->repeat = grouped ? w->group_size / l->matmul->group_size : l->groups;
  return BITBLAS_OK;
}

static int64_t weight_group(const loading *l, int64_t row, int64_t group) {
  int64_t groups = (l->w.columns + l->w.group_size - 1) / l->w.group_size;
  return row * groups + group / l->repeat;
}

/* How much larger the linear's codes are: those of i4 as u4 are raised by 8. */
static int raise_of(const loading *l) {
  if (!is_integer(l->w.type) || is_signed(l->w.type) == is_signed(l->c->W_dtype)) return 0;
  int half = 1 << (bitblas_type_bits(l->w.type) - 1);
  return is_signed(l->w.type) ? half : -half;
}

/* Same codes, or the same numbers shifted: signed codes in an unsigned linear with zeros. */
static bitblas_status take_codes(loading *l) {
  bitblas_type from = l->w.type, to = l->c->W_dtype;
  bool shifted = is_integer(from) && is_integer(to) && bitblas_type_bits(from) == bitblas_type_bits(to) &&
                 is_signed(from) && !is_signed(to) && l->c->with_zeros && from != BITBLAS_TYPE_I1;
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
  bitblas_status status = bitblas_weight_decode(l->weight, values, count);
  for (size_t i = 0; status == BITBLAS_OK && i < count; i++) /* decoding puts the inputs into their own order */
    ir_put_bits(l->codes, i, ir_bits(type), ir_encode(type, (double)values[i]));
  free(values);
  return status;
}

static bitblas_status take_scales(loading *l) {
  if (!l->c->with_scaling) return BITBLAS_OK;
  ir_type type = lib_ir_type(l->c->scale_dtype);
  size_t count = (size_t)(l->c->N * l->groups);
  l->scales = calloc(count, 4);
  if (!l->scales) return no_memory(4 * count);
  for (int64_t row = 0; row < l->c->N; row++)
    for (int64_t g = 0; g < l->groups; g++) {
      double scale = l->w.scales ? (double)l->w.scales[weight_group(l, row, g)] : 1;
      ir_put_bits(l->scales, (size_t)(row * l->groups + g), ir_bits(type), ir_encode(type, scale));
    }
  return BITBLAS_OK;
}

/* The zero of a group in the linear's mode. */
static double zero_of(const loading *l, int64_t row, int64_t group) {
  int64_t at = weight_group(l, row, group);
  double z = l->w.zeros ? (double)l->w.zeros[at] : 0, s = l->w.scales ? (double)l->w.scales[at] : 1;
  bool rescaled = l->w.zeros_mode == BITBLAS_WEIGHT_ZEROS_RESCALE;
  if (l->c->zeros_mode == BITBLAS_ZEROS_RESCALE) return (rescaled ? z : z * s) + raise_of(l) * s;
  return (rescaled ? (s != 0 ? z / s : 0) : z) + raise_of(l);
}

static bitblas_status take_zeros(loading *l) {
  if (!l->c->with_zeros) return BITBLAS_OK;
  bool quantized = l->c->zeros_mode == BITBLAS_ZEROS_QUANTIZED;
  ir_type type = lib_ir_type(quantized ? l->c->W_dtype : l->c->scale_dtype);
  int bits = ir_bits(type);
  size_t line = ((size_t)l->c->N * (size_t)bits + 7) / 8 * 8 / (size_t)bits; /* of quantized zeros, whole bytes */
  l->zeros = calloc(line * (size_t)l->groups + 1, 4);
  if (!l->zeros) return no_memory(4 * line * (size_t)l->groups);
  for (int64_t row = 0; row < l->c->N; row++)
    for (int64_t g = 0; g < l->groups; g++) {
      double z = zero_of(l, row, g);
      uint64_t code = ir_encode(type, z);
      if (quantized && ir_decode(type, code) != z)
        return lib_fail(BITBLAS_ERROR_TYPE,
                        "the weight's zero [%" PRId64 ", %" PRId64 "] is %g, which %s has not: "
                        "zeros_mode original takes it",
                        row, g, z, bitblas_type_name(l->c->W_dtype));
      size_t at = quantized ? (size_t)g * line + (size_t)row : (size_t)(row * l->groups + g);
      ir_put_bits(l->zeros, at, bits, code);
    }
  return BITBLAS_OK;
}

bitblas_status bitblas_linear_load(bitblas_linear *linear, const bitblas_weight *weight, const void *bias) {
  if (!linear) return lib_fail(BITBLAS_ERROR_ARGUMENT, "linear is null");
  loading l = {.matmul = linear->matmul, .c = &linear->matmul->config, .weight = weight, .w = BITBLAS_WEIGHT_INFO_INIT};
  bool decoded = matmul_is_decoded(l.c);
  bitblas_status status = bitblas_weight_describe(weight, &l.w);
  if (status == BITBLAS_OK) status = check_fit(&l);
  if (status == BITBLAS_OK) status = decoded ? take_codes(&l) : take_values(&l);
  if (status == BITBLAS_OK && decoded) status = take_scales(&l);
  if (status == BITBLAS_OK && decoded) status = take_zeros(&l);
  if (status == BITBLAS_OK) {
    bitblas_linear_values v = BITBLAS_LINEAR_VALUES_INIT;
    v.form = BITBLAS_FORM_PACKED;
    v.weight = l.codes, v.scales = l.scales, v.zeros = l.zeros, v.bias = bias;
    status = linear_load(linear, &v, decoded ? l.w.permutation : NULL);
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
    weight_shape(w, c->W_dtype, c->N, c->K, c->with_scaling || c->with_zeros ? l->matmul->group_size : c->K);
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

static bitblas_status write_bias(const bitblas_linear *l, safetensors_writer *writer) {
  size_t bytes = linear_bias_bytes(l);
  if (!bytes) return BITBLAS_OK;
  void *bias = malloc(bytes);
  if (!bias) return no_memory(bytes);
  const int64_t shape[] = {(int64_t)bytes};
  bitblas_status status = bitblas_download(l->context, bias, l->bias, bytes, NULL);
  if (status == BITBLAS_OK) status = bitblas_synchronize(l->context, NULL);
  if (status == BITBLAS_OK) status = safetensors_add(writer, bias_name, "U8", 1, shape, bias, bytes);
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

bitblas_status bitblas_linear_load_file(bitblas_linear *linear, const char *path) {
  if (!linear || !path) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", linear ? "path" : "linear");
  bitblas_checkpoint *file = NULL;
  bitblas_weight *weight = NULL;
  bitblas_checkpoint_tensor bias = BITBLAS_CHECKPOINT_TENSOR_INIT;
  bitblas_weight_config config = BITBLAS_WEIGHT_CONFIG_INIT;
  config.format = "canonical";
  bitblas_status status = bitblas_checkpoint_open(path, &file);
  if (status == BITBLAS_OK) status = bitblas_weight_read(file, prefix, &config, &weight);
  bool has_bias = status == BITBLAS_OK && bitblas_checkpoint_find(file, bias_name, &bias) == BITBLAS_OK;
  if (has_bias && bias.bytes != linear_bias_bytes(linear))
    status = lib_fail(BITBLAS_ERROR_SHAPE, "%s: the bias has %zu bytes and the linear's %zu", path, bias.bytes,
                      linear_bias_bytes(linear));
  if (status == BITBLAS_OK) status = bitblas_linear_load(linear, weight, has_bias ? bias.data : NULL);
  bitblas_weight_destroy(weight);
  bitblas_checkpoint_close(file);
  return status;
}
