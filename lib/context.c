#include "lib/context.h"

#include "driver/env.h"
#include "driver/toolchain.h"
#include "support/diag.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_ALIGNMENT = 256 };

void context_retain(bitblas_context *c) { atomic_fetch_add(&c->users, 1); }

void context_release(bitblas_context *c) {
  if (atomic_fetch_sub(&c->users, 1) != 1) return;
  for (lib_memo *m = c->memos; m;) {
    arena *memory = m->memory;
    m = m->next;
    arena_destroy(memory);
  }
  nvrtc_close(c->nvrtc);
  store_close(c->store);
  device_close(c->device);
  pthread_cond_destroy(&c->landed);
  pthread_mutex_destroy(&c->lock);
  arena_destroy(c->memory);
  free(c);
}

bool context_is_emulator(const bitblas_context *c) { return !c->device; }

void context_log(bitblas_context *c, bitblas_log_level level, const char *format, ...) {
  if (!c->log || level > c->log_level) return;
  str line = STR_EMPTY;
  va_list args;
  va_start(args, format);
  str_vprintf(&line, format, args);
  va_end(args);
  c->log(c->log_user, level, str_text(&line));
  str_free(&line);
}

/* -- NVRTC --------------------------------------------------------------------------------------------------------- */

/* The directory nvrtc/ beside this library, where a package may have put it. */
static const char *beside_library(arena *memory) {
  static const char inside = 0; /* has an address in the library */
  Dl_info info;
  if (!dladdr(&inside, &info) || !info.dli_fname) return NULL;
  const char *slash = strrchr(info.dli_fname, '/');
  return slash ? arena_printf(memory, "%.*s/nvrtc", (int)(slash - info.dli_fname), info.dli_fname) : NULL;
}

static nvrtc *open_nvrtc(const bitblas_context *c, arena *memory, const char **error) {
  const char *root = env_get(ENV_CUDA_HOME);
  const toolchain_hints hints = {.nvrtc_path = c->nvrtc_path,
                                 .directory = beside_library(memory),
                                 .cuda_root = root ? root : env_get(ENV_CUDA_PATH),
                                 .virtual_env = env_get(ENV_VIRTUAL_ENV),
                                 .home = env_get(ENV_HOME)};
  const nvrtc_search search = toolchain_search(memory, &hints);
  return nvrtc_open(&search, memory, NULL, error);
}

bitblas_status context_nvrtc(bitblas_context *c, const nvrtc **out) {
  bitblas_status status = BITBLAS_OK;
  arena *memory = arena_create();
  pthread_mutex_lock(&c->lock);
  if (!c->nvrtc) {
    const char *error = "";
    c->nvrtc = open_nvrtc(c, memory, &error);
    if (!c->nvrtc) status = lib_fail(BITBLAS_ERROR_NO_NVRTC, "%s", error);
  }
  *out = c->nvrtc;
  pthread_mutex_unlock(&c->lock);
  arena_destroy(memory);
  return status;
}

/* -- Opening ------------------------------------------------------------------------------------------------------- */

/* The target of a GPU: its own, or the newest older one whose code runs on it when it is compiled for it (only code
 * that uses one architecture's own instructions, sm_90a, does not). */
static bool target_of_gpu(bitblas_context *c, const device_facts *facts) {
  char name[32];
  static const char *const suffixes[] = {"a", ""};
  for (int i = 0; i < 2; i++) {
    snprintf(name, sizeof name, "sm_%d%d%s", facts->capability_major, facts->capability_minor, suffixes[i]);
    int found = ir_target_by_name(name);
    if (found < 0) continue;
    c->target = (ir_target)found;
    return true;
  }
  int capability = 10 * facts->capability_major + facts->capability_minor, best = 0;
  for (int i = 0; i < IR_TARGET_COUNT; i++) {
    const char *text = ir_target_of((ir_target)i)->name;
    char *end;
    long number = strtol(text + strlen("sm_"), &end, 10);
    if (*end || number > capability || number <= best) continue;
    best = (int)number;
    c->target = (ir_target)i;
  }
  c->machine = arena_printf(c->memory, "sm_%d", capability);
  return best > 0;
}

static bitblas_status open_gpu(bitblas_context *c, const bitblas_context_config *config) {
  runtime_message message = {""};
  runtime_status status = cuda_open(NULL, &c->driver, &message);
  if (status == RUNTIME_OK)
    status = config->device == BITBLAS_DEVICE_CURRENT ? device_open_current(&c->driver, &c->device, &message)
                                                      : device_open(&c->driver, config->ordinal, &c->device, &message);
  if (status != RUNTIME_OK) return lib_runtime(status, &message);
  const device_facts *facts = device_get_facts(c->device);
  c->speed = ir_target_by_capability(10 * facts->capability_major + facts->capability_minor);
  c->sms = facts->sm_count;
  if (target_of_gpu(c, facts)) return BITBLAS_OK;
  return lib_fail(BITBLAS_ERROR_UNSUPPORTED, "%s is of compute capability %d.%d; kernels are made for 8.0 and above",
                  facts->name, facts->capability_major, facts->capability_minor);
}

static bitblas_status open_emulator(bitblas_context *c, const char *name) {
  if (!name) name = env_get(ENV_TARGET);
  int target = name ? ir_target_by_name(name) : IR_SM_90A;
  if (target < 0) return lib_fail(BITBLAS_ERROR_ARGUMENT, "there is no target '%s'", name);
  c->target = (ir_target)target;
  return BITBLAS_OK;
}

