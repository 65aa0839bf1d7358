/* The store: compiled kernels kept on disk, found again by what they were made from.
 *
 *   DIR/1/<hash of the key>/manifest        sizes and hashes of the rest; its own hash is its last line
 *                           key             everything that the entry depends on, in full, as text
 *                           kernel.tl ...   the files that were added: a person can read them
 *
 * An entry is written aside and renamed into place, so that it is there whole or not at all, whenever a process dies.
 * A hit compares the full key; every file is checked against the manifest, and an entry that is truncated or altered is
 * moved away and never used. There are no locks: any number of processes and threads, on one machine or several (NFS),
 * may use one directory. A directory that cannot be written, or is not there, makes a store that finds what it can and
 * keeps nothing.
 *
 * Times of last use are the modification times of the manifests. */
#ifndef BITBLASC_RUNTIME_STORE_H
#define BITBLASC_RUNTIME_STORE_H

#include "runtime/status.h"
#include "support/arena.h"
#include "support/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORE_FILES_MAX = 16 }; /* of an entry */

typedef struct store store; /* used from any thread */

/* One file of an entry. The name is made of lower-case letters, digits, '.', '-' and '_'. */
typedef struct store_file {
  const char *name;
  const void *data; /* NUL-terminated when it was read */
  size_t size;
} store_file;

typedef struct store_entry {
  store_file files[STORE_FILES_MAX];
  int count;
} store_entry;

/* Never fails for want of the directory, which is made when something is added. `directory` NULL: nothing is ever found or kept.
 * Where additions lead beyond max_bytes, what was used longest ago is removed. */
store *store_open(const char *directory, int64_t max_bytes);
void store_close(store *s); /* s may be NULL */

/* The entry made from this key, in the arena; marks it as used now. False: there is none that is whole. */
bool store_find(const store *s, const char *key, arena *memory, store_entry *out);

/* Keeps the files under the key; when another process was faster its entry stays. RUNTIME_FILE, with the reason, when
 * it could not be written: nothing is left behind then, and nothing else is wrong. */
runtime_status store_add(store *s, const char *key, const store_entry *entry, runtime_message *message);

const store_file *store_entry_file(const store_entry *entry, const char *name); /* NULL: it has none of this name */

/* One entry as a whole, for lists. */
typedef struct store_item {
  char name[HASH128_TEXT_BYTES]; /* of its directory */
  bool whole;                    /* its files are as the manifest says */
  const char *key;               /* "" when it is not whole */
  int64_t bytes;                 /* of all its files */
  int64_t used_seconds;          /* when it was last used, since 1970 */
} store_item;

/* All entries in the order of their names, checked, in the arena. */
store_item *store_list(const store *s, arena *memory, int *count);

typedef struct store_removed {
  int entries;
  int64_t bytes;
  int64_t left_bytes;
} store_removed;

/* Removes entries that are not whole, then those used longest ago until at most max_bytes are left, and what killed
 * processes left behind more than an hour ago. */
store_removed store_collect(const store *s, int64_t max_bytes);

/* The whole entries as a tar file (POSIX ustar), the same bytes for the same entries; and the reverse, which checks
 * every entry before it takes it. *count receives the number of entries. RUNTIME_FILE with the reason; entries that
 * were read before it stay. */
runtime_status store_export(const store *s, const char *path, int *count, runtime_message *message);
runtime_status store_import(store *s, const char *path, int *count, runtime_message *message);

#endif
