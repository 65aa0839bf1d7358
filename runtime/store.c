#include "runtime/store_entry.h"

#include "driver/output.h"
#include "support/diag.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct store {
  char *root; /* DIR/1; NULL: nothing is found or kept */
  int64_t max_bytes;
  atomic_uint additions; /* the size is looked at again every so often, since other processes add too */
};

enum { ADDITIONS_PER_COLLECTION = 32, ABANDONED_SECONDS = 3600 };

store *store_open(const char *directory, int64_t max_bytes) {
  store *s = calloc(1, sizeof *s);
  ASSERT(s);
  s->max_bytes = max_bytes;
  if (!directory || !*directory) return s;
  str root = STR_EMPTY;
  str_printf(&root, "%s/1", directory);
  s->root = root.data;
  return s;
}

void store_close(store *s) {
  if (!s) return;
  free(s->root);
  free(s);
}

const char *store_root(const store *s) { return s->root; }

/* -- Directories --------------------------------------------------------------------------------------------------- */

static bool is_entry_name(const char *name) {
  return strlen(name) == HASH128_TEXT_BYTES - 1 && strspn(name, "0123456789abcdef") == HASH128_TEXT_BYTES - 1;
}

static int open_directory(int at, const char *path) {
  return openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* Removes the files of the directory and the directory; what cannot be removed stays. Entries have no directories in
 * them. False: something stayed. */
static bool remove_directory(int root, const char *name) {
  int fd = open_directory(root, name);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d) {
    if (fd >= 0) close(fd);
    return unlinkat(root, name, 0) == 0 || errno == ENOENT;
  }
  for (struct dirent *e; (e = readdir(d));) {
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlinkat(dirfd(d), e->d_name, 0);
  }
  closedir(d);
  return unlinkat(root, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

/* Makes a directory of a name that nobody else has; its name is written to `name`. -1 with errno. */
static int make_temporary(int root, char *name, size_t size) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
  for (int attempt = 0; attempt < 100; attempt++) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t seed[4] = {(uint64_t)now.tv_nsec, (uint64_t)now.tv_sec, (uint64_t)getpid(), (uint64_t)(uintptr_t)&now};
    uint64_t bits = hash128_bytes(seed, sizeof seed).low;
    char random[13];
    for (int i = 0; i < 12; i++, bits >>= 5)
      random[i] = letters[bits & 31];
    random[12] = '\0';
    snprintf(name, size, STORE_TEMPORARY "%ld.%s", (long)getpid(), random);
    if (mkdirat(root, name, 0777) == 0) return 0;
    if (errno != EEXIST) return -1;
  }
  return -1;
}

enum { TEMPORARY_BYTES = 64 };

/* Takes an entry out of its place in one step, so that nobody sees a part of it, and removes it. A full disk has no room for
 * the place that it is moved to: there the manifest goes first, without which an entry is none. False: it cannot be
 * removed. */
static bool discard(int root, const char *name) {
  char aside[TEMPORARY_BYTES];
  if (make_temporary(root, aside, sizeof aside) != 0) {
    int directory = open_directory(root, name);
    if (directory >= 0) {
      unlinkat(directory, STORE_MANIFEST, 0);
      close(directory);
    }
    return remove_directory(root, name);
  }
  /* Renaming a directory onto an empty one replaces it. What is no directory cannot be an entry. */
  bool gone = renameat(root, name, root, aside) == 0 || errno == ENOENT || unlinkat(root, name, 0) == 0;
  remove_directory(root, aside);
  return gone;
}

/* -- Finding ------------------------------------------------------------------------------------------------------- */

static void name_of(const char *key, char name[HASH128_TEXT_BYTES]) {
  hash128_text(hash128_bytes(key, strlen(key)), name);
}

static bool has_key(const store_entry *entry, const char *key) {
  const store_file *file = store_entry_file(entry, STORE_KEY);
  return file && file->size == strlen(key) && memcmp(file->data, key, file->size) == 0;
}

