#include "codegen/size_expr.h"

#include "support/diag.h"

#include <limits.h>
#include <string.h>

typedef enum op_style { STYLE_INFIX, STYLE_CALL } op_style;

typedef struct op_info {
  const char *text;
  const char *helper; /* the function of the C launcher */
  op_style style;
  int precedence;
} op_info;

#define SIZE_OP(op, text, style, precedence, meaning) [SIZE_OP_##op] = {text, #op, STYLE_##style, precedence},
static const op_info op_table[SIZE_OP_COUNT] = {
#include "codegen/size_ops.def"
};
#undef SIZE_OP

/* -- Building ------------------------------------------------------------------------------------------------------ */

const size_expr *size_const(arena *a, int64_t value) {
  size_expr *e = ARENA_NEW(a, size_expr);
  e->op = SIZE_OP_CONST;
  e->value = value;
  return e;
}

const size_expr *size_name(arena *a, int index) {
  size_expr *e = ARENA_NEW(a, size_expr);
  e->op = SIZE_OP_NAME;
  e->value = index;
  return e;
}

bool size_is_const(const size_expr *e, int64_t *value) {
  if (e->op != SIZE_OP_CONST) return false;
  if (value) *value = e->value;
  return true;
}

static const char *apply_op(size_op op, int64_t a, int64_t b, int64_t *result) {
  static const char overflow[] = "the number does not fit 64 bits";
  switch (op) {
  case SIZE_OP_ADD:
    return __builtin_add_overflow(a, b, result) ? overflow : NULL;
  case SIZE_OP_SUB:
    return __builtin_sub_overflow(a, b, result) ? overflow : NULL;
  case SIZE_OP_MUL:
    return __builtin_mul_overflow(a, b, result) ? overflow : NULL;
  case SIZE_OP_FLOORDIV:
  case SIZE_OP_CEILDIV:
  case SIZE_OP_MOD: {
    if (b == 0) return "division by zero";
    if (b == -1 && a == INT64_MIN) return overflow;
    int64_t quotient = a / b, remainder = a % b;
    bool inexact_negative = remainder != 0 && (remainder < 0) != (b < 0);
    bool inexact_positive = remainder != 0 && (remainder < 0) == (b < 0);
    if (op == SIZE_OP_FLOORDIV) *result = quotient - inexact_negative;
    if (op == SIZE_OP_CEILDIV) *result = quotient + inexact_positive;
    if (op == SIZE_OP_MOD) *result = inexact_negative ? remainder + b : remainder;
    return NULL;
  }
  case SIZE_OP_MIN:
    *result = a < b ? a : b;
    return NULL;
  case SIZE_OP_MAX:
    *result = a > b ? a : b;
    return NULL;
  case SIZE_OP_EQ:
    *result = a == b;
    return NULL;
  case SIZE_OP_NE:
    *result = a != b;
    return NULL;
  case SIZE_OP_LE:
    *result = a <= b;
    return NULL;
  case SIZE_OP_LT:
    *result = a < b;
    return NULL;
  case SIZE_OP_GE:
    *result = a >= b;
    return NULL;
  case SIZE_OP_GT:
    *result = a > b;
    return NULL;
  case SIZE_OP_AND:
    *result = a && b;
    return NULL;
  case SIZE_OP_OR:
    *result = a || b;
    return NULL;
  case SIZE_OP_CONST:
  case SIZE_OP_NAME:
  case SIZE_OP_COUNT:
    break;
  }
  BUG("no arithmetic for size operation %d", (int)op);
}

/* The tree as it stands: what the parser makes, so that reading is the exact reverse of printing. */
static const size_expr *plain_binary(arena *a, size_op op, const size_expr *left, const size_expr *right) {
  size_expr *e = ARENA_NEW(a, size_expr);
  e->op = op;
  e->left = left;
  e->right = right;
  return e;
}

const size_expr *size_binary(arena *a, size_op op, const size_expr *left, const size_expr *right) {
  int64_t x = 0, y = 0, result = 0;
  bool left_const = size_is_const(left, &x), right_const = size_is_const(right, &y);
  if (left_const && right_const && !apply_op(op, x, y, &result)) return size_const(a, result);
  if (right_const && y == 0 && (op == SIZE_OP_ADD || op == SIZE_OP_SUB)) return left;
  if (left_const && x == 0 && op == SIZE_OP_ADD) return right;
  if (right_const && y == 1 && (op == SIZE_OP_MUL || op == SIZE_OP_FLOORDIV || op == SIZE_OP_CEILDIV)) return left;
  if (left_const && x == 1 && op == SIZE_OP_MUL) return right;
  return plain_binary(a, op, left, right);
}

