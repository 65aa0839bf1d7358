/* Folding: a folded expression has the value of the unfolded one; particular identities have the form promised. */
#include "ir/expr.h"
#include "ir/numeric.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { VALUES = 6 };

typedef struct fixture {
  arena *memory;
  ir_kernel *kernel;
  ir_value *value[VALUES]; /* 0, 1: sizes, 1 a multiple of 8; 2: index; 3: u32; 4: f32; 5: pred */
  int64_t integer[VALUES];
  double real;
  uint32_t random;
} fixture;

static fixture make(void) {
  fixture f = {.memory = arena_create(), .random = 7};
  f.kernel = ir_kernel_create(ir_module_create(f.memory, "fold"), "k", (src_loc){0});
  static const ir_space spaces[VALUES] = {IR_SIZE, IR_SIZE, IR_INDEX, IR_SCALAR, IR_SCALAR, IR_SCALAR};
  static const ir_type types[VALUES] = {IR_I32, IR_I32, IR_I32, IR_U32, IR_F32, IR_PRED};
  static const char *const names[VALUES] = {"n", "m", "i", "u", "x", "p"};
  for (int i = 0; i < VALUES; i++)
    f.value[i] = ir_value_create(f.memory, f.kernel, spaces[i], types[i], names[i], (src_loc){0});
  f.value[1]->multiple_of = 8;
  return f;
}

static uint32_t next(fixture *f) {
  f->random = f->random * 1664525u + 1013904223u;
  return f->random >> 8;
}

/* -- An evaluator that knows nothing of fold.c: exact integers in 64 bits, so the random values are kept small -- */

typedef struct result {
  bool is_defined;
  int64_t integer;
  double real;
} result;

static int64_t floor_div(int64_t a, int64_t b) { return (int64_t)floorl((long double)a / (long double)b); }

static result evaluate(const fixture *f, const ir_expr *e) {
  result r = {.is_defined = true}, a[3] = {{0}};
  for (int i = 0; i < e->arg_count && i < 3; i++) {
    a[i] = evaluate(f, e->args[i]);
    /* Every argument is looked at, so that both sides agree on what is undefined only when they must. */
    if (!a[i].is_defined && e->kind != IR_EXPR_SELECT) return (result){0};
  }
  bool is_real = e->arg_count && ir_is_float(e->args[e->kind == IR_EXPR_SELECT]->type);
  int64_t x = a[0].integer, y = a[1].integer;
  float g = (float)a[0].real, h = (float)a[1].real;
  switch (e->kind) {
  case IR_EXPR_INT:
  case IR_EXPR_BOOL:
    r.integer = e->int_value;
    return r;
  case IR_EXPR_FLOAT:
    r.real = e->float_value;
    return r;
  case IR_EXPR_VALUE:
    r.integer = f->integer[e->value->number];
    r.real = f->real;
    return r;
  case IR_EXPR_SELECT:
    return !a[0].is_defined ? a[0] : x ? a[1] : a[2];
  case IR_EXPR_ADD:
    r.integer = (int64_t)((uint64_t)x + (uint64_t)y);
    r.real = (double)(g + h);
    break;
  case IR_EXPR_SUB:
    r.integer = (int64_t)((uint64_t)x - (uint64_t)y);
    r.real = (double)(g - h);
    break;
  case IR_EXPR_MUL:
    r.integer = (int64_t)((uint64_t)x * (uint64_t)y);
    r.real = (double)(g * h);
    break;
  case IR_EXPR_DIV:
    if (!is_real && y <= 0) return (result){0};
    if (!is_real) r.integer = floor_div(x, y);
    r.real = (double)(g / h);
    break;
  case IR_EXPR_MOD:
    if (y <= 0) return (result){0};
    r.integer = x - y * floor_div(x, y);
    break;
  case IR_EXPR_CEILDIV:
    if (y <= 0) return (result){0};
    r.integer = floor_div(x + y - 1, y);
    break;
  case IR_EXPR_MIN:
    r.integer = x < y ? x : y;
    r.real = (double)fminf(g, h);
    break;
  case IR_EXPR_MAX:
    r.integer = x > y ? x : y;
    r.real = (double)fmaxf(g, h);
    break;
  case IR_EXPR_RCP: /* what 1.0 / x becomes */
    r.real = (double)(1 / g);
    break;
  case IR_EXPR_NEG:
    r.integer = -x;
    r.real = -a[0].real;
    break;
  case IR_EXPR_NOT:
    r.integer = e->type == IR_PRED ? !x : ~x;
    break;
  case IR_EXPR_AND:
    r.integer = x & y;
    break;
  case IR_EXPR_OR:
    r.integer = x | y;
    break;
  case IR_EXPR_XOR:
    r.integer = x ^ y;
    break;
  case IR_EXPR_SHL:
    r.integer = (int64_t)((uint64_t)x << y);
    break;
  case IR_EXPR_SHR:
    r.integer = x >> y;
    break;
  case IR_EXPR_EQ:
    r.integer = is_real ? g == h : x == y;
    break;
  case IR_EXPR_NE:
    r.integer = is_real ? g != h : x != y;
    break;
  case IR_EXPR_LT:
    r.integer = is_real ? g < h : x < y;
    break;
  case IR_EXPR_LE:
    r.integer = is_real ? g <= h : x <= y;
    break;
  case IR_EXPR_GT:
    r.integer = is_real ? g > h : x > y;
    break;
  case IR_EXPR_GE:
    r.integer = is_real ? g >= h : x >= y;
    break;
  case IR_EXPR_CAST:
    r.integer = x;
    r.real = (double)x;
    break;
  default:
    fail_msg("the test has no %s", ir_expr_info_of(e->kind)->text);
  }
  if (!ir_is_float(e->type)) {
    int64_t wrapped = ir_wrap(e->type, r.integer);
    /* Signed index arithmetic is taken not to overflow. */
    if (e->type == IR_I32 && wrapped != r.integer) return (result){0};
    r.integer = wrapped;
  }
  return r;
}

