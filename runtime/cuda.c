#include "runtime/cuda.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

/* As cuda.h 13.0 lays them out on 64-bit hosts. */
_Static_assert(sizeof(cuda_tensor_map) == 128 && _Alignof(cuda_tensor_map) == 64, "CUtensorMap");
_Static_assert(sizeof(cuda_launch_attribute) == 72 && offsetof(cuda_launch_attribute, value) == 8, "CUlaunchAttribute");
_Static_assert(sizeof(cuda_launch_config) == 56, "CUlaunchConfig");
_Static_assert(offsetof(cuda_launch_config, shared_bytes) == 24 && offsetof(cuda_launch_config, stream) == 32 &&
                   offsetof(cuda_launch_config, attributes) == 40 &&
                   offsetof(cuda_launch_config, attribute_count) == 48,
               "CUlaunchConfig");

/* Object and function pointers are of one size wherever dlsym is: POSIX. */
static void resolve(void *library, const char *symbol, void *function) {
  void *address = dlsym(library, symbol);
  memcpy(function, &address, sizeof address);
}

/* The first needed entry point that is missing, or NULL. */
static const char *fill_table(void *library, cuda_driver *driver) {
#define CUDA_API(member, symbol, needed, arguments)                                                                    \
  resolve(library, symbol, &driver->member);                                                                           \
  if (needed && !driver->member) return symbol;
#include "runtime/cuda_api.def"
#undef CUDA_API
  return NULL;
}

runtime_status cuda_open(const char *path, cuda_driver *driver, runtime_message *message) {
  void *library = dlopen(path ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return runtime_fail(message, RUNTIME_NO_DRIVER, "no CUDA driver: %s", dlerror());
  const char *missing = fill_table(library, driver);
  if (missing) {
    dlclose(library);
    return runtime_fail(message, RUNTIME_NO_DRIVER, "the CUDA driver is too old: it has no %s", missing);
  }
  int result = driver->init(0);
  if (result == CUDA_OK) return RUNTIME_OK;
  const char *text = NULL;
  driver->get_error_string(result, &text);
  return runtime_fail(message, RUNTIME_NO_DRIVER, "the CUDA driver does not start: %s (%d)",
                      text ? text : "unknown error", result);
}

runtime_status cuda_fail(const cuda_driver *driver, runtime_message *message, const char *what, int result) {
  const char *name = NULL, *text = NULL;
  driver->get_error_name(result, &name);
  driver->get_error_string(result, &text);
  runtime_status status = result == CUDA_OUT_OF_MEMORY       ? RUNTIME_OUT_OF_MEMORY
                          : result == CUDA_NO_BINARY_FOR_GPU ? RUNTIME_WRONG_TARGET
                                                             : RUNTIME_DRIVER;
  return runtime_fail(message, status, "%s: %s (%s)", what, text ? text : "unknown error", name ? name : "no name");
}
