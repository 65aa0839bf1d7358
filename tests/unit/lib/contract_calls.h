/* Every call of the interface, made on the stand-in of a GPU: what it needs beforehand, and how what it makes is undone. */
#ifndef BITBLASC_TESTS_UNIT_LIB_CONTRACT_CALLS_H
#define BITBLASC_TESTS_UNIT_LIB_CONTRACT_CALLS_H

#include "lib/linear.h"
#include "tests/unit/stand_in/gpu.h"
#include "tests/unit/temporary.h"

enum {
  FEATURES = 64,
  TOKENS = 16,
  MEMORY_BYTES = 1 << 20,
  WORKSPACE_BYTES = 1 << 16,
  HOST_BYTES = 1 << 14,
  SPARES = 16
};

static void check(bitblas_status status) {
  if (status != BITBLAS_OK) fail_msg("%s: %s", bitblas_status_name(status), bitblas_last_message());
}

/* -- The store, and the files that are read ------------------------------------------------------------------------------ */

static struct {
  char folder[TEMPORARY_BYTES];
  char store[TEMPORARY_BYTES + 64], hidden[TEMPORARY_BYTES + 64]; /* where the store is, and where while it is hidden */
  char kept[TEMPORARY_BYTES + 64];                                /* what is in it */
  char file[TEMPORARY_BYTES + 64];                                /* a linear with permuted inputs */
  bool is_hidden;
} place;

/* The store is empty until store_show, which also forgets what was added meanwhile. */
static void store_hide(void) {
  if (place.is_hidden)
    temporary_remove(place.kept);
  else
    rename(place.kept, place.hidden);
  place.is_hidden = true;
}

static void store_show(void) {
  if (!place.is_hidden) return;
  temporary_remove(place.kept);
  rename(place.hidden, place.kept);
  place.is_hidden = false;
}

/* -- What calls are made on ------------------------------------------------------------------------------------------------ */

enum {
  MEMORY = 1,
  SPARE_MEMORY = 2,
  KERNEL = 4,
  MATMUL = 8,
  MATMUL_READY = 16,
  LINEAR = 32,
  LINEAR_READY = 64,
  LINEAR_LOADED = 128,
  ATTENTION = 256,
  ATTENTION_READY = 512,
  CHECKPOINT = 1024,
  WEIGHT = 2048,
};

typedef struct scene {
  bitblas_context *context;
  bitblas_kernel *kernel;
  bitblas_matmul *matmul;
  bitblas_linear *linear;
  bitblas_flash_atten *attention;
  bitblas_checkpoint *checkpoint;
  bitblas_weight *weight;
  char *memory; /* on the device: tensors, then the workspace of each lane */
  void **spare; /* on the device: SPARES small pieces for each lane */
  int spares_used;
  char *host; /* a piece of HOST_BYTES for each lane */
  bitblas_stream stream;
  int lane; /* of several threads that call at once */
} scene;

enum { LANES_MAX = 8 };

/* A call: `make` calls it and nothing else that counts, `undo` undoes it. */
typedef struct contract_call {
  const char *name;
  unsigned needs;
  bitblas_status (*make)(scene *s, void **made);
  void (*undo)(scene *s, void *made);
  bool ends; /* what it was made on is gone */
} contract_call;

static bitblas_status make_context(scene *s, void **made) {
  (void)s;
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.cache_directory = place.store;
  config.nvrtc_path = stand_in_nvrtc_path();
  return bitblas_context_create(&config, (bitblas_context **)made);
}
static void undo_context(scene *s, void *made) { (void)s, bitblas_context_destroy(made); }

