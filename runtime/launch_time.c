/* Timing by events. Everything is enqueued before anything is waited for, so that the GPU never waits for the host
 * between samples. */
#include "runtime/launch.h"

#include <stdlib.h>

typedef struct stopwatch {
  device *device;
  const cuda_driver *driver;
  launch_call **calls; /* one an argument set */
  int call_count;
  cuda_event *events; /* one before each sample and one after the last */
  int sample_count;
  int launches_per_sample;
  int next_call;
  cuda_stream stream;
} stopwatch;

static int by_time(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static runtime_status run_calls(stopwatch *w, int count, runtime_message *message) {
  for (int i = 0; i < count; i++) {
    runtime_status status = launch_enqueue(w->calls[w->next_call], w->stream, message);
    if (status != RUNTIME_OK) return status;
    w->next_call = (w->next_call + 1) % w->call_count;
  }
  return RUNTIME_OK;
}

static runtime_status run_samples(stopwatch *w, int warmups, runtime_message *message) {
  runtime_status status = run_calls(w, warmups, message);
  for (int i = 0; status == RUNTIME_OK && i <= w->sample_count; i++) {
    int result = w->driver->event_create(&w->events[i], 0);
    if (result != CUDA_OK) status = cuda_fail(w->driver, message, "making an event", result);
  }
  for (int i = 0; status == RUNTIME_OK && i <= w->sample_count; i++) {
    int result = w->driver->event_record(w->events[i], w->stream);
    if (result != CUDA_OK)
      status = cuda_fail(w->driver, message, "recording an event", result);
    else if (i < w->sample_count)
      status = run_calls(w, w->launches_per_sample, message);
  }
  if (status != RUNTIME_OK) return status;
  int result = w->driver->event_synchronize(w->events[w->sample_count]);
  return result == CUDA_OK ? RUNTIME_OK : cuda_fail(w->driver, message, "waiting for the timed launches", result);
}

static runtime_status read_times(stopwatch *w, float *times_ms, launch_timing *timing, runtime_message *message) {
  for (int i = 0; i < w->sample_count; i++) {
    int result = w->driver->event_elapsed(&times_ms[i], w->events[i], w->events[i + 1]);
    if (result != CUDA_OK) return cuda_fail(w->driver, message, "reading a time", result);
  }
  int n = w->sample_count;
  qsort(times_ms, (size_t)n, sizeof *times_ms, by_time);
  double us = 1000.0 / w->launches_per_sample;
  timing->least_us = us * times_ms[0];
  timing->median_us = us * ((double)times_ms[(n - 1) / 2] + times_ms[n / 2]) / 2;
  timing->most_us = us * times_ms[n - 1];
  return RUNTIME_OK;
}

runtime_status launch_time(launch_kernel *k, const launch_arguments *sets, int set_count,
                           const launch_timing_options *options, cuda_stream stream, launch_timing *timing,
                           runtime_message *message) {
  if (set_count < 1) return runtime_fail(message, RUNTIME_BAD_ARGUMENT, "no arguments to time a launch with");
  stopwatch w = {.device = launch_device(k),
                 .driver = device_driver(launch_device(k)),
                 .call_count = set_count,
                 .sample_count = options && options->samples > 0 ? options->samples : 20,
                 .launches_per_sample = options && options->launches_per_sample > 0 ? options->launches_per_sample : 1,
                 .stream = stream};
  w.calls = calloc((size_t)set_count, sizeof *w.calls);
  w.events = calloc((size_t)w.sample_count + 1, sizeof *w.events);
  float *times_ms = calloc((size_t)w.sample_count, sizeof *times_ms);
  runtime_status status = RUNTIME_OK;
  if (!w.calls || !w.events || !times_ms)
    status = runtime_fail(message, RUNTIME_OUT_OF_MEMORY, "no memory to time a kernel");
  for (int i = 0; status == RUNTIME_OK && i < set_count; i++)
    status = launch_prepare(k, &sets[i], &w.calls[i], message);
  if (status == RUNTIME_OK) status = device_enter(w.device, message);
  if (status == RUNTIME_OK) {
    status = run_samples(&w, options && options->warmups > 0 ? options->warmups : 3, message);
    if (status == RUNTIME_OK) status = read_times(&w, times_ms, timing, message);
    for (int i = 0; i <= w.sample_count; i++)
      if (w.events[i]) w.driver->event_destroy(w.events[i]);
    device_leave(w.device);
  }
  for (int i = 0; w.calls && i < set_count; i++)
    launch_call_free(w.calls[i]);
  free(w.calls);
  free(w.events);
  free(times_ms);
  return status;
}
