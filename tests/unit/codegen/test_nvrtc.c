/* NVRTC: what its log says, how it is found, and (where it is installed) what it makes. */
#include "codegen/elf_note.h"
#include "codegen/nvrtc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const char kernel_text[] = "extern \"C\" __global__ void __launch_bounds__(128, 1) scale(float *p, float f) {\n"
                                  "  __shared__ float s[128];\n"
                                  "  s[threadIdx.x] = p[threadIdx.x];\n"
                                  "  __syncthreads();\n"
                                  "  p[threadIdx.x] = f * s[127 - threadIdx.x];\n"
                                  "}\n";

static nvrtc *open_or_skip(arena *a) {
  const char *error = NULL;
  nvrtc *n = nvrtc_open(&(nvrtc_search){.path = NULL}, a, NULL, &error);
  if (!n) {
    arena_destroy(a);
    skip();
  }
  return n;
}

static void reads_the_log(void **state) {
  (void)state;
  arena *a = arena_create();
  nvrtc_result r = {.log = ""};
  nvrtc_read_log("k.cu(1): warning #177-D: variable \"u\" was declared but never referenced\n"
                 "Remark: The warnings can be suppressed with \"-diag-suppress <warning-number>\"\n"
                 "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized in "
                 "function 'k'\n"
                 "ptxas info    : 0 bytes gmem\n"
                 "ptxas info    : Compiling entry function 'k2' for 'sm_90a'\n"
                 "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
                 "ptxas info    : Used 8 registers, used 0 barriers\n"
                 "ptxas info    : Compiling entry function 'k' for 'sm_90a'\n"
                 "    400 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads\n"
                 "ptxas         .     400 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads\n"
                 "ptxas info    : Used 168 registers, used 1 barriers, 400 bytes cumulative stack size, 256 bytes "
                 "smem, 364 bytes cmem[0]",
                 a, &r);
  assert_int_equal(r.kernel_count, 2);
  assert_string_equal(r.kernels[0].entry, "k2");
  assert_int_equal(r.kernels[0].registers, 8);
  assert_string_equal(r.kernels[1].entry, "k");
  assert_int_equal(r.kernels[1].registers, 168);
  assert_int_equal(r.kernels[1].barriers, 1);
  assert_int_equal(r.kernels[1].stack_bytes, 400);
  assert_int_equal(r.kernels[1].spill_store_bytes, 12);
  assert_int_equal(r.kernels[1].spill_load_bytes, 16);
  assert_int_equal(r.kernels[1].shared_bytes, 256);
  assert_int_equal(r.kernels[1].constant_bytes, 364);
  assert_int_equal(r.warning_count, 2);
  assert_true(r.serialised);
  nvrtc_read_log("", a, &r);
  assert_int_equal(r.kernel_count, 0);
  assert_false(r.serialised);
  arena_destroy(a);
}

static void says_where_it_looked(void **state) {
  (void)state;
  arena *a = arena_create();
  const char *error = NULL;
  nvrtc_places places = {NULL, 0};
  assert_null(nvrtc_open(&(nvrtc_search){.path = "/no/such/libnvrtc.so"}, a, &places, &error));
  assert_int_equal(places.count, 1);
  assert_string_equal(places.items[0].finding, "not there");
  assert_non_null(strstr(error, "/no/such/libnvrtc.so"));
  /* A file that is there and is no library: the loader's own words. */
  assert_null(nvrtc_open(&(nvrtc_search){.path = "/etc/passwd"}, a, &places, &error));
  assert_non_null(strstr(error, "/etc/passwd"));
  assert_false(places.items[0].used);
  /* A library that is not NVRTC. */
  nvrtc *wrong = nvrtc_open(&(nvrtc_search){.path = "/lib/x86_64-linux-gnu/libc.so.6"}, a, &places, &error);
  assert_null(wrong);
  arena_destroy(a);
}

