/* Where a linear's codes are put in order when there is a GPU, here its stand-in: on it, unless the host has to. What the
 * kernel makes of them is seen where kernels run: check_matmul, and the examples with --device=gpu. */
#include "lib/linear.h"
#include "tests/unit/stand_in/gpu.h"
#include "tests/unit/temporary.h"

enum { FEATURES = 64, CODES = FEATURES * FEATURES, BYTES = CODES / 2 };

typedef struct fixture {
  char directory[TEMPORARY_BYTES]; /* of the store */
  bitblas_context *context;
  bitblas_linear *linear;
  unsigned char values[CODES], packed[BYTES]; /* the same codes, one a byte and two */
  unsigned char ordered[BYTES];               /* as the kernels take them */
} fixture;

static void check(bitblas_status status) {
  if (status != BITBLAS_OK) fail_msg("%s: %s", bitblas_status_name(status), bitblas_last_message());
}

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  temporary_make(f->directory);
  memset(stand_in(), 0, sizeof *stand_in());
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.cache_directory = f->directory;
  config.nvrtc_path = stand_in_nvrtc_path();
  check(bitblas_context_create(&config, &f->context));
  static const int64_t rows[] = {16};
  bitblas_linear_config c = BITBLAS_LINEAR_CONFIG_INIT;
  c.in_features = c.out_features = FEATURES;
  c.W_dtype = BITBLAS_TYPE_U4;
  c.opt_M = rows, c.opt_M_count = 1;
  check(bitblas_linear_create(f->context, &c, &f->linear));
  check(bitblas_linear_prepare(f->linear, NULL, 0));
  for (int i = 0; i < CODES; i++) {
    f->values[i] = (unsigned char)(i * 7 % 16);
    f->packed[i / 2] = (unsigned char)(f->packed[i / 2] | f->values[i] << i % 2 * 4);
  }
  check(bitblas_matmul_transform(bitblas_linear_matmul(f->linear), BITBLAS_OPERAND_WEIGHT, BITBLAS_FORM_PACKED,
                                 f->packed, BYTES, f->ordered, BYTES));
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  bitblas_linear_destroy(f->linear);
  bitblas_context_destroy(f->context);
  assert_true(stand_in_is_closed());
  temporary_remove(f->directory);
  free(f);
  return 0;
}

static void load(fixture *f, bitblas_form form) {
  bitblas_linear_values values = BITBLAS_LINEAR_VALUES_INIT;
  values.form = form;
  values.weight = form == BITBLAS_FORM_VALUES ? f->values : f->packed;
  check(bitblas_linear_load_values(f->linear, &values));
  assert_int_equal(stand_in()->memory, 1); /* the weight alone is left */
}

static unsigned char launched_on[BYTES];
static int waits_before; /* the launch */

/* Of pack.tl: X, where the codes are. */
static int see_codes(const cuda_launch_config *config, void **parameters) {
  (void)config;
  waits_before = stand_in()->waits;
  memcpy(launched_on, *(void **)parameters[0], BYTES);
  return CUDA_OK;
}

static void the_gpu_orders_codes(void **state) {
  fixture *f = *state;
  for (int form = BITBLAS_FORM_PACKED; form <= BITBLAS_FORM_BIASED; form++) {
    int launches = stand_in()->launches;
    stand_in()->on_launch = see_codes;
    memset(launched_on, 0, BYTES);
    load(f, form);
    assert_int_equal(stand_in()->launches, launches + 1);
    assert_memory_equal(launched_on, f->packed, BYTES);
    assert_true(stand_in()->waits > waits_before); /* the codes are freed after it */
    static const unsigned char nothing[BYTES];     /* what such a kernel leaves: the host did not do it */
    assert_memory_equal(f->linear->weight, nothing, BYTES);
  }
}

static void the_host_checks_values(void **state) {
  fixture *f = *state;
  load(f, BITBLAS_FORM_VALUES);
  assert_int_equal(stand_in()->launches, 0);
  assert_memory_equal(f->linear->weight, f->ordered, BYTES);
  f->values[FEATURES + 3] = 16;
  bitblas_linear_values values = BITBLAS_LINEAR_VALUES_INIT;
  values.weight = f->values;
  assert_int_equal(bitblas_linear_load_values(f->linear, &values), BITBLAS_ERROR_ARGUMENT);
  assert_non_null(strstr(bitblas_last_message(), "weight[1, 3] is 16"));
}

/* The kernel that orders them cannot be had, or does not run. */
static void the_host_orders_what_the_gpu_cannot(void **state) {
  fixture *f = *state;
  stand_in()->fail_load = 200;
  load(f, BITBLAS_FORM_PACKED);
  assert_int_equal(stand_in()->launches, 0);
  assert_memory_equal(f->linear->weight, f->ordered, BYTES);
  stand_in()->fail_load = 0;
  stand_in()->fail_launch = 1;
  load(f, BITBLAS_FORM_PACKED);
  assert_int_equal(stand_in()->launches, 1);
  assert_memory_equal(f->linear->weight, f->ordered, BYTES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_gpu_orders_codes),
      TEST(the_host_checks_values),
      TEST(the_host_orders_what_the_gpu_cannot),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
