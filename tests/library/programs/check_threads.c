/* Many threads and processes on one store: kernels and ops are made, prepared, loaded, saved, run and looked at all at once, on
 * contexts that threads share and on their own. Results must be right and messages a thread's own. The emulator only.
 *
 *   check_threads [--threads=N] [--processes=N] [--rounds=N]
 *
 * The store is a fresh directory below TMPDIR, removed at the end. Prints one line for each process that went wrong, then
 * `N rounds of N threads in N processes: ok`. Built with -DBITBLASC_THREADS=ON, ThreadSanitizer looks at all of it. */
#include <bitblas.h>

#include <ftw.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MATMULS = 4, ATTENTIONS = 2, ROWS = 3, COLUMNS = 48, DEPTH = 64, GROUP = 32, QUERIES = 2, KEYS = 40, DIM = 64 };

/* -- One process ----------------------------------------------------------------------------------------------------- */

typedef struct process {
  const char *directory; /* of the store */
  int threads, rounds;
  bitblas_context *context[2]; /* that the threads share; the second keeps nothing on disk */
  bitblas_matmul *matmul;      /* that they prepare and run together */
  bitblas_flash_atten *attention;
  bitblas_linear *linear;         /* that they run and save together */
  bitblas_checkpoint *checkpoint; /* of it */
  pthread_barrier_t together;
  atomic_int compiled, wrong;
} process;

typedef struct worker {
  process *p;
  int number;
  uint32_t random;
} worker;

static unsigned next_random(worker *w, unsigned below) {
  w->random = w->random * 1664525u + 1013904223u;
  return (w->random >> 16) % below;
}

