#include "runtime/device.h"

#include <stdbool.h>
#include <stdlib.h>

struct device {
  const cuda_driver *driver;
  cuda_device handle;
  cuda_context context;
  bool owned; /* the primary context, retained by us */
  device_facts facts;
};

runtime_status device_count(const cuda_driver *driver, int *count, runtime_message *message) {
  int result = driver->device_get_count(count);
  return result == CUDA_OK ? RUNTIME_OK : cuda_fail(driver, message, "counting devices", result);
}

static int read_facts(const cuda_driver *driver, cuda_device handle, device_facts *facts) {
  const struct {
    int attribute;
    int *value;
  } wanted[] = {
      {CUDA_DEVICE_CAPABILITY_MAJOR, &facts->capability_major},
      {CUDA_DEVICE_CAPABILITY_MINOR, &facts->capability_minor},
      {CUDA_DEVICE_SM_COUNT, &facts->sm_count},
      {CUDA_DEVICE_SHARED_OPTIN_BYTES, &facts->shared_optin_bytes},
      {CUDA_DEVICE_L2_BYTES, &facts->l2_bytes},
      {CUDA_DEVICE_CLOCK_KHZ, &facts->clock_khz},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    int result = driver->device_get_attribute(wanted[i].value, wanted[i].attribute, handle);
    if (result != CUDA_OK) return result;
  }
  int result = driver->device_get_name(facts->name, sizeof facts->name, handle);
  if (result == CUDA_OK) result = driver->device_total_memory(&facts->memory_bytes, handle);
  if (result == CUDA_OK) result = driver->driver_get_version(&facts->driver_version);
  return result;
}

runtime_status device_open(const cuda_driver *driver, int ordinal, device **out, runtime_message *message) {
  int count = 0;
  runtime_status status = device_count(driver, &count, message);
  if (status != RUNTIME_OK) return status;
  if (ordinal < 0 || ordinal >= count)
    return runtime_fail(message, RUNTIME_NO_DEVICE, "no GPU number %d: there are %d", ordinal, count);
  device *d = calloc(1, sizeof *d);
  if (!d) return runtime_fail(message, RUNTIME_OUT_OF_MEMORY, "no memory to open a GPU");
  d->driver = driver;
  d->facts.ordinal = ordinal;
  int result = driver->device_get(&d->handle, ordinal);
  if (result == CUDA_OK) result = read_facts(driver, d->handle, &d->facts);
  if (result == CUDA_OK) result = driver->primary_context_retain(&d->context, d->handle);
  d->owned = result == CUDA_OK;
  if (result != CUDA_OK) {
    free(d);
    return cuda_fail(driver, message, "opening the GPU", result);
  }
  *out = d;
  return RUNTIME_OK;
}

/* The number that the driver counts this device by; 0 when it does not say. */
static int ordinal_of(const cuda_driver *driver, cuda_device handle) {
  int count = 0;
  if (driver->device_get_count(&count) != CUDA_OK) return 0;
  for (int i = 0; i < count; i++) {
    cuda_device other;
    if (driver->device_get(&other, i) == CUDA_OK && other == handle) return i;
  }
  return 0;
}

runtime_status device_open_current(const cuda_driver *driver, device **out, runtime_message *message) {
  cuda_context context = NULL;
  if (driver->context_get_current(&context) != CUDA_OK || !context)
    return runtime_fail(message, RUNTIME_NO_DEVICE, "no CUDA context is current in this thread");
  device *d = calloc(1, sizeof *d);
  if (!d) return runtime_fail(message, RUNTIME_OUT_OF_MEMORY, "no memory to open a GPU");
  d->driver = driver;
  d->context = context;
  int result = driver->context_get_device(&d->handle);
  if (result == CUDA_OK) result = read_facts(driver, d->handle, &d->facts);
  if (result != CUDA_OK) {
    free(d);
    return cuda_fail(driver, message, "opening the current context", result);
  }
  d->facts.ordinal = ordinal_of(driver, d->handle);
  *out = d;
  return RUNTIME_OK;
}