bool store_find(const store *s, const char *key, arena *memory, store_entry *out) {
  int root = s->root ? open_directory(AT_FDCWD, s->root) : -1;
  if (root < 0) return false;
  char name[HASH128_TEXT_BYTES];
  name_of(key, name);
  bool found = false;
  int directory = open_directory(root, name);
  if (directory >= 0) {
    store_state state = store_read_entry(directory, memory, out);
    found = state == STORE_WHOLE && has_key(out, key);
    if (found) utimensat(directory, STORE_MANIFEST, NULL, 0);
    close(directory);
    if (state == STORE_BROKEN) discard(root, name);
  }
  close(root);
  return found;
}

/* -- Adding -------------------------------------------------------------------------------------------------------- */

static runtime_status cannot_write(const store *s, int reason, runtime_message *message) {
  return runtime_fail(message, RUNTIME_FILE, "cannot keep a compiled kernel in %s: %s",
                      s->root ? s->root : "(no directory)", strerror(reason));
}

/* Renames the finished directory to its place. Where an entry stands already it stays, unless it is broken. */
static bool put_in_place(int root, const char *temporary, const char *name) {
  for (int attempt = 0; attempt < 3; attempt++) {
    if (renameat(root, temporary, root, name) == 0) return true;
    if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR) return false;
    int directory = open_directory(root, name);
    arena *memory = arena_create();
    store_entry there;
    store_state state = directory < 0 ? STORE_BROKEN : store_read_entry(directory, memory, &there);
    arena_destroy(memory);
    if (directory >= 0) close(directory);
    if (state == STORE_WHOLE) {
      remove_directory(root, temporary);
      return true;
    }
    discard(root, name);
  }
  return false;
}

runtime_status store_put(const store *s, const store_entry *entry, runtime_message *message) {
  if (!s->root) return cannot_write(s, ENOENT, message);
  const store_file *key = store_entry_file(entry, STORE_KEY);
  str error = STR_EMPTY;
  bool made = output_make_directory(s->root, &error);
  int reason = errno;
  str_free(&error);
  if (!made) return cannot_write(s, reason, message);
  int root = open_directory(AT_FDCWD, s->root);
  if (root < 0) return cannot_write(s, errno, message);
  char temporary[TEMPORARY_BYTES], name[HASH128_TEXT_BYTES];
  hash128_text(hash128_bytes(key->data, key->size), name);
  bool ok = make_temporary(root, temporary, sizeof temporary) == 0;
  reason = errno;
  if (ok) {
    int directory = open_directory(root, temporary);
    ok = directory >= 0 && store_write_entry(directory, entry) && put_in_place(root, temporary, name);
    reason = errno;
    if (directory >= 0) close(directory);
    if (!ok) remove_directory(root, temporary);
  }
  close(root);
  return ok ? RUNTIME_OK : cannot_write(s, reason, message);
}

/* -- Lists and removal --------------------------------------------------------------------------------------------- */

static int compare_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Names in the root, sorted: entries, or what is temporary. */
static const char **read_names(const store *s, bool temporary, arena *memory, int *count) {
  const char **names = NULL;
  int capacity = 0;
  *count = 0;
  DIR *d = s->root ? opendir(s->root) : NULL;
  for (struct dirent *e; d && (e = readdir(d));) {
    bool wanted =
        temporary ? strncmp(e->d_name, STORE_TEMPORARY, sizeof STORE_TEMPORARY - 1) == 0 : is_entry_name(e->d_name);
    if (wanted) ARENA_PUSH(memory, names, *count, capacity, arena_strdup(memory, e->d_name));
  }
  if (d) closedir(d);
  if (*count) qsort(names, (size_t)*count, sizeof *names, compare_text);
  return names;
}

