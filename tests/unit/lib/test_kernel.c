/* Kernels through the public interface, on the emulator: right results, the store, and a clear answer to every wrong
 * call. Only bitblas.h is used. */
#include "tests/unit/temporary.h"

#include "include/bitblas.h"

#include <math.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static const char scale_text[] = "kernel scale(X: f32[M, N], Y: out f32[M, N])\n"
                                 "  param F = 2\n"
                                 "  where N % 4 == 0\n"
                                 "  grid (bm in ceildiv(M, 8), bn in ceildiv(N, 32))\n"
                                 "{\n"
                                 "  tile x: f32[8, 32]\n"
                                 "  copy X[bm*8, bn*32] -> x\n"
                                 "  x = x * F\n"
                                 "  copy x -> Y[bm*8, bn*32]\n"
                                 "}\n";

typedef struct fixture {
  char directory[TEMPORARY_BYTES];
  bitblas_context *context;
  int compiled, found; /* counted from the log */
  pthread_mutex_t lock;
} fixture;

static void count_line(void *user, bitblas_log_level level, const char *line) {
  fixture *f = user;
  (void)level;
  pthread_mutex_lock(&f->lock);
  f->compiled += strstr(line, "compiled for") != NULL;
  f->found += strstr(line, "from the store") != NULL;
  pthread_mutex_unlock(&f->lock);
}

static bitblas_context *open_context(fixture *f, const char *target, const char *cache) {
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.device = BITBLAS_DEVICE_EMULATOR;
  config.target = target;
  config.cache_directory = cache;
  config.log = count_line;
  config.log_user = f;
  config.log_level = BITBLAS_LOG_DEBUG;
  bitblas_context *context = NULL;
  if (bitblas_context_create(&config, &context) != BITBLAS_OK) fail_msg("%s", bitblas_last_message());
  return context;
}

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  pthread_mutex_init(&f->lock, NULL);
  temporary_make(f->directory);
  f->context = open_context(f, NULL, f->directory);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  bitblas_context_destroy(f->context);
  pthread_mutex_destroy(&f->lock);
  temporary_remove(f->directory);
  free(f);
  return 0;
}

static void check(bitblas_status status) {
  if (status != BITBLAS_OK) fail_msg("%s: %s", bitblas_status_name(status), bitblas_last_message());
}

/* The call failed so, and its message has all the words. */
static void refuses(bitblas_status is, bitblas_status wanted, const char *word, const char *other) {
  const char *message = bitblas_last_message();
  if (is != wanted || !strstr(message, word) || !strstr(message, other))
    fail_msg("%s: '%s' (wanted %s, '%s', '%s')", bitblas_status_name(is), message, bitblas_status_name(wanted), word,
             other);
}

static bitblas_kernel *make(bitblas_context *context, const char *text, const bitblas_define *defines, int count) {
  bitblas_kernel_config config = BITBLAS_KERNEL_CONFIG_INIT;
  config.text = text;
  config.defines = defines;
  config.define_count = count;
  bitblas_kernel *kernel = NULL;
  check(bitblas_kernel_create(context, &config, &kernel));
  return kernel;
}

/* -- Results ------------------------------------------------------------------------------------------------------- */

enum { M = 11, N = 36 };

static void run_scale(const bitblas_kernel *kernel, float factor, int rows) {
  float x[M * N], y[M * N];
  for (int i = 0; i < rows * N; i++)
    x[i] = (float)i, y[i] = -1;
  const bitblas_tensor tensors[] = {{x, BITBLAS_TYPE_F32, 2, {rows, N}, {0}},
                                    {y, BITBLAS_TYPE_F32, 2, {rows, N}, {N, 1}}};
  bitblas_launch launch = BITBLAS_LAUNCH_INIT;
  launch.tensors = tensors;
  launch.tensor_count = 2;
  check(bitblas_kernel_run(kernel, &launch));
  for (int i = 0; i < rows * N; i++)
    assert_true(y[i] == factor * x[i]);
}