void device_close(device *d) {
  if (!d) return;
  if (d->owned) d->driver->primary_context_release(d->handle);
  free(d);
}

const device_facts *device_get_facts(const device *d) { return &d->facts; }
const cuda_driver *device_driver(const device *d) { return d->driver; }

runtime_status device_enter(device *d, runtime_message *message) {
  int result = d->driver->context_push(d->context);
  return result == CUDA_OK ? RUNTIME_OK : cuda_fail(d->driver, message, "entering the GPU's context", result);
}

void device_leave(device *d) {
  cuda_context popped = NULL;
  d->driver->context_pop(&popped);
}

/* Leaves the context and turns the driver's answer into ours. */
static runtime_status finish(device *d, const char *what, int result, runtime_message *message) {
  runtime_status status = result == CUDA_OK ? RUNTIME_OK : cuda_fail(d->driver, message, what, result);
  device_leave(d);
  return status;
}

runtime_status device_allocate(device *d, size_t bytes, cuda_address *address, runtime_message *message) {
  *address = 0;
  if (bytes == 0) return RUNTIME_OK;
  runtime_status status = device_enter(d, message);
  if (status != RUNTIME_OK) return status;
  int result = d->driver->memory_allocate(address, bytes);
  if (result == CUDA_OUT_OF_MEMORY) {
    device_leave(d);
    return runtime_fail(message, RUNTIME_OUT_OF_MEMORY, "the GPU has no %zu bytes of memory left", bytes);
  }
  return finish(d, "allocating GPU memory", result, message);
}

void device_free(device *d, cuda_address address) {
  if (!address || device_enter(d, NULL) != RUNTIME_OK) return;
  d->driver->memory_free(address);
  device_leave(d);
}

runtime_status device_upload(device *d, cuda_address to, const void *from, size_t bytes, cuda_stream stream,
                             runtime_message *message) {
  if (bytes == 0) return RUNTIME_OK;
  runtime_status status = device_enter(d, message);
  if (status != RUNTIME_OK) return status;
  return finish(d, "copying to the GPU", d->driver->memory_upload(to, from, bytes, stream), message);
}

runtime_status device_download(device *d, void *to, cuda_address from, size_t bytes, cuda_stream stream,
                               runtime_message *message) {
  if (bytes == 0) return RUNTIME_OK;
  runtime_status status = device_enter(d, message);
  if (status != RUNTIME_OK) return status;
  return finish(d, "copying from the GPU", d->driver->memory_download(to, from, bytes, stream), message);
}

runtime_status device_fill(device *d, cuda_address to, unsigned char value, size_t bytes, cuda_stream stream,
                           runtime_message *message) {
  if (bytes == 0) return RUNTIME_OK;
  runtime_status status = device_enter(d, message);
  if (status != RUNTIME_OK) return status;
  return finish(d, "filling GPU memory", d->driver->memory_fill(to, value, bytes, stream), message);
}

runtime_status device_stream_create(device *d, cuda_stream *stream, runtime_message *message) {
  runtime_status status = device_enter(d, message);
  if (status != RUNTIME_OK) return status;
  return finish(d, "making a stream", d->driver->stream_create(stream, CUDA_STREAM_NON_BLOCKING), message);
}

void device_stream_destroy(device *d, cuda_stream stream) {
  if (!stream || device_enter(d, NULL) != RUNTIME_OK) return;
  d->driver->stream_destroy(stream);
  device_leave(d);
}

runtime_status device_synchronize(device *d, cuda_stream stream, runtime_message *message) {
  runtime_status status = device_enter(d, message);
  if (status != RUNTIME_OK) return status;
  return finish(d, "waiting for the GPU", d->driver->stream_synchronize(stream), message);
}
