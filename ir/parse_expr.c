/* Reading words, numbers, expressions and references. */
#include "ir/numeric.h"
#include "ir/parser.h"

#include <math.h>
#include <string.h>

/* -- Characters and words -- */

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool parse_fail(parser *p, const char *format, ...) {
  src_loc loc = {.file = p->file, .line = 1, .length = 1};
  const char *line = p->text;
  for (const char *c = p->text; c < p->at; c++) {
    if (*c != '\n') continue;
    loc.line++;
    line = c + 1;
  }
  ptrdiff_t column = p->at - line + 1;
  loc.column = column > UINT16_MAX ? UINT16_MAX : (uint16_t)column;
  va_list args;
  va_start(args, format);
  diag_verror(p->d, DIAG_IR_SYNTAX, loc, format, args);
  va_end(args);
  return false;
}

void parse_blanks(parser *p) {
  while (*p->at == ' ' || *p->at == '\t' || *p->at == '\r')
    p->at++;
  if (p->at[0] != '/' || p->at[1] != '/') return;
  while (*p->at && *p->at != '\n')
    p->at++;
}

bool parse_accept(parser *p, const char *mark) {
  parse_blanks(p);
  size_t length = strlen(mark);
  if (strncmp(p->at, mark, length) != 0) return false;
  p->at += length;
  return true;
}

bool parse_expect(parser *p, const char *mark) { return parse_accept(p, mark) || parse_fail(p, "expected '%s'", mark); }

bool parse_word(parser *p, bool dots, word *out) {
  parse_blanks(p);
  if (!is_letter(*p->at)) return false;
  const char *start = p->at;
  while (is_letter(*p->at) || is_digit(*p->at) || (dots && p->at[0] == '.' && p->at[1] != '.'))
    p->at++;
  *out = (word){start, (size_t)(p->at - start)};
  return true;
}

bool word_is(word w, const char *text) { return strlen(text) == w.length && memcmp(text, w.text, w.length) == 0; }

bool parse_keyword(parser *p, const char *keyword) {
  const char *start = p->at;
  word w;
  if (parse_word(p, false, &w) && word_is(w, keyword)) return true;
  p->at = start;
  return false;
}

/* Digits; false when there are none or they do not fit 64 bits. */
static bool parse_digits(parser *p, uint64_t *value) {
  if (!is_digit(*p->at)) return parse_fail(p, "expected a number");
  *value = 0;
  for (; is_digit(*p->at); p->at++)
    if (__builtin_mul_overflow(*value, 10u, value) || __builtin_add_overflow(*value, (uint64_t)(*p->at - '0'), value))
      return parse_fail(p, "the number does not fit 64 bits");
  return true;
}

bool parse_int64(parser *p, int64_t *value) {
  bool negative = parse_accept(p, "-");
  parse_blanks(p);
  uint64_t magnitude;
  if (!parse_digits(p, &magnitude)) return false;
  if (magnitude > (uint64_t)INT64_MAX + negative) return parse_fail(p, "the number does not fit 64 bits");
  *value = (int64_t)(negative ? 0 - magnitude : magnitude);
  return true;
}

bool parse_int_in(parser *p, int64_t lo, int64_t hi, int64_t *value) {
  if (!parse_int64(p, value)) return false;
  if (*value >= lo && *value <= hi) return true;
  return parse_fail(p, "%lld is not in %lld .. %lld", (long long)*value, (long long)lo, (long long)hi);
}

/* -- Values -- */

enum { NAME_BYTES = 256 };

/* The word after '%', NUL-terminated. */
static bool read_name(parser *p, char name[NAME_BYTES]) {
  parse_blanks(p);
  word w;
  if (p->at[0] != '%' || !is_letter(p->at[1])) return parse_fail(p, "expected a %%name");
  p->at++;
  parse_word(p, false, &w);
  if (w.length >= NAME_BYTES) return parse_fail(p, "the name is longer than %d bytes", NAME_BYTES - 1);
  memcpy(name, w.text, w.length);
  name[w.length] = '\0';
  return true;
}

ir_value *parse_value(parser *p) {
  char name[NAME_BYTES];
  parse_blanks(p);
  const char *start = p->at;
  if (!read_name(p, name)) return NULL;
  ir_value *value = ir_value_find(p->kernel, name);
  if (!value) {
    p->at = start;
    parse_fail(p, "%%%s is not declared", name);
  }
  return value;
}

