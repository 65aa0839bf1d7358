/* Canonical weights written to a file: what is read back means the same, whatever format it came from. */
#include "tests/unit/lib/checkpoint_file.h"

#include "lib/safetensors_write.h"
#include "tests/unit/temporary.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct folder {
  char path[TEMPORARY_BYTES], file[TEMPORARY_BYTES + 100];
} folder;

static int set_up(void **state) {
  folder *f = calloc(1, sizeof *f);
  temporary_make(f->path);
  snprintf(f->file, sizeof f->file, "%s/out.safetensors", f->path);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  folder *f = *state;
  temporary_remove(f->path);
  free(f);
  return 0;
}

static int files_in(const char *path) {
  int count = 0;
  DIR *d = opendir(path);
  for (const struct dirent *e; (e = readdir(d)) != NULL;)
    count += e->d_name[0] != '.';
  closedir(d);
  return count;
}

/* Writes the weight, reads it back, compares everything; destroys it. */
static void round_trip(folder *f, bitblas_weight *w) {
  safetensors_writer *writer = NULL;
  bitblas_checkpoint *c = NULL;
  bitblas_weight *again = NULL;
  check(safetensors_create(f->file, weight_header_bytes("a \"quoted\" layer"), &writer));
  check(weight_write(writer, "a \"quoted\" layer", w));
  check(safetensors_finish(writer));
  assert_int_equal(files_in(f->path), 1);
  check(bitblas_checkpoint_open(f->file, &c));
  assert_string_equal(bitblas_checkpoint_layer(c, 0), "a \"quoted\" layer");
  check(bitblas_weight_read(c, "a \"quoted\" layer", NULL, &again));
  bitblas_checkpoint_close(c);
  bitblas_weight_info is = describe(again), was = describe(w);
  assert_string_equal(is.format, "canonical");
  assert_int_equal(is.type, was.type);
  assert_int_equal(is.group_size, was.group_size);
  assert_int_equal(is.zeros_mode, was.zeros_mode);
  assert_true((is.permutation != NULL) == (was.permutation != NULL));
  assert_true((is.codebook != NULL) == (was.codebook != NULL));
  assert_true((is.scales != NULL) == (was.scales != NULL));
  size_t count = (size_t)(was.rows * was.columns);
  float *values = calloc(count, sizeof *values);
  check(bitblas_weight_decode(w, values, count));
  expect_values(again, (int)was.rows, (int)was.columns, values);
  free(values);
  bitblas_weight_destroy(w);
}

static void what_is_read_back_means_the_same(void **state) {
  static const uint32_t codes[1][8] = {{0x76543210, 0xfedcba98, 1, 2, 3, 4, 5, 6}}, zeros[2][1] = {{0x12345678}, {0x7}};
  static const float scales[2][8] = {{1, 2, 3, 4, 5, 6, 7, 8}, {-1, 0.5f, 0.1f, 1, 1, 1, 1, 1}};
  static const int32_t g_idx[8] = {1, 0, 1, 0, 0, 1, 0, 1};
  static const uint16_t plain[3][5] = {{0x3f80, 0x4000}, {0x7f80}, {0xc0de}};
  static const unsigned char nf4[3][1] = {{0x12}, {0x34}, {0x50}};
  static const float absmax[2] = {2, 3}, table[16] = {0, 1, 2, 3, 4, 5, 6, 7};
  static const char quant_state[] = "{\"blocksize\": 4, \"shape\": [1, 5]}";
  static const unsigned char bits[2][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}}; /* HQQ, 2 bits: rows of 3 bytes' worth */
  static const int64_t shape[2] = {2, 16};
  float ones[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  built_file f = {0};
  BUILD(&f, "p.qweight", "I32", "[1, 8]", codes);
  BUILD(&f, "p.qzeros", "I32", "[2, 1]", zeros);
  BUILD(&f, "p.scales", "F32", "[2, 8]", scales);
  BUILD(&f, "p.g_idx", "I32", "[8]", g_idx);
  round_trip(*state, build_read(&f, NULL));
  BUILD(&f, "p.weight", "BF16", "[3, 5]", plain);
  round_trip(*state, build_read(&f, NULL));
  BUILD(&f, "p.weight", "U8", "[3, 1]", nf4);
  BUILD(&f, "p.weight.absmax", "F32", "[2]", absmax);
  BUILD(&f, "p.weight.quant_map", "F32", "[16]", table);
  build_tensor(&f, "p.weight.quant_state.bitsandbytes__fp4", "U8", "[33]", quant_state, sizeof quant_state - 1);
  round_trip(*state, build_read(&f, NULL));
  BUILD(&f, "p.W_q", "U8", "[2, 4]", bits);
  BUILD(&f, "p.shape", "I64", "[2]", shape);
  BUILD(&f, "p.scale", "F32", "[8]", ones);
  BUILD(&f, "p.zero", "F32", "[8]", ones);
  round_trip(*state, build_read(&f, NULL));
}

static void failures_leave_nothing_behind(void **state) {
  folder *f = *state;
  safetensors_writer *w = NULL;
  static const int64_t shape[1] = {4};
  static const unsigned char data[4] = {1, 2, 3, 4};
  refuses(safetensors_create("/nowhere/x", 100, &w), BITBLAS_ERROR_FILE, "/nowhere/x", "No such file");
  refuses(safetensors_create(f->path, 100, &w), BITBLAS_ERROR_FILE, f->path, "no regular file");
  refuses(safetensors_create(f->file, 200000000, &w), BITBLAS_ERROR_FILE, "header", "100000000");
  assert_null(w);
  check(safetensors_create(f->file, 2 * safetensors_header_bytes("a"), &w));
  refuses(safetensors_add(w, "a", "F16", 1, shape, data, 4), BITBLAS_ERROR_ARGUMENT, "a: 4 bytes", "F16");
  refuses(safetensors_add(w, "a", "Q4_K", 1, shape, data, 4), BITBLAS_ERROR_ARGUMENT, "a: 4 bytes", "Q4_K");
  check(safetensors_add(w, "a", "U8", 1, shape, data, 4));
  check(safetensors_add(w, "a", "U8", 1, shape, data, 4));
  assert_int_equal(safetensors_written(w), 8);
  refuses(safetensors_finish(w), BITBLAS_ERROR_FILE, "two tensors", "a");
  assert_int_equal(files_in(f->path), 0);
  check(safetensors_create(f->file, 100, &w));
  safetensors_abandon(w);
  safetensors_abandon(NULL);
  assert_int_equal(files_in(f->path), 0);
  bitblas_checkpoint *c = NULL;
  check(safetensors_create(f->file, 0, &w)); /* a file without tensors is one */
  check(safetensors_finish(w));
  check(bitblas_checkpoint_open(f->file, &c));
  assert_int_equal(bitblas_checkpoint_tensor_count(c), 0);
  bitblas_checkpoint_close(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(what_is_read_back_means_the_same, set_up, tear_down),
      cmocka_unit_test_setup_teardown(failures_leave_nothing_behind, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("weight_write", tests, NULL, NULL);
}
