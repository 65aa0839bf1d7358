/* The store as one file: POSIX ustar (IEEE Std 1003.1, pax, "ustar Interchange Format"), regular files only, named
 * <entry>/<file>. Equal stores give equal bytes: sorted, no owners, no times. What comes in is checked like any entry on
 * disk, and named by its key, whatever the archive calls it. */
#include "runtime/store_entry.h"

#include "driver/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
  BLOCK = 512,
  NAME_AT = 0,
  MODE_AT = 100,
  SIZE_AT = 124,
  SUM_AT = 148,
  KIND_AT = 156,
  MAGIC_AT = 257,
  PREFIX_AT = 345
};

static runtime_status fail(runtime_message *message, const char *path, const char *what) {
  return runtime_fail(message, RUNTIME_FILE, "%s: %s", path, what);
}

/* -- Writing ------------------------------------------------------------------------------------------------------- */

static unsigned checksum(const unsigned char *header) {
  unsigned sum = 0;
  for (int i = 0; i < BLOCK; i++)
    sum += i >= SUM_AT && i < SUM_AT + 8 ? ' ' : header[i];
  return sum;
}

static void append_file(str *out, const char *entry, const store_file *file) {
  char header[BLOCK] = "";
  snprintf(header + NAME_AT, 100, "%s/%s", entry, file->name);
  snprintf(header + MODE_AT, 8, "%07o", 0644u);
  snprintf(header + MODE_AT + 8, 8, "%07o", 0u);
  snprintf(header + MODE_AT + 16, 8, "%07o", 0u);
  snprintf(header + SIZE_AT, 12, "%011" PRIo64, (uint64_t)file->size);
  snprintf(header + SIZE_AT + 12, 12, "%011o", 0u);
  header[KIND_AT] = '0';
  memcpy(header + MAGIC_AT,
         "ustar\0"
         "00",
         8);
  snprintf(header + SUM_AT, 8, "%06o", checksum((const unsigned char *)header));
  header[SUM_AT + 7] = ' ';
  str_append_bytes(out, header, BLOCK);
  str_append_bytes(out, file->data, file->size);
  static const char zeros[BLOCK];
  str_append_bytes(out, zeros, (BLOCK - file->size % BLOCK) % BLOCK);
}

runtime_status store_export(const store *s, const char *path, int *count, runtime_message *message) {
  *count = 0;
  arena *memory = arena_create();
  int item_count;
  store_item *items = store_list(s, memory, &item_count);
  str tar = STR_EMPTY;
  for (int i = 0; i < item_count; i++) {
    arena *scratch = arena_create();
    store_entry entry;
    if (items[i].whole && store_find(s, items[i].key, scratch, &entry)) {
      str manifest = STR_EMPTY;
      store_write_manifest(&entry, &manifest);
      append_file(&tar, items[i].name, &(store_file){STORE_MANIFEST, manifest.data, manifest.length});
      for (int f = 0; f < entry.count; f++)
        append_file(&tar, items[i].name, &entry.files[f]);
      str_free(&manifest);
      ++*count;
    }
    arena_destroy(scratch);
  }
  static const char end[2 * BLOCK];
  str_append_bytes(&tar, end, sizeof end);
  str error = STR_EMPTY;
  bool ok = output_write(path, tar.data, tar.length, &error);
  if (!ok) runtime_fail(message, RUNTIME_FILE, "%s", str_text(&error));
  str_free(&error);
  str_free(&tar);
  arena_destroy(memory);
  return ok ? RUNTIME_OK : RUNTIME_FILE;
}

/* -- Reading ------------------------------------------------------------------------------------------------------- */

/* A number of octal digits that ends in a blank or NUL; UINT64_MAX when it is none. */
static uint64_t read_octal(const char *field, int width) {
  uint64_t value = 0;
  int i = 0;
  while (i < width && field[i] >= '0' && field[i] <= '7')
    value = value * 8 + (uint64_t)(field[i++] - '0');
  return i > 0 && i <= 12 && (i == width || field[i] == ' ' || !field[i]) ? value : UINT64_MAX;
}

typedef struct tar_reader {
  char *at;
  size_t left;
  arena *memory;
  const char *why; /* what is wrong; NULL: nothing */
} tar_reader;

typedef struct tar_member {
  const char *entry; /* its directory, "" for other things than a file in a directory */
  store_file file;
} tar_member;