static void computes_what_the_text_says(void **state) {
  fixture *f = *state;
  static const char *const targets[] = {"sm_80", "sm_89", "sm_90a"};
  for (int t = 0; t < 3; t++) {
    bitblas_context *context = open_context(f, targets[t], f->directory);
    assert_string_equal(bitblas_context_target(context), targets[t]);
    assert_string_equal(bitblas_context_device_name(context), "emulator");
    bitblas_kernel *kernel = make(context, scale_text, NULL, 0);
    run_scale(kernel, 2, M);
    run_scale(kernel, 2, 1); /* other sizes, the same kernel */
    bitblas_kernel *other = make(context, scale_text, (const bitblas_define[]){{"F", "3"}, {"N", "36"}}, 2);
    bitblas_context_destroy(context); /* lasts until its kernels are gone */
    run_scale(other, 3, M);
    bitblas_kernel_destroy(kernel);
    bitblas_kernel_destroy(other);
  }
  assert_int_equal(f->compiled, 6);
}

static void runs_nothing_for_no_elements(void **state) {
  fixture *f = *state;
  bitblas_kernel *kernel = make(f->context, scale_text, NULL, 0);
  const bitblas_tensor empty = {NULL, BITBLAS_TYPE_F32, 2, {0, N}, {0}};
  const bitblas_tensor tensors[] = {empty, empty};
  bitblas_launch launch = BITBLAS_LAUNCH_INIT;
  launch.tensors = tensors;
  launch.tensor_count = 2;
  check(bitblas_kernel_run(kernel, &launch));
  bitblas_kernel_destroy(kernel);
}

static void tells_about_itself(void **state) {
  fixture *f = *state;
  bitblas_kernel *kernel = make(f->context, scale_text, NULL, 0);
  assert_int_equal(bitblas_kernel_tensor_count(kernel), 2);
  bitblas_tensor_info info = BITBLAS_TENSOR_INFO_INIT;
  check(bitblas_kernel_tensor_info(kernel, 1, &info));
  assert_string_equal(info.name, "Y");
  assert_int_equal(info.type, BITBLAS_TYPE_F32);
  assert_int_equal(info.rank, 2);
  assert_int_equal(info.access, BITBLAS_WRITE);
  assert_int_equal(info.packed, 0);
  assert_string_equal(bitblas_kernel_size_name(kernel, 0), "M");
  assert_string_equal(bitblas_kernel_size_name(kernel, 1), "N");
  assert_null(bitblas_kernel_size_name(kernel, 2));
  const bitblas_size sizes[] = {{"N", 36}, {"M", 11}};
  size_t bytes = 0;
  check(bitblas_kernel_tensor_bytes(kernel, 0, sizes, 2, &bytes));
  assert_int_equal(bytes, 11 * 36 * 4);
  check(bitblas_kernel_workspace_bytes(kernel, sizes, 2, &bytes));
  assert_int_equal(bytes, 0);
  assert_string_equal(bitblas_kernel_source(kernel, BITBLAS_SOURCE_TL), scale_text);
  assert_non_null(strstr(bitblas_kernel_source(kernel, BITBLAS_SOURCE_CUDA), "__global__"));
  assert_non_null(strstr(bitblas_kernel_source(kernel, BITBLAS_SOURCE_IR), "scale"));
  assert_non_null(strstr(bitblas_kernel_source(kernel, BITBLAS_SOURCE_RECORD), "bitblasc.kernel/1"));
  assert_null(bitblas_kernel_source(kernel, (bitblas_source)77));
  bitblas_kernel_destroy(kernel);
}

static uint16_t half_of(float value) { /* of whole numbers below 2048 */
  if (value == 0) return 0;
  int exponent;
  float fraction = frexpf(fabsf(value), &exponent);
  return (uint16_t)((value < 0 ? 0x8000 : 0) | (exponent + 14) << 10 | (int)ldexpf(fraction * 2 - 1, 10));
}

static float float_of(uint16_t half) {
  int exponent = half >> 10 & 31, mantissa = half & 1023;
  float value = exponent ? ldexpf((float)(1024 + mantissa), exponent - 25) : ldexpf((float)mantissa, -24);
  return half & 0x8000 ? -value : value;
}

