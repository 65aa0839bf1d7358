/* Diagnostics are kept in the order they were reported and rendered on request, so that a library caller decides where
 * they go. Files live as long as the diag; messages live until diag_clear. */
#include "support/diag.h"

#include <stdlib.h>
#include <string.h>

enum { ERROR_LIMIT = 20, EXCERPT_BYTES = 512 };

typedef struct file_entry {
  const char *name;
  const char *text;
  size_t *line_starts; /* offset of each line, and one past the end of the last */
  uint32_t line_count;
} file_entry;

typedef struct entry {
  diag_severity severity;
  int id; /* a diag_id, or -1 for remarks and notes */
  src_loc loc;
  const char *message;
  const char *pass;  /* remarks only, else NULL */
  const char *topic; /* remarks only, else NULL */
  bool honoured;
} entry;

struct diag {
  arena *lasting;  /* files and requirements */
  arena *messages; /* entries, until diag_clear */
  file_entry *files;
  int file_count, file_capacity;
  const char **required;
  int required_count, required_capacity;
  entry *entries;
  int entry_count, entry_capacity;
  int error_count;
  bool dropped_last; /* the last diagnostic was over the limit, so its notes go too */
};

static const struct {
  const char *name;
  const char *meaning;
} id_table[] = {
#define DIAG(id, name, meaning) [DIAG_##id] = {name, meaning},
#include "support/diagnostics.def"
#undef DIAG
};

static const char *const severity_names[] = {
    [DIAG_ERROR] = "error", [DIAG_WARNING] = "warning", [DIAG_REMARK] = "remark", [DIAG_NOTE] = "note"};

const char *diag_id_name(diag_id id) { return id_table[id].name; }
const char *diag_id_meaning(diag_id id) { return id_table[id].meaning; }

diag *diag_create(void) {
  arena *lasting = arena_create();
  diag *d = ARENA_NEW(lasting, diag);
  d->lasting = lasting;
  d->messages = arena_create();
  return d;
}

void diag_destroy(diag *d) {
  if (!d) return;
  arena_destroy(d->messages);
  arena_destroy(d->lasting); /* holds d itself */
}

// -- Files ------------------------------------------------------------------------------------------------------------

uint16_t diag_add_file(diag *d, const char *name, const char *text, size_t length) {
  if (d->file_count > UINT16_MAX) BUG("more than %d source files", UINT16_MAX + 1);
  file_entry file = {0};
  file.name = arena_strdup(d->lasting, name);
  file.text = arena_strndup(d->lasting, text, length);
  size_t lines = 1;
  for (size_t i = 0; i < length; i++)
    lines += text[i] == '\n';
  file.line_starts = ARENA_ARRAY(d->lasting, size_t, lines + 1);
  file.line_count = 1;
  for (size_t i = 0; i < length; i++)
    if (text[i] == '\n') file.line_starts[file.line_count++] = i + 1;
  file.line_starts[file.line_count] = length + 1; /* as if the last line ended in a newline too */
  ARENA_PUSH(d->lasting, d->files, d->file_count, d->file_capacity, file);
  return (uint16_t)(d->file_count - 1);
}

const char *diag_file_name(const diag *d, uint16_t file) { return file < d->file_count ? d->files[file].name : ""; }

int diag_file_count(const diag *d) { return d->file_count; }

// -- Reporting --------------------------------------------------------------------------------------------------------

static const char *format_message(diag *d, const char *format, va_list args) {
  str text = STR_EMPTY;
  str_vprintf(&text, format, args);
  const char *kept = arena_strdup(d->messages, str_text(&text));
  str_free(&text);
  return kept;
}

/* Keeps `e`, unless it is an error beyond the limit. */
static void keep(diag *d, entry e) {
  d->dropped_last = false;
  if (e.severity == DIAG_ERROR && ++d->error_count > ERROR_LIMIT) {
    d->dropped_last = true;
    return;
  }
  ARENA_PUSH(d->messages, d->entries, d->entry_count, d->entry_capacity, e);
}

