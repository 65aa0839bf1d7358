/* What a config of FlashAtten may say. Every message names the field, its value, and the nearest that is possible. */
#include "lib/flash_atten.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { HEADS_MOST = 1 << 16, PAGE_LEAST = 16, PAGE_MOST = 1 << 20 };

static const int32_t dims[] = {64, 96, 128, 192, 256};
enum { DIM_COUNT = sizeof dims / sizeof *dims };

static bitblas_status check_dim(const char *field, int32_t value) {
  int32_t nearest = dims[0];
  for (int i = 0; i < DIM_COUNT; i++) {
    if (dims[i] == value) return BITBLAS_OK;
    if (llabs((long long)dims[i] - value) < llabs((long long)nearest - value)) nearest = dims[i];
  }
  return lib_fail(BITBLAS_ERROR_ARGUMENT,
                  "flash_atten: config.%s is %d; 64, 96, 128, 192 and 256 are possible, the nearest is %d", field,
                  (int)value, (int)nearest);
}

static bitblas_status check_heads(const bitblas_flash_atten_config *c) {
  if (c->heads < 1 || c->heads > HEADS_MOST)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "flash_atten: config.heads is %d; 1 to %d are possible, the nearest is %d",
                    (int)c->heads, HEADS_MOST, c->heads < 1 ? 1 : HEADS_MOST);
  if (c->kv_heads >= 1 && c->heads % c->kv_heads == 0) return BITBLAS_OK;
  int32_t nearest = 1;
  for (int32_t n = 1; n <= c->heads; n++) {
    if (c->heads % n == 0 && llabs((long long)n - c->kv_heads) < llabs((long long)nearest - c->kv_heads)) nearest = n;
  }
  return lib_fail(BITBLAS_ERROR_ARGUMENT,
                  "flash_atten: config.kv_heads is %d and config.heads is %d, which it does not divide; the nearest "
                  "that does is %d",
                  (int)c->kv_heads, (int)c->heads, (int)nearest);
}

static bitblas_status check_type(const char *field, bitblas_type is, bool half, bool single) {
  if (half && (is == BITBLAS_TYPE_F16 || is == BITBLAS_TYPE_BF16)) return BITBLAS_OK;
  if (single && is == BITBLAS_TYPE_F32) return BITBLAS_OK;
  bool wide = single && (!half || bitblas_type_bits(is) > 16);
  return lib_fail(BITBLAS_ERROR_TYPE, "flash_atten: config.%s is %s; possible is %s, the nearest is %s", field,
                  bitblas_type_name(is),
                  !half    ? "f32"
                  : single ? "f16, bf16 or f32"
                           : "f16 or bf16",
                  wide ? "f32" : "f16");
}

static bitblas_status check_flag(const char *field, int64_t value) {
  if (value == 0 || value == 1) return BITBLAS_OK;
  return lib_fail(BITBLAS_ERROR_ARGUMENT, "flash_atten: config.%s is %" PRId64 ", neither 0 nor 1; the nearest is %d",
                  field, value, value > 1);
}

static bitblas_status check_flags(const bitblas_flash_atten_config *c) {
  const struct {
    const char *field;
    int64_t value;
  } flags[] = {{"causal", c->causal},         {"lse", c->lse},
               {"varlen_q", c->varlen_q},     {"varlen_kv", c->varlen_kv},
               {"kv_lengths", c->kv_lengths}, {"overlap_launches", c->overlap_launches}};
  bitblas_status status = BITBLAS_OK;
  for (size_t i = 0; i < sizeof flags / sizeof *flags && status == BITBLAS_OK; i++)
    status = check_flag(flags[i].field, flags[i].value);
  return status;
}

static bitblas_status check_page(const bitblas_flash_atten_config *c) {
  int64_t page = c->page_size, nearest = PAGE_LEAST;
  if (!page) return BITBLAS_OK;
  while (nearest < PAGE_MOST && 3 * nearest <= 2 * page) /* up to 3/2 of it, it is nearer than twice it */
    nearest *= 2;
  if (page != nearest)
    return lib_fail(BITBLAS_ERROR_ARGUMENT,
                    "flash_atten: config.page_size is %d, no power of two from %d to %d; the nearest is %d", (int)page,
                    PAGE_LEAST, PAGE_MOST, (int)nearest);
  if (c->layout == BITBLAS_FLASH_ATTEN_NTN)
    return lib_fail(
        BITBLAS_ERROR_UNSUPPORTED,
        "flash_atten: config.layout is ntn and config.page_size is %d; pages lie as nnn, the nearest, or bhsd",
        (int)page);
  if (c->varlen_kv)
    return lib_fail(BITBLAS_ERROR_ARGUMENT,
                    "flash_atten: config.varlen_kv is 1 and config.page_size is %d; of pages it is 0", (int)page);
  if (!c->kv_lengths)
    return lib_fail(BITBLAS_ERROR_ARGUMENT,
                    "flash_atten: config.kv_lengths is 0 and config.page_size is %d; of pages it is 1", (int)page);
  return BITBLAS_OK;
}