static bitblas_status make_kernel(scene *s, void **made) {
  bitblas_kernel_config config = BITBLAS_KERNEL_CONFIG_INIT;
  config.text = "kernel twice(X: f32[M, 64], Y: out f32[M, 64])\n"
                "  grid (bm in ceildiv(M, 8))\n"
                "{\n"
                "  tile x: f32[8, 64]\n"
                "  copy X[bm*8, 0] -> x\n"
                "  x = x * 2\n"
                "  copy x -> Y[bm*8, 0]\n"
                "}\n";
  return bitblas_kernel_create(s->context, &config, (bitblas_kernel **)made);
}
static void undo_kernel(scene *s, void *made) { (void)s, bitblas_kernel_destroy(made); }

static const int64_t some_rows[] = {TOKENS};

static bitblas_status make_matmul(scene *s, void **made) {
  bitblas_matmul_config config = BITBLAS_MATMUL_CONFIG_INIT;
  config.opt_M = some_rows, config.opt_M_count = 1;
  config.N = config.K = FEATURES;
  config.W_dtype = BITBLAS_TYPE_U4;
  return bitblas_matmul_create(s->context, &config, (bitblas_matmul **)made);
}
static void undo_matmul(scene *s, void *made) { (void)s, bitblas_matmul_destroy(made); }

static bitblas_status make_linear(scene *s, void **made) {
  bitblas_linear_config config = BITBLAS_LINEAR_CONFIG_INIT;
  config.in_features = config.out_features = FEATURES;
  config.W_dtype = BITBLAS_TYPE_I4;
  config.opt_M = some_rows, config.opt_M_count = 1;
  return bitblas_linear_create(s->context, &config, (bitblas_linear **)made);
}
static void undo_linear(scene *s, void *made) { (void)s, bitblas_linear_destroy(made); }

/* Two kernels: keys are cut into parts that are merged. */
static bitblas_status make_attention(scene *s, void **made) {
  bitblas_flash_atten_config config = BITBLAS_FLASH_ATTEN_CONFIG_INIT;
  config.heads = 2, config.kv_heads = 1, config.dim = 64, config.splits = 2;
  return bitblas_flash_atten_create(s->context, &config, (bitblas_flash_atten **)made);
}
static void undo_attention(scene *s, void *made) { (void)s, bitblas_flash_atten_destroy(made); }

static bitblas_status make_checkpoint(scene *s, void **made) {
  return (void)s, bitblas_checkpoint_open(place.file, (bitblas_checkpoint **)made);
}
static void undo_checkpoint(scene *s, void *made) { (void)s, bitblas_checkpoint_close(made); }

static bitblas_status make_weight(scene *s, void **made) {
  return bitblas_weight_read(s->checkpoint, "linear", NULL, (bitblas_weight **)made);
}
static void undo_weight(scene *s, void *made) { (void)s, bitblas_weight_destroy(made); }

static const int8_t zero_weight[FEATURES * FEATURES];

static bitblas_status load_permuted(bitblas_linear *linear) {
  int32_t permutation[FEATURES];
  for (int i = 0; i < FEATURES; i++)
    permutation[i] = FEATURES - 1 - i;
  bitblas_linear_values values = BITBLAS_LINEAR_VALUES_INIT;
  values.weight = zero_weight;
  return linear_load(linear, &values, permutation);
}

