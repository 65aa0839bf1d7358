#include "runtime/npy.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char magic[] = "\x93NUMPY";
enum { MAGIC_BYTES = 6, DATA_ALIGN = 64 };

/* -- Reading the header -------------------------------------------------------------------------------------------- */

/* The header is a Python dictionary literal: {'descr': '<f2', 'fortran_order': False, 'shape': (3, 4), } */
typedef struct scanner {
  const char *at;
  const char *end;
} scanner;

static void skip_blanks(scanner *s) {
  while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t'))
    s->at++;
}

static bool accept(scanner *s, const char *token) {
  skip_blanks(s);
  size_t length = strlen(token);
  if ((size_t)(s->end - s->at) < length || memcmp(s->at, token, length) != 0) return false;
  s->at += length;
  return true;
}

/* 'text' or "text", up to 31 bytes without escapes. */
static bool read_string(scanner *s, char text[32]) {
  skip_blanks(s);
  if (s->at == s->end || (*s->at != '\'' && *s->at != '"')) return false;
  char quote = *s->at++;
  for (int i = 0; i < 32 && s->at < s->end; i++) {
    char c = *s->at++;
    text[i] = c == quote ? '\0' : c;
    if (c == quote) return true;
  }
  return false;
}

static bool read_extent(scanner *s, int64_t *extent) {
  skip_blanks(s);
  if (s->at == s->end || *s->at < '0' || *s->at > '9') return false;
  *extent = 0;
  for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++)
    if (__builtin_mul_overflow(*extent, (int64_t)10, extent) ||
        __builtin_add_overflow(*extent, (int64_t)(*s->at - '0'), extent))
      return false;
  return true;
}

/* "(" [extent ("," extent)* [","]] ")" */
static const char *read_shape(scanner *s, npy_array *out) {
  if (!accept(s, "(")) return "its shape is no tuple";
  while (!accept(s, ")")) {
    if (out->rank == NPY_RANK_MAX) return "it has more than 8 dimensions";
    if (!read_extent(s, &out->extents[out->rank++])) return "its shape is not of whole numbers";
    if (accept(s, ",")) continue;
    if (!accept(s, ")")) return "its shape is not closed";
    break;
  }
  return NULL;
}

/* "<f2", "|u1": byte order, kind, size. */
static const char *read_type(const char *text, npy_array *out) {
  static const char *const known[] = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"};
  if (text[0] == '>') return "it is big-endian";
  if (text[0] != '<' && text[0] != '|' && text[0] != '=') return "its element type is not known";
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (strcmp(known[i], text + 1) != 0) continue;
    out->kind = text[1];
    out->item_bytes = text[2] - '0';
    return NULL;
  }
  return "its element type is not one of f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8";
}

static const char *read_dictionary(scanner *s, npy_array *out) {
  bool has_type = false, has_order = false, has_shape = false;
  if (!accept(s, "{")) return "its header is no dictionary";
  while (!accept(s, "}")) {
    char key[32], type[32];
    const char *why = NULL;
    if (!read_string(s, key) || !accept(s, ":")) return "its header has no key where one is due";
    if (strcmp(key, "descr") == 0 && !has_type) {
      has_type = true;
      why = read_string(s, type) ? read_type(type, out) : "its element type is not a simple one";
    } else if (strcmp(key, "fortran_order") == 0 && !has_order) {
      has_order = true;
      if (!accept(s, "False")) why = "it is not in C order";
    } else if (strcmp(key, "shape") == 0 && !has_shape) {
      has_shape = true;
      why = read_shape(s, out);
    } else {
      why = "its header has a key that is unknown or given twice";
    }
    if (why) return why;
    if (!accept(s, ",")) {
      if (!accept(s, "}")) return "its header is not closed";
      break;
    }
  }
  return has_type && has_order && has_shape ? NULL : "its header lacks descr, fortran_order or shape";
}

/* The bytes of the array; false on overflow. */
static bool count_bytes(const npy_array *array, size_t *bytes) {
  *bytes = (size_t)array->item_bytes;
  for (int i = 0; i < array->rank; i++)
    if (__builtin_mul_overflow(*bytes, (size_t)array->extents[i], bytes)) return false;
  return true;
}

/* Fills all but data; *data_at is where that begins. */
static const char *read_header(const unsigned char *bytes, size_t size, npy_array *out, size_t *data_at) {
  if (size < MAGIC_BYTES + 4 || memcmp(bytes, magic, MAGIC_BYTES) != 0) return "it does not begin as one";
  int version = bytes[6];
  if (version != 1 && version != 2) return "its format version is neither 1 nor 2";
  size_t length_bytes = version == 1 ? 2 : 4, header_at = MAGIC_BYTES + 2 + length_bytes, length = 0;
  if (size < header_at) return "its header is cut off";
  for (size_t i = 0; i < length_bytes; i++)
    length |= (size_t)bytes[8 + i] << (8 * i);
  if (length > size - header_at) return "its header is cut off";
  const char *text = (const char *)bytes + header_at;
  scanner s = {text, text + length};
  const char *why = read_dictionary(&s, out);
  if (why) return why;
  skip_blanks(&s);
  if (s.at != s.end) return "its header goes on after the dictionary";
  *data_at = header_at + length;
  if (!count_bytes(out, &out->data_bytes)) return "its shape is too large";
  if (out->data_bytes > size - *data_at) return "its data is cut off";
  if (out->data_bytes < size - *data_at) return "there is more data than its shape says";
  return NULL;
}