static void makes_a_cubin_and_a_report(void **state) {
  (void)state;
  arena *a = arena_create();
  nvrtc *n = open_or_skip(a);
  int major = 0, minor = 0;
  nvrtc_version(n, &major, &minor);
  assert_true(major >= 12);
  assert_true(nvrtc_supports(n, "sm_90a"));
  assert_false(nvrtc_supports(n, "sm_20"));
  nvrtc_result r = nvrtc_compile(n, kernel_text, "scale.cu", &(nvrtc_options){.arch = "sm_90a", .line_info = true}, a);
  assert_int_equal(r.status, NVRTC_OK);
  assert_true(elf_is_elf(r.cubin, r.cubin_size));
  assert_non_null(strstr(r.ptx, ".visible .entry scale("));
  assert_int_equal(r.kernel_count, 1);
  assert_string_equal(r.kernels[0].entry, "scale");
  assert_true(r.kernels[0].registers > 0);
  assert_int_equal(r.kernels[0].shared_bytes, 512);
  assert_int_equal(r.kernels[0].spill_load_bytes, 0);
  r = nvrtc_compile(n, kernel_text, "scale.cu", &(nvrtc_options){.arch = "compute_90a"}, a);
  assert_int_equal(r.status, NVRTC_OK);
  assert_null(r.cubin);
  assert_non_null(strstr(r.ptx, ".visible .entry scale("));
  nvrtc_close(n);
  arena_destroy(a);
}

static void answers_bad_input_with_a_log(void **state) {
  (void)state;
  arena *a = arena_create();
  nvrtc *n = open_or_skip(a);
  nvrtc_result r = nvrtc_compile(n, "no kernel", "bad.cu", &(nvrtc_options){.arch = "sm_90a"}, a);
  assert_int_equal(r.status, NVRTC_REJECTED);
  assert_non_null(strstr(r.log, "bad.cu(1): error"));
  r = nvrtc_compile(n, kernel_text, "scale.cu", &(nvrtc_options){.arch = "sm_7x"}, a);
  assert_int_equal(r.status, NVRTC_REJECTED);
  assert_true(*r.log != '\0');
  const char *const extra[] = {"--no-such-option"};
  r = nvrtc_compile(n, kernel_text, "scale.cu", &(nvrtc_options){.arch = "sm_90a", .extra = extra, .extra_count = 1},
                    a);
  assert_int_equal(r.status, NVRTC_REJECTED);
  nvrtc_close(n);
  arena_destroy(a);
}

typedef struct job {
  const nvrtc *handle;
  arena *memory;
  nvrtc_result result;
} job;

static void *compile_job(void *argument) {
  job *j = argument;
  j->result = nvrtc_compile(j->handle, kernel_text, "scale.cu", &(nvrtc_options){.arch = "sm_80"}, j->memory);
  return NULL;
}

static void serves_threads(void **state) {
  (void)state;
  enum { COUNT = 3 };
  arena *a = arena_create();
  nvrtc *n = open_or_skip(a);
  job jobs[COUNT];
  pthread_t threads[COUNT];
  for (int i = 0; i < COUNT; i++) {
    jobs[i] = (job){.handle = n, .memory = arena_create()};
    assert_int_equal(pthread_create(&threads[i], NULL, compile_job, &jobs[i]), 0);
  }
  for (int i = 0; i < COUNT; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(jobs[i].result.status, NVRTC_OK);
    assert_int_equal(jobs[i].result.cubin_size, jobs[0].result.cubin_size);
    assert_memory_equal(jobs[i].result.cubin, jobs[0].result.cubin, jobs[0].result.cubin_size);
  }
  for (int i = 0; i < COUNT; i++)
    arena_destroy(jobs[i].memory);
  nvrtc_close(n);
  arena_destroy(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_the_log),
      cmocka_unit_test(says_where_it_looked),
      cmocka_unit_test(makes_a_cubin_and_a_report),
      cmocka_unit_test(answers_bad_input_with_a_log),
      cmocka_unit_test(serves_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
