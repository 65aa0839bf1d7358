/* What ptxas says with -v, read back:
 *
 *   ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to ...
 *   ptxas info    : Compiling entry function 'scale' for 'sm_90a'
 *   ptxas info    : Function properties for scale
 *   ptxas         .     400 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
 *   ptxas info    : Used 168 registers, used 1 barriers, 400 bytes cumulative stack size, 256 bytes smem
 *
 * A line that does not look like this is passed over. */
#include "codegen/nvrtc.h"

#include <stdlib.h>
#include <string.h>

/* The number before `unit` in the line, or -1: "..., 256 bytes smem" has 256 before " bytes smem". */
static int64_t number_before(const char *line, const char *unit) {
  const char *at = strstr(line, unit);
  if (!at) return -1;
  const char *start = at;
  while (start > line && start[-1] >= '0' && start[-1] <= '9')
    start--;
  return start == at ? -1 : strtoll(start, NULL, 10);
}

static void set_if_there(int64_t *to, int64_t value) {
  if (value >= 0) *to = value;
}

/* The text between `before` and the next `end`, or NULL. */
static const char *quoted_after(const char *line, const char *before, char end, arena *a) {
  const char *at = strstr(line, before);
  if (!at) return NULL;
  at += strlen(before);
  const char *stop = strchr(at, end);
  return stop ? arena_strndup(a, at, (size_t)(stop - at)) : NULL;
}

static void read_line(const char *line, nvrtc_kernel_report *k) {
  set_if_there(&k->stack_bytes, number_before(line, " bytes stack frame"));
  set_if_there(&k->spill_store_bytes, number_before(line, " bytes spill stores"));
  set_if_there(&k->spill_load_bytes, number_before(line, " bytes spill loads"));
  set_if_there(&k->shared_bytes, number_before(line, " bytes smem"));
  set_if_there(&k->constant_bytes, number_before(line, " bytes cmem[0]"));
  int64_t registers = number_before(line, " registers"), barriers = number_before(line, " barriers");
  if (registers >= 0) k->registers = (int)registers;
  if (barriers >= 0) k->barriers = (int)barriers;
}

void nvrtc_read_log(const char *log, arena *a, nvrtc_result *result) {
  nvrtc_kernel_report *kernels = NULL;
  const char **warnings = NULL;
  int kernel_count = 0, kernel_capacity = 0, warning_count = 0, warning_capacity = 0;
  result->serialised = false;
  for (const char *at = log; *at;) {
    size_t length = strcspn(at, "\n");
    const char *line = arena_strndup(a, at, length);
    at += length + (at[length] == '\n');
    const char *entry = quoted_after(line, "Compiling entry function '", '\'', a);
    if (entry) {
      nvrtc_kernel_report fresh = {.entry = entry};
      ARENA_PUSH(a, kernels, kernel_count, kernel_capacity, fresh);
    } else if (strstr(line, "(C75") || strstr(line, "warning")) {
      if (!strncmp(line, "Remark:", 7)) continue; /* how to suppress warnings */
      ARENA_PUSH(a, warnings, warning_count, warning_capacity, line);
      result->serialised = result->serialised || strstr(line, "serialized") != NULL;
    } else if (kernel_count && strncmp(line, "ptxas", 5) == 0) {
      read_line(line, &kernels[kernel_count - 1]);
    }
  }
  result->kernels = kernels;
  result->kernel_count = kernel_count;
  result->warnings = warnings;
  result->warning_count = warning_count;
}
