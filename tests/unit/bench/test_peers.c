/* Peers that are not there, or die, are answers; a shell plays the part of Python. */
#include "tests/unit/unit.h"

#include "bench/peer_cublaslt.h"
#include "bench/peer_python.h"

static const bench_case attention = {.kind = CASE_ATTENTION,
                                     .a = BITBLAS_TYPE_F16,
                                     .batch = 1,
                                     .heads = 8,
                                     .kv_heads = 2,
                                     .queries = 64,
                                     .keys = 64,
                                     .dim = 128,
                                     .causal = true,
                                     .query_times = 8,
                                     .key_growth = 640};

static void test_protocol(void **state) {
  (void)state;
  const char *script =
      "echo ready torch 9; while read word rest; do case $word in "
      "attention) [ \"$rest\" = 'torch f16 1 8 2 64 64 128 1 8 640 3' ] && echo ok Flash || echo no $rest;; "
      "check) echo ok;; time) echo us $((rest * 7)).5;; drop) echo ok;; esac; done";
  python_peer *p;
  complaint problem;
  const char *backend;
  double us;
  assert_true(python_peer_start("sh", script, &p, &problem));
  assert_true(python_peer_wait(p, &problem));
  assert_string_equal(python_peer_version(p), "torch 9");
  assert_true(python_peer_begin(p, &attention, false, 3, &backend, &problem));
  assert_string_equal(backend, "Flash");
  assert_true(python_peer_check(p, &problem));
  contestant c = python_peer_contestant(p);
  assert_true(c.segment(c.object, 10, &us, &problem));
  assert_true(us == 70.5);
  python_peer_end(p);
  assert_false(python_peer_begin(p, &attention, true, 4, &backend, &problem));
  assert_string_equal(problem.text, "triton f16 1 8 2 64 64 128 1 8 640 4");
  python_peer_stop(p);
}

static void test_missing_python(void **state) {
  (void)state;
  python_peer *p;
  complaint problem;
  assert_true(python_peer_start("no-such-python", "", &p, &problem));
  assert_false(python_peer_wait(p, &problem));
  assert_string_equal(problem.text, "there is no Python");
  python_peer_stop(p);
  assert_true(python_peer_start("sh", "echo missing torch", &p, &problem));
  assert_false(python_peer_wait(p, &problem));
  assert_string_equal(problem.text, "missing torch");
  python_peer_stop(p);
}

static void test_dead_python(void **state) {
  (void)state;
  python_peer *p;
  complaint problem;
  const char *backend;
  assert_true(python_peer_start("sh", "echo ready", &p, &problem));
  assert_true(python_peer_wait(p, &problem));
  assert_false(python_peer_begin(p, &attention, false, 1, &backend, &problem));
  assert_string_equal(problem.text, "the process with PyTorch has ended");
  python_peer_end(p);
  python_peer_stop(p);
}

static void test_missing_cublaslt(void **state) {
  (void)state;
  machine m = {0};
  cublaslt *l;
  complaint problem = {""};
  assert_false(cublaslt_open(&m, "/no/such/libcublasLt.so", &l, &problem));
  assert_non_null(strstr(problem.text, "libcublasLt.so"));
  cublaslt_close(l);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_protocol),
      cmocka_unit_test(test_missing_python),
      cmocka_unit_test(test_dead_python),
      cmocka_unit_test(test_missing_cublaslt),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
