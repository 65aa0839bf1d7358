/* Files of tensors: what is found in good ones, and that a bad one is an error with a reason whatever is wrong with it. */
#include "tests/unit/lib/checkpoint_file.h"
#include "tests/unit/temporary.h"

#include <sys/stat.h>
#include <unistd.h>

/* -- Safetensors --------------------------------------------------------------------------------------------------- */

static void finds_tensors_by_name(void **state) {
  (void)state;
  static const float b[] = {1, 2, 3, 4, 5, 6};
  static const unsigned char a[] = {7, 8};
  built_file f = {0};
  bitblas_checkpoint *c = NULL;
  build_tensor(&f, "nothing", "U8", "[0]", "", 0); /* begins where the next does */
  BUILD(&f, "layer.b", "F32", "[2, 3]", b);
  BUILD(&f, "layer.a", "F8_E4M3", "[2]", a);
  build_tensor(&f, "empty", "I64", "[0, 4]", "", 0);
  build_metadata(&f, "format", "pt");
  check(build_open(&f, &c));
  assert_int_equal(bitblas_checkpoint_tensor_count(c), 4);
  bitblas_checkpoint_tensor t = BITBLAS_CHECKPOINT_TENSOR_INIT;
  check(bitblas_checkpoint_tensor_info(c, 1, &t));
  assert_string_equal(t.name, "layer.a");
  assert_int_equal(t.type, BITBLAS_TYPE_F8E4M3);
  assert_memory_equal(t.data, a, sizeof a);
  check(bitblas_checkpoint_find(c, "layer.b", &t));
  assert_string_equal(t.encoding, "F32");
  assert_int_equal(t.rank, 2);
  assert_int_equal(t.shape[0], 2);
  assert_int_equal(t.shape[1], 3);
  assert_int_equal(t.bytes, sizeof b);
  assert_memory_equal(t.data, b, sizeof b);
  assert_string_equal(checkpoint_setting_of(c, "format"), "pt");
  refuses(bitblas_checkpoint_find(c, "layer.c", &t), BITBLAS_ERROR_ARGUMENT, "layer.c", "no tensor");
  refuses(bitblas_checkpoint_tensor_info(c, 4, &t), BITBLAS_ERROR_ARGUMENT, "4", "tensors");
  assert_null(bitblas_checkpoint_layer(c, 0));
  bitblas_checkpoint_close(c);
  build_free(&f);
}

static void refuses_bad_headers(void **state) {
  (void)state;
  static const struct {
    const char *header;
    size_t data;
    const char *word, *other;
  } cases[] = {
      {"[]", 0, "begin", "'{'"},
      {" {}", 0, "begin", "'{'"},
      {"{", 0, "no JSON", "byte"},
      {"{\"a\": {\"dtype\": \"U8\"}", 0, "no JSON", "byte"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],"
       "\"data_offsets\":[0,1]}}",
       1, "no JSON", "duplicate"},
      {"{\"a\": 3}", 0, "a:", "no object"},
      {"{\"a\":{\"dtype\":\"Q7\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "a:", "Q7"},
      {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "a:", "dtype ''"},
      {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "a:", "no shape"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1, "a:", "extent 0"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1, 1.5],\"data_offsets\":[0,1]}}", 1, "a:", "extent 1"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, "9 dimensions", "8"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,1]}}", 1, "a:", "too large"},
      {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1152921504606846976],\"data_offsets\":[0,1]}}", 1, "a:", "too large"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[0,1]}}", 1, "no JSON", "too big"},
      {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2, "12 bits", "whole bytes"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "a:", "data_offsets"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1, "a:", "data_offsets"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[-1,0]}}", 1, "a:", "data_offsets"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1, "a:", "data_offsets"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 1, "ends at 2", "at 1"},
      {"{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,2]}}", 4, "has 2 bytes", "make 4"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],"
       "\"data_offsets\":[1,3]}}",
       3, "b begins at byte 1", "a ends at 2"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"b\":{\"dtype\":\"U8\",\"shape\":[1],"
       "\"data_offsets\":[2,3]}}",
       3, "bytes 1 to 2", "no tensor"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 2, "end at byte 1", "has 2"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    built_file f = {0};
    bitblas_checkpoint *c = NULL;
    static const char zeros[16];
    build_raw(&f, cases[i].header, cases[i].data, zeros);
    refuses(checkpoint_parse("built", f.bytes.data, f.bytes.length, &c), BITBLAS_ERROR_FILE, cases[i].word,
            cases[i].other);
    assert_null(c);
    build_free(&f);
  }
}