runtime_status npy_parse(const void *bytes, size_t size, npy_array *out, runtime_message *message) {
  npy_array array = {.rank = 0};
  size_t data_at = 0;
  const char *why = read_header(bytes, size, &array, &data_at);
  if (why) return runtime_fail(message, RUNTIME_FILE, "not a usable .npy file: %s", why);
  array.data = malloc(array.data_bytes ? array.data_bytes : 1);
  if (!array.data)
    return runtime_fail(message, RUNTIME_OUT_OF_MEMORY, "no memory for an array of %zu bytes", array.data_bytes);
  if (array.data_bytes) memcpy(array.data, (const unsigned char *)bytes + data_at, array.data_bytes);
  *out = array;
  return RUNTIME_OK;
}

/* -- Files --------------------------------------------------------------------------------------------------------- */

/* All that the file has, by reading: a pipe has no size to ask for. */
static runtime_status read_all(FILE *file, const char *path, unsigned char **bytes, size_t *size,
                               runtime_message *message) {
  size_t capacity = 0;
  for (*size = 0;;) {
    if (*size == capacity) {
      capacity = capacity ? 2 * capacity : 1 << 16;
      unsigned char *grown = realloc(*bytes, capacity);
      if (!grown) return runtime_fail(message, RUNTIME_OUT_OF_MEMORY, "no memory to read %s", path);
      *bytes = grown;
    }
    size_t got = fread(*bytes + *size, 1, capacity - *size, file);
    *size += got;
    if (got == 0)
      return ferror(file) ? runtime_fail(message, RUNTIME_FILE, "%s: %s", path, strerror(errno)) : RUNTIME_OK;
  }
}

runtime_status npy_read(const char *path, npy_array *out, runtime_message *message) {
  FILE *file = fopen(path, "rb");
  if (!file) return runtime_fail(message, RUNTIME_FILE, "%s: %s", path, strerror(errno));
  unsigned char *bytes = NULL;
  size_t size = 0;
  runtime_status status = read_all(file, path, &bytes, &size, message);
  fclose(file);
  runtime_message why = {""};
  if (status == RUNTIME_OK) {
    status = npy_parse(bytes, size, out, &why);
    if (status != RUNTIME_OK) runtime_fail(message, status, "%s: %.400s", path, why.text);
  }
  free(bytes);
  return status;
}

/* The header of version 1, padded with blanks so that the data begins aligned. Returns its length. */
static size_t print_header(const npy_array *array, char *text, size_t capacity) {
  int at = snprintf(text, capacity, "{'descr': '%c%c%d', 'fortran_order': False, 'shape': (",
                    array->item_bytes == 1 ? '|' : '<', array->kind, array->item_bytes);
  for (int i = 0; i < array->rank; i++)
    at += snprintf(text + at, capacity - (size_t)at, i + 1 < array->rank ? "%lld, " : "%lld",
                   (long long)array->extents[i]);
  at += snprintf(text + at, capacity - (size_t)at, array->rank == 1 ? ",), }" : "), }");
  while ((MAGIC_BYTES + 4 + at + 1) % DATA_ALIGN != 0)
    text[at++] = ' ';
  text[at++] = '\n';
  return (size_t)at;
}

runtime_status npy_write(const char *path, const npy_array *array, runtime_message *message) {
  char type[4] = {'<', array->kind, (char)('0' + array->item_bytes), '\0'};
  npy_array ignored;
  size_t bytes = 0;
  if (array->rank < 0 || array->rank > NPY_RANK_MAX || read_type(type, &ignored) || !count_bytes(array, &bytes) ||
      bytes != array->data_bytes)
    return runtime_fail(message, RUNTIME_BAD_ARGUMENT, "%s: not an array that .npy can hold", path);
  char header[512];
  size_t length = print_header(array, header, sizeof header);
  unsigned char start[MAGIC_BYTES + 4];
  memcpy(start, magic, MAGIC_BYTES);
  start[6] = 1;
  start[7] = 0;
  start[8] = (unsigned char)(length & 0xff);
  start[9] = (unsigned char)(length >> 8);
  FILE *file = fopen(path, "wb");
  if (!file) return runtime_fail(message, RUNTIME_FILE, "%s: %s", path, strerror(errno));
  bool ok = fwrite(start, 1, sizeof start, file) == sizeof start && fwrite(header, 1, length, file) == length &&
            fwrite(array->data, 1, bytes, file) == bytes;
  int error = errno;
  if (fclose(file) != 0 && ok) {
    ok = false;
    error = errno;
  }
  return ok ? RUNTIME_OK : runtime_fail(message, RUNTIME_FILE, "%s: %s", path, strerror(error));
}

void npy_free(npy_array *array) {
  if (!array) return;
  free(array->data);
  array->data = NULL;
}
