/* bitblasc doctor: what of CUDA was found on this machine, and whether a kernel compiles and runs. */
#include "driver/main_session.h"

#include "driver/env.h"
#include "runtime/device.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Everything that the report shows; the two forms of the report are printed from it. */
typedef struct findings {
  nvrtc_places places;
  nvrtc *nvrtc;
  const char *nvrtc_error;
  int nvrtc_major, nvrtc_minor;
  double compile_ms; /* of the probe; negative: not compiled */
  const char *compile_log;
  cuda_driver driver;
  bool has_driver;
  runtime_message driver_message;
  device_facts *devices;
  int device_count;
  const char *cache;
  bool cache_writable;
} findings;

static const char probe_text[] = "extern \"C\" __global__ void probe(int *x) { x[threadIdx.x] = 42; }\n";

static void find_nvrtc(const command_line *command, arena *memory, findings *f) {
  nvrtc_search search = session_search(command, memory);
  f->nvrtc = nvrtc_open(&search, memory, &f->places, &f->nvrtc_error);
  f->compile_ms = -1;
  if (!f->nvrtc) return;
  nvrtc_version(f->nvrtc, &f->nvrtc_major, &f->nvrtc_minor);
  const nvrtc_options options = {.arch = ir_target_of(IR_SM_90A)->name};
  double start = session_now();
  nvrtc_result result = nvrtc_compile(f->nvrtc, probe_text, "probe.cu", &options, memory);
  if (result.status == NVRTC_OK)
    f->compile_ms = session_now() - start;
  else
    f->compile_log = result.log;
}

static void find_devices(arena *memory, findings *f) {
  f->has_driver = cuda_open(NULL, &f->driver, &f->driver_message) == RUNTIME_OK;
  int count = 0;
  if (!f->has_driver || device_count(&f->driver, &count, &f->driver_message) != RUNTIME_OK) return;
  f->devices = ARENA_ARRAY(memory, device_facts, count);
  for (int i = 0; i < count; i++) {
    device *d;
    if (device_open(&f->driver, i, &d, &f->driver_message) != RUNTIME_OK) continue;
    f->devices[f->device_count++] = *device_get_facts(d);
    device_close(d);
  }
}

/* Where the library keeps compiled kernels, and whether it could: the nearest directory that exists is writable. */
static void find_cache(arena *memory, findings *f) {
  f->cache = env_cache_directory(memory);
  if (!f->cache) return;
  char *at = arena_strdup(memory, f->cache);
  struct stat info;
  while (stat(at, &info) != 0) {
    char *slash = strrchr(at, '/');
    if (!slash || slash == at) break;
    *slash = '\0';
  }
  f->cache_writable = access(at, W_OK) == 0;
}

static void print_text(const findings *f) {
  printf("bitblasc  %s\n", BITBLASC_VERSION);
  if (f->nvrtc)
    printf("nvrtc     %d.%d  %s\n", f->nvrtc_major, f->nvrtc_minor, nvrtc_path(f->nvrtc));
  else
    printf("nvrtc     not found; everything up to --emit=cuda works, cubins do not\n");
  for (int i = 0; i < f->places.count; i++) {
    printf("          %s %s: %s\n", f->places.items[i].used ? "*" : "-", f->places.items[i].path,
           f->places.items[i].finding);
  }
  if (!f->nvrtc)
    printf("          install it with 'pip install nvidia-cuda-nvrtc' or with a CUDA toolkit, or give --nvrtc-path\n");
  if (f->compile_ms >= 0)
    printf("compile   a kernel for sm_90a: ok, %.0f ms\n", f->compile_ms);
  else if (f->compile_log)
    printf("compile   a kernel for sm_90a: failed: %s\n", f->compile_log);
  if (f->has_driver)
    printf("driver    libcuda.so.1, %d GPU%s\n", f->device_count, f->device_count == 1 ? "" : "s");
  else
    printf("driver    %s; compiling and the emulator work, the GPU does not\n", f->driver_message.text);
  for (int i = 0; i < f->device_count; i++) {
    const device_facts *d = &f->devices[i];
    printf("gpu %-5d %s, compute capability %d.%d, %d SMs, %d bytes of shared memory a block, CUDA %d.%d\n", d->ordinal,
           d->name, d->capability_major, d->capability_minor, d->sm_count, d->shared_optin_bytes,
           d->driver_version / 1000, d->driver_version % 1000 / 10);
  }
  if (f->cache)
    printf("cache     %s, %s\n", f->cache, f->cache_writable ? "writable" : "not writable");
  else
    printf("cache     none: neither BITBLASC_CACHE_DIR nor XDG_CACHE_HOME nor HOME is set\n");
}

static void print_json(const findings *f) {
  json_t *places = json_array();
  for (int i = 0; i < f->places.count; i++) {
    const nvrtc_place *p = &f->places.items[i];
    json_array_append_new(places,
                          json_pack("{s:s, s:s, s:b}", "path", p->path, "finding", p->finding, "used", p->used));
  }
  json_t *gpus = json_array();
  for (int i = 0; i < f->device_count; i++) {
    const device_facts *d = &f->devices[i];
    json_array_append_new(gpus, json_pack("{s:i, s:s, s:i, s:i, s:i, s:i, s:i}", "ordinal", d->ordinal, "name", d->name,
                                          "capability_major", d->capability_major, "capability_minor",
                                          d->capability_minor, "sm_count", d->sm_count, "shared_optin_bytes",
                                          d->shared_optin_bytes, "driver_version", d->driver_version));
  }
  json_t *nvrtc_found = f->nvrtc ? json_pack("{s:s, s:i, s:i}", "path", nvrtc_path(f->nvrtc), "major", f->nvrtc_major,
                                             "minor", f->nvrtc_minor)
                                 : json_null();
  json_t *all = json_pack("{s:s, s:o, s:o, s:b, s:b, s:o, s:s?, s:b}", "version", BITBLASC_VERSION, "nvrtc",
                          nvrtc_found, "places", places, "compiles", f->compile_ms >= 0, "driver", f->has_driver,
                          "gpus", gpus, "cache", f->cache, "cache_writable", f->cache_writable);
  char *text = json_dumps(all, JSON_INDENT(2));
  if (text) puts(text);
  free(text);
  json_decref(all);
}

int command_doctor(const command_line *command, arena *memory) {
  if (command->inputs.count) return usage_error("doctor takes no file");
  findings f = {0};
  find_nvrtc(command, memory, &f);
  find_devices(memory, &f);
  find_cache(memory, &f);
  if (command_has(command, OPTION_JSON))
    print_json(&f);
  else
    print_text(&f);
  bool well = f.compile_ms >= 0;
  nvrtc_close(f.nvrtc);
  return well ? 0 : COMPILE_ENVIRONMENT;
}