/* -- Random expressions, built twice -- */

typedef struct pair {
  const ir_expr *folded, *plain;
} pair;

static const ir_expr *plain_node(fixture *f, ir_expr_kind kind, int count, const ir_expr **args) {
  ir_expr node = {.kind = kind, .arg_count = count, .args = args};
  node.type = ir_result_type(kind, IR_TYPE_NONE, count, args);
  return ir_expr_raw(f->memory, &node);
}

static pair make_binary(fixture *f, ir_expr_kind kind, pair a, pair b) {
  return (pair){ir_binary(f->memory, kind, a.folded, b.folded),
                plain_node(f, kind, 2, (const ir_expr *[]){a.plain, b.plain})};
}

static pair make_unary(fixture *f, ir_expr_kind kind, pair a) {
  return (pair){ir_unary(f->memory, kind, a.folded), plain_node(f, kind, 1, (const ir_expr *[]){a.plain})};
}

static pair same(const ir_expr *e) { return (pair){e, e}; }

static pair random_expr(fixture *f, ir_type type, int depth);

static pair random_leaf(fixture *f, ir_type type) {
  static const int64_t constants[] = {0, 1, -1, 2, 3, 4, 8, 16, 24, 7, -8};
  static const double reals[] = {0.0, -0.0, 1.0, -1.0, 2.5, 1e30, INFINITY, NAN};
  int64_t c = constants[next(f) % (sizeof constants / sizeof *constants)];
  switch (type) {
  case IR_I32:
    return same(next(f) % 2 ? ir_int(f->memory, c) : ir_read(f->memory, f->value[next(f) % 3]));
  case IR_U32:
    return same(next(f) % 2 ? ir_typed_int(f->memory, IR_U32, c) : ir_read(f->memory, f->value[3]));
  case IR_F32:
    return same(next(f) % 2 ? ir_float(f->memory, reals[next(f) % (sizeof reals / sizeof *reals)])
                            : ir_read(f->memory, f->value[4]));
  default:
    return same(next(f) % 4 ? ir_read(f->memory, f->value[5]) : ir_bool(f->memory, next(f) % 2));
  }
}

static pair random_predicate(fixture *f, int depth) {
  static const ir_type types[] = {IR_I32, IR_U32, IR_F32};
  static const ir_expr_kind logic[] = {IR_EXPR_AND, IR_EXPR_OR, IR_EXPR_XOR, IR_EXPR_EQ, IR_EXPR_NE};
  if (next(f) % 4 == 0) return make_unary(f, IR_EXPR_NOT, random_expr(f, IR_PRED, depth - 1));
  if (next(f) % 2) {
    ir_type type = types[next(f) % 3];
    ir_expr_kind kind = (ir_expr_kind)(IR_EXPR_EQ + next(f) % 6);
    pair a = random_expr(f, type, depth - 1);
    return make_binary(f, kind, a, next(f) % 4 ? random_expr(f, type, depth - 1) : a);
  }
  pair a = random_expr(f, IR_PRED, depth - 1);
  return make_binary(f, logic[next(f) % 5], a, random_expr(f, IR_PRED, depth - 1));
}

