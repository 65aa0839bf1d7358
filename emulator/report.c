/* Findings: what the emulator objects to, with both places. */
#include "emulator/machine.h"

#include <stdarg.h>

const src_loc nowhere = {0, 0, 0, 0};

static const struct {
  const char *name, *meaning;
} kinds[EMULATOR_FINDING_COUNT] = {
#define FINDING(id, name, meaning) [EMULATOR_##id] = {name, meaning},
#include "emulator/findings.def"
#undef FINDING
};

const char *emulator_finding_name(emulator_finding_kind kind) { return kinds[kind].name; }

const char *emulator_finding_meaning(emulator_finding_kind kind) { return kinds[kind].meaning; }

static bool same_place(src_loc a, src_loc b) { return a.file == b.file && a.line == b.line && a.column == b.column; }

void finding(machine *m, const agent *a, emulator_finding_kind kind, src_loc loc, src_loc other, const char *format,
             ...) {
  emulator_report *report = m->report;
  if (m->stopped) return;
  if (a && loc.line == 0) {
    const ir_op *op = m->code.instructions[a->pc].op;
    if (op) loc = op->loc;
  }
  /* One finding a place: a fault in a loop or in many lanes is one fault. */
  for (int i = 0; i < report->finding_count; i++)
    if (report->findings[i].kind == kind && same_place(report->findings[i].loc, loc) &&
        same_place(report->findings[i].other, other))
      return;
  str text = STR_EMPTY;
  va_list args;
  va_start(args, format);
  str_vprintf(&text, format, args);
  va_end(args);
  emulator_finding f = {
      .kind = kind, .loc = loc, .other = other, .block = a ? a->block->index : -1, .warp = -1, .role = ""};
  f.message = arena_strdup(report->memory, str_text(&text));
  if (a && m->thread_form) f.warp = a->number;
  if (a && a->role) f.role = arena_strdup(report->memory, a->role);
  str_free(&text);
  ARENA_PUSH(report->memory, report->findings, report->finding_count, report->finding_capacity, f);
  if (report->finding_count >= m->finding_limit) m->stopped = true;
}

static void append_place(str *out, const diag *d, src_loc loc) {
  const char *file = d ? diag_file_name(d, loc.file) : "";
  str_printf(out, "%s:%u:%u: ", *file ? file : "kernel", (unsigned)loc.line, (unsigned)loc.column);
}

void emulator_report_text(const emulator_report *report, const diag *d, str *out) {
  for (int i = 0; i < report->finding_count; i++) {
    const emulator_finding *f = &report->findings[i];
    append_place(out, d, f->loc);
    str_printf(out, "error: %s [%s]", f->message, emulator_finding_name(f->kind));
    if (f->block >= 0) str_printf(out, " in block %d", f->block);
    if (f->warp >= 0) str_printf(out, ", warp %d", f->warp);
    if (*f->role) str_printf(out, ", role %s", f->role);
    str_append(out, "\n");
    if (f->other.line == 0) continue;
    append_place(out, d, f->other);
    str_append(out, "note: the other side is here\n");
  }
}

static void append_json_place(str *out, const diag *d, src_loc loc) {
  const char *file = d ? diag_file_name(d, loc.file) : "";
  str_append(out, "\"file\": ");
  str_append_json(out, *file ? file : "kernel");
  str_printf(out, ", \"line\": %u, \"column\": %u", (unsigned)loc.line, (unsigned)loc.column);
}

void emulator_report_json(const emulator_report *report, const diag *d, str *out) {
  for (int i = 0; i < report->finding_count; i++) {
    const emulator_finding *f = &report->findings[i];
    str_printf(out, "{\"severity\": \"error\", \"id\": \"%s\", ", emulator_finding_name(f->kind));
    append_json_place(out, d, f->loc);
    str_append(out, ", \"message\": ");
    str_append_json(out, f->message);
    if (f->block >= 0) str_printf(out, ", \"block\": %d", f->block);
    if (f->warp >= 0) str_printf(out, ", \"warp\": %d", f->warp);
    if (*f->role) {
      str_append(out, ", \"role\": ");
      str_append_json(out, f->role);
    }
    if (f->other.line) {
      str_append(out, ", \"other\": {");
      append_json_place(out, d, f->other);
      str_append(out, "}");
    }
    str_append(out, "}\n");
  }
}

void emulator_report_free(emulator_report *report) {
  arena_destroy(report->memory);
  *report = (emulator_report){0};
}