static void scene_open(scene *s, unsigned needs) {
  memset(s, 0, sizeof *s);
  memset(stand_in(), 0, sizeof *stand_in());
  s->stream = stand_in();
  s->host = calloc(LANES_MAX, HOST_BYTES);
  assert_non_null(s->host);
  check(make_context(s, (void **)&s->context));
  if (needs & MEMORY)
    check(bitblas_allocate(s->context, MEMORY_BYTES + LANES_MAX * WORKSPACE_BYTES, (void **)&s->memory));
  if (needs & SPARE_MEMORY) s->spare = calloc(LANES_MAX * SPARES, sizeof *s->spare);
  for (int i = 0; s->spare && i < LANES_MAX * SPARES; i++)
    check(bitblas_allocate(s->context, 16, &s->spare[i]));
  if (needs & KERNEL) check(make_kernel(s, (void **)&s->kernel));
  if (needs & (MATMUL | MATMUL_READY)) check(make_matmul(s, (void **)&s->matmul));
  if (needs & MATMUL_READY) check(bitblas_matmul_prepare(s->matmul, NULL, 0));
  if (needs & (LINEAR | LINEAR_READY | LINEAR_LOADED)) check(make_linear(s, (void **)&s->linear));
  if (needs & (LINEAR_READY | LINEAR_LOADED)) check(bitblas_linear_prepare(s->linear, NULL, 0));
  if (needs & LINEAR_LOADED) check(load_permuted(s->linear));
  if (needs & (ATTENTION | ATTENTION_READY)) check(make_attention(s, (void **)&s->attention));
  if (needs & ATTENTION_READY) check(bitblas_flash_atten_prepare(s->attention));
  if (needs & (CHECKPOINT | WEIGHT)) check(make_checkpoint(s, (void **)&s->checkpoint));
  if (needs & WEIGHT) check(make_weight(s, (void **)&s->weight));
}

static void scene_close(scene *s) {
  bitblas_kernel_destroy(s->kernel);
  bitblas_matmul_destroy(s->matmul);
  bitblas_linear_destroy(s->linear);
  bitblas_flash_atten_destroy(s->attention);
  bitblas_weight_destroy(s->weight);
  bitblas_checkpoint_close(s->checkpoint);
  for (int i = 0; s->spare && i < LANES_MAX * SPARES; i++)
    bitblas_free(s->context, s->spare[i]);
  if (s->memory) bitblas_free(s->context, s->memory);
  bitblas_context_destroy(s->context);
  free(s->spare);
  free(s->host);
}

static void *workspace_of(const scene *s) { return s->memory + MEMORY_BYTES + s->lane * WORKSPACE_BYTES; }
static void *host_of(const scene *s) { return s->host + s->lane * HOST_BYTES; }

static bitblas_status is_some(bool some) { return some ? BITBLAS_OK : BITBLAS_ERROR_INTERNAL; }

/* -- Destruction ------------------------------------------------------------------------------------------------------------ */

#define DESTROYS(what, destroy)                                                                                        \
  static bitblas_status end_##what(scene *s, void **made) {                                                            \
    (void)made;                                                                                                        \
    destroy(s->what);                                                                                                  \
    s->what = NULL;                                                                                                    \
    return BITBLAS_OK;                                                                                                 \
  }
DESTROYS(context, bitblas_context_destroy)
DESTROYS(kernel, bitblas_kernel_destroy)
DESTROYS(matmul, bitblas_matmul_destroy)
DESTROYS(linear, bitblas_linear_destroy)
DESTROYS(attention, bitblas_flash_atten_destroy)
DESTROYS(checkpoint, bitblas_checkpoint_close)
DESTROYS(weight, bitblas_weight_destroy)
#undef DESTROYS

/* -- All others --------------------------------------------------------------------------------------------------------------- */

/* A function of this name, of s. */
#define CALL(name) static bitblas_status call_##name(scene *s, void **made)
#define UNUSED     (void)s, (void)made

CALL(status_name) { return UNUSED, is_some(bitblas_status_name(BITBLAS_OK)); }
CALL(status_text) { return UNUSED, is_some(bitblas_status_text(BITBLAS_OK)); }
CALL(last_message) { return UNUSED, is_some(bitblas_last_message()); }
CALL(version) { return UNUSED, is_some(bitblas_version() > 0); }
CALL(type_name) { return UNUSED, is_some(bitblas_type_name(BITBLAS_TYPE_F16)); }
CALL(type_bits) { return UNUSED, is_some(bitblas_type_bits(BITBLAS_TYPE_F16) == 16); }
CALL(target) { return UNUSED, is_some(bitblas_context_target(s->context)); }
CALL(device_name) { return UNUSED, is_some(bitblas_context_device_name(s->context)); }