bool parse_new_name(parser *p, const char **out) {
  char name[NAME_BYTES];
  parse_blanks(p);
  const char *start = p->at;
  if (!read_name(p, name)) return false;
  if (ir_value_find(p->kernel, name)) {
    p->at = start;
    return parse_fail(p, "%%%s is declared twice", name);
  }
  *out = arena_strdup(p->memory, name);
  return true;
}

ir_value *parse_peek_value(parser *p) {
  parse_blanks(p);
  const char *start = p->at;
  ir_value *value = NULL;
  char name[NAME_BYTES];
  word w;
  if (p->at[0] == '%' && is_letter(p->at[1])) {
    p->at++;
    if (parse_word(p, false, &w) && w.length < NAME_BYTES) {
      memcpy(name, w.text, w.length);
      name[w.length] = '\0';
      value = ir_value_find(p->kernel, name);
    }
  }
  p->at = start;
  return value;
}

/* -- Expressions -- */

static const ir_expr *parse_infix(parser *p, int least);

static const ir_expr *fail_expr(parser *p, const char *message) {
  parse_fail(p, "%s", message);
  return NULL;
}

/* Counts a node of the expression; false when it has too many. */
static bool count_node(parser *p) {
  return ++p->nodes <= PARSE_MAX_NODES || parse_fail(p, "the expression is too large");
}

static const ir_expr *raw(parser *p, ir_expr_kind kind, ir_type lane_type, int count, const ir_expr **args) {
  ir_expr node = {.kind = kind, .lane_type = lane_type, .arg_count = count, .args = args};
  node.type = ir_result_type(kind, lane_type, count, args);
  return ir_expr_raw(p->memory, &node);
}

/* A number; `negative` when a '-' stood right before it. */
static const ir_expr *parse_number(parser *p, bool negative) {
  const char *start = p->at, *c = p->at;
  while (is_digit(*c))
    c++;
  if ((c[0] == '.' && c[1] != '.') || *c == 'e' || *c == 'E') {
    double value = str_parse_double(p->at, &p->at);
    bool is_double = *p->at == 'd';
    if (is_double) p->at++;
    if (is_letter(*p->at)) return fail_expr(p, "bad number");
    return ir_float_of(p->memory, is_double ? IR_F64 : IR_F32, negative ? -value : value);
  }
  uint64_t magnitude;
  if (!parse_digits(p, &magnitude)) return NULL;
  bool is_unsigned = *p->at == 'u';
  if (is_unsigned) p->at++;
  bool is_long = *p->at == 'L';
  if (is_long) p->at++;
  if (is_letter(*p->at)) return fail_expr(p, "bad number");
  ir_type type = is_unsigned ? (is_long ? IR_U64 : IR_U32) : (is_long ? IR_I64 : IR_I32);
  uint64_t limit = is_unsigned ? (is_long ? UINT64_MAX : UINT32_MAX) : (is_long ? INT64_MAX : INT32_MAX);
  if (!is_unsigned && negative) limit++;
  if (magnitude > limit || (is_unsigned && negative && magnitude)) {
    p->at = start;
    parse_fail(p, "the number does not fit %s", ir_type_of(type)->name);
    return NULL;
  }
  return ir_typed_int(p->memory, type, (int64_t)(negative ? 0 - magnitude : magnitude));
}

/* inf, nan, and with a 'd' behind in f64; NULL, quietly, for other words. */
static const ir_expr *special_float(parser *p, word w, bool negative) {
  bool is_double = w.length == 4 && w.text[3] == 'd';
  if (w.length != 3 && !is_double) return NULL;
  w.length = 3;
  double value = word_is(w, "inf") ? (double)INFINITY : word_is(w, "nan") ? (double)NAN : 0;
  if (value == 0) return NULL;
  return ir_float_of(p->memory, is_double ? IR_F64 : IR_F32, negative ? -value : value);
}