__attribute__((format(printf, 2, 3))) static bool complain(process *p, const char *format, ...) {
  char line[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  if (atomic_fetch_add(&p->wrong, 1) < 5) printf("%s\n", line);
  return false;
}

static bool check(process *p, const char *what, bitblas_status status) {
  if (status == BITBLAS_OK) return true;
  return complain(p, "%s: %s: %s", what, bitblas_status_name(status), bitblas_last_message());
}

static void count_line(void *user, bitblas_log_level level, const char *line) {
  process *p = user;
  if (level == BITBLAS_LOG_INFO && strstr(line, "compiled for")) atomic_fetch_add(&p->compiled, 1);
}

static bitblas_context *open_context(process *p, const char *target, const char *store) {
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.device = BITBLAS_DEVICE_EMULATOR;
  config.target = target;
  config.cache_directory = store;
  config.log = count_line;
  config.log_user = p;
  bitblas_context *context = NULL;
  check(p, "bitblas_context_create", bitblas_context_create(&config, &context));
  return context;
}

/* -- Numbers --------------------------------------------------------------------------------------------------------- */

/* Of a number that f16 has. */
static uint16_t half_of(double x) {
  if (x == 0) return 0;
  int exponent;
  double fraction = frexp(fabs(x), &exponent);
  return (uint16_t)((x < 0 ? 0x8000 : 0) | (exponent + 14) << 10 | ((int)(fraction * 2048) & 1023));
}

static double half_value(uint16_t code) {
  int exponent = code >> 10 & 31, mantissa = code & 1023;
  double value = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
  return code & 0x8000 ? -value : value;
}

static void put(bitblas_type type, void *to, size_t index, double x) {
  if (type == BITBLAS_TYPE_F16)
    ((uint16_t *)to)[index] = half_of(x);
  else
    ((int8_t *)to)[index] = (int8_t)x;
}

/* -- Matmul ---------------------------------------------------------------------------------------------------------- */

static const struct {
  bitblas_type A, W, C;
  int least, count, scaled; /* weights are least .. least + count - 1 */
} matmuls[MATMULS] = {{BITBLAS_TYPE_F16, BITBLAS_TYPE_F16, BITBLAS_TYPE_F32, -3, 7, 0},
                      {BITBLAS_TYPE_F16, BITBLAS_TYPE_I4, BITBLAS_TYPE_F32, -8, 16, 1},
                      {BITBLAS_TYPE_F16, BITBLAS_TYPE_U2, BITBLAS_TYPE_F32, 0, 4, 0},
                      {BITBLAS_TYPE_I8, BITBLAS_TYPE_I8, BITBLAS_TYPE_I32, -100, 201, 0}};

static bitblas_matmul *create_matmul(process *p, bitblas_context *context, int which) {
  static const int64_t rows[] = {1, 16};
  bitblas_matmul_config c = BITBLAS_MATMUL_CONFIG_INIT;
  c.opt_M = rows, c.opt_M_count = 2;
  c.N = COLUMNS, c.K = DEPTH;
  c.A_dtype = matmuls[which].A, c.W_dtype = matmuls[which].W, c.out_dtype = matmuls[which].C;
  c.with_scaling = matmuls[which].scaled;
  c.group_size = matmuls[which].scaled ? GROUP : -1;
  bitblas_matmul *op = NULL;
  check(p, "bitblas_matmul_create", bitblas_matmul_create(context, &c, &op));
  return op;
}

/* The GPU's way to transform, here the emulator's, makes the same of the numbers [COLUMNS, DEPTH]. */
static bool check_on_device(process *p, bitblas_context *context, bitblas_matmul *op, const void *numbers,
                            const void *W, size_t W_bytes) {
  enum { BYTES = COLUMNS * DEPTH };
  void *from = NULL, *to = NULL;
  bool ok = check(p, "bitblas_allocate", bitblas_allocate(context, BYTES, &from)) &&
            check(p, "bitblas_allocate", bitblas_allocate(context, W_bytes, &to)) &&
            check(p, "bitblas_upload", bitblas_upload(context, from, numbers, BYTES, NULL)) &&
            check(p, "bitblas_matmul_transform_on_device",
                  bitblas_matmul_transform_on_device(op, BITBLAS_FORM_VALUES, from, BYTES, to, W_bytes, NULL)) &&
            check(p, "bitblas_synchronize", bitblas_synchronize(context, NULL));
  if (ok && memcmp(to, W, W_bytes) != 0) ok = complain(p, "the weight that the device transformed is another one");
  bitblas_free(context, from), bitblas_free(context, to);
  return ok;
}

/* Sums are whole numbers, or halves of them, that f32 has: C must be equal to them. */
static bool run_matmul(worker *w, bitblas_context *context, bitblas_matmul *op, int which) {
  process *p = w->p;
  bool integer = matmuls[which].A == BITBLAS_TYPE_I8, scaled = matmuls[which].scaled;
  double a[ROWS][DEPTH], b[COLUMNS][DEPTH], s[COLUMNS][DEPTH / GROUP];
  uint16_t weight[COLUMNS * DEPTH], scales[COLUMNS * DEPTH / GROUP];
  int64_t rows = 1 + next_random(w, ROWS);
  void *A = NULL, *W = NULL, *S = NULL, *C = NULL;
  size_t W_bytes = 0, S_bytes = 0;
  bool ok =
      check(p, "bitblas_matmul_operand_bytes", bitblas_matmul_operand_bytes(op, BITBLAS_OPERAND_WEIGHT, &W_bytes)) &&
      check(p, "bitblas_matmul_operand_bytes", bitblas_matmul_operand_bytes(op, BITBLAS_OPERAND_SCALES, &S_bytes)) &&
      check(p, "bitblas_allocate", bitblas_allocate(context, sizeof(uint16_t) * ROWS * DEPTH, &A)) &&
      check(p, "bitblas_allocate", bitblas_allocate(context, W_bytes, &W)) &&
      check(p, "bitblas_allocate", bitblas_allocate(context, S_bytes, &S)) &&
      check(p, "bitblas_allocate", bitblas_allocate(context, sizeof(float) * ROWS * COLUMNS, &C));
  for (int64_t i = 0; ok && i < ROWS * DEPTH; i++) {
    a[i / DEPTH][i % DEPTH] = (double)next_random(w, 5) - 2;
    put(matmuls[which].A, A, (size_t)i, a[i / DEPTH][i % DEPTH]);
  }
  for (int64_t i = 0; i < COLUMNS * DEPTH; i++) {
    b[i / DEPTH][i % DEPTH] = matmuls[which].least + (double)next_random(w, (unsigned)matmuls[which].count);
    put(matmuls[which].W, weight, (size_t)i, b[i / DEPTH][i % DEPTH]);
  }
  for (int64_t i = 0; i < COLUMNS * DEPTH / GROUP; i++) {
    s[i / (DEPTH / GROUP)][i % (DEPTH / GROUP)] = scaled ? ldexp(1, (int)next_random(w, 3) - 1) : 1;
    scales[i] = half_of(s[i / (DEPTH / GROUP)][i % (DEPTH / GROUP)]);
  }
  size_t given = (size_t)COLUMNS * DEPTH * (matmuls[which].W == BITBLAS_TYPE_F16 ? 2 : 1);
  ok =
      ok && check(p, "bitblas_matmul_transform",
                  bitblas_matmul_transform(op, BITBLAS_OPERAND_WEIGHT, BITBLAS_FORM_VALUES, weight, given, W, W_bytes));
  if (ok && matmuls[which].W == BITBLAS_TYPE_I4) ok = check_on_device(p, context, op, weight, W, W_bytes);
  if (ok && scaled)
    ok = check(
        p, "bitblas_matmul_transform",
        bitblas_matmul_transform(op, BITBLAS_OPERAND_SCALES, BITBLAS_FORM_VALUES, scales, sizeof scales, S, S_bytes));
  bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
  args.M = rows, args.A = A, args.W = W, args.scales = S, args.C = C;
  ok = ok && check(p, "bitblas_matmul_run", bitblas_matmul_run(op, &args));
  for (int64_t i = 0; ok && i < rows * COLUMNS; i++) {
    double sum = 0;
    for (int k = 0; k < DEPTH; k++)
      sum += a[i / COLUMNS][k] * b[i % COLUMNS][k] * s[i % COLUMNS][k / GROUP];
    double is = integer ? ((int32_t *)C)[i] : (double)((float *)C)[i];
    if (is != sum) ok = complain(p, "matmul %d: C[%" PRId64 "] is %g, not %g", which, i, is, sum);
  }
  const char *source = bitblas_matmul_get_source(op, rows, BITBLAS_SOURCE_CUDA);
  if (ok && (!source || !strstr(source, "__global__"))) ok = complain(p, "matmul %d has no source", which);
  bitblas_free(context, A), bitblas_free(context, W), bitblas_free(context, S), bitblas_free(context, C);
  return ok;
}

/* -- FlashAtten ------------------------------------------------------------------------------------------------------ */

static bitblas_flash_atten *create_attention(process *p, bitblas_context *context, int which) {
  bitblas_flash_atten_config c = BITBLAS_FLASH_ATTEN_CONFIG_INIT;
  c.heads = 1, c.dim = DIM;
  c.splits = which ? 2 : 1; /* whole rows, or two parts that are merged */
  bitblas_flash_atten *op = NULL;
  check(p, "bitblas_flash_atten_create", bitblas_flash_atten_create(context, &c, &op));
  return op;
}

static void fill(worker *w, uint16_t *x, int count) {
  for (int i = 0; i < count; i++)
    x[i] = half_of(((double)next_random(w, 17) - 8) / 8);
}

/* Far from what rounding does, and near enough to see a tensor of another thread. */
static bool check_attention(process *p, const uint16_t *q, const uint16_t *k, const uint16_t *v, const uint16_t *o) {
  for (int row = 0; row < QUERIES; row++) {
    double weight[KEYS], all = 0, exact[DIM] = {0};
    for (int key = 0; key < KEYS; key++) {
      double score = 0;
      for (int d = 0; d < DIM; d++)
        score += half_value(q[row * DIM + d]) * half_value(k[key * DIM + d]);
      all += weight[key] = exp(score / sqrt(DIM));
    }
    for (int key = 0; key < KEYS; key++)
      for (int d = 0; d < DIM; d++)
        exact[d] += weight[key] / all * half_value(v[key * DIM + d]);
    for (int d = 0; d < DIM; d++)
      if (!(fabs(half_value(o[row * DIM + d]) - exact[d]) < 0x1p-9))
        return complain(p, "flash_atten: O[%d, %d] is %g, not %g", row, d, half_value(o[row * DIM + d]), exact[d]);
  }
  return true;
}

static bool run_attention(worker *w, bitblas_context *context, const bitblas_flash_atten *op) {
  enum { Q = QUERIES * DIM, K = KEYS * DIM };
  process *p = w->p;
  void *memory = NULL, *workspace = NULL;
  if (!check(p, "bitblas_allocate", bitblas_allocate(context, sizeof(uint16_t) * (2 * Q + 2 * K), &memory)))
    return false;
  uint16_t *q = memory, *k = q + Q, *v = k + K, *o = v + K;
  fill(w, q, Q + 2 * K);
  bitblas_flash_atten_args args = BITBLAS_FLASH_ATTEN_ARGS_INIT;
  args.Q = (bitblas_tensor){q, BITBLAS_TYPE_F16, 4, {1, QUERIES, 1, DIM}, {0}};
  args.K = (bitblas_tensor){k, BITBLAS_TYPE_F16, 4, {1, KEYS, 1, DIM}, {0}};
  args.V = (bitblas_tensor){v, BITBLAS_TYPE_F16, 4, {1, KEYS, 1, DIM}, {0}};
  args.O = (bitblas_tensor){o, BITBLAS_TYPE_F16, 4, {1, QUERIES, 1, DIM}, {0}};
  bool ok = check(p, "bitblas_flash_atten_workspace_bytes",
                  bitblas_flash_atten_workspace_bytes(op, &args, &args.workspace_bytes)) &&
            check(p, "bitblas_allocate", bitblas_allocate(context, args.workspace_bytes, &workspace));
  args.workspace = workspace;
  ok = ok && check(p, "bitblas_flash_atten_run", bitblas_flash_atten_run(op, &args)) && check_attention(p, q, k, v, o);
  const char *source = bitblas_flash_atten_get_source(op, 2, BITBLAS_SOURCE_TL);
  if (ok && (!source || !strstr(source, "kernel"))) ok = complain(p, "flash_atten has no source");
  bitblas_free(context, memory), bitblas_free(context, workspace);
  return ok;
}

/* -- Linear ---------------------------------------------------------------------------------------------------------- */

static bitblas_linear *create_linear(process *p, bitblas_context *context, const bitblas_weight *weight) {
  static const int64_t rows[] = {16};
  bitblas_linear_config c = BITBLAS_LINEAR_CONFIG_INIT;
  c.in_features = DEPTH, c.out_features = COLUMNS;
  c.W_dtype = BITBLAS_TYPE_I4;
  c.out_dtype = BITBLAS_TYPE_F32;
  c.opt_M = rows, c.opt_M_count = 1;
  bitblas_linear *linear = NULL;
  if (weight && !check(p, "bitblas_linear_config_for", bitblas_linear_config_for(weight, &c))) return NULL;
  if (check(p, "bitblas_linear_create", bitblas_linear_create(context, &c, &linear)) &&
      !check(p, "bitblas_linear_prepare", bitblas_linear_prepare(linear, NULL, 0))) {
    bitblas_linear_destroy(linear);
    return NULL;
  }
  return linear;
}

static int linear_weight(int i) { return i * 7 % 16 - 8; }

/* All linears have the same weight. */
static bool load_linear(process *p, const char *path) {
  int8_t weight[COLUMNS * DEPTH];
  for (int i = 0; i < COLUMNS * DEPTH; i++)
    weight[i] = (int8_t)linear_weight(i);
  bitblas_linear_values values = BITBLAS_LINEAR_VALUES_INIT;
  values.weight = weight;
  return p->linear && check(p, "bitblas_linear_load_values", bitblas_linear_load_values(p->linear, &values)) &&
         check(p, "bitblas_linear_save", bitblas_linear_save(p->linear, path)) &&
         check(p, "bitblas_checkpoint_open", bitblas_checkpoint_open(path, &p->checkpoint));
}

static bool run_linear(worker *w, bitblas_context *context, const bitblas_linear *linear) {
  process *p = w->p;
  double a[ROWS][DEPTH];
  void *A = NULL, *C = NULL, *workspace = NULL;
  bitblas_linear_args args = BITBLAS_LINEAR_ARGS_INIT;
  args.M = 1 + next_random(w, ROWS);
  bool ok = check(p, "bitblas_allocate", bitblas_allocate(context, sizeof(uint16_t) * ROWS * DEPTH, &A)) &&
            check(p, "bitblas_allocate", bitblas_allocate(context, sizeof(float) * ROWS * COLUMNS, &C)) &&
            check(p, "bitblas_linear_workspace_bytes",
                  bitblas_linear_workspace_bytes(linear, args.M, &args.workspace_bytes)) &&
            check(p, "bitblas_allocate", bitblas_allocate(context, args.workspace_bytes, &workspace));
  for (int i = 0; ok && i < ROWS * DEPTH; i++) {
    a[i / DEPTH][i % DEPTH] = (double)next_random(w, 5) - 2;
    put(BITBLAS_TYPE_F16, A, (size_t)i, a[i / DEPTH][i % DEPTH]);
  }
  args.A = A, args.C = C, args.workspace = workspace;
  ok = ok && check(p, "bitblas_linear_forward", bitblas_linear_forward(linear, &args));
  for (int i = 0; ok && i < args.M * COLUMNS; i++) {
    double sum = 0;
    for (int k = 0; k < DEPTH; k++)
      sum += a[i / COLUMNS][k] * linear_weight(i % COLUMNS * DEPTH + k);
    double is = (double)((float *)C)[i];
    if (is != sum) ok = complain(p, "linear: C[%d] is %g, not %g", i, is, sum);
  }
  bitblas_free(context, A), bitblas_free(context, C), bitblas_free(context, workspace);
  return ok;
}

/* Out of the file that all read into one of its own, and out of a copy that it saves itself. */
static bool use_files(worker *w) {
  process *p = w->p;
  bitblas_context *context = p->context[0];
  char path[1100];
  snprintf(path, sizeof path, "%s/linear-%ld-%d", p->directory, (long)getpid(), w->number);
  bitblas_weight *weight = NULL;
  float *values = malloc(sizeof(float) * COLUMNS * DEPTH);
  bool ok = values && check(p, "bitblas_weight_read", bitblas_weight_read(p->checkpoint, "linear", NULL, &weight)) &&
            check(p, "bitblas_weight_decode", bitblas_weight_decode(weight, values, COLUMNS * DEPTH));
  for (int i = 0; ok && i < COLUMNS * DEPTH; i++)
    if ((int)values[i] != linear_weight(i)) ok = complain(p, "a weight's value %d is %g", i, (double)values[i]);
  bitblas_linear *linear = ok ? create_linear(p, context, weight) : NULL;
  ok = linear && check(p, "bitblas_linear_load", bitblas_linear_load(linear, weight, NULL)) &&
       run_linear(w, context, linear) && check(p, "bitblas_linear_save", bitblas_linear_save(p->linear, path)) &&
       check(p, "bitblas_linear_load_file", bitblas_linear_load_file(linear, path)) && run_linear(w, context, linear);
  bitblas_linear_destroy(linear);
  bitblas_weight_destroy(weight);
  free(values);
  return ok;
}

/* -- Kernels --------------------------------------------------------------------------------------------------------- */

static bool run_kernel(worker *w, bitblas_context *context) {
  enum { ELEMENTS = 96 };
  process *p = w->p;
  bitblas_kernel_config config = BITBLAS_KERNEL_CONFIG_INIT;
  config.text = "kernel twice(X: f32[N], Y: out f32[N])\n"
                "  grid (b in ceildiv(N, 64))\n"
                "{\n"
                "  tile x: f32[64]\n"
                "  copy X[b*64] -> x\n"
                "  x = x * 2\n"
                "  copy x -> Y[b*64]\n"
                "}\n";
  const bitblas_size sizes[] = {{"N", ELEMENTS}};
  bitblas_kernel *kernel = NULL;
  size_t bytes = 0;
  void *x = NULL, *y = NULL;
  bool ok = check(p, "bitblas_kernel_create", bitblas_kernel_create(context, &config, &kernel)) &&
            check(p, "bitblas_kernel_tensor_bytes", bitblas_kernel_tensor_bytes(kernel, 0, sizes, 1, &bytes)) &&
            check(p, "bitblas_allocate", bitblas_allocate(context, bytes, &x)) &&
            check(p, "bitblas_allocate", bitblas_allocate(context, bytes, &y));
  for (int i = 0; ok && i < ELEMENTS; i++)
    ((float *)x)[i] = (float)next_random(w, 1000);
  const bitblas_tensor tensors[] = {{x, BITBLAS_TYPE_F32, 1, {ELEMENTS}, {0}},
                                    {y, BITBLAS_TYPE_F32, 1, {ELEMENTS}, {0}}};
  bitblas_launch launch = BITBLAS_LAUNCH_INIT;
  launch.tensors = tensors, launch.tensor_count = 2;
  ok = ok && check(p, "bitblas_kernel_run", bitblas_kernel_run(kernel, &launch));
  for (int i = 0; ok && i < ELEMENTS; i++)
    if (((float *)y)[i] != 2 * ((float *)x)[i]) ok = complain(p, "kernel: Y[%d] is not twice X", i);
  bitblas_free(context, x), bitblas_free(context, y);
  bitblas_kernel_destroy(kernel);
  return ok;
}

/* -- Messages -------------------------------------------------------------------------------------------------------- */

/* A number that no other thread has, in a message that lasts while others fail, and through calls that succeed. */
static bool keeps_its_message(worker *w, bitblas_matmul *op) {
  int64_t mine = -1000 * (int64_t)(w->number + 1) - (int64_t)next_random(w, 1000);
  char text[32];
  snprintf(text, sizeof text, "M is %" PRId64 ",", mine);
  if (bitblas_matmul_prepare(op, &mine, 1) != BITBLAS_ERROR_ARGUMENT) return complain(w->p, "a wrong M was taken");
  for (int i = 0; i < 20; i++) {
    size_t bytes;
    bitblas_matmul_operand_bytes(op, BITBLAS_OPERAND_WEIGHT, &bytes);
    sched_yield();
    if (!strstr(bitblas_last_message(), text))
      return complain(w->p, "the message should say '%s' and is '%s'", text, bitblas_last_message());
  }
  return true;
}

/* Of a text that does not compile, with a name of the thread's own. */
static bool names_its_kernel(worker *w) {
  char text[128], name[32];
  snprintf(name, sizeof name, "unknown_%d", w->number);
  int length = snprintf(text, sizeof text, "kernel k(X: out f32[4])\n  grid (b in %s)\n{\n}\n", name);
  bitblas_kernel_config config = BITBLAS_KERNEL_CONFIG_INIT;
  config.text = text, config.text_length = (size_t)length;
  bitblas_kernel *kernel = NULL;
  if (bitblas_kernel_create(w->p->context[0], &config, &kernel) != BITBLAS_ERROR_KERNEL)
    return complain(w->p, "a wrong kernel was taken");
  sched_yield();
  return strstr(bitblas_last_message(), name) ||
         complain(w->p, "the message should name '%s' and is '%s'", name, bitblas_last_message());
}

/* -- The work of a thread ---------------------------------------------------------------------------------------------- */

/* Ops of its own, on a context that is shared or its own. */
static bool use_own_ops(worker *w) {
  process *p = w->p;
  static const char *const targets[] = {"sm_80", "sm_90a"};
  bool own = next_random(w, 2);
  bitblas_context *context =
      own ? open_context(p, targets[next_random(w, 2)], p->directory) : p->context[next_random(w, 2)];
  if (!context) return false;
  int kind = (int)next_random(w, MATMULS + ATTENTIONS);
  bool ok = false;
  if (kind < MATMULS) {
    bitblas_matmul *op = create_matmul(p, context, kind);
    ok = op && check(p, "bitblas_matmul_prepare", bitblas_matmul_prepare(op, NULL, 0)) &&
         run_matmul(w, context, op, kind);
    bitblas_matmul_destroy(op);
  } else {
    bitblas_flash_atten *op = create_attention(p, context, kind - MATMULS);
    ok =
        op && check(p, "bitblas_flash_atten_prepare", bitblas_flash_atten_prepare(op)) && run_attention(w, context, op);
    bitblas_flash_atten_destroy(op);
  }
  if (own) bitblas_context_destroy(context);
  return ok;
}

static void *run_worker(void *data) {
  worker *w = data;
  process *p = w->p;
  pthread_barrier_wait(&p->together);
  bool ok = check(p, "bitblas_matmul_prepare", bitblas_matmul_prepare(p->matmul, NULL, 0)) &&
            check(p, "bitblas_flash_atten_prepare", bitblas_flash_atten_prepare(p->attention));
  if (pthread_barrier_wait(&p->together) == PTHREAD_BARRIER_SERIAL_THREAD && atomic_load(&p->compiled) > 4)
    ok = complain(p, "2 kernels of a matmul and 2 of a flash_atten were compiled %d times", atomic_load(&p->compiled));
  pthread_barrier_wait(&p->together);
  for (int round = 0; round < p->rounds && ok; round++)
    ok = run_matmul(w, p->context[0], p->matmul, 1) && run_attention(w, p->context[0], p->attention) &&
         run_linear(w, p->context[0], p->linear) && use_files(w) && run_kernel(w, p->context[next_random(w, 2)]) &&
         keeps_its_message(w, p->matmul) && names_its_kernel(w) && use_own_ops(w);
  return NULL;
}

static bool run_process(process *p, int number) {
  enum { MOST = 256 };
  pthread_t thread[MOST];
  worker workers[MOST];
  if (p->threads > MOST) p->threads = MOST;
  p->context[0] = open_context(p, "sm_90a", p->directory);
  p->context[1] = open_context(p, "sm_80", "");
  p->matmul = p->context[0] ? create_matmul(p, p->context[0], 1) : NULL;
  p->attention = p->context[0] ? create_attention(p, p->context[0], 1) : NULL;
  p->linear = p->context[0] ? create_linear(p, p->context[0], NULL) : NULL;
  char path[1100];
  snprintf(path, sizeof path, "%s/linear-%d", p->directory, number);
  if (!p->context[1] || !p->matmul || !p->attention || !load_linear(p, path)) return false;
  atomic_store(&p->compiled, 0);
  pthread_barrier_init(&p->together, NULL, (unsigned)p->threads);
  for (int t = 0; t < p->threads; t++) {
    workers[t] = (worker){p, t, (uint32_t)(1 + t + MOST * number)};
    if (pthread_create(&thread[t], NULL, run_worker, &workers[t]) != 0) exit(1); /* the others wait at the barrier */
  }
  for (int t = 0; t < p->threads; t++)
    pthread_join(thread[t], NULL);
  pthread_barrier_destroy(&p->together);
  bitblas_context_destroy(p->context[0]); /* lasts as long as its ops */
  bitblas_context_destroy(p->context[1]);
  bitblas_matmul_destroy(p->matmul);
  bitblas_flash_atten_destroy(p->attention);
  bitblas_linear_destroy(p->linear);
  bitblas_checkpoint_close(p->checkpoint);
  return atomic_load(&p->wrong) == 0;
}

/* -- The program ------------------------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
  (void)info, (void)kind, (void)walk;
  return remove(path);
}

static bool take_number(const char *argument, const char *option, int *number) {
  size_t length = strlen(option);
  if (strncmp(argument, option, length) != 0) return false;
  *number = atoi(argument + length);
  return *number > 0;
}

int main(int argc, char **argv) {
  int threads = 16, processes = 1, rounds = 4, failed = 0;
  for (int i = 1; i < argc; i++) {
    if (take_number(argv[i], "--threads=", &threads) || take_number(argv[i], "--processes=", &processes) ||
        take_number(argv[i], "--rounds=", &rounds))
      continue;
    fprintf(stderr, "usage: check_threads [--threads=N] [--processes=N] [--rounds=N]\n");
    return 2;
  }
  const char *base = getenv("TMPDIR");
  char directory[1024];
  snprintf(directory, sizeof directory, "%s/bitblas-threads-XXXXXX", base && *base ? base : "/tmp");
  if (!mkdtemp(directory)) return perror(directory), 1;
  for (int i = 0; i < processes; i++) {
    pid_t child = fork(); /* before any thread is made */
    if (child < 0) return perror("fork"), 1;
    if (child > 0) continue;
    process p = {.directory = directory, .threads = threads, .rounds = rounds};
    return run_process(&p, i) ? 0 : 1;
  }
  for (int i = 0, status; i < processes; i++) {
    pid_t child = wait(&status);
    if (status != 0) printf("process %ld ended with status %#x\n", (long)child, (unsigned)status), failed++;
  }
  nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  if (!failed) printf("%d rounds of %d threads in %d processes: ok\n", rounds, threads, processes);
  return failed > 0;
}