CALL(allocate) { return UNUSED, bitblas_allocate(s->context, 1024, made); }
static void undo_allocate(scene *s, void *made) { bitblas_free(s->context, made); }
CALL(free) {
  void **spare = &s->spare[s->lane * SPARES + s->spares_used++], *memory = *spare;
  *spare = NULL;
  return UNUSED, bitblas_free(s->context, memory);
}
CALL(upload) { return UNUSED, bitblas_upload(s->context, workspace_of(s), host_of(s), HOST_BYTES, s->stream); }
CALL(download) { return UNUSED, bitblas_download(s->context, host_of(s), workspace_of(s), HOST_BYTES, s->stream); }
CALL(synchronize) { return UNUSED, bitblas_synchronize(s->context, s->stream); }

static const bitblas_size kernel_rows[] = {{"M", TOKENS}};

CALL(tensor_count) { return UNUSED, is_some(bitblas_kernel_tensor_count(s->kernel) == 2); }
CALL(tensor_info) {
  bitblas_tensor_info info = BITBLAS_TENSOR_INFO_INIT;
  return UNUSED, bitblas_kernel_tensor_info(s->kernel, 0, &info);
}
CALL(size_name) { return UNUSED, is_some(bitblas_kernel_size_name(s->kernel, 0)); }
CALL(tensor_bytes) {
  size_t bytes;
  return UNUSED, bitblas_kernel_tensor_bytes(s->kernel, 0, kernel_rows, 1, &bytes);
}
CALL(kernel_workspace) {
  size_t bytes;
  return UNUSED, bitblas_kernel_workspace_bytes(s->kernel, kernel_rows, 1, &bytes);
}
/* A kernel of the matmul: its W is packed. */
CALL(pack) {
  const bitblas_kernel *kernel = atomic_load(&s->matmul->kernel[0]);
  size_t bytes = 0;
  bitblas_status status = bitblas_kernel_tensor_bytes(kernel, 1, kernel_rows, 1, &bytes);
  if (status != BITBLAS_OK || bytes > HOST_BYTES) return status;
  return UNUSED, bitblas_kernel_pack(kernel, 1, kernel_rows, 1, zero_weight, host_of(s), bytes);
}
CALL(kernel_source) { return UNUSED, is_some(bitblas_kernel_source(s->kernel, BITBLAS_SOURCE_PTX)); }
CALL(kernel_run) {
  const bitblas_tensor tensors[] = {{s->memory, BITBLAS_TYPE_F32, 2, {TOKENS, 64}, {0}},
                                    {s->memory, BITBLAS_TYPE_F32, 2, {TOKENS, 64}, {0}}};
  bitblas_launch launch = BITBLAS_LAUNCH_INIT;
  launch.tensors = tensors, launch.tensor_count = 2;
  launch.stream = s->stream;
  return UNUSED, bitblas_kernel_run(s->kernel, &launch);
}

CALL(matmul_prepare) { return UNUSED, bitblas_matmul_prepare(s->matmul, NULL, 0); }
CALL(operand_bytes) {
  size_t bytes;
  return UNUSED, bitblas_matmul_operand_bytes(s->matmul, BITBLAS_OPERAND_WEIGHT, &bytes);
}
/* FEATURES divides every tile, so the packed weight is as long as the codes. */
CALL(transform) {
  return UNUSED, bitblas_matmul_transform(s->matmul, BITBLAS_OPERAND_WEIGHT, BITBLAS_FORM_VALUES, zero_weight,
                                          sizeof zero_weight, host_of(s), sizeof zero_weight / 2);
}
CALL(transform_on_device) {
  return UNUSED, bitblas_matmul_transform_on_device(s->matmul, BITBLAS_FORM_VALUES, s->memory, sizeof zero_weight,
                                                    workspace_of(s), sizeof zero_weight / 2, s->stream);
}
CALL(matmul_workspace) {
  size_t bytes;
  return UNUSED, bitblas_matmul_workspace_bytes(s->matmul, TOKENS, &bytes);
}
CALL(matmul_source) { return UNUSED, is_some(bitblas_matmul_get_source(s->matmul, TOKENS, BITBLAS_SOURCE_CUDA)); }
CALL(matmul_run) {
  bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
  args.M = TOKENS, args.A = args.W = args.C = s->memory;
  args.workspace = workspace_of(s), args.workspace_bytes = WORKSPACE_BYTES;
  args.stream = s->stream;
  return UNUSED, bitblas_matmul_run(s->matmul, &args);
}
CALL(profile_latency) {
  double us;
  return UNUSED, bitblas_matmul_profile_latency(s->matmul, TOKENS, &us);
}
CALL(tune) {
  double us;
  return UNUSED, bitblas_matmul_tune(s->matmul, TOKENS, 2, &us);
}