/* `@3`, `@%s` or `@(expr)` right behind a name. */
static bool parse_slot(parser *p, const ir_expr **slot) {
  *slot = NULL;
  if (*p->at != '@') return true;
  p->at++;
  if (*p->at == '(') {
    p->at++;
    *slot = parse_infix(p, 1);
    return *slot && parse_expect(p, ")");
  }
  if (is_digit(*p->at)) return (*slot = parse_number(p, false)) != NULL;
  ir_value *value = parse_value(p);
  if (!value) return false;
  ir_expr node = {.kind = IR_EXPR_VALUE, .type = ir_compute_type(value->type), .value = value};
  *slot = ir_expr_raw(p->memory, &node);
  return count_node(p);
}

/* Comma-separated expressions up to the closing mark. */
static bool parse_args(parser *p, const char *close, int *count, const ir_expr ***args) {
  int capacity = 0;
  *count = 0;
  *args = NULL;
  if (parse_accept(p, close)) return true;
  do {
    const ir_expr *e = parse_infix(p, 1);
    if (!e) return false;
    ARENA_PUSH(p->memory, *args, *count, capacity, e);
  } while (parse_accept(p, ","));
  return parse_expect(p, close);
}

static const ir_expr *parse_value_expr(parser *p, bool is_address) {
  ir_value *value = parse_value(p);
  const ir_expr *slot;
  if (!value || !parse_slot(p, &slot)) return NULL;
  int count = 0;
  const ir_expr **args = NULL;
  if (!is_address) {
    if (*p->at == '[') {
      p->at++;
      if (!parse_args(p, "]", &count, &args)) return NULL;
      if (!count) return fail_expr(p, "an element needs an index");
      if (count > IR_MAX_RANK) return fail_expr(p, "too many indices");
    } else if (slot) {
      return fail_expr(p, "expected '[' after the slot");
    } else {
      ir_expr node = {.kind = IR_EXPR_VALUE, .type = ir_compute_type(value->type), .value = value};
      return ir_expr_raw(p->memory, &node);
    }
  }
  return ir_element(p->memory, value, slot, count, args);
}

/* `name(args)`, `name.type(args)`, `type(arg)` and the words that are literals. */
static const ir_expr *parse_call(parser *p) {
  const char *start = p->at;
  word w;
  parse_word(p, true, &w);
  if (word_is(w, "true")) return ir_bool(p->memory, true);
  if (word_is(w, "false")) return ir_bool(p->memory, false);
  const ir_expr *literal = special_float(p, w, false);
  if (literal) return literal;
  ir_type type = ir_type_by_name(w.text, w.length);
  const char *dot = memchr(w.text, '.', w.length);
  word base = dot ? (word){w.text, (size_t)(dot - w.text)} : w;
  int kind = 0;
  for (; kind < IR_EXPR_KIND_COUNT; kind++) {
    const ir_expr_info *info = ir_expr_info_of((ir_expr_kind)kind);
    if (info->style == (dot ? IR_STYLE_TYPED : IR_STYLE_CALL) && word_is(base, info->text)) break;
  }
  if (type == IR_TYPE_NONE && kind == IR_EXPR_KIND_COUNT) {
    p->at = start;
    parse_fail(p, "there is no function %.*s", w.length > 60 ? 60 : (int)w.length, w.text);
    return NULL;
  }
  if (!parse_expect(p, "(")) return NULL;
  if (kind == IR_EXPR_ADDRESS) {
    const ir_expr *e = parse_value_expr(p, true);
    return e && parse_expect(p, ")") ? raw(p, IR_EXPR_ADDRESS, IR_TYPE_NONE, 1, &e) : NULL;
  }
  int count;
  const ir_expr **args;
  if (!parse_args(p, ")", &count, &args)) return NULL;
  int arity = type != IR_TYPE_NONE ? 1 : ir_expr_info_of((ir_expr_kind)kind)->arity;
  if (arity >= 0 && count != arity) {
    parse_fail(p, "%.*s takes %d arguments, not %d", (int)w.length, w.text, arity, count);
    return NULL;
  }
  if (type != IR_TYPE_NONE) {
    bool is_literal = args[0]->kind == IR_EXPR_INT || args[0]->kind == IR_EXPR_FLOAT || args[0]->kind == IR_EXPR_BOOL;
    /* A literal of a type without a suffix is written as a cast. */
    if (is_literal) return ir_cast(p->memory, type, args[0]);
    ir_expr node = {.kind = IR_EXPR_CAST, .type = type, .arg_count = 1, .args = args};
    return ir_expr_raw(p->memory, &node);
  }
  ir_type lane = IR_TYPE_NONE;
  if (dot) {
    lane = ir_type_by_name(dot + 1, w.length - base.length - 1);
    if (lane == IR_TYPE_NONE) return fail_expr(p, "there is no such type");
  }
  return raw(p, (ir_expr_kind)kind, lane, count, args);
}