/* The next regular file. False at the end, or when the archive is wrong. */
static bool next_member(tar_reader *t, tar_member *m) {
  while (t->left >= BLOCK && t->at[0]) {
    const char *header = t->at;
    uint64_t size = read_octal(header + SIZE_AT, 12);
    if (memcmp(header + MAGIC_AT, "ustar", 5) != 0 ||
        read_octal(header + SUM_AT, 8) != checksum((const unsigned char *)header)) {
      t->why = "it is no tar file, or damaged";
      return false;
    }
    if (size > t->left - BLOCK) {
      t->why = "it is cut short";
      return false;
    }
    char *name = arena_strndup(t->memory, header + NAME_AT, strnlen(header + NAME_AT, 100));
    *m = (tar_member){"", {name, header + BLOCK, (size_t)size}};
    bool regular = (header[KIND_AT] == '0' || !header[KIND_AT]) && !header[PREFIX_AT];
    size_t padded = ((size_t)size + BLOCK - 1) / BLOCK * BLOCK;
    t->at += BLOCK + (padded > t->left - BLOCK ? t->left - BLOCK : padded);
    t->left -= BLOCK + (padded > t->left - BLOCK ? t->left - BLOCK : padded);
    if (header[KIND_AT] == '5') continue; /* a directory: entries bring their own */
    char *file = strrchr(name, '/');
    if (!regular || !file || !store_file_name_ok(file + 1)) {
      t->why = "it holds something that no entry has";
      return false;
    }
    *file = '\0';
    m->entry = name;
    m->file.name = file + 1;
    return true;
  }
  return false;
}

/* Whether the files are what the manifest says. */
static bool check_entry(const store_entry *files, const store_file *manifest, arena *memory) {
  store_entry listed;
  hash128 hashes[STORE_FILES_MAX];
  if (!manifest) return false;
  char *text = arena_strndup(memory, manifest->data, manifest->size);
  if (!store_read_manifest(text, manifest->size, &listed, hashes) || listed.count != files->count) return false;
  for (int i = 0; i < listed.count; i++) {
    const store_file *file = store_entry_file(files, listed.files[i].name);
    if (!file || file->size != listed.files[i].size) return false;
    hash128 is = hash128_bytes(file->data, file->size);
    if (is.high != hashes[i].high || is.low != hashes[i].low) return false;
  }
  return true;
}

static runtime_status take_entry(const store *s, const store_entry *files, const store_file *manifest, const char *path,
                                 arena *memory, int *count, runtime_message *message) {
  if (!files->count && !manifest) return RUNTIME_OK;
  if (!check_entry(files, manifest, memory)) return fail(message, path, "an entry is not as its manifest says");
  runtime_status status = store_put(s, files, message);
  if (status == RUNTIME_OK) ++*count;
  return status;
}

static runtime_status take_all(const store *s, tar_reader *t, const char *path, int *count, runtime_message *message) {
  store_entry files = {.count = 0};
  store_file manifest;
  bool has_manifest = false;
  const char *name = "";
  tar_member m;
  runtime_status status = RUNTIME_OK;
  while (status == RUNTIME_OK && next_member(t, &m)) {
    if (strcmp(m.entry, name) != 0) {
      status = take_entry(s, &files, has_manifest ? &manifest : NULL, path, t->memory, count, message);
      files.count = 0;
      has_manifest = false;
      name = m.entry;
    }
    if (strcmp(m.file.name, STORE_MANIFEST) == 0) {
      manifest = m.file;
      has_manifest = true;
    } else if (files.count == STORE_FILES_MAX) {
      return fail(message, path, "an entry has too many files");
    } else {
      files.files[files.count++] = m.file;
    }
  }
  if (status == RUNTIME_OK && t->why) status = fail(message, path, t->why);
  return status == RUNTIME_OK ? take_entry(s, &files, has_manifest ? &manifest : NULL, path, t->memory, count, message)
                              : status;
}

runtime_status store_import(store *s, const char *path, int *count, runtime_message *message) {
  *count = 0;
  arena *memory = arena_create();
  str error = STR_EMPTY;
  tar_reader t = {.memory = memory};
  t.at = output_read(memory, path, &t.left, &error);
  runtime_status status;
  if (!t.at)
    status = runtime_fail(message, RUNTIME_FILE, "%s", str_text(&error));
  else if (t.left < BLOCK)
    status = fail(message, path, "it is no tar file, or damaged");
  else
    status = take_all(s, &t, path, count, message);
  str_free(&error);
  arena_destroy(memory);
  return status;
}
