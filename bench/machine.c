#include "bench/machine.h"

#include "lib/context.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SCRATCH_BYTES = 256 << 20 }; /* takes about 100 us to fill */

bool complain(complaint *c, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(c->text, sizeof c->text, format, args);
  va_end(args);
  return false;
}

bool is_done(bitblas_status status, const char *what, complaint *problem) {
  if (status == BITBLAS_OK) return true;
  return complain(problem, "%s: %s: %s", what, bitblas_status_name(status), bitblas_last_message());
}

static bool is_cuda_done(const machine *m, int result, const char *what, complaint *problem) {
  const char *text = NULL;
  if (result == CUDA_OK) return true;
  m->driver->get_error_string(result, &text);
  return complain(problem, "%s: %s", what, text ? text : "unknown error");
}

static bool find_graphs(graph_driver *g, complaint *problem) {
  void *libcuda = dlopen("libcuda.so.1", RTLD_NOW);
  const struct {
    void *member;
    const char *symbol;
  } wanted[] = {{&g->begin, "cuStreamBeginCapture_v2"}, {&g->end, "cuStreamEndCapture"},
                {&g->launch, "cuGraphLaunch"},          {&g->instantiate, "cuGraphInstantiateWithFlags"},
                {&g->destroy, "cuGraphDestroy"},        {&g->destroy_ready, "cuGraphExecDestroy"}};
  for (size_t i = 0; libcuda && i < sizeof wanted / sizeof *wanted; i++) {
    void *found = dlsym(libcuda, wanted[i].symbol);
    if (!found) return complain(problem, "the driver has no %s", wanted[i].symbol);
    memcpy(wanted[i].member, &found, sizeof found);
  }
  return libcuda ? true : complain(problem, "libcuda.so.1: %s", dlerror());
}

/* The clock is there for the reader of a table: without NVML it is 0. */
static void find_clocks(machine *m) {
  void *libcuda = dlopen("libcuda.so.1", RTLD_NOW), *nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  int (*get_bus)(char *text, int size, cuda_device gpu) = NULL;
  int (*start)(void) = NULL, (*find)(const char *bus, void **gpu) = NULL;
  const struct {
    void *library, *member;
    const char *symbol;
  } wanted[] = {{libcuda, &get_bus, "cuDeviceGetPCIBusId"},
                {nvml, &start, "nvmlInit_v2"},
                {nvml, &find, "nvmlDeviceGetHandleByPciBusId_v2"},
                {nvml, &m->clocks.read, "nvmlDeviceGetClockInfo"}};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    void *found = wanted[i].library ? dlsym(wanted[i].library, wanted[i].symbol) : NULL;
    if (!found) return;
    memcpy(wanted[i].member, &found, sizeof found);
  }
  char bus[64];
  cuda_device first;
  if (m->driver->device_get(&first, 0) != CUDA_OK || get_bus(bus, sizeof bus, first) != CUDA_OK || start() != 0 ||
      find(bus, &m->clocks.device) != 0)
    m->clocks.device = NULL;
}

int machine_clock_mhz(const machine *m) {
  enum { NVML_CLOCK_SM = 1 };
  unsigned mhz = 0;
  return m->clocks.device && m->clocks.read(m->clocks.device, NVML_CLOCK_SM, &mhz) == 0 ? (int)mhz : 0;
}

/* A second context on the GPU whose kernels are written for sm_80. The library has no such choice: it takes the best code
 * that a GPU runs. */
static bool open_older(machine *m, complaint *problem) {
  if (!is_done(bitblas_context_create(NULL, &m->older), "opening the GPU", problem)) return false;
  const device_facts *facts = device_get_facts(m->device);
  m->older->target = IR_SM_80;
  m->older->machine = arena_printf(m->older->memory, "sm_%d", 10 * facts->capability_major + facts->capability_minor);
  return true;
}

static bool open_gpu(machine *m, complaint *problem) {
  runtime_message message = {""};
  m->device = m->context->device;
  m->driver = &m->context->driver;
  m->l2_bytes = (size_t)device_get_facts(m->device)->l2_bytes;
  m->scratch_bytes = SCRATCH_BYTES;
  if (device_enter(m->device, &message) != RUNTIME_OK) return complain(problem, "%s", message.text);
  find_clocks(m);
  return is_cuda_done(m, m->driver->stream_create(&m->stream, CUDA_STREAM_NON_BLOCKING), "making a stream", problem) &&
         find_graphs(&m->graphs, problem) && open_older(m, problem) &&
         is_done(bitblas_allocate(m->context, m->scratch_bytes, &m->scratch), "scratch memory", problem);
}

bool machine_open(machine *m, bool emulator, bool *is_absent, complaint *problem) {
  *m = (machine){0};
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  if (emulator) config.device = BITBLAS_DEVICE_EMULATOR;
  bitblas_status status = bitblas_context_create(&config, &m->context);
  *is_absent = status == BITBLAS_ERROR_NO_DRIVER || status == BITBLAS_ERROR_NO_DEVICE;
  if (!is_done(status, emulator ? "opening the emulator" : "opening the GPU", problem)) return false;
  if (!emulator) return open_gpu(m, problem);
  config.target = "sm_80";
  return is_done(bitblas_context_create(&config, &m->older), "opening the emulator", problem);
}

void machine_close(machine *m) {
  if (m->context) bitblas_free(m->context, m->scratch);
  if (m->stream) m->driver->stream_destroy(m->stream);
  if (m->device) device_leave(m->device);
  bitblas_context_destroy(m->older);
  bitblas_context_destroy(m->context);
  *m = (machine){0};
}

bool machine_copy(const machine *m, void *to, const void *from, size_t bytes, complaint *problem) {
  if (m->driver)
    return is_cuda_done(m, m->driver->memory_copy((uintptr_t)to, (uintptr_t)from, bytes, m->stream), "copying",
                        problem);
  memcpy(to, from, bytes);
  return true;
}

bool machine_fill(const machine *m, void *to, unsigned char value, size_t bytes, complaint *problem) {
  if (m->driver)
    return is_cuda_done(m, m->driver->memory_fill((uintptr_t)to, value, bytes, m->stream), "filling", problem);
  memset(to, value, bytes);
  return true;
}

bool machine_read(const machine *m, void *to, const void *from, size_t bytes, complaint *problem) {
  return is_done(bitblas_download(m->context, to, from, bytes, m->stream), "reading a result", problem) &&
         machine_wait(m, problem);
}

bool machine_wait(const machine *m, complaint *problem) {
  return is_done(bitblas_synchronize(m->context, m->stream), "waiting", problem);
}