/* Bytes of its files, and when it was last used. False: it is gone. */
static bool measure(int root, const char *name, int64_t *bytes, int64_t *used) {
  int fd = open_directory(root, name);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d) {
    if (fd >= 0) close(fd);
    return false;
  }
  struct stat info;
  *bytes = 0;
  *used = fstat(fd, &info) == 0 ? (int64_t)info.st_mtime : 0;
  for (struct dirent *e; (e = readdir(d));) {
    if (e->d_name[0] == '.' || fstatat(fd, e->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    *bytes += info.st_size;
    if (strcmp(e->d_name, STORE_MANIFEST) == 0) *used = (int64_t)info.st_mtime;
  }
  closedir(d);
  return true;
}

/* With `check` every file is read; `whole` is set without it. */
static store_item *read_items(const store *s, bool check, arena *memory, int *count) {
  int names_count, kept = 0, root = s->root ? open_directory(AT_FDCWD, s->root) : -1;
  const char **names = read_names(s, false, memory, &names_count);
  store_item *items = ARENA_ARRAY(memory, store_item, names_count);
  for (int i = 0; i < names_count && root >= 0; i++) {
    store_item *item = &items[kept];
    if (!measure(root, names[i], &item->bytes, &item->used_seconds)) continue;
    memcpy(item->name, names[i], HASH128_TEXT_BYTES);
    item->whole = true;
    item->key = "";
    if (check) {
      arena *scratch = arena_create();
      store_entry entry;
      int directory = open_directory(root, names[i]);
      char expected[HASH128_TEXT_BYTES] = "";
      item->whole = directory >= 0 && store_read_entry(directory, scratch, &entry) == STORE_WHOLE;
      if (item->whole) {
        const store_file *key = store_entry_file(&entry, STORE_KEY);
        item->whole = strcmp(hash128_text(hash128_bytes(key->data, key->size), expected), names[i]) == 0;
        item->key = arena_strndup(memory, key->data, key->size);
      }
      if (directory >= 0) close(directory);
      arena_destroy(scratch);
    }
    kept++;
  }
  if (root >= 0) close(root);
  *count = kept;
  return items;
}

store_item *store_list(const store *s, arena *memory, int *count) { return read_items(s, true, memory, count); }

static int compare_use(const void *a, const void *b) {
  const store_item *x = a, *y = b;
  if (x->whole != y->whole) return x->whole ? 1 : -1;
  if (x->used_seconds != y->used_seconds) return x->used_seconds < y->used_seconds ? -1 : 1;
  return strcmp(x->name, y->name);
}

/* What a process that was killed left behind; a younger one may still be at work. */
static void remove_abandoned(const store *s, int root, arena *memory) {
  int count;
  const char **names = read_names(s, true, memory, &count);
  for (int i = 0; i < count; i++) {
    struct stat info;
    if (fstatat(root, names[i], &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (time(NULL) - info.st_mtime > ABANDONED_SECONDS) remove_directory(root, names[i]);
  }
}

static store_removed collect(const store *s, int64_t max_bytes, bool check) {
  store_removed removed = {0, 0, 0};
  int count, root = s->root ? open_directory(AT_FDCWD, s->root) : -1;
  if (root < 0) return removed;
  arena *memory = arena_create();
  store_item *items = read_items(s, check, memory, &count);
  for (int i = 0; i < count; i++)
    removed.left_bytes += items[i].bytes;
  if (count) qsort(items, (size_t)count, sizeof *items, compare_use);
  for (int i = 0; i < count && (!items[i].whole || removed.left_bytes > max_bytes); i++) {
    if (!discard(root, items[i].name)) continue;
    removed.entries++;
    removed.bytes += items[i].bytes;
    removed.left_bytes -= items[i].bytes;
  }
  remove_abandoned(s, root, memory);
  arena_destroy(memory);
  close(root);
  return removed;
}

store_removed store_collect(const store *s, int64_t max_bytes) { return collect(s, max_bytes, true); }

runtime_status store_add(store *s, const char *key, const store_entry *entry, runtime_message *message) {
  store_entry whole = *entry;
  ASSERT(entry->count < STORE_FILES_MAX);
  for (int i = 0; i < entry->count; i++)
    ASSERT(store_file_name_ok(entry->files[i].name));
  whole.files[whole.count++] = (store_file){STORE_KEY, key, strlen(key)};
  runtime_status status = store_put(s, &whole, message);
  if (status == RUNTIME_OK && atomic_fetch_add(&s->additions, 1) % ADDITIONS_PER_COLLECTION == 0)
    collect(s, s->max_bytes, false);
  return status;
}