/* A tensor given in plain order, as the kernel wants it: packed when it says so. */
static void *in_kernel_order(bitblas_context *context, const bitblas_kernel *kernel, int index, bitblas_size size,
                             const void *plain, size_t plain_bytes) {
  bitblas_tensor_info info = BITBLAS_TENSOR_INFO_INIT;
  void *address = NULL;
  size_t bytes = 0;
  check(bitblas_kernel_tensor_info(kernel, index, &info));
  check(bitblas_kernel_tensor_bytes(kernel, index, &size, 1, &bytes));
  assert_true(bytes >= plain_bytes);
  check(bitblas_allocate(context, bytes, &address));
  if (info.packed) {
    check(bitblas_kernel_pack(kernel, index, &size, 1, plain, address, bytes));
    refuses(bitblas_kernel_pack(kernel, index, &size, 1, plain, address, bytes - 1), BITBLAS_ERROR_SHAPE, "takes",
            "packed has");
  } else {
    check(bitblas_upload(context, address, plain, plain_bytes, NULL));
  }
  return address;
}

/* Codes of 4 bits and their scales, given in plain order. */
static void runs_packed_weights(void **state) {
  fixture *f = *state;
  static const char text[] = "kernel decoded(A: f16[M, K], W: i4[N, K], S: f16[N, K/32], C: out f32[M, N])\n"
                             "  where N % 8 == 0, K % 32 == 0\n"
                             "  tune BM = 16, BN = 64, BK = 64, stages = 2\n"
                             "  grid (bn in ceildiv(N, BN), bm in ceildiv(M, BM))\n"
                             "{\n"
                             "  shared As: f16[BM, BK], Ws: i4[BN, BK], Ss: f16[BN, BK/32]\n"
                             "  tile acc: f32[BM, BN] = 0\n"
                             "  for k in pipelined(ceildiv(K, BK), stages = stages) {\n"
                             "    copy A[bm*BM, k*BK] -> As\n"
                             "    copy W[bn*BN, k*BK] -> Ws\n"
                             "    copy S[bn*BN, k*BK/32] -> Ss\n"
                             "    acc += dot(As, decode(Ws, scale = Ss, group = 32)^T)\n"
                             "  }\n"
                             "  copy acc -> C[bm*BM, bn*BN]\n"
                             "}\n";
  enum { ROWS = 5, COLUMNS = 72, DEPTH = 128 };
  static const char *const targets[] = {"sm_80", "sm_90a"};
  for (int t = 0; t < 2; t++) {
    bitblas_context *context = open_context(f, targets[t], "");
    bitblas_kernel *kernel = make(context, text, (const bitblas_define[]){{"N", "72"}, {"K", "128"}}, 2);
    const bitblas_size size = {"M", ROWS};
    static uint16_t a[ROWS * DEPTH], s[COLUMNS * DEPTH / 32];
    static unsigned char codes[COLUMNS * DEPTH / 2];
    for (int i = 0; i < ROWS * DEPTH; i++)
      a[i] = half_of((float)(i * 7 % 13 - 6));
    for (int i = 0; i < COLUMNS * DEPTH / 32; i++)
      s[i] = half_of((float)(1 + i % 3));
    for (int i = 0; i < COLUMNS * DEPTH / 2; i++)
      codes[i] = (unsigned char)(i * 2654435761u >> 13);
    void *c;
    check(bitblas_allocate(context, ROWS * COLUMNS * sizeof(float), &c));
    void *weight = in_kernel_order(context, kernel, 1, size, codes, sizeof codes);
    void *scales = in_kernel_order(context, kernel, 2, size, s, sizeof s);
    refuses(bitblas_kernel_pack(kernel, 0, &size, 1, codes, weight, 1), BITBLAS_ERROR_ARGUMENT, "A is not packed", "");
    const bitblas_tensor tensors[] = {{a, BITBLAS_TYPE_F16, 2, {ROWS, DEPTH}, {0}},
                                      {weight, BITBLAS_TYPE_I4, 2, {COLUMNS, DEPTH}, {0}},
                                      {scales, BITBLAS_TYPE_F16, 2, {COLUMNS, DEPTH / 32}, {0}},
                                      {c, BITBLAS_TYPE_F32, 2, {ROWS, COLUMNS}, {0}}};
    bitblas_launch launch = BITBLAS_LAUNCH_INIT;
    launch.tensors = tensors;
    launch.tensor_count = 4;
    check(bitblas_kernel_run(kernel, &launch));
    check(bitblas_synchronize(context, NULL));
    for (int m = 0; m < ROWS; m++) {
      for (int n = 0; n < COLUMNS; n++) {
        double sum = 0;
        for (int k = 0; k < DEPTH; k++) {
          int place = n * DEPTH + k, code = codes[place / 2] >> place % 2 * 4 & 15;
          sum += (double)float_of(a[m * DEPTH + k]) * (code < 8 ? code : code - 16) * float_of(s[place / 32]);
        }
        assert_true(fabs(((float *)c)[m * COLUMNS + n] - sum) <= 1e-3);
      }
    }
    check(bitblas_free(context, c));
    check(bitblas_free(context, weight));
    check(bitblas_free(context, scales));
    bitblas_kernel_destroy(kernel);
    bitblas_context_destroy(context);
  }
}