static void open_store(bitblas_context *c, const bitblas_context_config *config) {
  const char *directory = config->cache_directory ? config->cache_directory : env_cache_directory(c->memory);
  c->store = store_open(directory, config->cache_bytes > 0 ? config->cache_bytes : env_cache_bytes());
}

bitblas_status bitblas_context_create(const bitblas_context_config *given, bitblas_context **out) {
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  if (!out) return lib_fail(BITBLAS_ERROR_ARGUMENT, "context is null");
  *out = NULL;
  bitblas_status status = given ? lib_take_config("config", given, &config, sizeof config, sizeof config) : BITBLAS_OK;
  if (status != BITBLAS_OK) return status;
  if (config.device < BITBLAS_DEVICE_GPU || config.device > BITBLAS_DEVICE_EMULATOR)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.device is %d, which is no device", (int)config.device);
  if (config.target && config.device != BITBLAS_DEVICE_EMULATOR)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.target is '%s'; a GPU is its own target", config.target);
  bitblas_context *c = calloc(1, sizeof *c);
  ASSERT(c);
  atomic_init(&c->users, 1);
  pthread_mutex_init(&c->lock, NULL);
  pthread_cond_init(&c->landed, NULL);
  c->memory = arena_create();
  c->log = config.log;
  c->log_user = config.log_user;
  c->log_level = config.log_level;
  const char *nvrtc_path = config.nvrtc_path ? config.nvrtc_path : env_get(ENV_NVRTC_PATH);
  c->nvrtc_path = nvrtc_path ? arena_strdup(c->memory, nvrtc_path) : NULL;
  open_store(c, &config);
  status = config.device == BITBLAS_DEVICE_EMULATOR ? open_emulator(c, config.target) : open_gpu(c, &config);
  if (status != BITBLAS_OK) {
    context_release(c);
    return status;
  }
  context_log(c, BITBLAS_LOG_INFO, "%s, target %s", bitblas_context_device_name(c), bitblas_context_target(c));
  *out = c;
  return BITBLAS_OK;
}

void bitblas_context_destroy(bitblas_context *context) {
  if (context) context_release(context);
}

const char *bitblas_context_target(const bitblas_context *context) { return ir_target_of(context->target)->name; }

const char *bitblas_context_device_name(const bitblas_context *context) {
  return context->device ? device_get_facts(context->device)->name : "emulator";
}

/* -- Memory -------------------------------------------------------------------------------------------------------- */

bitblas_status bitblas_allocate(bitblas_context *context, size_t bytes, void **address) {
  if (!context || !address) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", context ? "address" : "context");
  *address = NULL;
  if (!bytes) return BITBLAS_OK;
  if (context->device) {
    runtime_message message = {""};
    cuda_address at = 0;
    runtime_status status = device_allocate(context->device, bytes, &at, &message);
    *address = (void *)(uintptr_t)at;
    return lib_runtime(status, &message);
  }
  if (bytes > SIZE_MAX / 2 || !(*address = aligned_alloc(MEMORY_ALIGNMENT, (bytes + MEMORY_ALIGNMENT - 1) /
                                                                               MEMORY_ALIGNMENT * MEMORY_ALIGNMENT)))
    return lib_fail(BITBLAS_ERROR_MEMORY, "no memory for a tensor of %zu bytes", bytes);
  return BITBLAS_OK;
}

bitblas_status bitblas_free(bitblas_context *context, void *address) {
  if (!context) return lib_fail(BITBLAS_ERROR_ARGUMENT, "context is null");
  if (context->device)
    device_free(context->device, (cuda_address)(uintptr_t)address);
  else
    free(address);
  return BITBLAS_OK;
}

static bitblas_status check_copy(const bitblas_context *context, const void *to, const void *from, size_t bytes) {
  if (!context) return lib_fail(BITBLAS_ERROR_ARGUMENT, "context is null");
  if (bytes && (!to || !from)) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", to ? "from" : "to");
  return BITBLAS_OK;
}

bitblas_status bitblas_upload(bitblas_context *context, void *to, const void *from, size_t bytes,
                              bitblas_stream stream) {
  bitblas_status status = check_copy(context, to, from, bytes);
  if (status != BITBLAS_OK || !bytes) return status;
  runtime_message message = {""};
  if (context->device)
    return lib_runtime(device_upload(context->device, (cuda_address)(uintptr_t)to, from, bytes, stream, &message),
                       &message);
  memmove(to, from, bytes);
  return BITBLAS_OK;
}

bitblas_status bitblas_download(bitblas_context *context, void *to, const void *from, size_t bytes,
                                bitblas_stream stream) {
  bitblas_status status = check_copy(context, to, from, bytes);
  if (status != BITBLAS_OK || !bytes) return status;
  runtime_message message = {""};
  if (context->device)
    return lib_runtime(device_download(context->device, to, (cuda_address)(uintptr_t)from, bytes, stream, &message),
                       &message);
  memmove(to, from, bytes);
  return BITBLAS_OK;
}

bitblas_status bitblas_synchronize(bitblas_context *context, bitblas_stream stream) {
  if (!context) return lib_fail(BITBLAS_ERROR_ARGUMENT, "context is null");
  runtime_message message = {""};
  return context->device ? lib_runtime(device_synchronize(context->device, stream, &message), &message) : BITBLAS_OK;
}