static const ir_expr *parse_prefix(parser *p) {
  if (!count_node(p)) return NULL;
  parse_blanks(p);
  if (is_digit(*p->at)) return parse_number(p, false);
  if (*p->at == '%') return parse_value_expr(p, false);
  if (is_letter(*p->at)) return parse_call(p);
  if (*p->at == '-') {
    const char *start = p->at++;
    if (is_digit(*p->at)) return parse_number(p, true);
    word w;
    if (is_letter(*p->at) && parse_word(p, true, &w)) {
      const ir_expr *literal = special_float(p, w, true);
      if (literal) return literal;
    }
    p->at = start;
  }
  if (*p->at == '(') {
    p->at++;
    const ir_expr *e = parse_infix(p, 1);
    return e && parse_expect(p, ")") ? e : NULL;
  }
  if (*p->at != '-' && *p->at != '~') return fail_expr(p, "expected an expression");
  ir_expr_kind kind = *p->at == '-' ? IR_EXPR_NEG : IR_EXPR_NOT;
  p->at++;
  if (++p->depth > PARSE_MAX_DEPTH) return fail_expr(p, "the nesting is too deep");
  const ir_expr *a = parse_prefix(p);
  p->depth--;
  return a ? raw(p, kind, IR_TYPE_NONE, 1, &a) : NULL;
}

/* The infix operator that comes next, the longest that fits; IR_EXPR_KIND_COUNT when there is none. */
static ir_expr_kind peek_infix(parser *p, size_t *length) {
  parse_blanks(p);
  ir_expr_kind best = IR_EXPR_KIND_COUNT;
  *length = 0;
  if (p->at[0] == '%' && is_letter(p->at[1])) return best; /* %name */
  if (p->at[0] == '<' && p->at[1] == '-') return best;     /* the arrow */
  for (int kind = 0; kind < IR_EXPR_KIND_COUNT; kind++) {
    const ir_expr_info *info = ir_expr_info_of((ir_expr_kind)kind);
    size_t width = strlen(info->text);
    if (info->style != IR_STYLE_INFIX || width <= *length || strncmp(p->at, info->text, width) != 0) continue;
    best = (ir_expr_kind)kind;
    *length = width;
  }
  return best;
}

static const ir_expr *parse_infix(parser *p, int least) {
  if (++p->depth > PARSE_MAX_DEPTH) return fail_expr(p, "the nesting is too deep");
  const ir_expr *left = parse_prefix(p);
  while (left) {
    size_t length;
    ir_expr_kind kind = peek_infix(p, &length);
    int precedence = kind == IR_EXPR_KIND_COUNT ? 0 : ir_precedence(kind);
    if (!precedence || precedence < least) break;
    p->at += length;
    const ir_expr *right = parse_infix(p, precedence + 1);
    left = right ? raw(p, kind, IR_TYPE_NONE, 2, (const ir_expr *[]){left, right}) : NULL;
  }
  p->depth--;
  return left;
}

const ir_expr *parse_expr(parser *p) {
  p->nodes = 0;
  return parse_infix(p, 1);
}

/* -- References -- */

static bool parse_region(parser *p, ir_ref *ref) {
  do {
    if (ref->count == IR_MAX_RANK) return parse_fail(p, "a region has at most %d dimensions", IR_MAX_RANK);
    const ir_expr *start = parse_infix(p, 1);
    if (!start) return false;
    int64_t span = 0;
    if (parse_accept(p, ":") && !parse_int_in(p, 1, INT32_MAX, &span)) return false;
    ref->start[ref->count] = start;
    ref->span[ref->count++] = (int)span;
  } while (parse_accept(p, ","));
  return parse_expect(p, "]");
}

bool parse_ref(parser *p, ir_ref *ref) {
  *ref = ir_ref_none();
  if (parse_keyword(p, "none")) return true;
  p->nodes = 0;
  ref->value = parse_value(p);
  if (!ref->value || !parse_slot(p, &ref->slot)) return false;
  if (*p->at != '[') return true;
  p->at++;
  return parse_region(p, ref);
}