bool size_equal(const size_expr *a, const size_expr *b) {
  if (a == b) return true;
  if (a->op != b->op) return false;
  if (a->op == SIZE_OP_CONST || a->op == SIZE_OP_NAME) return a->value == b->value;
  return size_equal(a->left, b->left) && size_equal(a->right, b->right);
}

/* -- Evaluating ---------------------------------------------------------------------------------------------------- */

bool size_evaluate(const size_expr *e, const int64_t *sizes, int size_count, int64_t *result, const char **error) {
  if (e->op == SIZE_OP_CONST) {
    *result = e->value;
    return true;
  }
  if (e->op == SIZE_OP_NAME) {
    if (e->value < 0 || e->value >= size_count) {
      *error = "a size that the kernel does not have";
      return false;
    }
    *result = sizes[e->value];
    return true;
  }
  int64_t left = 0, right = 0;
  if (!size_evaluate(e->left, sizes, size_count, &left, error)) return false;
  if (!size_evaluate(e->right, sizes, size_count, &right, error)) return false;
  const char *failure = apply_op(e->op, left, right, result);
  if (failure) *error = failure;
  return !failure;
}

/* -- Printing ------------------------------------------------------------------------------------------------------ */

static const char *name_of(const size_expr *e, size_names names) {
  ASSERT(e->value >= 0 && e->value < names.count);
  return names.names[e->value];
}

/* A comparison does not chain: one below another gets parentheses on either side. */
static bool chains(int precedence) {
  return precedence != op_table[SIZE_OP_EQ].precedence && precedence != op_table[SIZE_OP_LT].precedence;
}

static void print_at(const size_expr *e, size_names names, int least, str *out) {
  if (e->op == SIZE_OP_CONST) {
    str_printf(out, e->value < 0 ? "(%lld)" : "%lld", (long long)e->value);
    return;
  }
  if (e->op == SIZE_OP_NAME) {
    str_append(out, name_of(e, names));
    return;
  }
  const op_info *info = &op_table[e->op];
  if (info->style == STYLE_CALL) {
    str_printf(out, "%s(", info->text);
    print_at(e->left, names, 0, out);
    str_append(out, ", ");
    print_at(e->right, names, 0, out);
    str_append_char(out, ')');
    return;
  }
  bool parentheses = info->precedence < least;
  bool tight = info->precedence == op_table[SIZE_OP_MUL].precedence && e->op != SIZE_OP_MOD;
  if (parentheses) str_append_char(out, '(');
  print_at(e->left, names, info->precedence + !chains(info->precedence), out);
  str_printf(out, tight ? "%s" : " %s ", info->text);
  print_at(e->right, names, info->precedence + 1, out);
  if (parentheses) str_append_char(out, ')');
}

void size_print(const size_expr *e, size_names names, str *out) { print_at(e, names, 0, out); }

void size_print_c(const size_expr *e, size_names names, const char *prefix, str *out) {
  if (e->op == SIZE_OP_CONST) {
    /* INT64_MIN has no literal: its digits alone overflow. */
    if (e->value == INT64_MIN)
      str_append(out, "INT64_MIN");
    else
      str_printf(out, e->value < 0 ? "(INT64_C(%lld))" : "INT64_C(%lld)", (long long)e->value);
    return;
  }
  if (e->op == SIZE_OP_NAME) {
    str_printf(out, "%s%s", prefix, name_of(e, names));
    return;
  }
  str_append(out, "bitblasc_");
  for (const char *c = op_table[e->op].helper; *c; c++)
    str_append_char(out, (char)(*c - 'A' + 'a'));
  str_append_char(out, '(');
  size_print_c(e->left, names, prefix, out);
  str_append(out, ", ");
  size_print_c(e->right, names, prefix, out);
  str_append_char(out, ')');
}

/* -- Parsing ------------------------------------------------------------------------------------------------------- */

typedef struct parser {
  arena *memory;
  const char *text;
  const char *at;
  size_names names;
  int depth;
  const char *error;
} parser;