static void refuses_lengths_beyond_the_file(void **state) {
  (void)state;
  bitblas_checkpoint *c = NULL;
  static const unsigned char longer[] = {3, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
  static const unsigned char huge[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'};
  static const unsigned char none[] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
  refuses(checkpoint_parse("f", longer, 7, &c), BITBLAS_ERROR_FILE, "7 bytes", "no safetensors");
  refuses(checkpoint_parse("f", longer, sizeof longer, &c), BITBLAS_ERROR_FILE, "3 bytes", "has 10");
  refuses(checkpoint_parse("f", huge, sizeof huge, &c), BITBLAS_ERROR_FILE, "18446744073709551615", "100000000");
  refuses(checkpoint_parse("f", none, sizeof none, &c), BITBLAS_ERROR_FILE, "begin", "'{'");
}

/* -- GGUF ---------------------------------------------------------------------------------------------------------- */

typedef struct gguf_builder {
  str bytes;
} gguf_builder;

static void put(gguf_builder *g, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++)
    str_append_char(&g->bytes, (char)(value >> (8 * i)));
}

static void put_string(gguf_builder *g, const char *text) {
  put(g, strlen(text), 8);
  str_append(&g->bytes, text);
}

static void put_start(gguf_builder *g, uint32_t version, uint64_t tensors, uint64_t keys) {
  str_append(&g->bytes, "GGUF");
  put(g, version, 4);
  put(g, tensors, 8);
  put(g, keys, 8);
}

/* One of [K = 32, N = 2], fastest first. */
static void put_tensor(gguf_builder *g, const char *name, uint32_t type, uint64_t offset) {
  put_string(g, name);
  put(g, 2, 4);
  put(g, 32, 8);
  put(g, 2, 8);
  put(g, type, 4);
  put(g, offset, 8);
}

static void put_data(gguf_builder *g, size_t alignment, size_t bytes) {
  while (g->bytes.length % alignment)
    put(g, 0, 1);
  for (size_t i = 0; i < bytes; i++)
    put(g, i, 1);
}

enum { F32_TYPE = 0, Q4_0_TYPE = 2, Q4_0_BYTES = 36, VALUE_U32 = 4, VALUE_STRING = 8, VALUE_ARRAY = 9 };

static void put_good(gguf_builder *g) {
  put_start(g, 3, 2, 4);
  put_string(g, "general.name");
  put(g, VALUE_STRING, 4);
  put_string(g, "small");
  put_string(g, "general.alignment");
  put(g, VALUE_U32, 4);
  put(g, 64, 4);
  put_string(g, "tokens");
  put(g, VALUE_ARRAY, 4);
  put(g, VALUE_STRING, 4);
  put(g, 2, 8);
  put_string(g, "a");
  put_string(g, "bc");
  put_string(g, "scores");
  put(g, VALUE_ARRAY, 4);
  put(g, 6, 4);
  put(g, 3, 8);
  put(g, 0, 8);
  put(g, 0, 4);
  put_tensor(g, "x.weight", Q4_0_TYPE, 0);
  put_tensor(g, "y.weight", F32_TYPE, 64);
  put_data(g, 64, 64 + 256);
}

static void reads_gguf(void **state) {
  (void)state;
  gguf_builder g = {STR_EMPTY};
  bitblas_checkpoint *c = NULL;
  put_good(&g);
  check(checkpoint_parse("g", g.bytes.data, g.bytes.length, &c));
  bitblas_checkpoint_tensor t = BITBLAS_CHECKPOINT_TENSOR_INIT;
  check(bitblas_checkpoint_find(c, "x.weight", &t));
  assert_string_equal(t.encoding, "Q4_0");
  assert_int_equal(t.type, BITBLAS_TYPE_NONE);
  assert_int_equal(t.shape[0], 2); /* row-major here */
  assert_int_equal(t.shape[1], 32);
  assert_int_equal(t.bytes, Q4_0_BYTES);
  assert_int_equal(((const unsigned char *)t.data)[5], 5);
  check(bitblas_checkpoint_find(c, "y.weight", &t));
  assert_int_equal(t.type, BITBLAS_TYPE_F32);
  assert_int_equal(((const unsigned char *)t.data)[1], 65);
  assert_string_equal(bitblas_checkpoint_layer(c, 0), "x");
  assert_null(bitblas_checkpoint_layer(c, 1));
  bitblas_checkpoint_close(c);
  str_free(&g.bytes);
}

/* Every file that ends too early is one that is cut off. */
static void refuses_cut_gguf(void **state) {
  (void)state;
  gguf_builder g = {STR_EMPTY};
  put_good(&g);
  for (size_t size = 0; size < g.bytes.length; size++) {
    bitblas_checkpoint *c = NULL;
    char *exact = malloc(size ? size : 1);
    if (size) memcpy(exact, g.bytes.data, size);
    refuses(checkpoint_parse("g", exact, size, &c), BITBLAS_ERROR_FILE, "", "");
    free(exact);
  }
  str_free(&g.bytes);
}

static void gguf_refuses(gguf_builder *g, const char *word, const char *other) {
  bitblas_checkpoint *c = NULL;
  refuses(checkpoint_parse("g", g->bytes.data, g->bytes.length, &c), BITBLAS_ERROR_FILE, word, other);
  str_free(&g->bytes);
}

static void refuses_bad_gguf(void **state) {
  (void)state;
  gguf_builder g = {STR_EMPTY};
  put_start(&g, 1, 0, 0);
  gguf_refuses(&g, "version is 1", "2 and 3");
  put_start(&g, 0x03000000, 0, 0);
  gguf_refuses(&g, "version is 50331648", "big-endian");
  put_start(&g, 3, 1ull << 60, 0);
  gguf_refuses(&g, "tensors", "do not fit");
  put_start(&g, 3, 0, 1ull << 60);
  gguf_refuses(&g, "keys", "do not fit");
  put_start(&g, 3, 1, 0);
  put_tensor(&g, "x", 4, 0);
  put_data(&g, 32, 36);
  gguf_refuses(&g, "x:", "type 4 is not known");
  put_start(&g, 3, 1, 0);
  put_tensor(&g, "x", Q4_0_TYPE, 8);
  put_data(&g, 32, 64);
  gguf_refuses(&g, "offset 8", "multiple of 32");
  put_start(&g, 3, 1, 0);
  put_tensor(&g, "x", Q4_0_TYPE, 32);
  put_data(&g, 32, 36);
  gguf_refuses(&g, "36 bytes begin at 32", "has 36");
  put_start(&g, 3, 1, 0);
  put_tensor(&g, "x", Q4_0_TYPE, ~31ull);
  put_data(&g, 32, 36);
  gguf_refuses(&g, "36 bytes begin at 18446744073709551584", "has 36");
  put_start(&g, 3, 2, 0);
  put_tensor(&g, "x", Q4_0_TYPE, 0);
  put_tensor(&g, "y", Q4_0_TYPE, 32);
  put_data(&g, 32, 96);
  gguf_refuses(&g, "y begins at byte 32", "x ends at 36");
  put_start(&g, 3, 2, 0);
  put_tensor(&g, "x", Q4_0_TYPE, 0);
  put_tensor(&g, "x", Q4_0_TYPE, 64);
  put_data(&g, 32, 128);
  gguf_refuses(&g, "two tensors", "x");
  put_start(&g, 3, 1, 0);
  put_string(&g, "x");
  put(&g, 5, 4);
  put_data(&g, 32, 64);
  gguf_refuses(&g, "5 dimensions", "4");
  put_start(&g, 3, 1, 0);
  put_string(&g, "x");
  put(&g, 2, 4);
  put(&g, 1ull << 40, 8);
  put(&g, 1ull << 40, 8);
  put(&g, Q4_0_TYPE, 4);
  put(&g, 0, 8);
  put_data(&g, 32, 64);
  gguf_refuses(&g, "x:", "too large");
  put_start(&g, 3, 1, 0);
  put_string(&g, "x");
  put(&g, 1, 4);
  put(&g, 33, 8);
  put(&g, Q4_0_TYPE, 4);
  put(&g, 0, 8);
  put_data(&g, 32, 64);
  gguf_refuses(&g, "rows of 33", "blocks of Q4_0");
  put_start(&g, 3, 0, 1);
  put_string(&g, "general.alignment");
  put(&g, VALUE_U32, 4);
  put(&g, 48, 4);
  gguf_refuses(&g, "general.alignment is 48", "power of two");
  put_start(&g, 3, 0, 1);
  put_string(&g, "key");
  put(&g, 77, 4);
  gguf_refuses(&g, "'key'", "type 77");
  put_start(&g, 3, 0, 1);
  put_string(&g, "key");
  put(&g, VALUE_ARRAY, 4);
  put(&g, VALUE_ARRAY, 4);
  put(&g, 1, 8);
  gguf_refuses(&g, "array of type 9", "not known");
  put_start(&g, 3, 0, 1);
  put_string(&g, "key");
  put(&g, VALUE_ARRAY, 4);
  put(&g, 10, 4);
  put(&g, 1ull << 61, 8);
  gguf_refuses(&g, "cut off", "");
  put_start(&g, 3, 1, 0);
  put(&g, 2000, 8);
  put_data(&g, 32, 64);
  gguf_refuses(&g, "name has 2000 bytes", "1024");
  put_start(&g, 3, 1, 0);
  put(&g, 2, 8);
  put(&g, 'x', 2);
  put_data(&g, 32, 64);
  gguf_refuses(&g, "NUL", "name");
  put_start(&g, 3, 0, 1);
  put(&g, 1 << 20, 8);
  put_data(&g, 32, 64);
  gguf_refuses(&g, "key of 1048576 bytes", "65535");
}

/* -- Files on disk ------------------------------------------------------------------------------------------------- */

typedef struct folder {
  char path[TEMPORARY_BYTES], file[TEMPORARY_BYTES + 200];
} folder;

static int set_up(void **state) {
  folder *f = calloc(1, sizeof *f);
  temporary_make(f->path);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  folder *f = *state;
  temporary_remove(f->path);
  free(f);
  return 0;
}

static const char *write_file(folder *f, const char *name, const void *data, size_t bytes) {
  snprintf(f->file, sizeof f->file, "%s/%s", f->path, name);
  FILE *file = fopen(f->file, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, bytes, file), bytes);
  fclose(file);
  return f->file;
}

