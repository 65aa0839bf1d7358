#include "lib/safetensors_write.h"

#include "lib/checkpoint.h"
#include "support/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Room for an entry without its name: {"dtype":"F8_E4M3","shape":[8 numbers],"data_offsets":[2 numbers]}, of 20 digits each. */
enum {
  LENGTH_BYTES = 8,
  ENTRY_BYTES = 64 + 10 * 21,
  DATA_ALIGN = 64,
  HEADER_BYTES_MAX = 100000000,
  BUFFER_BYTES = 1 << 20
};
static const char beginning[] = "{\"__metadata__\":{\"format\":\"pt\"}";

struct safetensors_writer {
  FILE *file;
  arena *memory;
  char *path, *aside;
  size_t header_room;
  uint64_t written;
  str header;
  const char **names;
  size_t count, capacity;
};

static const struct {
  const char *name;
  unsigned bits;
} dtypes[] = {
#define DTYPE(name, bits, type) {name, bits},
#include "lib/dtypes.def"
#undef DTYPE
};

static bitblas_status fail(const safetensors_writer *w) {
  return lib_fail(BITBLAS_ERROR_FILE, "cannot write %s: %s", w->path, strerror(errno));
}

size_t safetensors_header_bytes(const char *name) {
  str escaped = STR_EMPTY;
  str_append_json(&escaped, name);
  size_t bytes = escaped.length + ENTRY_BYTES;
  str_free(&escaped);
  return bytes;
}

void safetensors_abandon(safetensors_writer *w) {
  if (!w) return;
  if (w->file) fclose(w->file);
  if (w->aside) unlink(w->aside);
  str_free(&w->header);
  arena_destroy(w->memory);
}

/* As a program would make it that knows nothing of temporary files. */
static bool set_mode(const safetensors_writer *w, int file) {
  struct stat old;
  mode_t mask = umask(0);
  umask(mask);
  return fchmod(file, stat(w->path, &old) == 0 ? old.st_mode & 0777 : 0666 & ~mask) == 0;
}

bitblas_status safetensors_create(const char *path, size_t header_bytes, safetensors_writer **out) {
  struct stat old;
  *out = NULL;
  if (stat(path, &old) == 0 && !S_ISREG(old.st_mode))
    return lib_fail(BITBLAS_ERROR_FILE, "cannot write %s: it is no regular file", path);
  size_t room = sizeof beginning + 1 + header_bytes + LENGTH_BYTES;
  room = (room + DATA_ALIGN - 1) / DATA_ALIGN * DATA_ALIGN - LENGTH_BYTES;
  if (header_bytes > HEADER_BYTES_MAX || room > HEADER_BYTES_MAX)
    return lib_fail(BITBLAS_ERROR_FILE, "cannot write %s: its header would have %zu bytes and may have %d", path, room,
                    HEADER_BYTES_MAX);
  arena *memory = arena_create();
  safetensors_writer *w = ARENA_NEW(memory, safetensors_writer);
  w->memory = memory;
  w->path = arena_strdup(memory, path);
  w->header_room = room;
  str_append(&w->header, beginning);
  char *aside = arena_printf(memory, "%s.XXXXXX", path);
  int file = mkstemp(aside);
  if (file >= 0) w->aside = aside;
  if (file >= 0 && !(w->file = fdopen(file, "wb"))) close(file);
  if (!w->file || !set_mode(w, file) || fseeko(w->file, (off_t)(LENGTH_BYTES + room), SEEK_SET) != 0) {
    bitblas_status status = fail(w);
    safetensors_abandon(w);
    return status;
  }
  setvbuf(w->file, NULL, _IOFBF, BUFFER_BYTES);
  *out = w;
  return BITBLAS_OK;
}

uint64_t safetensors_written(const safetensors_writer *w) { return w->written; }

static unsigned bits_of(const char *encoding) {
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
    if (strcmp(dtypes[i].name, encoding) == 0) return dtypes[i].bits;
  }
  return 0;
}

bitblas_status safetensors_add(safetensors_writer *w, const char *name, const char *encoding, int rank,
                               const int64_t *shape, const void *data, size_t bytes) {
  uint64_t elements, bits = bits_of(encoding);
  if (!bits || !checkpoint_elements(rank, shape, &elements) || __builtin_mul_overflow(elements, bits, &bits) ||
      bits % 8 || bits / 8 != bytes)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s: %zu bytes of %s are no tensor that safetensors can hold", name, bytes,
                    encoding);
  str_append_char(&w->header, ',');
  str_append_json(&w->header, name);
  str_printf(&w->header, ":{\"dtype\":\"%s\",\"shape\":[", encoding);
  for (int d = 0; d < rank; d++)
    str_printf(&w->header, "%s%" PRId64, d ? "," : "", shape[d]);
  str_printf(&w->header, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", w->written, w->written + bytes);
  w->written += bytes;
  ARENA_PUSH(w->memory, w->names, w->count, w->capacity, arena_strdup(w->memory, name));
  return bytes == 0 || fwrite(data, 1, bytes, w->file) == bytes ? BITBLAS_OK : fail(w);
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static bitblas_status check_names(const safetensors_writer *w) {
  if (w->count) qsort(w->names, w->count, sizeof *w->names, by_text);
  for (size_t i = 1; i < w->count; i++) {
    if (strcmp(w->names[i - 1], w->names[i]) == 0)
      return lib_fail(BITBLAS_ERROR_FILE, "cannot write %s: two tensors would be %s", w->path, w->names[i]);
  }
  return BITBLAS_OK;
}

static bool write_header(safetensors_writer *w) {
  unsigned char length[LENGTH_BYTES];
  for (int i = 0; i < LENGTH_BYTES; i++)
    length[i] = (unsigned char)((uint64_t)w->header_room >> (8 * i));
  return fseeko(w->file, 0, SEEK_SET) == 0 && fwrite(length, 1, LENGTH_BYTES, w->file) == LENGTH_BYTES &&
         fwrite(w->header.data, 1, w->header.length, w->file) == w->header.length;
}

bitblas_status safetensors_finish(safetensors_writer *w) {
  str_append_char(&w->header, '}');
  bitblas_status status = check_names(w);
  if (status == BITBLAS_OK && w->header.length > w->header_room)
    status = lib_fail(BITBLAS_ERROR_INTERNAL, "%s: its header has %zu bytes and room for %zu", w->path,
                      w->header.length, w->header_room);
  while (w->header.length < w->header_room)
    str_append_char(&w->header, ' ');
  /* A file without data ends with its header, which seeking alone does not make. */
  if (status == BITBLAS_OK && !write_header(w)) status = fail(w);
  FILE *file = w->file;
  w->file = NULL;
  if (fclose(file) != 0 && status == BITBLAS_OK) status = fail(w);
  if (status == BITBLAS_OK && rename(w->aside, w->path) != 0) status = fail(w);
  if (status == BITBLAS_OK) w->aside = NULL;
  safetensors_abandon(w);
  return status;
}