/* A fixed size, 0 where it is free; `free` says what makes it so, NULL: nothing does. */
static bitblas_status check_size(const char *field, int64_t value, const char *free) {
  if (!value || (value > 0 && value <= INT32_MAX && !free)) return BITBLAS_OK;
  return lib_fail(BITBLAS_ERROR_ARGUMENT, "flash_atten: config.%s is %" PRId64 "%s%s; the nearest possible is %d",
                  field, value, free ? " and " : "", free ? free : "", !free && value > 0 ? INT32_MAX : 0);
}

static bitblas_status check_sizes(const bitblas_flash_atten_config *c) {
  const char *free = c->varlen_kv ? "config.varlen_kv is 1" : c->page_size ? "config.page_size is not 0" : NULL;
  bitblas_status status = check_size("batch", c->batch, NULL);
  if (status == BITBLAS_OK) status = check_size("seq_len", c->seq_len, c->varlen_q ? "config.varlen_q is 1" : NULL);
  if (status == BITBLAS_OK) status = check_size("kv_seq_len", c->kv_seq_len, free);
  if (status == BITBLAS_OK && c->kv_lengths && c->varlen_kv)
    status = lib_fail(BITBLAS_ERROR_ARGUMENT,
                      "flash_atten: config.kv_lengths is 1 and config.varlen_kv is 1, which has lengths "
                      "already; the nearest possible is 0");
  if (status == BITBLAS_OK && (c->splits < 0 || c->splits > FLASH_ATTEN_SPLITS_MAX))
    status =
        lib_fail(BITBLAS_ERROR_ARGUMENT, "flash_atten: config.splits is %d; 0 to %d are possible, the nearest is %d",
                 (int)c->splits, FLASH_ATTEN_SPLITS_MAX, c->splits < 0 ? 0 : FLASH_ATTEN_SPLITS_MAX);
  return status;
}

bitblas_status flash_atten_take_config(bitblas_flash_atten_config *c) {
  if (!c->kv_heads) c->kv_heads = c->heads;
  if (!c->v_dim) c->v_dim = c->dim;
  if (c->dtype == BITBLAS_TYPE_NONE) c->dtype = BITBLAS_TYPE_F16;
  if (c->accum_dtype == BITBLAS_TYPE_NONE) c->accum_dtype = BITBLAS_TYPE_F32;
  if (c->out_dtype == BITBLAS_TYPE_NONE) c->out_dtype = c->dtype;
  bitblas_status status = check_heads(c);
  if (status == BITBLAS_OK) status = check_dim("dim", c->dim);
  if (status == BITBLAS_OK) status = check_dim("v_dim", c->v_dim);
  if (status == BITBLAS_OK) status = check_type("dtype", c->dtype, true, false);
  if (status == BITBLAS_OK) status = check_type("accum_dtype", c->accum_dtype, false, true);
  if (status == BITBLAS_OK) status = check_type("out_dtype", c->out_dtype, true, true);
  if (status == BITBLAS_OK && (c->layout < BITBLAS_FLASH_ATTEN_NNN || c->layout > BITBLAS_FLASH_ATTEN_BHSD))
    status = lib_fail(BITBLAS_ERROR_ARGUMENT,
                      "flash_atten: config.layout is %d; 0 (nnn), 1 (ntn) and 2 (bhsd) are possible, the nearest is %d",
                      (int)c->layout, c->layout > BITBLAS_FLASH_ATTEN_BHSD ? 2 : 0);
  if (status == BITBLAS_OK) status = check_flags(c);
  if (status == BITBLAS_OK) status = check_page(c);
  if (status == BITBLAS_OK) status = check_sizes(c);
  if (status == BITBLAS_OK && !(c->scale >= 0 && c->scale < INFINITY))
    status = lib_fail(BITBLAS_ERROR_ARGUMENT, "flash_atten: config.scale is %g; it is greater than 0, or 0 for %g",
                      (double)c->scale, 1 / sqrt(c->dim));
  if (!c->scale) c->scale = (float)(1 / sqrt(c->dim));
  return status;
}
