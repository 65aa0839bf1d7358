/* The launch record as JSON: what goes in comes out, and nothing that is wrong gets in. */
#include "sample_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void reads_what_it_writes(void **state) {
  (void)state;
  arena *a = arena_create();
  const char *error = NULL;
  const record *r = sample_record(a);
  assert_true(record_verify(r, a, &error));
  for (int pretty = 0; pretty < 2; pretty++) {
    str first = STR_EMPTY, second = STR_EMPTY;
    record_to_json(r, pretty, &first);
    const record *back = record_from_json(a, first.data, first.length, &error);
    assert_non_null(back);
    record_to_json(back, pretty, &second);
    assert_string_equal(str_text(&first), str_text(&second));
    assert_string_equal(back->tensors[1].name, "W");
    assert_int_equal(back->tensors[1].packing->columns[3], 16);
    assert_true(size_equal(back->tiles, r->tiles));
    assert_int_equal(back->maps[0].box[1], 128);
    assert_true(back->workspace_zero && back->pdl && back->persistent);
    str_free(&first);
    str_free(&second);
  }
  arena_destroy(a);
}

/* Each edit makes the sample wrong in one place; the message must name what is. */
static void refuses_a_wrong_record(void **state) {
  (void)state;
  static const struct {
    const char *from, *to, *message;
  } edits[] = {
      {"bitblasc.kernel/1", "bitblasc.kernel/2", "schema"},
      {"\"entry\":\"sample\"", "\"entry\":\"x; rm\"", "identifier"},
      {"\"entry\":\"sample\"", "\"entry\":7", "entry"},
      {"\"entry\":\"sample\",", "", "entry"},
      {"\"target\":\"sm_90a\"", "\"target\":\"\"", "target"},
      {"\"block_threads\":384", "\"block_threads\":2048", "2048"},
      {"\"block_threads\":384", "\"block_threads\":-1", "block_threads"},
      {"\"block_threads\":384", "\"block_threads\":1e2", "block_threads"},
      {"\"cluster\":[2,1,1]", "\"cluster\":[2,1]", "cluster"},
      {"\"cluster\":[2,1,1]", "\"cluster\":[2,0,1]", "cluster"},
      {"\"cluster\":[2,1,1]", "\"cluster\":[1,2,1]", "cluster"},
      {"\"pdl\":true", "\"pdl\":1", "pdl"},
      {"\"name\":\"M\"", "\"name\":\"A\"", "no size"},
      {"\"name\":\"A\"", "\"name\":\"W\"", "two arguments"},
      {"\"name\":\"A\"", "\"name\":\"workspace\"", "reserved"},
      {"\"name\":\"alpha\"", "\"name\":\"al-pha\"", "identifier"},
      {"\"type\":\"f32\"", "\"type\":\"f33\"", "scalar"},
      {"\"bits\":4", "\"bits\":0", "bits"},
      {"\"access\":\"inout\"", "\"access\":\"\"", NULL},
      {"\"access\":\"out\"", "\"access\":\"write\"", "access"},
      {"\"alignment\":128", "\"alignment\":100", "aligned"},
      {"\"block_rows\":4", "\"block_rows\":8", "packing"},
      {"\"columns\":[1,2,4,16,8,32]", "\"columns\":[1,2,4,16,8,64]", "leaves"},
      {"\"box\":[64,128]", "\"box\":[64,257]", "257"},
      {"\"box\":[64,128]", "\"box\":[128,64]", "swizzle"},
      {"\"box\":[64,128]", "\"box\":[63,64]", "multiple of 16"},
      {"\"box\":[64,128]", "\"box\":[64]", "rank"},
      {"\"swizzle_bytes\":128", "\"swizzle_bytes\":96", "swizzle"},
      {"\"promotion_bytes\":256", "\"promotion_bytes\":1", "promotion"},
      {"{\"kind\":\"map\",\"index\":0}", "{\"kind\":\"map\",\"index\":1}", "parameter"},
      {"{\"kind\":\"map\",\"index\":0}", "{\"kind\":\"maps\",\"index\":0}", "kind"},
      {"{\"kind\":\"map\",\"index\":0}", "3", "kind"},
      {"\"condition\":\"N <= 4096\"", "\"condition\":\"N <=\"", "condition"},
      {"\"zero\":true", "\"zero\":null", "zero"},
      {"\"multiple_of\":8", "\"multiple_of\":0", "multiple_of"},
      {"\"multiple_of\":8", "\"multiple_of\":8,\"multiple_of\":8", "JSON"},
      {"ceildiv(M, 128)*ceildiv(N, 64)", "system(M, 128)", "no size"},
  };
  arena *a = arena_create();
  str good = STR_EMPTY;
  record_to_json(sample_record(a), false, &good);
  for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
    const char *at = strstr(str_text(&good), edits[i].from);
    if (!edits[i].message) {
      assert_null(at);
      continue;
    }
    assert_non_null(at);
    str bad = STR_EMPTY;
    str_append_bytes(&bad, good.data, (size_t)(at - good.data));
    str_append(&bad, edits[i].to);
    str_append(&bad, at + strlen(edits[i].from));
    const char *error = NULL;
    assert_null(record_from_json(a, bad.data, bad.length, &error));
    if (!strstr(error, edits[i].message)) fail_msg("edit %d: %s", (int)i, error);
    str_free(&bad);
  }
  str_free(&good);
  arena_destroy(a);
}

static void survives_any_bytes(void **state) {
  (void)state;
  arena *a = arena_create();
  str good = STR_EMPTY;
  record_to_json(sample_record(a), false, &good);
  uint32_t seed = 12345;
  for (int round = 0; round < 4000; round++) {
    arena_reset(a);
    char *text = arena_copy(a, good.data, good.length);
    size_t length = good.length;
    seed = seed * 1664525u + 1013904223u;
    int edits = 1 + (int)(seed >> 30);
    for (int i = 0; i < edits; i++) {
      seed = seed * 1664525u + 1013904223u;
      static const char alphabet[] = "0123456789{}[]\",:-eMN*/%()x\x80 ";
      text[(seed >> 8) % length] = alphabet[(seed >> 3) % (sizeof alphabet - 1)];
    }
    if (round % 7 == 0) length = seed % length;
    const char *error = NULL;
    const record *r = record_from_json(a, text, length, &error);
    assert_true(r != NULL || error != NULL);
  }
  str_free(&good);
  arena_destroy(a);
}

static void keeps_odd_texts(void **state) {
  (void)state;
  arena *a = arena_create();
  record *r = sample_record(a);
  r->source_file = "a\"b\\\n\xff.tl";
  str out = STR_EMPTY;
  record_to_json(r, false, &out);
  const char *error = NULL;
  const record *back = record_from_json(a, out.data, out.length, &error);
  assert_non_null(back);
  assert_string_equal(back->source_file, "a\"b\\\n?.tl");
  str_free(&out);
  arena_destroy(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_what_it_writes),
      cmocka_unit_test(refuses_a_wrong_record),
      cmocka_unit_test(survives_any_bytes),
      cmocka_unit_test(keeps_odd_texts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