/* -- The store ----------------------------------------------------------------------------------------------------- */

static void compiles_once(void **state) {
  fixture *f = *state;
  bitblas_kernel_destroy(make(f->context, scale_text, NULL, 0));
  bitblas_kernel_destroy(make(f->context, scale_text, NULL, 0));
  bitblas_context *again = open_context(f, NULL, f->directory);
  bitblas_kernel *kernel = make(again, scale_text, NULL, 0);
  run_scale(kernel, 2, M);
  bitblas_kernel_destroy(kernel);
  bitblas_context_destroy(again);
  assert_int_equal(f->compiled, 1);
  assert_int_equal(f->found, 2);
}

/* Whatever the result depends on makes another key. */
static void keeps_kernels_apart(void **state) {
  fixture *f = *state;
  bitblas_kernel *k[4];
  k[0] = make(f->context, scale_text, NULL, 0);
  k[1] = make(f->context, scale_text, (const bitblas_define[]){{"F", "5"}}, 1);
  bitblas_context *other = open_context(f, "sm_80", f->directory);
  k[2] = make(other, scale_text, NULL, 0);
  bitblas_kernel_config config = BITBLAS_KERNEL_CONFIG_INIT;
  config.text = scale_text;
  config.level = 0;
  check(bitblas_kernel_create(f->context, &config, &k[3]));
  assert_int_equal(f->compiled, 4);
  run_scale(k[0], 2, M);
  run_scale(k[1], 5, M);
  for (int i = 0; i < 4; i++)
    bitblas_kernel_destroy(k[i]);
  bitblas_context_destroy(other);
}

static int damage_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
  (void)walk;
  return kind == FTW_F && info->st_size > 20 && strstr(path, "kernel.tir") ? truncate(path, info->st_size / 2) : 0;
}

static void rebuilds_a_damaged_entry(void **state) {
  fixture *f = *state;
  bitblas_kernel_destroy(make(f->context, scale_text, NULL, 0));
  assert_int_equal(nftw(f->directory, damage_one, 16, FTW_PHYS), 0);
  bitblas_kernel *kernel = make(f->context, scale_text, NULL, 0);
  run_scale(kernel, 2, M);
  bitblas_kernel_destroy(kernel);
  assert_int_equal(f->compiled, 2);
  assert_int_equal(f->found, 0);
}

/* No directory, or one that cannot be: compiled once all the same. */
static void works_without_a_store(void **state) {
  fixture *f = *state;
  static const char *const directories[] = {"", "/dev/null/below"};
  for (int i = 0; i < 2; i++) {
    bitblas_context *context = open_context(f, NULL, directories[i]);
    bitblas_kernel *first = make(context, scale_text, NULL, 0), *second = make(context, scale_text, NULL, 0);
    run_scale(first, 2, M);
    run_scale(second, 2, M);
    bitblas_kernel_destroy(first);
    bitblas_kernel_destroy(second);
    bitblas_context_destroy(context);
    assert_int_equal(f->compiled, i + 1);
  }
}