CALL(linear_prepare) { return UNUSED, bitblas_linear_prepare(s->linear, NULL, 0); }
CALL(load_values) {
  bitblas_linear_values values = BITBLAS_LINEAR_VALUES_INIT;
  values.weight = zero_weight;
  return UNUSED, bitblas_linear_load_values(s->linear, &values);
}
CALL(load) { return UNUSED, bitblas_linear_load(s->linear, s->weight, NULL); }
CALL(load_file) { return UNUSED, bitblas_linear_load_file(s->linear, place.file); }
CALL(save) {
  char path[TEMPORARY_BYTES + 64];
  snprintf(path, sizeof path, "%s/saved-%d", place.folder, s->lane);
  return UNUSED, bitblas_linear_save(s->linear, path);
}
CALL(config_for) {
  bitblas_linear_config config = BITBLAS_LINEAR_CONFIG_INIT;
  return UNUSED, bitblas_linear_config_for(s->weight, &config);
}
CALL(linear_matmul) { return UNUSED, is_some(bitblas_linear_matmul(s->linear)); }
CALL(linear_workspace) {
  size_t bytes;
  return UNUSED, bitblas_linear_workspace_bytes(s->linear, TOKENS, &bytes);
}
CALL(forward) {
  bitblas_linear_args args = BITBLAS_LINEAR_ARGS_INIT;
  args.M = TOKENS, args.A = args.C = s->memory;
  args.workspace = workspace_of(s), args.workspace_bytes = WORKSPACE_BYTES;
  args.stream = s->stream;
  return UNUSED, bitblas_linear_forward(s->linear, &args);
}

static bitblas_flash_atten_args attention_args(const scene *s) {
  const bitblas_tensor q = {s->memory, BITBLAS_TYPE_F16, 4, {1, TOKENS, 2, 64}, {0}};
  const bitblas_tensor k = {s->memory, BITBLAS_TYPE_F16, 4, {1, 512, 1, 64}, {0}};
  bitblas_flash_atten_args args = BITBLAS_FLASH_ATTEN_ARGS_INIT;
  args.Q = args.O = q;
  args.K = args.V = k;
  args.workspace = workspace_of(s), args.workspace_bytes = WORKSPACE_BYTES;
  args.stream = s->stream;
  return args;
}
CALL(attention_prepare) { return UNUSED, bitblas_flash_atten_prepare(s->attention); }
CALL(attention_workspace) {
  const bitblas_flash_atten_args args = attention_args(s);
  size_t bytes;
  return UNUSED, bitblas_flash_atten_workspace_bytes(s->attention, &args, &bytes);
}
CALL(attention_source) { return UNUSED, is_some(bitblas_flash_atten_get_source(s->attention, 1, BITBLAS_SOURCE_TL)); }
CALL(attention_run) {
  const bitblas_flash_atten_args args = attention_args(s);
  return UNUSED, bitblas_flash_atten_run(s->attention, &args);
}

