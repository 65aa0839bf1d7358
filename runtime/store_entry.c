#include "runtime/store_entry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char manifest_head[] = "bitblasc entry 1\n";

bool store_file_name_ok(const char *name) {
  size_t length = strlen(name);
  if (!length || length > 64 || name[0] == '.') return false;
  return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == length;
}

const store_file *store_entry_file(const store_entry *entry, const char *name) {
  for (int i = 0; i < entry->count; i++) {
    if (strcmp(entry->files[i].name, name) == 0) return &entry->files[i];
  }
  return NULL;
}

/* -- The manifest -------------------------------------------------------------------------------------------------- */

static void append_hash(str *out, const void *data, size_t size) {
  char text[HASH128_TEXT_BYTES];
  str_append(out, hash128_text(hash128_bytes(data, size), text));
}

void store_write_manifest(const store_entry *entry, str *out) {
  str_append(out, manifest_head);
  for (int i = 0; i < entry->count; i++) {
    const store_file *file = &entry->files[i];
    str_printf(out, "%s %zu ", file->name, file->size);
    append_hash(out, file->data, file->size);
    str_append_char(out, '\n');
  }
  size_t body = out->length;
  str_append(out, "end ");
  append_hash(out, out->data, body);
  str_append_char(out, '\n');
}

static bool read_hash(const char *text, hash128 *hash) {
  uint64_t parts[2] = {0, 0};
  for (int i = 0; i < HASH128_TEXT_BYTES - 1; i++) {
    static const char digits[] = "0123456789abcdef";
    const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
    if (!digit) return false;
    parts[i / 16] = parts[i / 16] << 4 | (uint64_t)(digit - digits);
  }
  *hash = (hash128){parts[0], parts[1]};
  return true;
}

static bool same_hash(hash128 a, hash128 b) { return a.high == b.high && a.low == b.low; }

/* Whether the last line is the hash of all before it; *length is cut to those. */
static bool check_end(const char *text, size_t *length) {
  enum { END = 4 + HASH128_TEXT_BYTES - 1 + 1 };
  if (*length < sizeof manifest_head - 1 + END || memcmp(text, manifest_head, sizeof manifest_head - 1) != 0)
    return false;
  const char *end = text + *length - END;
  hash128 written;
  if (memcmp(end, "end ", 4) != 0 || text[*length - 1] != '\n' || !read_hash(end + 4, &written)) return false;
  *length -= END;
  return same_hash(written, hash128_bytes(text, *length));
}

/* `text` is one manifest line without its newline: name, size, hash. */
static bool read_line(char *line, store_file *file, hash128 *hash) {
  char *size = strchr(line, ' ');
  if (!size) return false;
  *size++ = '\0';
  char *digest = strchr(size, ' ');
  if (!digest) return false;
  *digest++ = '\0';
  if (!store_file_name_ok(line) || strcmp(line, STORE_MANIFEST) == 0 || strlen(digest) != HASH128_TEXT_BYTES - 1)
    return false;
  size_t digits = strspn(size, "0123456789");
  if (!digits || digits > 10 || size[digits]) return false;
  uint64_t bytes = 0;
  for (; *size; size++)
    bytes = bytes * 10 + (uint64_t)(*size - '0');
  if (bytes > STORE_FILE_BYTES_MAX) return false;
  *file = (store_file){.name = line, .size = (size_t)bytes};
  return read_hash(digest, hash);
}

static bool read_lines(char *at, char *end, store_entry *entry, hash128 *hashes) {
  entry->count = 0;
  while (at < end) {
    char *newline = memchr(at, '\n', (size_t)(end - at));
    if (!newline || entry->count == STORE_FILES_MAX) return false;
    *newline = '\0';
    if (!read_line(at, &entry->files[entry->count], &hashes[entry->count])) return false;
    entry->count++;
    at = newline + 1;
  }
  return store_entry_file(entry, STORE_KEY) != NULL;
}

bool store_read_manifest(char *text, size_t length, store_entry *entry, hash128 hashes[STORE_FILES_MAX]) {
  return check_end(text, &length) && read_lines(text + sizeof manifest_head - 1, text + length, entry, hashes);
}

/* -- Files --------------------------------------------------------------------------------------------------------- */

/* The whole of a regular file, and a NUL, in the arena. NULL with errno. */
static char *read_file(int directory, const char *name, size_t most, arena *memory, size_t *size) {
  int file = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0) return NULL;
  struct stat info;
  char *data = NULL;
  size_t got = 0;
  if (fstat(file, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size <= most) {
    size_t wanted = (size_t)info.st_size;
    data = arena_alloc(memory, wanted + 1);
    while (got < wanted) {
      ssize_t part = read(file, data + got, wanted - got);
      if (part < 0 && errno == EINTR) continue;
      if (part <= 0) break;
      got += (size_t)part;
    }
    if (got < wanted) data = NULL;
  }
  close(file);
  errno = 0; /* it is there, and not as it should be */
  *size = got;
  return data;
}

store_state store_read_entry(int directory, arena *memory, store_entry *out) {
  enum { MANIFEST_BYTES_MAX = 1 << 14 };
  hash128 hashes[STORE_FILES_MAX];
  size_t length = 0;
  char *manifest = read_file(directory, STORE_MANIFEST, MANIFEST_BYTES_MAX, memory, &length);
  if (!manifest) return errno == ENOENT || errno == 0 ? STORE_BROKEN : STORE_ABSENT;
  if (!store_read_manifest(manifest, length, out, hashes)) return STORE_BROKEN;
  for (int i = 0; i < out->count; i++) {
    store_file *file = &out->files[i];
    size_t size = 0;
    file->data = read_file(directory, file->name, file->size, memory, &size);
    if (!file->data) return errno == ENOENT || errno == 0 ? STORE_BROKEN : STORE_ABSENT;
    if (size != file->size || !same_hash(hash128_bytes(file->data, size), hashes[i])) return STORE_BROKEN;
  }
  return STORE_WHOLE;
}

static bool write_file(int directory, const char *name, const void *data, size_t size) {
  int file = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0) return false;
  const char *at = data;
  int reason = 0;
  while (size && !reason) {
    ssize_t part = write(file, at, size);
    if (part < 0 && errno == EINTR) continue;
    if (part <= 0) {
      reason = part ? errno : ENOSPC;
      break;
    }
    at += part;
    size -= (size_t)part;
  }
  if (close(file) != 0 && !reason) reason = errno; /* NFS says here that the disk is full */
  errno = reason;
  return reason == 0;
}

bool store_write_entry(int directory, const store_entry *entry) {
  for (int i = 0; i < entry->count; i++) {
    if (!write_file(directory, entry->files[i].name, entry->files[i].data, entry->files[i].size)) return false;
  }
  str manifest = STR_EMPTY;
  store_write_manifest(entry, &manifest);
  bool ok = write_file(directory, STORE_MANIFEST, manifest.data, manifest.length);
  int reason = errno;
  str_free(&manifest);
  errno = reason;
  return ok;
}
