#include "driver/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUTPUT_BYTES_MAX = 1 << 30 }; /* of an input file */

static bool fail(str *error, const char *what, const char *path) {
  str_printf(error, "%s %s: %s", what, path, strerror(errno));
  return false;
}

static bool write_all(int file, const char *data, size_t size) {
  while (size) {
    ssize_t written = write(file, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    data += written;
    size -= (size_t)written;
  }
  return true;
}

static bool write_direct(const char *path, const void *data, size_t size, str *error) {
  FILE *file = fopen(path, "wb");
  if (!file) return fail(error, "cannot write", path);
  bool ok = fwrite(data, 1, size, file) == size;
  ok = fclose(file) == 0 && ok;
  return ok || fail(error, "cannot write", path);
}

bool output_write(const char *path, const void *data, size_t size, str *error) {
  if (strcmp(path, "-") == 0) {
    bool ok = fwrite(data, 1, size, stdout) == size && fflush(stdout) == 0;
    return ok || fail(error, "cannot write", "standard output");
  }
  struct stat old;
  bool exists = stat(path, &old) == 0;
  if (exists && !S_ISREG(old.st_mode)) return write_direct(path, data, size, error);
  str name = STR_EMPTY;
  str_printf(&name, "%s.XXXXXX", path);
  int file = mkstemp(name.data);
  if (file < 0) {
    str_free(&name);
    return fail(error, "cannot write", path);
  }
  mode_t mask = umask(0);
  umask(mask);
  mode_t mode = exists ? old.st_mode & 0777 : 0666 & ~mask;
  bool ok = write_all(file, data, size) && fchmod(file, mode) == 0;
  ok = close(file) == 0 && ok;
  ok = ok && rename(name.data, path) == 0;
  if (!ok) {
    int reason = errno;
    unlink(name.data);
    errno = reason;
    fail(error, "cannot write", path);
  }
  str_free(&name);
  return ok;
}

char *output_read(arena *memory, const char *path, size_t *size, str *error) {
  bool standard = strcmp(path, "-") == 0;
  const char *shown = standard ? "standard input" : path;
  struct stat info;
  if (!standard && stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
    errno = EISDIR;
    fail(error, "cannot read", path);
    return NULL;
  }
  FILE *file = standard ? stdin : fopen(path, "rb");
  if (!file) {
    fail(error, "cannot read", path);
    return NULL;
  }
  str text = STR_EMPTY;
  char chunk[1 << 16];
  size_t got;
  while (text.length < OUTPUT_BYTES_MAX && (got = fread(chunk, 1, sizeof chunk, file)) > 0)
    str_append_bytes(&text, chunk, got);
  bool ok = !ferror(file) && text.length < OUTPUT_BYTES_MAX;
  if (!ok) {
    if (!ferror(file)) errno = EFBIG;
    fail(error, "cannot read", shown);
  }
  if (!standard) fclose(file);
  *size = text.length;
  char *result = ok ? arena_strndup(memory, str_text(&text), text.length) : NULL;
  str_free(&text);
  return result;
}

bool output_make_directory(const char *path, str *error) {
  str name = STR_EMPTY;
  str_append(&name, path);
  bool ok = true;
  for (size_t i = 1; ok && i <= name.length; i++) {
    if (name.data[i] != '/' && name.data[i] != '\0') continue;
    char kept = name.data[i];
    name.data[i] = '\0';
    ok = mkdir(name.data, 0777) == 0 || errno == EEXIST;
    name.data[i] = kept;
  }
  if (!ok) fail(error, "cannot make", path);
  str_free(&name);
  return ok;
}

const char *output_base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

const char *output_extension(const char *path) {
  const char *base = output_base_name(path);
  const char *dot = strrchr(base, '.');
  return dot && dot != base ? dot : base + strlen(base);
}
