/* bitblasc cache: looks after the compiled kernels that the library keeps. */
#include "driver/main_session.h"

#include "driver/env.h"
#include "runtime/store.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int fail(const char *message) {
  fprintf(stderr, "bitblasc: error: %s\n", message);
  return COMPILE_ENVIRONMENT;
}

/* What a key says of a line: "target sm_90a" is the line "target". "" when there is none. */
static const char *key_line(arena *memory, const char *key, const char *name) {
  size_t length = strlen(name);
  for (const char *at = key; *at;) {
    size_t line = strcspn(at, "\n");
    if (line > length && strncmp(at, name, length) == 0 && at[length] == ' ')
      return arena_strndup(memory, at + length + 1, line - length - 1);
    at += line + (at[line] == '\n');
  }
  return "";
}

static void print_items(const store_item *items, int count, arena *memory) {
  int64_t bytes = 0;
  for (int i = 0; i < count; i++) {
    const store_item *item = &items[i];
    time_t used = (time_t)item->used_seconds;
    struct tm at;
    char text[32] = "";
    if (gmtime_r(&used, &at)) strftime(text, sizeof text, "%Y-%m-%d %H:%M", &at);
    printf("%s %9" PRId64 "  %s  %s %s%s\n", item->name, item->bytes, text, key_line(memory, item->key, "kernel"),
           key_line(memory, item->key, "target"), item->whole ? "" : "damaged");
    bytes += item->bytes;
  }
  printf("%d entries, %" PRId64 " bytes\n", count, bytes);
}

static void print_json(const store_item *items, int count) {
  json_t *all = json_array();
  for (int i = 0; i < count; i++) {
    const store_item *item = &items[i];
    json_array_append_new(all,
                          json_pack("{s:s, s:I, s:I, s:b, s:s}", "name", item->name, "bytes", (json_int_t)item->bytes,
                                    "used", (json_int_t)item->used_seconds, "whole", item->whole, "key", item->key));
  }
  char *text = json_dumps(all, JSON_INDENT(2));
  if (text) puts(text);
  free(text);
  json_decref(all);
}

static int list(const store *s, const command_line *command, arena *memory) {
  int count;
  const store_item *items = store_list(s, memory, &count);
  if (command_has(command, OPTION_JSON))
    print_json(items, count);
  else
    print_items(items, count, memory);
  return 0;
}

static int collect(const store *s, int64_t max_bytes) {
  store_removed removed = store_collect(s, max_bytes);
  printf("%d entries removed, %" PRId64 " bytes; %" PRId64 " bytes left\n", removed.entries, removed.bytes,
         removed.left_bytes);
  return 0;
}

static int transfer(store *s, bool out, const char *path) {
  runtime_message message = {""};
  int count;
  runtime_status status = out ? store_export(s, path, &count, &message) : store_import(s, path, &count, &message);
  if (status != RUNTIME_OK) return fail(message.text);
  printf("%d entries %s %s\n", count, out ? "written to" : "read from", path);
  return 0;
}

int command_cache(const command_line *command, arena *memory) {
  const option_values *words = &command->inputs;
  const char *what = words->count ? words->items[0] : "";
  bool moves = strcmp(what, "export") == 0 || strcmp(what, "import") == 0;
  bool known = moves || strcmp(what, "ls") == 0 || strcmp(what, "gc") == 0 || strcmp(what, "path") == 0;
  if (!known || words->count != (moves ? 2 : 1))
    return usage_error("cache takes ls, path, gc, export FILE or import FILE%s%s", *what && !known ? ", not " : "",
                       *what && !known ? what : "");
  int64_t max_bytes = env_cache_bytes();
  if (command_has(command, OPTION_MAX_BYTES) &&
      (!parse_number(command_value(command, OPTION_MAX_BYTES, ""), &max_bytes) || max_bytes < 0))
    return usage_error("--max-bytes takes a number, not '%s'", command_value(command, OPTION_MAX_BYTES, ""));
  const char *directory = command_value(command, OPTION_CACHE_DIR, env_cache_directory(memory));
  if (!directory || !*directory)
    return fail("there is no cache: --cache-dir, BITBLASC_CACHE_DIR, XDG_CACHE_HOME and HOME are not set");
  if (strcmp(what, "path") == 0) {
    puts(directory);
    return 0;
  }
  store *s = store_open(directory, max_bytes);
  int status = moves                     ? transfer(s, strcmp(what, "export") == 0, words->items[1])
               : strcmp(what, "ls") == 0 ? list(s, command, memory)
                                         : collect(s, max_bytes);
  store_close(s);
  return status;
}