static pair random_expr(fixture *f, ir_type type, int depth) {
  static const ir_expr_kind integers[] = {IR_EXPR_ADD, IR_EXPR_ADD,     IR_EXPR_SUB, IR_EXPR_MUL,
                                          IR_EXPR_DIV, IR_EXPR_MOD,     IR_EXPR_MIN, IR_EXPR_MAX,
                                          IR_EXPR_AND, IR_EXPR_CEILDIV, IR_EXPR_OR,  IR_EXPR_XOR};
  static const ir_expr_kind floats[] = {IR_EXPR_ADD, IR_EXPR_SUB, IR_EXPR_MUL, IR_EXPR_DIV, IR_EXPR_MIN, IR_EXPR_MAX};
  if (depth == 0) return random_leaf(f, type);
  if (type == IR_PRED) return random_predicate(f, depth);
  if (next(f) % 12 == 0) {
    pair c = random_expr(f, IR_PRED, depth - 1), a = random_expr(f, type, depth - 1),
         b = random_expr(f, type, depth - 1);
    return (pair){ir_ternary(f->memory, IR_EXPR_SELECT, c.folded, a.folded, b.folded),
                  plain_node(f, IR_EXPR_SELECT, 3, (const ir_expr *[]){c.plain, a.plain, b.plain})};
  }
  if (next(f) % 12 == 0) return make_unary(f, IR_EXPR_NEG, random_expr(f, type, depth - 1));
  ir_expr_kind kind = ir_is_float(type) ? floats[next(f) % 6] : integers[next(f) % 12];
  pair a = random_expr(f, type, depth - 1);
  return make_binary(f, kind, a, random_expr(f, type, depth - 1));
}

static void check_pair(fixture *f, pair e) {
  static const int64_t samples[][VALUES] = {{0, 0, 0, 0, 0, 0},
                                            {1, 8, 0, 5, 0, 1},
                                            {17, 64, 3, 4294967295, 0, 0},
                                            {6, 24, 11, 16, 0, 1},
                                            {1000, 16, 7, 100, 0, 0}};
  static const double reals[] = {0.0, -0.0, 1.5, INFINITY, NAN};
  for (size_t s = 0; s < sizeof samples / sizeof *samples; s++) {
    memcpy(f->integer, samples[s], sizeof f->integer);
    f->real = reals[s];
    result plain = evaluate(f, e.plain);
    if (!plain.is_defined) continue;
    result folded = evaluate(f, e.folded);
    bool equal = folded.is_defined;
    if (ir_is_float(e.plain->type))
      equal &= (isnan(plain.real) && isnan(folded.real)) ||
               (plain.real == folded.real && !signbit(plain.real) == !signbit(folded.real));
    else
      equal &= plain.integer == folded.integer;
    if (equal) continue;
    str a = STR_EMPTY, b = STR_EMPTY;
    ir_print_expr(e.plain, &a);
    ir_print_expr(e.folded, &b);
    fail_msg("sample %d: %s\n is %lld %g, folded\n%s\n is %s %lld %g", (int)s, str_text(&a), (long long)plain.integer,
             plain.real, str_text(&b), folded.is_defined ? "" : "undefined", (long long)folded.integer, folded.real);
  }
}

static void test_random(void **state) {
  (void)state;
  fixture f = make();
  static const ir_type types[] = {IR_I32, IR_I32, IR_U32, IR_F32, IR_PRED};
  for (int i = 0; i < 60000; i++) {
    pair e = random_expr(&f, types[i % 5], 1 + i % 4);
    check_pair(&f, e);
    /* Folding what is folded changes nothing. */
    const ir_expr *replace[VALUES] = {ir_read(f.memory, f.value[0])};
    const ir_expr *again = ir_substitute(f.memory, e.folded, replace, 1);
    str a = STR_EMPTY, b = STR_EMPTY;
    ir_print_expr(e.folded, &a);
    ir_print_expr(again, &b);
    assert_string_equal(str_text(&a), str_text(&b));
    str_free(&a);
    str_free(&b);
    ir_range all[VALUES], out;
    for (int v = 0; v < VALUES; v++)
      all[v] = (ir_range){0, 4294967295};
    for (int v = 0; v < 3; v++)
      all[v] = (ir_range){0, 1000};
    memcpy(f.integer, (int64_t[VALUES]){6, 24, 11, 16, 0, 1}, sizeof f.integer);
    result r = evaluate(&f, e.plain);
    if (r.is_defined && ir_is_integer(e.plain->type)) {
      int64_t divisor = ir_known_divisor(e.folded);
      if (e.plain->type == IR_I32) assert_true(divisor == 0 ? r.integer == 0 : r.integer % divisor == 0);
      if (ir_expr_range(e.folded, all, VALUES, &out)) assert_true(r.integer >= out.lo && r.integer <= out.hi);
    }
  }
  arena_destroy(f.memory);
}

