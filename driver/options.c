#include "driver/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef enum option_style { STYLE_FLAG, STYLE_JOINED, STYLE_SEPARATE, STYLE_LONG, STYLE_MAYBE } option_style;

typedef struct option_row {
  const char *spelling;
  option_style style;
  const char *argument;
  unsigned modes;
} option_row;

enum {
  C = MODE_COMPILE,
  R = MODE_RUN,
  I = MODE_INSPECT,
  D = MODE_DOCTOR,
  K = MODE_CACHE,
  P = MODE_REPACK,
  ANY = C | R | I | D | K | P
};

static const option_row rows[OPTION_COUNT] = {
#define GROUP(title)
#define OPTION(id, spelling, style, argument, modes, help) [OPTION_##id] = {spelling, STYLE_##style, argument, modes},
#include "driver/options.def"
#undef OPTION
#undef GROUP
};

static const struct {
  const char *name;
  command_mode mode;
} commands[] = {{"run", MODE_RUN},
                {"inspect", MODE_INSPECT},
                {"doctor", MODE_DOCTOR},
                {"cache", MODE_CACHE},
                {"repack", MODE_REPACK}};

const char *option_spelling(option_id id) { return rows[id].spelling; }

static void add(arena *memory, option_values *v, const char *item) {
  ARENA_PUSH(memory, v->items, v->count, v->capacity, item);
}

/* Whether the word is this option; *joined is then what follows it in the same word, or NULL. */
static bool matches(const option_row *row, const char *word, const char **joined) {
  size_t length = strlen(row->spelling);
  if (strncmp(word, row->spelling, length) != 0) return false;
  const char *rest = word + length;
  *joined = NULL;
  switch (row->style) {
  case STYLE_FLAG:
    return *rest == '\0';
  case STYLE_JOINED:
    *joined = rest;
    return true;
  case STYLE_SEPARATE:
    *joined = *rest ? rest : NULL;
    return true;
  case STYLE_LONG:
  case STYLE_MAYBE:
    if (*rest == '=') *joined = rest + 1;
    return *rest == '\0' || *rest == '=';
  }
  return false;
}

/* The option that a word is: the longest spelling that fits, so that -MD is not -M with a D. */
static int find_option(const char *word, const char **joined) {
  int best = -1;
  for (int i = 0; i < OPTION_COUNT; i++) {
    const char *rest;
    if (matches(&rows[i], word, &rest) && (best < 0 || strlen(rows[i].spelling) > strlen(rows[best].spelling))) {
      best = i;
      *joined = rest;
    }
  }
  return best;
}

static int distance(const char *a, const char *b) {
  enum { LONGEST = 40 };
  size_t la = strlen(a), lb = strlen(b);
  if (la >= LONGEST || lb >= LONGEST) return LONGEST;
  int row[LONGEST + 1];
  for (size_t j = 0; j <= lb; j++)
    row[j] = (int)j;
  for (size_t i = 1; i <= la; i++) {
    int corner = row[0];
    row[0] = (int)i;
    for (size_t j = 1; j <= lb; j++) {
      int up = row[j];
      int best = corner + (a[i - 1] != b[j - 1]);
      if (up + 1 < best) best = up + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      corner = up;
      row[j] = best;
    }
  }
  return row[lb];
}

static bool unknown_option(const char *word, str *error) {
  size_t length = strcspn(word, "=");
  char name[40] = "";
  if (length < sizeof name) memcpy(name, word, length);
  int best = -1, least = 3;
  for (int i = 0; i < OPTION_COUNT; i++) {
    int d = distance(name, rows[i].spelling);
    if (d < least) least = d, best = i;
  }
  str_printf(error, "unknown option '%s'", word);
  if (best >= 0) str_printf(error, "; did you mean '%s'?", rows[best].spelling);
  return false;
}

/* Whether the argument is one of the words separated by '|', where there are several. */
static bool is_choice(const char *choices, const char *value) {
  if (!strchr(choices, '|')) return true;
  size_t length = strlen(value);
  for (const char *at = choices;; at++) {
    size_t width = strcspn(at, "|");
    if (width == length && memcmp(at, value, length) == 0) return true;
    at += width;
    if (!*at) return false;
  }
}

static const char *mode_name(command_mode mode) {
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    if (commands[i].mode == mode) return commands[i].name;
  }
  return "";
}

static bool take_option(command_line *c, arena *memory, const char *word, const char *next, bool *took_next,
                        str *error) {
  const char *argument = NULL;
  int id = find_option(word, &argument);
  *took_next = false;
  if (id < 0) return unknown_option(word, error);
  const option_row *row = &rows[id];
  if (!(row->modes & (unsigned)c->mode)) {
    const char *name = mode_name(c->mode);
    str_printf(error, "'%s' means nothing to 'bitblasc%s%s'", row->spelling, *name ? " " : "", name);
    return false;
  }
  if (!argument && (row->style == STYLE_SEPARATE || row->style == STYLE_LONG)) {
    if (!next) {
      str_printf(error, "'%s' needs an argument: %s", row->spelling, row->argument);
      return false;
    }
    argument = next;
    *took_next = true;
  }
  if (row->style == STYLE_JOINED && !*argument) {
    str_printf(error, "'%s' needs an argument in the same word: %s", row->spelling, row->argument);
    return false;
  }
  if (argument && !is_choice(row->argument, argument)) {
    str_printf(error, "'%s' takes %s, not '%s'", row->spelling, row->argument, argument);
    return false;
  }
  add(memory, &c->values[id], argument ? argument : "");
  return true;
}

bool command_parse(int argc, char **argv, arena *memory, command_line *out, str *error) {
  memset(out, 0, sizeof *out);
  out->mode = MODE_COMPILE;
  int at = 0;
  for (size_t i = 0; argc > 0 && i < sizeof commands / sizeof *commands; i++) {
    if (strcmp(argv[0], commands[i].name) == 0) {
      out->mode = commands[i].mode;
      at = 1;
    }
  }
  bool only_files = false;
  for (; at < argc; at++) {
    const char *word = argv[at];
    if (only_files || word[0] != '-' || word[1] == '\0') {
      add(memory, &out->inputs, word);
    } else if (strcmp(word, "--") == 0) {
      only_files = true;
    } else {
      bool took_next;
      if (!take_option(out, memory, word, at + 1 < argc ? argv[at + 1] : NULL, &took_next, error)) return false;
      if (took_next) at++;
    }
  }
  return true;
}

bool command_has(const command_line *c, option_id id) { return c->values[id].count > 0; }

const char *command_value(const command_line *c, option_id id, const char *otherwise) {
  const option_values *v = &c->values[id];
  return v->count ? v->items[v->count - 1] : otherwise;
}

bool split_assignment(arena *memory, const char *text, const char **name, const char **value) {
  const char *equals = strchr(text, '=');
  if (!equals || equals == text) return false;
  *name = arena_strndup(memory, text, (size_t)(equals - text));
  *value = equals + 1;
  return true;
}

bool parse_number(const char *text, int64_t *out) {
  char *end;
  errno = 0;
  bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
  long long value = strtoll(text, &end, hex ? 16 : 10);
  if (end == text || *end || errno || text[0] == ' ') return false;
  *out = value;
  return true;
}
