/* Chooses the functions of codegen/prelude.cuh that a translation unit needs.
 *
 * The file is cut at lines `//@ name [>=NN | <NN] [: names it calls]`; what stands before the first is always written.
 * A name may have two rows, for architectures from NN on and below NN. Rows are written in the order of the file, so a
 * function follows those it calls. */
#include "codegen/emitter.h"
#include "support/embed.h"

#include <stdlib.h>
#include <string.h>

extern const embedded_file codegen_prelude[];

enum { ROWS_MAX = 256 };
static const char MARK[] = "//@ ";

typedef struct row {
  const char *name;
  size_t name_length;
  int from, below;   /* architectures */
  const char *calls; /* up to the end of the line */
  size_t calls_length;
  const char *text;
  size_t text_length;
} row;

/* Where the next row's mark stands, or the end. */
static const char *next_mark(const char *from) {
  const char *found = strstr(from, MARK);
  return found ? found : from + strlen(from);
}

/* Reads the row at *cursor and moves behind it; false at the end of the file. */
static bool read_row(const char **cursor, row *out) {
  const char *p = *cursor;
  if (strncmp(p, MARK, sizeof MARK - 1) != 0) return false;
  const char *end = strchr(p, '\n');
  p += sizeof MARK - 1;
  *out = (row){.name = p, .below = INT32_MAX};
  out->name_length = strcspn(p, " \n");
  p += out->name_length;
  while (p < end && *p == ' ')
    p++;
  if (strncmp(p, ">=", 2) == 0)
    out->from = atoi(p + 2);
  else if (*p == '<')
    out->below = atoi(p + 1);
  const char *colon = memchr(p, ':', (size_t)(end - p));
  out->calls = colon ? colon + 1 : end;
  out->calls_length = (size_t)(end - out->calls);
  out->text = end + 1;
  *cursor = next_mark(end);
  out->text_length = (size_t)(*cursor - out->text);
  return true;
}

static bool named(const row *r, const char *name, size_t length) {
  return r->name_length == length && memcmp(r->name, name, length) == 0;
}

static void want(prelude *p, const char *name, size_t length, bool *found) {
  const char *cursor = next_mark(codegen_prelude[0].text);
  row r;
  for (int i = 0; read_row(&cursor, &r); i++) {
    ASSERT(i < ROWS_MAX);
    if (!named(&r, name, length) || p->arch < r.from || p->arch >= r.below) continue;
    *found = true;
    if (p->wanted[i]) return;
    p->wanted[i] = true;
    for (const char *call = r.calls, *end = r.calls + r.calls_length; call < end;) {
      size_t gap = strspn(call, " "), width = strcspn(call + gap, " \n");
      bool known = width == 0;
      if (width) want(p, call + gap, width, &known);
      if (!known) BUG("the prelude's %.*s calls an unknown %.*s", (int)length, name, (int)width, call + gap);
      call += gap + width;
    }
    return;
  }
}

void prelude_begin(prelude *p, arena *memory, int arch) {
  *p = (prelude){.memory = memory, .arch = arch, .wanted = ARENA_ARRAY(memory, bool, ROWS_MAX)};
}

bool prelude_want(prelude *p, const char *name) {
  bool found = false;
  want(p, name, strlen(name), &found);
  return found;
}

bool prelude_has(const char *name, size_t length) {
  const char *cursor = next_mark(codegen_prelude[0].text);
  row r;
  while (read_row(&cursor, &r))
    if (named(&r, name, length)) return true;
  return false;
}

bool prelude_made(prelude *p, const char *name) {
  for (int i = 0; i < p->made_count; i++)
    if (strcmp(p->made_names[i], name) == 0) return true;
  ARENA_PUSH(p->memory, p->made_names, p->made_count, p->made_capacity, name);
  return false;
}

void prelude_write(const prelude *p, str *out) {
  const char *cursor = next_mark(codegen_prelude[0].text);
  str_append_bytes(out, codegen_prelude[0].text, (size_t)(cursor - codegen_prelude[0].text));
  row r;
  for (int i = 0; read_row(&cursor, &r); i++) {
    if (!p->wanted[i]) continue;
    str_append_char(out, '\n');
    str_append_bytes(out, r.text, r.text_length);
  }
  str_append(out, str_text(&p->made));
}