static void expect(const ir_expr *e, const char *text) {
  str out = STR_EMPTY;
  ir_print_expr(e, &out);
  assert_string_equal(str_text(&out), text);
  str_free(&out);
}

static void test_forms(void **state) {
  (void)state;
  fixture f = make();
  arena *m = f.memory;
  const ir_expr *i = ir_read(m, f.value[2]), *n = ir_read(m, f.value[0]), *multiple = ir_read(m, f.value[1]);
  const ir_expr *u = ir_read(m, f.value[3]), *x = ir_read(m, f.value[4]), *p = ir_read(m, f.value[5]);
  const ir_expr *i64 = ir_binary(m, IR_EXPR_MUL, i, ir_int(m, 64));
  expect(ir_binary(m, IR_EXPR_DIV, i64, ir_int(m, 64)), "%i");
  expect(ir_binary(m, IR_EXPR_MOD, i64, ir_int(m, 16)), "0");
  expect(ir_binary(m, IR_EXPR_DIV, ir_binary(m, IR_EXPR_ADD, i64, n), ir_int(m, 64)), "%i + %n / 64");
  expect(ir_binary(m, IR_EXPR_MOD, ir_binary(m, IR_EXPR_ADD, i64, n), ir_int(m, 64)), "%n % 64");
  expect(ir_binary(m, IR_EXPR_CEILDIV, multiple, ir_int(m, 8)), "%m / 8");
  expect(ir_binary(m, IR_EXPR_MOD, multiple, ir_int(m, 4)), "0");
  expect(ir_binary(m, IR_EXPR_DIV, ir_binary(m, IR_EXPR_DIV, n, ir_int(m, 4)), ir_int(m, 8)), "%n / 32");
  expect(ir_binary(m, IR_EXPR_ADD, ir_binary(m, IR_EXPR_ADD, i, ir_int(m, 3)), ir_int(m, -5)), "%i - 2");
  expect(ir_binary(m, IR_EXPR_SUB, ir_binary(m, IR_EXPR_ADD, i, n), i), "%n");
  expect(ir_binary(m, IR_EXPR_MUL, ir_int(m, 4), ir_binary(m, IR_EXPR_MUL, i, ir_int(m, 8))), "%i * 32");
  expect(ir_binary(m, IR_EXPR_ADD, u, ir_int(m, -4)), "%u - 4u");
  expect(ir_binary(m, IR_EXPR_MUL, x, ir_float(m, 1.0)), "%x");
  expect(ir_binary(m, IR_EXPR_ADD, x, ir_float(m, 0.0)), "%x + 0.0");
  expect(ir_binary(m, IR_EXPR_MUL, x, ir_float(m, 0.0)), "%x * 0.0");
  expect(ir_binary(m, IR_EXPR_DIV, ir_float(m, 1.0), x), "rcp(%x)");
  expect(ir_binary(m, IR_EXPR_DIV, ir_float(m, 2.0), x), "2.0 / %x");
  expect(ir_unary(m, IR_EXPR_NOT, ir_binary(m, IR_EXPR_LT, i, n)), "%i >= %n");
  expect(ir_unary(m, IR_EXPR_NOT, ir_binary(m, IR_EXPR_LT, x, ir_float(m, 2.0))), "~(%x < 2.0)");
  expect(ir_binary(m, IR_EXPR_AND, p, ir_bool(m, true)), "%p");
  expect(ir_ternary(m, IR_EXPR_SELECT, p, i, i), "%i");
  expect(ir_cast(m, IR_F16, ir_float(m, 0.1)), "f16(0.099975586)");
  expect(ir_cast(m, IR_I32, ir_float(m, -2.9)), "-2");
  expect(ir_cast(m, IR_I32, ir_cast(m, IR_I64, i)), "%i");
  expect(ir_cast(m, IR_U8, ir_int(m, 300)), "u8(44)");
  expect(ir_binary(m, IR_EXPR_MIN, ir_binary(m, IR_EXPR_MIN, i, ir_int(m, 9)), ir_int(m, 4)), "min(%i, 4)");
  expect(ir_binary(m, IR_EXPR_DIV, ir_int(m, -7), ir_int(m, 2)), "-4");
  expect(ir_binary(m, IR_EXPR_MOD, ir_int(m, -7), ir_int(m, 2)), "1");
  expect(ir_binary(m, IR_EXPR_DIV, ir_int(m, 7), ir_int(m, 0)), "7 / 0");
  arena_destroy(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_random), cmocka_unit_test(test_forms)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
