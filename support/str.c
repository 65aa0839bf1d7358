/* Growing byte strings. The only number text that a locale could change is a double's decimal point, so doubles are
 * printed and read by two functions that put '.' there whatever the locale says. */
#include "support/str.h"

#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 64, NUMBER_BYTES = 64 };

_Noreturn static void out_of_memory(void) {
  fputs("bitblasc: out of memory\n", stderr);
  abort();
}

/* Makes room for `more` bytes and the terminating NUL. */
static void reserve(str *s, size_t more) {
  if (more >= SIZE_MAX / 2 - s->length) out_of_memory();
  size_t needed = s->length + more + 1;
  if (needed <= s->capacity) return;
  size_t capacity = s->capacity ? s->capacity : FIRST_CAPACITY;
  while (capacity < needed)
    capacity *= 2;
  char *data = realloc(s->data, capacity);
  if (!data) out_of_memory();
  s->data = data;
  s->capacity = capacity;
}

void str_free(str *s) {
  free(s->data);
  *s = (str)STR_EMPTY;
}

void str_clear(str *s) {
  s->length = 0;
  if (s->data) s->data[0] = '\0';
}

void str_append(str *s, const char *text) { str_append_bytes(s, text, strlen(text)); }

void str_append_bytes(str *s, const void *data, size_t length) {
  reserve(s, length);
  if (length) memcpy(s->data + s->length, data, length);
  s->length += length;
  s->data[s->length] = '\0';
}

void str_append_char(str *s, char c) { str_append_bytes(s, &c, 1); }

void str_printf(str *s, const char *format, ...) {
  va_list args;
  va_start(args, format);
  str_vprintf(s, format, args);
  va_end(args);
}

void str_vprintf(str *s, const char *format, va_list args) {
  va_list again;
  va_copy(again, args);
  int length = vsnprintf(NULL, 0, format, args);
  if (length > 0) {
    reserve(s, (size_t)length);
    vsnprintf(s->data + s->length, (size_t)length + 1, format, again);
    s->length += (size_t)length;
  } else {
    str_append_bytes(s, "", 0);
  }
  va_end(again);
}

void str_append_double(str *s, double value) {
  if (isnan(value)) {
    str_append(s, "nan");
    return;
  }
  if (isinf(value)) {
    str_append(s, value < 0 ? "-inf" : "inf");
    return;
  }
  /* 17 digits always round-trip; most values a person wrote need far fewer. */
  char text[NUMBER_BYTES];
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  const char *point = localeconv()->decimal_point;
  const char *found = *point ? strstr(text, point) : NULL;
  if (found) {
    str_append_bytes(s, text, (size_t)(found - text));
    str_append_char(s, '.');
    str_append(s, found + strlen(point));
  } else {
    str_append(s, text);
    if (!strchr(text, 'e')) str_append(s, ".0");
  }
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

double str_parse_double(const char *text, const char **end) {
  /* Find the end of the number by its grammar, then let strtod read a copy with the locale's decimal point in it:
   * strtod is the only correctly rounded reader C11 has. */
  const char *p = text;
  if (*p == '-' || *p == '+') p++;
  if (strncmp(p, "inf", 3) == 0 || strncmp(p, "nan", 3) == 0) {
    *end = p + 3;
    if (*p == 'n') return (double)NAN;
    return *text == '-' ? -(double)INFINITY : (double)INFINITY;
  }
  const char *whole = p;
  while (is_digit(*p))
    p++;
  const char *point = NULL;
  size_t digits = (size_t)(p - whole);
  if (*p == '.' && (digits || is_digit(p[1]))) {
    point = p++;
    while (is_digit(*p))
      p++;
    digits += (size_t)(p - point - 1);
  }
  if (digits == 0) {
    *end = text;
    return 0.0;
  }
  if (*p == 'e' || *p == 'E') {
    const char *exponent = p + 1;
    if (*exponent == '-' || *exponent == '+') exponent++;
    if (is_digit(*exponent)) {
      while (is_digit(*exponent))
        exponent++;
      p = exponent;
    }
  }
  *end = p;
  str copy = STR_EMPTY;
  if (point) {
    str_append_bytes(&copy, text, (size_t)(point - text));
    str_append(&copy, localeconv()->decimal_point);
    str_append_bytes(&copy, point + 1, (size_t)(p - point - 1));
  } else {
    str_append_bytes(&copy, text, (size_t)(p - text));
  }
  double value = strtod(str_text(&copy), NULL);
  str_free(&copy);
  return value;
}

/* The length of the UTF-8 sequence that starts at `text`, or 0 when it is not one. */
static size_t utf8_length(const unsigned char *text) {
  static const struct {
    unsigned char mask, lead;
    uint32_t smallest;
  } kinds[] = {{0x80, 0x00, 0}, {0xE0, 0xC0, 0x80}, {0xF0, 0xE0, 0x800}, {0xF8, 0xF0, 0x10000}};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    if ((text[0] & kinds[k].mask) != kinds[k].lead) continue;
    uint32_t code = text[0] & (unsigned char)~kinds[k].mask;
    for (size_t i = 1; i <= k; i++) {
      if ((text[i] & 0xC0) != 0x80) /* also stops at the NUL */
        return 0;
      code = code << 6 | (text[i] & 0x3F);
    }
    bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    return code < kinds[k].smallest || code > 0x10FFFF || surrogate ? 0 : k + 1;
  }
  return 0;
}

/* The escape of an ASCII character that a JSON string may not hold as it is, or NULL. */
static const char *json_escape(char c) {
  switch (c) {
  case '"':
    return "\\\"";
  case '\\':
    return "\\\\";
  case '\b':
    return "\\b";
  case '\f':
    return "\\f";
  case '\n':
    return "\\n";
  case '\r':
    return "\\r";
  case '\t':
    return "\\t";
  default:
    return NULL;
  }
}

void str_append_json(str *s, const char *text) {
  str_append_char(s, '"');
  for (const char *p = text; *p;) {
    size_t length = utf8_length((const unsigned char *)p);
    if (json_escape(*p))
      str_append(s, json_escape(*p));
    else if (length == 0) /* a byte that is not UTF-8 would make the whole document unreadable */
      str_append(s, "\\ufffd");
    else if ((unsigned char)*p < 0x20 || *p == 0x7F)
      str_printf(s, "\\u%04x", (unsigned)*p);
    else
      str_append_bytes(s, p, length);
    p += length ? length : 1;
  }
  str_append_char(s, '"');
}

const char *str_text(const str *s) { return s->data ? s->data : ""; }