static void *create_in_thread(void *user) {
  fixture *f = user;
  for (int i = 0; i < 4; i++) {
    char factor[8];
    snprintf(factor, sizeof factor, "%d", i + 2);
    bitblas_kernel_config config = BITBLAS_KERNEL_CONFIG_INIT;
    const bitblas_define define = {"F", factor};
    config.text = scale_text;
    config.defines = &define;
    config.define_count = 1;
    bitblas_kernel *kernel = NULL;
    if (bitblas_kernel_create(f->context, &config, &kernel) != BITBLAS_OK) return user;
    float x[N] = {1}, y[N] = {0};
    const bitblas_tensor tensors[] = {{x, BITBLAS_TYPE_F32, 2, {1, N}, {0}}, {y, BITBLAS_TYPE_F32, 2, {1, N}, {0}}};
    bitblas_launch launch = BITBLAS_LAUNCH_INIT;
    launch.tensors = tensors;
    launch.tensor_count = 2;
    bool ok = bitblas_kernel_run(kernel, &launch) == BITBLAS_OK && y[0] == (float)(i + 2);
    bitblas_kernel_destroy(kernel);
    if (!ok) return user;
  }
  return NULL;
}

static void serves_threads(void **state) {
  fixture *f = *state;
  pthread_t threads[8];
  for (int t = 0; t < 8; t++)
    assert_int_equal(pthread_create(&threads[t], NULL, create_in_thread, f), 0);
  for (int t = 0; t < 8; t++) {
    void *failed;
    pthread_join(threads[t], &failed);
    assert_null(failed);
  }
  assert_int_equal(f->compiled, 4);
  assert_int_equal(f->found, 28);
}

/* -- Wrong calls --------------------------------------------------------------------------------------------------- */

static void refuses_wrong_contexts(void **state) {
  (void)state;
  bitblas_context *context = NULL;
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  refuses(bitblas_context_create(&config, NULL), BITBLAS_ERROR_ARGUMENT, "context", "null");
  config.size = 0;
  refuses(bitblas_context_create(&config, &context), BITBLAS_ERROR_ARGUMENT, "config", "_INIT");
  struct {
    bitblas_context_config known;
    int unknown[16];
  } later = {BITBLAS_CONTEXT_CONFIG_INIT, {0}};
  later.known.size = sizeof later;
  later.known.device = BITBLAS_DEVICE_EMULATOR;
  check(bitblas_context_create(&later.known, &context)); /* a later program that asks for nothing new */
  bitblas_context_destroy(context);
  later.unknown[3] = 1;
  refuses(bitblas_context_create(&later.known, &context), BITBLAS_ERROR_UNSUPPORTED, "config", "version");
  config.size = sizeof config;
  config.device = (bitblas_device)9;
  refuses(bitblas_context_create(&config, &context), BITBLAS_ERROR_ARGUMENT, "config.device", "9");
  config.device = BITBLAS_DEVICE_EMULATOR;
  config.target = "sm_10";
  refuses(bitblas_context_create(&config, &context), BITBLAS_ERROR_ARGUMENT, "sm_10", "target");
  config.device = BITBLAS_DEVICE_GPU;
  refuses(bitblas_context_create(&config, &context), BITBLAS_ERROR_ARGUMENT, "config.target", "sm_10");
  config.target = NULL;
  config.ordinal = 4096;
  bitblas_status status = bitblas_context_create(&config, &context);
  assert_true(status == BITBLAS_ERROR_NO_DRIVER || status == BITBLAS_ERROR_NO_DEVICE);
  assert_null(context);
  bitblas_context_destroy(NULL);
}

static bitblas_status create(fixture *f, const bitblas_kernel_config *config) {
  bitblas_kernel *kernel = NULL;
  bitblas_status status = bitblas_kernel_create(f->context, config, &kernel);
  assert_true(status != BITBLAS_OK && !kernel);
  return status;
}

