/* bitblasc run on a cubin: everything that is known of the kernel is in its record. */
#include "driver/main_run.h"

#include "codegen/elf_note.h"
#include "driver/output.h"
#include "ir/events.h"

#include <stdio.h>
#include <string.h>

static const src_loc nowhere;

static int take_record_tensors(run *r, const record *rec, const int64_t *sizes, data_tensor **out) {
  runtime_message message = {""};
  for (int i = 0; i < rec->tensor_count; i++) {
    const record_tensor *t = &rec->tensors[i];
    data_tensor shape = {.name = t->name, .type = ir_type_by_name(t->type, strlen(t->type)), .rank = t->rank};
    if (shape.type == IR_TYPE_NONE)
      return run_fail(r, COMPILE_INPUT, "tensor %s has the unknown type %s", t->name, t->type);
    if (launch_tensor_extents(rec, sizes, i, shape.extent, &message) != RUNTIME_OK)
      return run_fail(r, COMPILE_INPUT, "%s", message.text);
    int64_t strides[RECORD_RANK_MAX];
    bool strided = t->rank > 0 && t->strides[0];
    const char *error;
    for (int d = 0; strided && d < t->rank; d++) {
      if (!size_evaluate(t->strides[d], sizes, rec->size_count, &strides[d], &error))
        return run_fail(r, COMPILE_INPUT, "%s: %s", t->name, error);
    }
    if (!data_shape(&shape, strided ? strides : NULL))
      return run_fail(r, COMPILE_INPUT, "tensor %s is too large", t->name);
    int status = run_take_tensor(r, &shape, t->access != RECORD_IN, t->access != RECORD_OUT, false, nowhere, &out[i]);
    if (status) return status;
  }
  return 0;
}

int run_cubin(run *r, const char *path) {
  str error = STR_EMPTY;
  size_t size, note_size;
  const char *image = output_read(r->s.memory, path, &size, &error), *reason = "";
  int status = image ? 0 : run_fail(r, COMPILE_INPUT, "%s", str_text(&error));
  str_free(&error);
  if (status) return status;
  const char *note = elf_note_find(image, size, &note_size, &reason);
  const record *rec = note ? record_from_json(r->s.memory, note, note_size, &reason) : NULL;
  if (!rec) return run_fail(r, COMPILE_INPUT, "%s: %s", path, reason);
  if (r->check)
    return run_fail(r, COMPILE_INPUT, "--check and --verify need the source: a cubin does not hold its tile form");
  const char *wish = command_value(r->s.command, OPTION_DEVICE, "auto");
  if (strcmp(wish, "emulator") == 0)
    return run_fail(r, COMPILE_INPUT, "a cubin runs on a GPU only; the emulator takes the source");
  int64_t *sizes = ARENA_ARRAY(r->s.memory, int64_t, rec->size_count);
  for (int i = 0; i < rec->size_count; i++) {
    if (!run_find_size(r, rec->sizes[i].name, &sizes[i])) {
      return run_fail(r, COMPILE_INPUT, "size %s is not given: --size %s=...", rec->sizes[i].name, rec->sizes[i].name);
    }
  }
  data_tensor **tensors = ARENA_ARRAY(r->s.memory, data_tensor *, rec->tensor_count);
  status = take_record_tensors(r, rec, sizes, tensors);
  if (!status) status = run_check_names(r, OPTION_INPUT);
  if (!status) status = run_check_names(r, OPTION_OUTPUT);
  if (status) return status;
  runtime_message message = {""};
  if (run_gpu_open(&r->gpu, &message) != RUNTIME_OK) return run_fail(r, COMPILE_ENVIRONMENT, "%s", message.text);
  uint64_t events[IR_EVENT_COUNT];
  const run_gpu_launch launch = {.cubin = image,
                                 .cubin_size = size,
                                 .tensors = tensors,
                                 .sizes = sizes,
                                 .repeat = r->repeat,
                                 .events = command_has(r->s.command, OPTION_COUNT_EVENTS) ? events : NULL};
  launch_facts facts;
  launch_timing timing;
  runtime_status ran = run_gpu_execute(&r->gpu, &launch, r->s.memory, &facts, &timing, &message);
  if (ran != RUNTIME_OK) {
    bool input = ran == RUNTIME_BAD_ARGUMENT || ran == RUNTIME_CONSTRAINT || ran == RUNTIME_BAD_CUBIN ||
                 ran == RUNTIME_BAD_RECORD;
    return run_fail(r, input ? COMPILE_INPUT : COMPILE_ENVIRONMENT, "%s", message.text);
  }
  printf("%s: %s, %d registers, %d blocks fit\n", rec->entry, device_get_facts(r->gpu.device)->name, facts.registers,
         facts.resident_blocks);
  run_print_events(r, rec->entry, events);
  if (r->repeat)
    printf("%s: median %.2f us (%.2f to %.2f)\n", rec->entry, timing.median_us, timing.least_us, timing.most_us);
  return run_finish(r);
}