static const size_expr *fail(parser *p, const char *what) {
  if (!p->error) p->error = arena_printf(p->memory, "%s at column %d", what, (int)(p->at - p->text) + 1);
  return NULL;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static void skip_blanks(parser *p) {
  while (*p->at == ' ' || *p->at == '\t')
    p->at++;
}

static bool accept(parser *p, const char *token) {
  skip_blanks(p);
  size_t length = strlen(token);
  if (strncmp(p->at, token, length) != 0) return false;
  p->at += length;
  return true;
}

static const size_expr *parse_expression(parser *p, int least);

static const size_expr *parse_number(parser *p, int sign) {
  int64_t value = 0;
  for (; is_digit(*p->at); p->at++) {
    int64_t digit = sign * (*p->at - '0');
    if (__builtin_mul_overflow(value, (int64_t)10, &value) || __builtin_add_overflow(value, digit, &value))
      return fail(p, "a number that does not fit 64 bits");
  }
  return size_const(p->memory, value);
}

/* call = op "(" expression "," expression ")" */
static const size_expr *parse_call(parser *p, size_op op) {
  if (!accept(p, "(")) return fail(p, "expected '('");
  const size_expr *left = parse_expression(p, 0);
  if (!left) return NULL;
  if (!accept(p, ",")) return fail(p, "expected ','");
  const size_expr *right = parse_expression(p, 0);
  if (!right) return NULL;
  if (!accept(p, ")")) return fail(p, "expected ')'");
  return plain_binary(p->memory, op, left, right);
}

static const size_expr *parse_word(parser *p) {
  const char *word = p->at;
  while (is_letter(*p->at) || is_digit(*p->at))
    p->at++;
  size_t length = (size_t)(p->at - word);
  for (int i = 0; i < p->names.count; i++)
    if (strlen(p->names.names[i]) == length && memcmp(p->names.names[i], word, length) == 0)
      return size_name(p->memory, i);
  for (int op = 0; op < SIZE_OP_COUNT; op++)
    if (op_table[op].text && op_table[op].style == STYLE_CALL && strlen(op_table[op].text) == length &&
        memcmp(op_table[op].text, word, length) == 0)
      return parse_call(p, (size_op)op);
  p->at = word;
  return fail(p, "a name that is no size");
}

/* primary = number | "-" number | name | call | "(" expression ")" */
static const size_expr *parse_primary(parser *p) {
  skip_blanks(p);
  if (is_digit(*p->at)) return parse_number(p, 1);
  if (is_letter(*p->at)) return parse_word(p);
  if (accept(p, "-")) {
    skip_blanks(p);
    return is_digit(*p->at) ? parse_number(p, -1) : fail(p, "expected a number after '-'");
  }
  if (accept(p, "(")) {
    const size_expr *inner = parse_expression(p, 0);
    if (!inner) return NULL;
    return accept(p, ")") ? inner : fail(p, "expected ')'");
  }
  return fail(p, *p->at ? "unexpected character" : "the expression ends too early");
}

/* The infix operator that stands next, the longest that fits ("<=" before "<"); SIZE_OP_COUNT: none. */
static size_op peek_infix(parser *p) {
  skip_blanks(p);
  size_op found = SIZE_OP_COUNT;
  size_t found_length = 0;
  for (int op = 0; op < SIZE_OP_COUNT; op++) {
    if (!op_table[op].text || op_table[op].style != STYLE_INFIX) continue;
    size_t length = strlen(op_table[op].text);
    if (length > found_length && strncmp(p->at, op_table[op].text, length) == 0) {
      found = (size_op)op;
      found_length = length;
    }
  }
  return found;
}

/* expression = primary (infix expression)*, operators below precedence `least` left to the caller */
static const size_expr *parse_expression(parser *p, int least) {
  if (++p->depth > SIZE_EXPR_DEPTH_MAX) return fail(p, "an expression nested too deeply");
  const size_expr *left = parse_primary(p);
  int height = 0;
  while (left) {
    size_op op = peek_infix(p);
    if (op == SIZE_OP_COUNT || op_table[op].precedence < least) break;
    /* A long chain is a deep tree on its left. */
    if (++height > SIZE_EXPR_DEPTH_MAX) return fail(p, "an expression with too many operators");
    p->at += strlen(op_table[op].text);
    const size_expr *right = parse_expression(p, op_table[op].precedence + 1);
    if (!right) return NULL;
    left = plain_binary(p->memory, op, left, right);
    size_op next = peek_infix(p);
    if (!chains(op_table[op].precedence) && next != SIZE_OP_COUNT &&
        op_table[next].precedence == op_table[op].precedence)
      return fail(p, "comparisons do not chain");
  }
  p->depth--;
  return left;
}

const size_expr *size_parse(arena *a, const char *text, size_names names, const char **error) {
  parser p = {.memory = a, .text = text, .at = text, .names = names};
  const size_expr *e = parse_expression(&p, 0);
  skip_blanks(&p);
  if (e && *p.at) e = fail(&p, "unexpected text after the expression");
  if (!e) *error = p.error;
  return e;
}