static void refuses_wrong_kernels(void **state) {
  fixture *f = *state;
  bitblas_kernel *kernel = NULL;
  bitblas_kernel_config good = BITBLAS_KERNEL_CONFIG_INIT, config;
  good.text = scale_text;
  refuses(bitblas_kernel_create(NULL, &good, &kernel), BITBLAS_ERROR_ARGUMENT, "context", "null");
  refuses(bitblas_kernel_create(f->context, NULL, &kernel), BITBLAS_ERROR_ARGUMENT, "config", "null");
  refuses(bitblas_kernel_create(f->context, &good, NULL), BITBLAS_ERROR_ARGUMENT, "kernel", "null");
  config = good, config.text = NULL;
  refuses(create(f, &config), BITBLAS_ERROR_ARGUMENT, "no kernel", "path");
  config = good, config.cubin = "x", config.cubin_size = 1;
  refuses(create(f, &config), BITBLAS_ERROR_ARGUMENT, "a cubin and a text", "");
  config.text = NULL;
  refuses(create(f, &config), BITBLAS_ERROR_UNSUPPORTED, "emulator", "cubin");
  config = good, config.text = NULL, config.path = "/no/such/file.tl";
  refuses(create(f, &config), BITBLAS_ERROR_FILE, "/no/such/file.tl", "");
  config.path = "/no/such/file.txt";
  refuses(create(f, &config), BITBLAS_ERROR_ARGUMENT, "file.txt", ".tl");
  config = good, config.text = "kernel broken(";
  refuses(create(f, &config), BITBLAS_ERROR_KERNEL, "<text>:1:", "error");
  config = good, config.text = "kernel a\0b", config.text_length = 10;
  refuses(create(f, &config), BITBLAS_ERROR_KERNEL, "", "");
  config = good, config.kernel = "other";
  refuses(create(f, &config), BITBLAS_ERROR_KERNEL, "other", "scale");
  config = good, config.level = 3;
  refuses(create(f, &config), BITBLAS_ERROR_ARGUMENT, "config.level", "3");
  config = good, config.define_count = 1;
  refuses(create(f, &config), BITBLAS_ERROR_ARGUMENT, "config.define_count", "null");
  config.defines = (const bitblas_define[]){{"F", NULL}};
  refuses(create(f, &config), BITBLAS_ERROR_ARGUMENT, "config.defines[0]", "");
  config.defines = (const bitblas_define[]){{"F", "2\ndefine N=3"}};
  refuses(create(f, &config), BITBLAS_ERROR_ARGUMENT, "config.defines[0]", "");
  config.defines = (const bitblas_define[]){{"NOTHING", "2"}};
  refuses(create(f, &config), BITBLAS_ERROR_KERNEL, "NOTHING", "");
  config = good, config.expected_count = -1;
  refuses(create(f, &config), BITBLAS_ERROR_ARGUMENT, "config.expected_count", "-1");
  char *twice = malloc(2 * sizeof scale_text);
  snprintf(twice, 2 * sizeof scale_text, "%s%s", scale_text, scale_text);
  *strstr(twice + sizeof scale_text, "scale") = 't';
  config = good, config.text = twice;
  refuses(create(f, &config), BITBLAS_ERROR_KERNEL, "several kernels", "tcale");
  free(twice);
  assert_int_equal(f->compiled, 0);
}

