#include "driver/toolchain.h"

#include <glob.h>

typedef struct directories {
  const char **items;
  int count, capacity;
} directories;

static void add_matching(arena *memory, directories *d, const char *pattern) {
  glob_t found;
  if (glob(pattern, 0, NULL, &found) == 0) { /* sorted: the same order on every run */
    for (size_t i = 0; i < found.gl_pathc; i++) {
      ARENA_PUSH(memory, d->items, d->count, d->capacity, arena_strdup(memory, found.gl_pathv[i]));
    }
  }
  globfree(&found);
}

nvrtc_search toolchain_search(arena *memory, const toolchain_hints *hints) {
  directories d = {NULL, 0, 0};
  if (hints->virtual_env && *hints->virtual_env) {
    add_matching(memory, &d, arena_printf(memory, "%s/lib/python3*/site-packages", hints->virtual_env));
  }
  if (hints->home && *hints->home) {
    add_matching(memory, &d, arena_printf(memory, "%s/.local/lib/python3*/site-packages", hints->home));
  }
  add_matching(memory, &d, "/usr/local/lib/python3*/dist-packages");
  add_matching(memory, &d, "/usr/local/lib/python3*/site-packages");
  add_matching(memory, &d, "/usr/lib/python3*/dist-packages");
  add_matching(memory, &d, "/usr/lib/python3*/site-packages");
  return (nvrtc_search){.path = hints->nvrtc_path,
                        .directory = hints->directory,
                        .cuda_root = hints->cuda_root,
                        .python_directories = d.items,
                        .python_directory_count = d.count};
}