bool diag_error(diag *d, diag_id id, src_loc loc, const char *format, ...) {
  va_list args;
  va_start(args, format);
  diag_verror(d, id, loc, format, args);
  va_end(args);
  return false;
}

bool diag_verror(diag *d, diag_id id, src_loc loc, const char *format, va_list args) {
  keep(d, (entry){.severity = DIAG_ERROR, .id = (int)id, .loc = loc, .message = format_message(d, format, args)});
  return false;
}

bool diag_warning(diag *d, diag_id id, src_loc loc, const char *format, ...) {
  va_list args;
  va_start(args, format);
  keep(d, (entry){.severity = DIAG_WARNING, .id = (int)id, .loc = loc, .message = format_message(d, format, args)});
  va_end(args);
  return false;
}

bool diag_note(diag *d, src_loc loc, const char *format, ...) {
  if (d->dropped_last) return false;
  va_list args;
  va_start(args, format);
  keep(d, (entry){.severity = DIAG_NOTE, .id = -1, .loc = loc, .message = format_message(d, format, args)});
  va_end(args);
  return false;
}

static bool is_required(const diag *d, const char *topic) {
  for (int i = 0; i < d->required_count; i++)
    if (strcmp(d->required[i], "all") == 0 || strcmp(d->required[i], topic) == 0) return true;
  return false;
}

bool diag_remark(diag *d, const char *pass, const char *topic, bool honoured, src_loc loc, const char *format, ...) {
  va_list args;
  va_start(args, format);
  const char *message = format_message(d, format, args);
  va_end(args);
  if (!honoured && is_required(d, topic))
    return diag_error(d, DIAG_REQUIRED, loc, "'%s' is required, but %s: %s", topic, pass, message);
  keep(d, (entry){.severity = DIAG_REMARK,
                  .id = -1,
                  .loc = loc,
                  .message = message,
                  .pass = arena_strdup(d->messages, pass),
                  .topic = arena_strdup(d->messages, topic),
                  .honoured = honoured});
  return true;
}

void diag_require(diag *d, const char *topic) {
  const char *kept = arena_strdup(d->lasting, topic);
  ARENA_PUSH(d->lasting, d->required, d->required_count, d->required_capacity, kept);
}

void diag_require_like(diag *d, const diag *other) {
  for (int i = 0; i < other->required_count; i++)
    diag_require(d, other->required[i]);
}

int diag_error_count(const diag *d) { return d->error_count; }

const char *diag_first_error(const diag *d) {
  for (int i = 0; i < d->entry_count; i++) {
    if (d->entries[i].severity == DIAG_ERROR) return d->entries[i].message;
  }
  return NULL;
}
bool diag_failed(const diag *d) { return d->error_count > 0; }

void diag_clear(diag *d) {
  arena_reset(d->messages);
  d->entries = NULL;
  d->entry_count = d->entry_capacity = 0;
  d->error_count = 0;
  d->dropped_last = false;
}

// -- Rendering --------------------------------------------------------------------------------------------------------

/* True when the comma list `list` names `pass` or says "all". */
static bool list_names(const char *list, const char *pass) {
  for (const char *item = list; item; item = strchr(item, ',')) {
    item += *item == ',';
    size_t length = strcspn(item, ",");
    if ((length == 3 && strncmp(item, "all", 3) == 0) || (length == strlen(pass) && strncmp(item, pass, length) == 0))
      return true;
  }
  return false;
}

static bool is_continuation_byte(char c) { return ((unsigned char)c & 0xC0) == 0x80; }

/* The source line and the underline. Tabs are repeated under tabs, so both lines keep their tab stops; a multi-byte
 * character takes one place; other control characters would garble a terminal and are shown as spaces. */