CALL(checkpoint_count) { return UNUSED, is_some(bitblas_checkpoint_tensor_count(s->checkpoint) > 0); }
CALL(checkpoint_info) {
  bitblas_checkpoint_tensor info = BITBLAS_CHECKPOINT_TENSOR_INIT;
  return UNUSED, bitblas_checkpoint_tensor_info(s->checkpoint, 0, &info);
}
CALL(find) {
  bitblas_checkpoint_tensor info = BITBLAS_CHECKPOINT_TENSOR_INIT;
  return UNUSED, bitblas_checkpoint_find(s->checkpoint, "linear.codes", &info);
}
CALL(layer) { return UNUSED, is_some(bitblas_checkpoint_layer(s->checkpoint, 0)); }
CALL(format_name) { return UNUSED, is_some(bitblas_format_name(0)); }
CALL(describe) {
  bitblas_weight_info info = BITBLAS_WEIGHT_INFO_INIT;
  return UNUSED, bitblas_weight_describe(s->weight, &info);
}
CALL(decode) { return UNUSED, bitblas_weight_decode(s->weight, host_of(s), sizeof zero_weight); }
CALL(stream) { return UNUSED, bitblas_weight_stream(s->weight, host_of(s), sizeof zero_weight / 2); }

#undef CALL
#undef UNUSED

