/* Safetensors files put together in memory for the tests of checkpoints and formats. */
#ifndef BITBLASC_TESTS_CHECKPOINT_FILE_H
#define BITBLASC_TESTS_CHECKPOINT_FILE_H

#include "tests/unit/unit.h"

#include "lib/checkpoint.h"
#include "support/str.h"

#include <math.h>

typedef struct built_file {
  str header, data, bytes;
} built_file;

/* A file of this header and data, with the header's length before them. */
static inline void build_raw(built_file *f, const char *header, size_t data_bytes, const void *data) {
  uint64_t length = strlen(header);
  unsigned char prefix[8];
  for (int i = 0; i < 8; i++)
    prefix[i] = (unsigned char)(length >> (8 * i));
  str_clear(&f->bytes);
  str_append_bytes(&f->bytes, prefix, 8);
  str_append(&f->bytes, header);
  str_append_bytes(&f->bytes, data, data_bytes);
}

/* Adds {"name": {"dtype": dtype, "shape": shape, ...}} with its data. */
static inline void build_tensor(built_file *f, const char *name, const char *dtype, const char *shape, const void *data,
                                size_t bytes) {
  str_printf(&f->header, "%s\"%s\": {\"dtype\": \"%s\", \"shape\": %s, \"data_offsets\": [%zu, %zu]}",
             f->header.length ? ", " : "", name, dtype, shape, f->data.length, f->data.length + bytes);
  str_append_bytes(&f->data, data, bytes);
}
#define BUILD(f, name, dtype, shape, array) build_tensor((f), (name), (dtype), (shape), (array), sizeof(array))

static inline void build_metadata(built_file *f, const char *key, const char *value) {
  str_printf(&f->header, "%s\"__metadata__\": {\"%s\": \"%s\"}", f->header.length ? ", " : "", key, value);
}

static inline bitblas_status build_open(built_file *f, bitblas_checkpoint **c) {
  str header = STR_EMPTY;
  str_printf(&header, "{%s}", str_text(&f->header));
  build_raw(f, str_text(&header), f->data.length, f->data.length ? f->data.data : "");
  str_free(&header);
  return checkpoint_parse("built", f->bytes.data, f->bytes.length, c);
}

static inline void build_free(built_file *f) {
  str_free(&f->header);
  str_free(&f->data);
  str_free(&f->bytes);
}

static inline void check(bitblas_status status) {
  if (status != BITBLAS_OK) fail_msg("%s: %s", bitblas_status_name(status), bitblas_last_message());
}

/* The call failed so, and its message has both words. */
static inline void refuses(bitblas_status is, bitblas_status wanted, const char *word, const char *other) {
  const char *message = bitblas_last_message();
  if (is != wanted || !strstr(message, word) || !strstr(message, other))
    fail_msg("%s: '%s' (wanted %s, '%s', '%s')", bitblas_status_name(is), message, bitblas_status_name(wanted), word,
             other);
}

static inline bitblas_weight_config config_of(const char *format, int bits, int group_size) {
  bitblas_weight_config config = BITBLAS_WEIGHT_CONFIG_INIT;
  config.format = format;
  config.bits = bits;
  config.group_size = group_size;
  return config;
}

/* A weight of the file so far at prefix "p". */
static inline bitblas_weight *build_read(built_file *f, const bitblas_weight_config *config) {
  bitblas_checkpoint *c = NULL;
  bitblas_weight *w = NULL;
  check(build_open(f, &c));
  check(bitblas_weight_read(c, "p", config, &w));
  bitblas_checkpoint_close(c);
  build_free(f);
  *f = (built_file){STR_EMPTY, STR_EMPTY, STR_EMPTY};
  return w;
}

static inline void build_refuses(built_file *f, const bitblas_weight_config *config, bitblas_status wanted,
                                 const char *word, const char *other) {
  bitblas_checkpoint *c = NULL;
  bitblas_weight *w = NULL;
  check(build_open(f, &c));
  refuses(bitblas_weight_read(c, "p", config, &w), wanted, word, other);
  assert_null(w);
  bitblas_checkpoint_close(c);
  build_free(f);
  *f = (built_file){STR_EMPTY, STR_EMPTY, STR_EMPTY};
}

static inline bitblas_weight_info describe(const bitblas_weight *w) {
  bitblas_weight_info info = BITBLAS_WEIGHT_INFO_INIT;
  check(bitblas_weight_describe(w, &info));
  return info;
}

/* The weight is [rows, columns] of these values exactly. Destroys it. */
static inline void expect_values(bitblas_weight *w, int rows, int columns, const float *wanted) {
  bitblas_weight_info info = describe(w);
  assert_int_equal(info.rows, rows);
  assert_int_equal(info.columns, columns);
  size_t count = (size_t)rows * (size_t)columns;
  float *is = calloc(count, sizeof *is);
  check(bitblas_weight_decode(w, is, count));
  for (size_t i = 0; i < count; i++) {
    if (is[i] != wanted[i] && !(isnan(is[i]) && isnan(wanted[i])))
      fail_msg("[%zu, %zu] is %.9g and should be %.9g", i / (size_t)columns, i % (size_t)columns, (double)is[i],
               (double)wanted[i]);
  }
  free(is);
  bitblas_weight_destroy(w);
}

#endif
