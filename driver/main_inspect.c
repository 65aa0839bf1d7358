/* bitblasc inspect FILE.cubin: what the launch record inside says. */
#include "driver/main_session.h"

#include "codegen/elf_note.h"
#include "codegen/emit_host.h"
#include "driver/output.h"

#include <inttypes.h>
#include <stdio.h>

static const char *expression(const record *r, const size_expr *e, arena *memory, str *scratch) {
  str_clear(scratch);
  size_print(e, record_size_names(r, memory), scratch);
  return str_text(scratch);
}

static void print_tensor(const record *r, const record_tensor *t, arena *memory, str *out, str *scratch) {
  static const char *const access[] = {[RECORD_IN] = "in", [RECORD_OUT] = "out", [RECORD_INOUT] = "inout"};
  str_printf(out, "  %-12s %s[", t->name, t->type);
  for (int d = 0; d < t->rank; d++)
    str_printf(out, "%s%s", d ? ", " : "", expression(r, t->extents[d], memory, scratch));
  str_printf(out, "] %s, %d-byte aligned", access[t->access], t->alignment);
  if (t->packing) str_printf(out, ", packed in blocks of %d x %d", t->packing->block_rows, t->packing->block_columns);
  str_append_char(out, '\n');
}

static void print_grid(const record *r, arena *memory, str *out, str *scratch) {
  if (r->persistent) {
    str_printf(out, "grid         what fits the GPU, at most %s blocks\n", expression(r, r->tiles, memory, scratch));
  } else {
    str_append(out, "grid         ");
    for (int i = 0; i < 3; i++)
      str_printf(out, "%s%s", i ? " x " : "", expression(r, r->grid[i], memory, scratch));
    str_append_char(out, '\n');
  }
}

static void print_record(const record *r, size_t size, arena *memory, str *out) {
  str scratch = STR_EMPTY;
  str_printf(out, "kernel       %s\ntarget       %s\nmade by      bitblasc %s\n", r->entry, r->target, r->version);
  str_printf(out, "source       %s %s\ncode         %zu bytes\n", r->source_file, r->source_hash, size);
  print_grid(r, memory, out, &scratch);
  str_printf(out, "block        %d threads\n", r->block_threads);
  if (r->cluster[0] * r->cluster[1] * r->cluster[2] > 1) {
    str_printf(out, "cluster      %d x %d x %d blocks\n", r->cluster[0], r->cluster[1], r->cluster[2]);
  }
  str_printf(out, "shared       %" PRId64 " bytes\n", r->shared_bytes);
  if (r->workspace_bytes)
    str_printf(out, "workspace    %s bytes\n", expression(r, r->workspace_bytes, memory, &scratch));
  if (r->size_count) str_append(out, "sizes\n");
  for (int i = 0; i < r->size_count; i++) {
    str_printf(out, "  %-12s i32", r->sizes[i].name);
    if (r->sizes[i].multiple_of > 1) str_printf(out, ", a multiple of %" PRId64, r->sizes[i].multiple_of);
    str_append_char(out, '\n');
  }
  str_append(out, "tensors\n");
  for (int i = 0; i < r->tensor_count; i++)
    print_tensor(r, &r->tensors[i], memory, out, &scratch);
  if (r->constraint_count) str_append(out, "conditions\n");
  for (int i = 0; i < r->constraint_count; i++)
    str_printf(out, "  %s\n", r->constraints[i].text);
  str_free(&scratch);
}

static int wrong(const char *path, const char *message) {
  fprintf(stderr, "bitblasc: error: %s: %s\n", path, message);
  return COMPILE_INPUT;
}

int command_inspect(const command_line *command, arena *memory) {
  if (command->inputs.count != 1) return usage_error("inspect takes one cubin");
  const char *path = command->inputs.items[0];
  str error = STR_EMPTY;
  size_t size, note_size;
  const char *image = output_read(memory, path, &size, &error);
  if (!image) {
    fprintf(stderr, "bitblasc: error: %s\n", str_text(&error));
    str_free(&error);
    return COMPILE_INPUT;
  }
  str_free(&error);
  const char *reason = NULL;
  if (!elf_is_elf(image, size)) return wrong(path, "is no cubin");
  const char *note = elf_note_find(image, size, &note_size, &reason);
  if (!note) return wrong(path, reason);
  const record *r = record_from_json(memory, note, note_size, &reason);
  if (!r) return wrong(path, reason);
  str out = STR_EMPTY;
  if (command_has(command, OPTION_JSON))
    emit_json(r, &out);
  else
    print_record(r, size, memory, &out);
  fwrite(str_text(&out), 1, out.length, stdout);
  str_free(&out);
  return 0;
}
