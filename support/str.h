/* A growing byte string. Numbers are printed the same way in every locale. */
#ifndef BITBLASC_SUPPORT_STR_H
#define BITBLASC_SUPPORT_STR_H

#include <stdarg.h>
#include <stddef.h>

typedef struct str {
  char *data; /* NUL-terminated once anything was appended; NULL before; owned, freed by str_free */
  size_t length;
  size_t capacity;
} str;

#define STR_EMPTY                                                                                                      \
  { NULL, 0, 0 }

void str_free(str *s);
void str_clear(str *s);
void str_append(str *s, const char *text);
void str_append_bytes(str *s, const void *data, size_t length);
void str_append_char(str *s, char c);
void str_printf(str *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void str_vprintf(str *s, const char *format, va_list args);
/* The shortest decimal text that reads back as the same double; always with '.' or 'e'; "inf", "-inf", "nan". */
void str_append_double(str *s, double value);
/* `text` as a JSON string with its quotes. */
void str_append_json(str *s, const char *text);
const char *str_text(const str *s); /* "" when empty; valid until the next append */

/* The reverse of str_append_double: the same in every locale. *end is set past the number. */
double str_parse_double(const char *text, const char **end);

#endif
