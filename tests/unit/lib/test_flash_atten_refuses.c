/* What FlashAtten refuses: the status, and a message that names the thing and both values. */
#include "tests/unit/lib/attention.h"

/* -- What is refused ----------------------------------------------------------------------------------------------- */

/* The call failed so, and its message has all the words. */
static void refuses(bitblas_status is, bitblas_status wanted, const char *words[3]) {
  const char *message = bitblas_last_message();
  bool found = is == wanted;
  for (int i = 0; i < 3 && words[i]; i++)
    found &= strstr(message, words[i]) != NULL;
  if (!found)
    fail_msg("%s: '%s' (wanted %s, '%s')", bitblas_status_name(is), message, bitblas_status_name(wanted), words[0]);
}

static const bitblas_flash_atten_config good = {.size = sizeof good, .heads = 8, .dim = 64};

static void refuses_configs(void **state) {
  bitblas_context *context = open_context(*state, NULL);
#define REFUSE(status, field, value, ...)                                                                              \
  do {                                                                                                                 \
    bitblas_flash_atten_config c = good;                                                                               \
    bitblas_flash_atten *op = NULL;                                                                                    \
    c.field = value;                                                                                                   \
    refuses(bitblas_flash_atten_create(context, &c, &op), BITBLAS_ERROR_##status,                                      \
            (const char *[3]){"config." #field, __VA_ARGS__});                                                         \
    assert_null(op);                                                                                                   \
  } while (0)
  REFUSE(ARGUMENT, heads, 0, "is 0", "nearest is 1");
  REFUSE(ARGUMENT, heads, 1 << 20, "is 1048576", "nearest is 65536");
  REFUSE(ARGUMENT, kv_heads, 3, "is 3 and config.heads is 8", "is 2");
  REFUSE(ARGUMENT, kv_heads, -1, "is -1", "is 1");
  REFUSE(ARGUMENT, dim, 0, "is 0", "nearest is 64");
  REFUSE(ARGUMENT, dim, 100, "is 100", "nearest is 96");
  REFUSE(ARGUMENT, v_dim, 1000, "is 1000", "nearest is 256");
  REFUSE(TYPE, dtype, BITBLAS_TYPE_F32, "is f32", "nearest is f16");
  REFUSE(TYPE, accum_dtype, BITBLAS_TYPE_F16, "is f16", "nearest is f32");
  REFUSE(TYPE, out_dtype, BITBLAS_TYPE_F64, "is f64", "nearest is f32");
  REFUSE(ARGUMENT, layout, (bitblas_flash_atten_layout)7, "is 7", "nearest is 2");
  REFUSE(ARGUMENT, causal, 2, "is 2", "nearest is 1");
  REFUSE(ARGUMENT, lse, -1, "is -1", "nearest is 0");
  REFUSE(ARGUMENT, scale, -1.0f, "is -1", "0.125");
  REFUSE(ARGUMENT, scale, NAN, "nan", "0.125");
  REFUSE(ARGUMENT, batch, -5, "is -5", "is 0");
  REFUSE(ARGUMENT, seq_len, (int64_t)1 << 40, "is 1099511627776", "is 2147483647");
  REFUSE(ARGUMENT, splits, 129, "is 129", "nearest is 128");
  REFUSE(ARGUMENT, page_size, 48, "is 48", "nearest is 64");
  REFUSE(ARGUMENT, page_size, 5, "is 5", "nearest is 16");
#undef REFUSE
  bitblas_flash_atten_config c = good;
  bitblas_flash_atten *op = NULL;
  c.page_size = 64;
  refuses(bitblas_flash_atten_create(context, &c, &op), BITBLAS_ERROR_ARGUMENT,
          (const char *[3]){"config.kv_lengths is 0", "config.page_size is 64"});
  c.kv_lengths = 1, c.kv_seq_len = 5;
  refuses(bitblas_flash_atten_create(context, &c, &op), BITBLAS_ERROR_ARGUMENT,
          (const char *[3]){"config.kv_seq_len is 5", "config.page_size", "0"});
  c.kv_seq_len = 0, c.layout = BITBLAS_FLASH_ATTEN_NTN;
  refuses(bitblas_flash_atten_create(context, &c, &op), BITBLAS_ERROR_UNSUPPORTED,
          (const char *[3]){"config.layout is ntn", "config.page_size is 64", "nnn"});
  c = good, c.size = 4;
  refuses(bitblas_flash_atten_create(context, &c, &op), BITBLAS_ERROR_ARGUMENT, (const char *[3]){"size 4", "_INIT"});
  refuses(bitblas_flash_atten_create(NULL, &c, &op), BITBLAS_ERROR_ARGUMENT, (const char *[3]){"context is null"});
  bitblas_context_destroy(context);
}

/* Each wrong argument alone; nothing is written by any of them. */
static void refuses_arguments(void **state) {
  const problem p = {.config = {.size = sizeof p.config,
                                .heads = 2,
                                .dim = 64,
                                .varlen_q = 1,
                                .kv_lengths = 1,
                                .splits = 2,
                                .dtype = BITBLAS_TYPE_F16},
                     .batch = 2,
                     .queries = {3, 4},
                     .keys = {5, 6}};
  setup s;
  make_setup(*state, &p, &s);
  bitblas_context *context = open_context(*state, NULL);
  bitblas_flash_atten *op = NULL;
  check(bitblas_flash_atten_create(context, &p.config, &op));
  const bitblas_flash_atten_args right = s.args;
  bitblas_flash_atten_args a = right;
  size_t bytes = 0;
  check(bitblas_flash_atten_workspace_bytes(op, &a, &bytes));
  assert_true(bytes >= 2 * 10 * 2 * 65 * sizeof(float));
  char *workspace = aligned_alloc(256, bytes);
  a.workspace = workspace, a.workspace_bytes = bytes;
  const bitblas_flash_atten_args ready = a;
  assert_null(bitblas_flash_atten_get_source(op, 1, BITBLAS_SOURCE_TL));
  refuses(bitblas_flash_atten_run(op, &a), BITBLAS_ERROR_ARGUMENT, (const char *[3]){"prepare was not called"});
  check(bitblas_flash_atten_prepare(op));
  check(bitblas_flash_atten_prepare(op));
  assert_null(bitblas_flash_atten_get_source(op, 0, BITBLAS_SOURCE_TL)); /* with splits given, never whole rows */
  assert_non_null(strstr(bitblas_flash_atten_get_source(op, 1, BITBLAS_SOURCE_TL), "kernel flash_decode"));
  assert_non_null(strstr(bitblas_flash_atten_get_source(op, 2, BITBLAS_SOURCE_CUDA), "flash_merge"));
  assert_null(bitblas_flash_atten_get_source(op, 3, BITBLAS_SOURCE_TL));
#define REFUSE(status, change, ...)                                                                                    \
  do {                                                                                                                 \
    a = ready;                                                                                                         \
    change;                                                                                                            \
    refuses(bitblas_flash_atten_run(op, &a), BITBLAS_ERROR_##status, (const char *[3]){__VA_ARGS__});                  \
  } while (0)
  REFUSE(ARGUMENT, a.size = 3, "args has size 3");
  REFUSE(TYPE, a.Q.type = BITBLAS_TYPE_BF16, "Q is bf16[10, 2, 64]", "f16[*, 2, 64]");
  REFUSE(SHAPE, a.Q.rank = 4, "Q is f16[10, 2, 64, 0]", "f16[*, 2, 64]");
  REFUSE(SHAPE, a.Q.rank = 400, "Q is ", "f16[*, 2, 64]");
  REFUSE(SHAPE, a.Q.shape[0] = -1, "Q is f16[-1, 2, 64]");
  REFUSE(SHAPE, (a.Q.shape[0] = a.O.shape[0] = INT64_MAX / 128), "Q is too large");
  REFUSE(SHAPE, a.K.shape[0] = 3, "K is f16[3, 6, 2, 64]", "f16[2, *, 2, 64]");
  REFUSE(SHAPE, a.V.shape[1] = 7, "V is f16[2, 7, 2, 64]", "f16[2, 6, 2, 64]");
  REFUSE(SHAPE, a.O.shape[2] = 96, "O is f16[10, 2, 96]", "f16[10, 2, 64]");
  REFUSE(SHAPE, a.O.stride[2] = 2, "stride of O along dimension 2 is 2", "should be 1");
  REFUSE(SHAPE, a.kv_lengths.shape[0] = 1, "kv_lengths is i32[1]", "i32[2]");
  REFUSE(TYPE, a.kv_lengths = a.lse, "kv_lengths is ?[]", "i32[2]");
  REFUSE(ARGUMENT, a.block_table = a.kv_lengths, "block_table is given");
  REFUSE(ARGUMENT, a.max_seq_len = 0, "max_seq_len is 0", "nearest possible is 1");
  REFUSE(ARGUMENT, a.max_seq_len = 11, "max_seq_len is 11", "10 queries", "nearest possible is 10");
  REFUSE(ARGUMENT, a.K.data = NULL, "data of K is null");
  REFUSE(ALIGNMENT, a.V.data = (char *)a.V.data + 2, "V is at ", "16 bytes");
  REFUSE(WORKSPACE, a.workspace_bytes--, "workspace has", "needs");
  REFUSE(WORKSPACE, a.workspace = NULL, "workspace has 0 bytes", "needs");
  REFUSE(ALIGNMENT, a.workspace = workspace + 4, "workspace is at", "16 bytes");
#undef REFUSE
  for (size_t i = 0; i < s.o.count; i++)
    assert_true(ir_decode(IR_F16, ir_get_bits(s.o.tensor.data, i, 16)) == ir_round(IR_F16, UNTOUCHED));
  bitblas_context_destroy(context);
  bitblas_flash_atten_destroy(op);
  free(workspace);
  free_setup(&s);
}

/* A size of the config is the only one that runs; nothing to do is no error. */
static void refuses_other_sizes(void **state) {
  problem p = {.config = {.size = sizeof p.config,
                          .heads = 2,
                          .dim = 64,
                          .batch = 1,
                          .seq_len = 4,
                          .lse = 1,
                          .dtype = BITBLAS_TYPE_F16},
               .batch = 1,
               .queries = {4},
               .keys = {0}};
  setup s;
  make_setup(*state, &p, &s);
  bitblas_context *context = open_context(*state, NULL);
  bitblas_flash_atten *op = NULL;
  check(bitblas_flash_atten_create(context, &p.config, &op));
  s.args.Q.shape[1] = 5;
  refuses(bitblas_flash_atten_run(op, &s.args), BITBLAS_ERROR_SHAPE,
          (const char *[3]){"Q is f16[1, 5, 2, 64]", "f16[1, 4, 2, 64]"});
  bitblas_flash_atten_destroy(op);
  p.config.seq_len = 0;
  check(bitblas_flash_atten_create(context, &p.config, &op));
  check(bitblas_flash_atten_prepare(op));
  s.args.Q.shape[1] = s.args.O.shape[1] = s.args.lse.shape[2] = 0;
  check(bitblas_flash_atten_run(op, &s.args));
  bitblas_flash_atten_destroy(op);
  bitblas_context_destroy(context);
  free_setup(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(refuses_configs, set_up, tear_down),
    cmocka_unit_test_setup_teardown(refuses_arguments, set_up, tear_down),
    cmocka_unit_test_setup_teardown(refuses_other_sizes, set_up, tear_down),
};

int main(void) { return cmocka_run_group_tests(tests, NULL, NULL); }
