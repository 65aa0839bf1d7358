/* What parse.c (kernels, declarations, ops) and parse_expr.c (words, expressions, references) share. */
#ifndef BITBLASC_IR_PARSER_H
#define BITBLASC_IR_PARSER_H

#include "ir/expr.h"

#include <stddef.h>

typedef struct parser {
  arena *memory;
  diag *d;
  uint16_t file;
  const char *text; /* NUL-terminated */
  const char *end;
  const char *at;
  ir_module *module;
  ir_kernel *kernel;
  int depth; /* of parentheses and bodies */
  int nodes; /* of the expression being read */
} parser;

/* The text may come from anybody: nesting and the size of one expression are bounded, so that no recursion over what
 * was read can exhaust the stack. */
enum { PARSE_MAX_DEPTH = 100, PARSE_MAX_NODES = 4000 };

/* A span of the text. */
typedef struct word {
  const char *text;
  size_t length;
} word;

/* Reports a syntax error at p->at; returns false. */
bool parse_fail(parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

void parse_blanks(parser *p);                   /* spaces, tabs and a comment from // to the end of the line */
bool parse_accept(parser *p, const char *mark); /* punctuation; takes it if it is next */
bool parse_expect(parser *p, const char *mark);
bool parse_word(parser *p, bool dots,
                word *out); /* letters, digits, '_' and, with `dots`, '.'; quiet when there is none */
bool parse_keyword(parser *p, const char *keyword); /* takes the word if it is next; quiet */
bool word_is(word w, const char *text);
bool parse_int64(parser *p, int64_t *value); /* optional '-', digits */
bool parse_int_in(parser *p, int64_t lo, int64_t hi, int64_t *value);

/* `%name` as it is declared in the kernel; NULL and a diagnostic when it is not. */
ir_value *parse_value(parser *p);
/* `%name` that is not declared yet. */
bool parse_new_name(parser *p, const char **name);
const ir_expr *parse_expr(parser *p); /* NULL and a diagnostic on bad text */
bool parse_ref(parser *p, ir_ref *ref);
/* Looks at a coming `%name` without taking it; NULL when there is none or it is unknown. */
ir_value *parse_peek_value(parser *p);

#endif
