/* .npy files: ours back and forth, NumPy's own headers, and files that are broken. */
#include "runtime/npy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void writes_and_reads_back(void **state) {
  (void)state;
  char path[] = "/tmp/bitblasc_npy_XXXXXX";
  int handle = mkstemp(path);
  assert_true(handle >= 0);
  close(handle);
  static const struct {
    char kind;
    int item_bytes;
    int rank;
    int64_t extents[4];
  } cases[] = {
      {'f', 2, 2, {3, 5}}, {'i', 1, 1, {7}}, {'u', 4, 0, {0}}, {'f', 8, 3, {2, 0, 4}}, {'i', 8, 4, {1, 2, 3, 4}}};
  unsigned char bytes[512];
  for (int i = 0; i < 512; i++)
    bytes[i] = (unsigned char)(i * 7);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    npy_array a = {.kind = cases[i].kind, .item_bytes = cases[i].item_bytes, .rank = cases[i].rank, .data = bytes};
    a.data_bytes = (size_t)a.item_bytes;
    for (int d = 0; d < a.rank; d++)
      a.data_bytes *= (size_t)(a.extents[d] = cases[i].extents[d]);
    runtime_message message = {""};
    npy_array b;
    assert_int_equal(npy_write(path, &a, &message), RUNTIME_OK);
    assert_int_equal(npy_read(path, &b, &message), RUNTIME_OK);
    assert_int_equal(b.kind, a.kind);
    assert_int_equal(b.item_bytes, a.item_bytes);
    assert_int_equal(b.rank, a.rank);
    assert_memory_equal(b.extents, a.extents, sizeof a.extents);
    assert_int_equal(b.data_bytes, a.data_bytes);
    assert_memory_equal(b.data, a.data, a.data_bytes);
    npy_free(&b);
  }
  unlink(path);
  runtime_message message = {""};
  npy_array none;
  assert_int_equal(npy_read(path, &none, &message), RUNTIME_FILE);
  assert_non_null(strstr(message.text, path));
  npy_array odd = {.kind = 'f', .item_bytes = 1, .data = bytes, .data_bytes = 1};
  assert_int_equal(npy_write(path, &odd, &message), RUNTIME_BAD_ARGUMENT);
}

/* Builds a file of the given version around a header text and `data_bytes` zeros. */
static size_t build(unsigned char *out, int version, const char *header, size_t data_bytes) {
  size_t length = strlen(header), at = 8;
  memcpy(out, "\x93NUMPY", 6);
  out[6] = (unsigned char)version;
  out[7] = 0;
  for (int i = 0; i < (version == 1 ? 2 : 4); i++)
    out[at++] = (unsigned char)(length >> (8 * i));
  memcpy(out + at, header, length);
  memset(out + at + length, 0, data_bytes);
  return at + length + data_bytes;
}

static void reads_headers_of_either_version(void **state) {
  (void)state;
  static const char *const headers[] = {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n",
                                        "{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"<f4\"}",
                                        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3,)}"};
  for (size_t i = 0; i < 3; i++)
    for (int version = 1; version <= 2; version++) {
      unsigned char file[256];
      npy_array a;
      runtime_message message = {""};
      size_t size = build(file, version, headers[i], 24);
      assert_int_equal(npy_parse(file, size, &a, &message), RUNTIME_OK);
      assert_int_equal(a.rank, 2);
      assert_int_equal(a.extents[1], 3);
      npy_free(&a);
    }
}

static void refuses_broken_files(void **state) {
  (void)state;
  static const struct {
    const char *header;
    const char *message;
  } cases[] = {
      {"{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3)}", "big-endian"},
      {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}", "C order"},
      {"{'descr': '<c8', 'fortran_order': False, 'shape': (2, 3)}", "element type"},
      {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3)}", "simple"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3)}", "whole numbers"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4)}", "cut off"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "more data"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", "too large"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "whole numbers"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", "dimensions"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3", "not closed"},
      {"{'descr': '<f4', 'fortran_order': False}", "lacks"},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", "twice"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} x", "goes on"},
      {"{'descr': '<f4xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 'shape': (2, 3)}", "simple"},
      {"", "dictionary"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    unsigned char file[256];
    npy_array a;
    runtime_message message = {""};
    size_t size = build(file, 1, cases[i].header, 24);
    assert_int_equal(npy_parse(file, size, &a, &message), RUNTIME_FILE);
    if (!strstr(message.text, cases[i].message)) fail_msg("case %d: %s", (int)i, message.text);
  }
  unsigned char file[256];
  npy_array a;
  size_t size = build(file, 2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", 24);
  for (size_t cut = 0; cut < size; cut++) {
    unsigned char *exact = malloc(cut + !cut);
    memcpy(exact, file, cut);
    assert_int_equal(npy_parse(exact, cut, &a, NULL), RUNTIME_FILE);
    free(exact);
  }
  uint32_t seed = 7;
  for (int round = 0; round < 20000; round++) {
    unsigned char *exact = malloc(size);
    memcpy(exact, file, size);
    for (int i = 0; i < 2; i++) {
      seed = seed * 1664525u + 1013904223u;
      exact[(seed >> 8) % (size - 24)] = (unsigned char)(seed >> 24);
    }
    if (npy_parse(exact, size, &a, NULL) == RUNTIME_OK) npy_free(&a);
    free(exact);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(writes_and_reads_back),
      cmocka_unit_test(reads_headers_of_either_version),
      cmocka_unit_test(refuses_broken_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