static void append_excerpt(const diag *d, src_loc loc, str *out) {
  if (loc.file >= d->file_count || loc.line == 0 || loc.line > d->files[loc.file].line_count) return;
  const file_entry *file = &d->files[loc.file];
  const char *line = file->text + file->line_starts[loc.line - 1];
  size_t length = file->line_starts[loc.line] - file->line_starts[loc.line - 1] - 1;
  if (length && line[length - 1] == '\r') length--;
  size_t start = loc.column ? loc.column - 1u : 0;
  if (start > length || start >= EXCERPT_BYTES) return;
  if (length > EXCERPT_BYTES) {
    length = EXCERPT_BYTES;
    while (length && is_continuation_byte(line[length]))
      length--; /* never cut a character in two */
  }

  str_printf(out, "%5u | ", (unsigned)loc.line);
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)line[i];
    str_append_char(out, (c < 0x20 && c != '\t') || c == 0x7F ? ' ' : line[i]);
  }
  str_append(out, "\n      | ");
  for (size_t i = 0; i < start; i++)
    if (line[i] == '\t')
      str_append_char(out, '\t');
    else if (!is_continuation_byte(line[i]))
      str_append_char(out, ' ');
  str_append_char(out, '^');
  for (size_t i = start + 1; i < start + loc.length && i < length; i++)
    if (!is_continuation_byte(line[i])) str_append_char(out, '~');
  str_append_char(out, '\n');
}

static void append_text(const diag *d, const entry *e, str *out) {
  if (e->loc.line)
    str_printf(out, "%s:%u:%u: ", diag_file_name(d, e->loc.file), (unsigned)e->loc.line, (unsigned)e->loc.column);
  else
    str_append(out, "bitblasc: ");
  str_printf(out, "%s: %s", severity_names[e->severity], e->message);
  if (e->id >= 0) str_printf(out, " [%s]", diag_id_name((diag_id)e->id));
  if (e->pass) str_printf(out, " [%s: %s%s]", e->pass, e->topic, e->honoured ? "" : " not honoured");
  str_append_char(out, '\n');
  append_excerpt(d, e->loc, out);
}

static void append_json_field(str *out, const char *name, const char *value) {
  str_printf(out, ", \"%s\": ", name);
  str_append_json(out, value);
}

/* One object on one line. */
static void append_json(const diag *d, const entry *e, str *out) {
  str_printf(out, "{\"severity\": \"%s\"", severity_names[e->severity]);
  if (e->id >= 0) append_json_field(out, "id", diag_id_name((diag_id)e->id));
  if (e->pass) {
    append_json_field(out, "pass", e->pass);
    append_json_field(out, "topic", e->topic);
    str_printf(out, ", \"honoured\": %s", e->honoured ? "true" : "false");
  }
  if (e->loc.line) {
    append_json_field(out, "file", diag_file_name(d, e->loc.file));
    str_printf(out, ", \"line\": %u, \"column\": %u, \"length\": %u", (unsigned)e->loc.line, (unsigned)e->loc.column,
               e->loc.length ? (unsigned)e->loc.length : 1u);
  }
  append_json_field(out, "message", e->message);
  str_append(out, "}\n");
}

void diag_render(const diag *d, diag_format format, const char *remarks, str *out) {
  bool shown = true; /* notes follow the diagnostic before them */
  for (int i = 0; i < d->entry_count; i++) {
    const entry *e = &d->entries[i];
    if (e->severity != DIAG_NOTE) shown = e->severity != DIAG_REMARK || (remarks && list_names(remarks, e->pass));
    if (!shown) continue;
    if (format == DIAG_FORMAT_JSON)
      append_json(d, e, out);
    else
      append_text(d, e, out);
  }
  if (d->error_count > ERROR_LIMIT) {
    char message[64];
    snprintf(message, sizeof message, "%d more errors are not shown", d->error_count - ERROR_LIMIT);
    entry rest = {.severity = DIAG_NOTE, .id = -1, .message = message};
    if (format == DIAG_FORMAT_JSON)
      append_json(d, &rest, out);
    else
      append_text(d, &rest, out);
  }
}

// -- Our own mistakes -------------------------------------------------------------------------------------------------

_Noreturn void bug_at(const char *file, int line, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(stderr, "%s:%d: internal error: ", file, line);
  vfprintf(stderr, format, args);
  fputs("\nbitblasc: this is a mistake in bitblasc, not in your kernel\n", stderr);
  va_end(args);
  abort();
}