static void refuses_wrong_launches(void **state) {
  fixture *f = *state;
  bitblas_kernel *kernel = make(f->context, scale_text, NULL, 0);
  static float x[M * N + 4], y[M * N];
  bitblas_tensor t[2];
  const bitblas_tensor good[2] = {{x, BITBLAS_TYPE_F32, 2, {M, N}, {0}}, {y, BITBLAS_TYPE_F32, 2, {M, N}, {0}}};
  bitblas_launch launch = BITBLAS_LAUNCH_INIT;
  launch.tensors = t;
  launch.tensor_count = 2;
#define WRONG(change, status, word, other)                                                                             \
  do {                                                                                                                 \
    memcpy(t, good, sizeof t);                                                                                         \
    change;                                                                                                            \
    refuses(bitblas_kernel_run(kernel, &launch), status, word, other);                                                 \
  } while (0)
  WRONG(t[0].type = BITBLAS_TYPE_F16, BITBLAS_ERROR_TYPE, "X is of type f16", "f32");
  WRONG(t[1].type = (bitblas_type)99, BITBLAS_ERROR_TYPE, "Y is of type ?", "f32");
  WRONG(t[1].rank = 3, BITBLAS_ERROR_SHAPE, "Y has 3 dimensions", "2");
  WRONG(t[1].shape[0] = M + 1, BITBLAS_ERROR_SHAPE, "Y is f32[12, 36]", "f32[11, 36]");
  WRONG(t[0].shape[1] = 38, BITBLAS_ERROR_CONSTRAINT, "N", "38");
  WRONG(t[0].shape[0] = -1, BITBLAS_ERROR_ARGUMENT, "M", "-1");
  WRONG(t[0].shape[0] = (int64_t)1 << 40, BITBLAS_ERROR_ARGUMENT, "M", "1099511627776");
  WRONG((t[0].stride[0] = N + 4, t[0].stride[1] = 1), BITBLAS_ERROR_SHAPE, "stride of X", "40");
  WRONG((t[0].stride[0] = 1, t[0].stride[1] = M), BITBLAS_ERROR_SHAPE, "stride of X", "11");
  WRONG(t[0].data = NULL, BITBLAS_ERROR_ARGUMENT, "X is null", "");
  WRONG(t[1].data = (char *)y + 2, BITBLAS_ERROR_ALIGNMENT, "Y is at", "aligned");
  launch.tensor_count = 1;
  WRONG((void)0, BITBLAS_ERROR_ARGUMENT, "takes 2 tensors", "given 1");
  launch.tensor_count = 2;
  const bitblas_size wrong = {"Q", 3}, disagrees = {"M", 3};
  launch.sizes = &wrong;
  launch.size_count = 1;
  WRONG((void)0, BITBLAS_ERROR_ARGUMENT, "no size 'Q'", "");
  launch.sizes = &disagrees;
  WRONG((void)0, BITBLAS_ERROR_SHAPE, "X is f32[11, 36]", "f32[3, 36]");
  launch.sizes = NULL;
  WRONG((void)0, BITBLAS_ERROR_ARGUMENT, "size_count is 1", "null");
  launch.size_count = 0;
  launch.size = 3;
  WRONG((void)0, BITBLAS_ERROR_ARGUMENT, "launch has size 3", "_INIT");
  launch.size = sizeof launch;
  launch.tensors = NULL;
  WRONG((void)0, BITBLAS_ERROR_ARGUMENT, "takes 2 tensors", "given 0");
#undef WRONG
  refuses(bitblas_kernel_run(NULL, &launch), BITBLAS_ERROR_ARGUMENT, "kernel", "null");
  refuses(bitblas_kernel_run(kernel, NULL), BITBLAS_ERROR_ARGUMENT, "launch", "null");
  bitblas_tensor_info info = BITBLAS_TENSOR_INFO_INIT;
  refuses(bitblas_kernel_tensor_info(kernel, 2, &info), BITBLAS_ERROR_ARGUMENT, "2 tensors", "number 2");
  refuses(bitblas_kernel_tensor_info(kernel, 0, NULL), BITBLAS_ERROR_ARGUMENT, "info", "null");
  size_t bytes;
  refuses(bitblas_kernel_tensor_bytes(kernel, 0, NULL, 0, &bytes), BITBLAS_ERROR_ARGUMENT, "size M", "not given");
  refuses(bitblas_kernel_workspace_bytes(kernel, NULL, 0, NULL), BITBLAS_ERROR_ARGUMENT, "bytes", "null");
  void *address;
  refuses(bitblas_allocate(f->context, SIZE_MAX, &address), BITBLAS_ERROR_MEMORY, "no memory", "");
  refuses(bitblas_upload(f->context, NULL, x, 4, NULL), BITBLAS_ERROR_ARGUMENT, "to", "null");
  refuses(bitblas_download(NULL, x, x, 4, NULL), BITBLAS_ERROR_ARGUMENT, "context", "null");
  bitblas_kernel_destroy(kernel);
  bitblas_kernel_destroy(NULL);
}

static void has_names(void **state) {
  (void)state;
  assert_string_equal(bitblas_status_name(BITBLAS_ERROR_SHAPE), "BITBLAS_ERROR_SHAPE");
  assert_string_equal(bitblas_status_text((bitblas_status)1234), "unknown status");
  assert_string_equal(bitblas_type_name(BITBLAS_TYPE_F8E4M3), "f8e4m3");
  assert_int_equal(bitblas_type_bits(BITBLAS_TYPE_U3), 3);
  assert_int_equal(bitblas_type_bits(BITBLAS_TYPE_NONE), 0);
  assert_int_equal(bitblas_version(), 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(computes_what_the_text_says),
      TEST(runs_nothing_for_no_elements),
      TEST(tells_about_itself),
      TEST(runs_packed_weights),
      TEST(compiles_once),
      TEST(keeps_kernels_apart),
      TEST(rebuilds_a_damaged_entry),
      TEST(works_without_a_store),
      TEST(serves_threads),
      TEST(refuses_wrong_contexts),
      TEST(refuses_wrong_kernels),
      TEST(refuses_wrong_launches),
      cmocka_unit_test(has_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