static const char *write_text(folder *f, const char *name, const char *text) {
  return write_file(f, name, text, strlen(text));
}

static void write_shard(folder *f, const char *name, const char *tensor) {
  built_file b = {0};
  bitblas_checkpoint *c = NULL;
  static const float data[] = {1, 2};
  BUILD(&b, tensor, "F32", "[2]", data);
  check(build_open(&b, &c));
  bitblas_checkpoint_close(c);
  write_file(f, name, b.bytes.data, b.bytes.length);
  build_free(&b);
}

static void reads_the_shards_of_an_index(void **state) {
  folder *f = *state;
  bitblas_checkpoint *c = NULL;
  write_shard(f, "m-1.safetensors", "a");
  write_shard(f, "m-2.safetensors", "b");
  write_text(f, "quantize_config.json", "{\"bits\": 3, \"desc_act\": false}"); /* after the other, which counts */
  write_text(f, "config.json",
             "{\"quantization_config\": {\"bits\": 4, \"sym\": true, \"checkpoint_format\": \"gptq_v2\","
             " \"config_groups\": {\"group_0\": {\"weights\": {\"num_bits\": 8}}},"
             " \"weight_block_size\": [64, 32]}}");
  check(
      bitblas_checkpoint_open(write_text(f, "m.safetensors.index.json",
                                         "{\"weight_map\": {\"b\": \"m-2.safetensors\", \"a\": \"m-1.safetensors\"}}"),
                              &c));
  assert_int_equal(bitblas_checkpoint_tensor_count(c), 2);
  assert_string_equal(checkpoint_setting_of(c, "bits"), "4");
  assert_string_equal(checkpoint_setting_of(c, "sym"), "true");
  assert_string_equal(checkpoint_setting_of(c, "desc_act"), "false");
  assert_string_equal(checkpoint_setting_of(c, "checkpoint_format"), "gptq_v2");
  assert_string_equal(checkpoint_setting_of(c, "config_groups.group_0.weights.num_bits"), "8");
  assert_string_equal(checkpoint_setting_of(c, "weight_block_size.1"), "32");
  assert_null(checkpoint_setting_of(c, "weight_block_size.2"));
  bitblas_checkpoint_close(c);
}

