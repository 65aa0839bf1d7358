/* A folder of a test's own, below TMPDIR. */
#ifndef BITBLASC_TESTS_UNIT_TEMPORARY_H
#define BITBLASC_TESTS_UNIT_TEMPORARY_H

#include "tests/unit/unit.h"

#include <ftw.h>

enum { TEMPORARY_BYTES = 1024 };

/* Makes it, and writes its path. */
static inline void temporary_make(char path[TEMPORARY_BYTES]) {
  const char *base = getenv("TMPDIR");
  snprintf(path, TEMPORARY_BYTES, "%s/bitblasc-test-XXXXXX", base && *base ? base : "/tmp");
  assert_non_null(mkdtemp(path));
}

static inline int temporary_remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
  (void)info, (void)kind, (void)walk;
  return remove(path);
}

/* Removes it with all that is in it. */
static inline void temporary_remove(const char *path) { nftw(path, temporary_remove_one, 16, FTW_DEPTH | FTW_PHYS); }

#endif