static const contract_call contract_calls[] = {
    {"bitblas_status_name", 0, call_status_name, NULL, false},
    {"bitblas_status_text", 0, call_status_text, NULL, false},
    {"bitblas_last_message", 0, call_last_message, NULL, false},
    {"bitblas_version", 0, call_version, NULL, false},
    {"bitblas_type_name", 0, call_type_name, NULL, false},
    {"bitblas_type_bits", 0, call_type_bits, NULL, false},
    {"bitblas_context_create", 0, make_context, undo_context, false},
    {"bitblas_context_destroy", 0, end_context, NULL, true},
    {"bitblas_context_target", 0, call_target, NULL, false},
    {"bitblas_context_device_name", 0, call_device_name, NULL, false},
    {"bitblas_allocate", 0, call_allocate, undo_allocate, false},
    {"bitblas_free", SPARE_MEMORY, call_free, NULL, false},
    {"bitblas_upload", MEMORY, call_upload, NULL, false},
    {"bitblas_download", MEMORY, call_download, NULL, false},
    {"bitblas_synchronize", 0, call_synchronize, NULL, false},
    {"bitblas_kernel_create", 0, make_kernel, undo_kernel, false},
    {"bitblas_kernel_destroy", KERNEL, end_kernel, NULL, true},
    {"bitblas_kernel_tensor_count", KERNEL, call_tensor_count, NULL, false},
    {"bitblas_kernel_tensor_info", KERNEL, call_tensor_info, NULL, false},
    {"bitblas_kernel_size_name", KERNEL, call_size_name, NULL, false},
    {"bitblas_kernel_tensor_bytes", KERNEL, call_tensor_bytes, NULL, false},
    {"bitblas_kernel_workspace_bytes", KERNEL, call_kernel_workspace, NULL, false},
    {"bitblas_kernel_pack", MATMUL_READY, call_pack, NULL, false},
    {"bitblas_kernel_source", KERNEL, call_kernel_source, NULL, false},
    {"bitblas_kernel_run", KERNEL | MEMORY, call_kernel_run, NULL, false},
    {"bitblas_matmul_create", 0, make_matmul, undo_matmul, false},
    {"bitblas_matmul_destroy", MATMUL_READY, end_matmul, NULL, true},
    {"bitblas_matmul_prepare", MATMUL, call_matmul_prepare, NULL, false},
    {"bitblas_matmul_operand_bytes", MATMUL, call_operand_bytes, NULL, false},
    {"bitblas_matmul_transform", MATMUL, call_transform, NULL, false},
    {"bitblas_matmul_transform_on_device", MATMUL_READY | MEMORY, call_transform_on_device, NULL, false},
    {"bitblas_matmul_workspace_bytes", MATMUL_READY, call_matmul_workspace, NULL, false},
    {"bitblas_matmul_get_source", MATMUL_READY, call_matmul_source, NULL, false},
    {"bitblas_matmul_run", MATMUL_READY | MEMORY, call_matmul_run, NULL, false},
    {"bitblas_matmul_profile_latency", MATMUL, call_profile_latency, NULL, false},
    {"bitblas_matmul_tune", MATMUL, call_tune, NULL, false},
    {"bitblas_linear_create", 0, make_linear, undo_linear, false},
    {"bitblas_linear_destroy", LINEAR_LOADED, end_linear, NULL, true},
    {"bitblas_linear_prepare", LINEAR, call_linear_prepare, NULL, false},
    {"bitblas_linear_load_values", LINEAR, call_load_values, NULL, false},
    {"bitblas_linear_load", LINEAR | WEIGHT, call_load, NULL, false},
    {"bitblas_linear_load_file", LINEAR, call_load_file, NULL, false},
    {"bitblas_linear_save", LINEAR_LOADED, call_save, NULL, false},
    {"bitblas_linear_config_for", WEIGHT, call_config_for, NULL, false},
    {"bitblas_linear_matmul", LINEAR, call_linear_matmul, NULL, false},
    {"bitblas_linear_workspace_bytes", LINEAR_LOADED, call_linear_workspace, NULL, false},
    {"bitblas_linear_forward", LINEAR_LOADED | MEMORY, call_forward, NULL, false},
    {"bitblas_flash_atten_create", 0, make_attention, undo_attention, false},
    {"bitblas_flash_atten_destroy", ATTENTION_READY, end_attention, NULL, true},
    {"bitblas_flash_atten_prepare", ATTENTION, call_attention_prepare, NULL, false},
    {"bitblas_flash_atten_workspace_bytes", ATTENTION_READY | MEMORY, call_attention_workspace, NULL, false},
    {"bitblas_flash_atten_get_source", ATTENTION_READY, call_attention_source, NULL, false},
    {"bitblas_flash_atten_run", ATTENTION_READY | MEMORY, call_attention_run, NULL, false},
    {"bitblas_checkpoint_open", 0, make_checkpoint, undo_checkpoint, false},
    {"bitblas_checkpoint_close", CHECKPOINT, end_checkpoint, NULL, true},
    {"bitblas_checkpoint_tensor_count", CHECKPOINT, call_checkpoint_count, NULL, false},
    {"bitblas_checkpoint_tensor_info", CHECKPOINT, call_checkpoint_info, NULL, false},
    {"bitblas_checkpoint_find", CHECKPOINT, call_find, NULL, false},
    {"bitblas_checkpoint_layer", CHECKPOINT, call_layer, NULL, false},
    {"bitblas_format_name", 0, call_format_name, NULL, false},
    {"bitblas_weight_read", CHECKPOINT, make_weight, undo_weight, false},
    {"bitblas_weight_destroy", WEIGHT, end_weight, NULL, true},
    {"bitblas_weight_describe", WEIGHT, call_describe, NULL, false},
    {"bitblas_weight_decode", WEIGHT, call_decode, NULL, false},
    {"bitblas_weight_stream", WEIGHT, call_stream, NULL, false},
};
enum { CONTRACT_CALLS = sizeof contract_calls / sizeof *contract_calls };

/* -- Before and after all of them ------------------------------------------------------------------------------------------- */

static int contract_open(void) {
  temporary_make(place.folder);
  snprintf(place.store, sizeof place.store, "%s/store", place.folder);
  snprintf(place.kept, sizeof place.kept, "%s/store/1", place.folder);
  snprintf(place.hidden, sizeof place.hidden, "%s/hidden", place.folder);
  snprintf(place.file, sizeof place.file, "%s/linear.safetensors", place.folder);
  scene s;
  scene_open(&s, LINEAR_LOADED);
  check(bitblas_linear_save(s.linear, place.file));
  scene_close(&s);
  return 0;
}

static int contract_close(void) {
  temporary_remove(place.folder);
  return 0;
}

#endif