static void refuses_bad_files(void **state) {
  folder *f = *state;
  bitblas_checkpoint *c = NULL;
  bitblas_checkpoint_tensor t = BITBLAS_CHECKPOINT_TENSOR_INIT;
  refuses(bitblas_checkpoint_open(NULL, &c), BITBLAS_ERROR_ARGUMENT, "path", "null");
  refuses(bitblas_checkpoint_open("x", NULL), BITBLAS_ERROR_ARGUMENT, "checkpoint", "null");
  refuses(bitblas_checkpoint_find(NULL, "x", &t), BITBLAS_ERROR_ARGUMENT, "checkpoint", "null");
  refuses(bitblas_checkpoint_tensor_info(NULL, 0, &t), BITBLAS_ERROR_ARGUMENT, "checkpoint", "null");
  assert_int_equal(bitblas_checkpoint_tensor_count(NULL), 0);
  bitblas_checkpoint_close(NULL);
  refuses(bitblas_checkpoint_open("/nowhere/x.safetensors", &c), BITBLAS_ERROR_FILE, "/nowhere/x", "No such file");
  refuses(bitblas_checkpoint_open(f->path, &c), BITBLAS_ERROR_FILE, f->path, "no file");
  refuses(bitblas_checkpoint_open(write_text(f, "empty", ""), &c), BITBLAS_ERROR_FILE, "empty", "");
  refuses(bitblas_checkpoint_open(write_text(f, "a.index.json", "{"), &c), BITBLAS_ERROR_FILE, "a.index.json:1", "");
  refuses(bitblas_checkpoint_open(write_text(f, "b.index.json", "{}"), &c), BITBLAS_ERROR_FILE, "weight_map", "");
  refuses(bitblas_checkpoint_open(write_text(f, "c.index.json", "{\"weight_map\": {\"x\": \"../secret\"}}"), &c),
          BITBLAS_ERROR_FILE, "../secret", "beside");
  refuses(bitblas_checkpoint_open(write_text(f, "d.index.json", "{\"weight_map\": {\"x\": \"absent\"}}"), &c),
          BITBLAS_ERROR_FILE, "absent", "No such file");
  write_shard(f, "m-1.safetensors", "a");
  write_shard(f, "m-2.safetensors", "a");
  refuses(
      bitblas_checkpoint_open(
          write_text(f, "e.index.json", "{\"weight_map\": {\"b\": \"m-2.safetensors\", \"a\": \"m-1.safetensors\"}}"),
          &c),
      BITBLAS_ERROR_FILE, "two tensors", "a");
  assert_null(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds_tensors_by_name),
      cmocka_unit_test(refuses_bad_headers),
      cmocka_unit_test(refuses_lengths_beyond_the_file),
      cmocka_unit_test(reads_gguf),
      cmocka_unit_test(refuses_cut_gguf),
      cmocka_unit_test(refuses_bad_gguf),
      cmocka_unit_test_setup_teardown(reads_the_shards_of_an_index, set_up, tear_down),
      cmocka_unit_test_setup_teardown(refuses_bad_files, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
