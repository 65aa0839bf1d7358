/* The command line: options.def as data, parsed into values that are asked for by name. */
#ifndef BITBLASC_DRIVER_OPTIONS_H
#define BITBLASC_DRIVER_OPTIONS_H

#include "support/arena.h"
#include "support/str.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum option_id {
#define GROUP(title)
#define OPTION(id, spelling, style, argument, modes, help) OPTION_##id,
#include "driver/options.def"
#undef OPTION
#undef GROUP
  OPTION_COUNT
} option_id;

typedef enum command_mode {
  MODE_COMPILE = 1,
  MODE_RUN = 2,
  MODE_INSPECT = 4,
  MODE_DOCTOR = 8,
  MODE_CACHE = 16,
  MODE_REPACK = 32
} command_mode;

typedef struct option_values {
  const char **items; /* one each time the option was given; "" for one without an argument */
  int count;
  int capacity;
} option_values;

typedef struct command_line {
  command_mode mode;
  option_values inputs; /* files; "-" is standard input */
  option_values values[OPTION_COUNT];
} command_line;

/* Parses the words after the program's name. False, with a message in `error`, when they are not a command line.
 * Strings of argv are kept. */
bool command_parse(int argc, char **argv, arena *memory, command_line *out, str *error);

bool command_has(const command_line *c, option_id id);
const char *command_value(const command_line *c, option_id id, const char *otherwise); /* the last one given */
const char *option_spelling(option_id id);

/* NAME=VALUE taken apart: false when there is no '=' or no name. `name` is in `memory`. */
bool split_assignment(arena *memory, const char *text, const char **name, const char **value);
/* A whole decimal or 0x number. */
bool parse_number(const char *text, int64_t *out);

/* The generated texts. */
void options_help(command_mode mode, str *out);
void options_man(str *out);
bool options_completion(const char *shell, str *out);

#endif
