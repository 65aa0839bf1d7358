/* specialise: put in the run-time sizes that are known, and check the facts about them.
 *
 *   before  size %M                                 after  size %M
 *           size %K {bound = 128}                          size %K {bound = 128}
 *           arg %A: global f16[%M, %K] in                  arg %A: global f16[%M, 128] in
 *           fact %K % 64 == 0                              for %k in 0 .. 2 step 1 do
 *           for %k in 0 .. ceildiv(%K, 64) step 1 do
 *
 * A size that has a bound becomes that constant wherever it is read. A fact that thereby becomes true is dropped, one
 * that becomes false is the user's error. Loops are not unrolled and nothing is removed here: simplify does that. */
#include "passes/pass.h"

#include <ctype.h>
#include <inttypes.h>

typedef struct specialisation {
  arena *memory;
  const ir_expr **replace; /* by value number */
  int count;
} specialisation;

static const ir_expr *change(void *context, const ir_expr *e) {
  const specialisation *s = context;
  return ir_substitute(s->memory, e, s->replace, s->count);
}

static bool change_op(void *context, ir_block *block, ir_op *op) {
  (void)block;
  ir_op_each_expr(op, change, context);
  return true;
}

static void change_each(const ir_expr **list, int count, specialisation *s) {
  for (int i = 0; i < count; i++) {
    if (list[i]) list[i] = change(s, list[i]);
  }
}

/* Whether the expression reads the value. */
static bool reads(const ir_expr *e, const ir_value *value) {
  if (e->value == value) return true;
  for (int i = 0; i < e->arg_count; i++) {
    if (reads(e->args[i], value)) return true;
  }
  return e->slot && reads(e->slot, value);
}

/* The expression as the user wrote it: names without the sigil of the IR. */
static void print_plain(const ir_expr *e, str *out) {
  str text = STR_EMPTY;
  ir_print_expr(e, &text);
  for (const char *at = str_text(&text); *at; at++) {
    bool sigil = *at == '%' && (isalpha((unsigned char)at[1]) || at[1] == '_');
    if (!sigil) str_append_char(out, *at);
  }
  str_free(&text);
}

/* The error of a fact that does not hold, with the sizes it is about. */
static bool broken_fact(const ir_kernel *kernel, const ir_fact *fact, pass_env *env) {
  str text = STR_EMPTY;
  str sizes = STR_EMPTY;
  print_plain(fact->condition, &text);
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    if (value->space != IR_SIZE || value->bound < 0 || !reads(fact->condition, value)) continue;
    str_printf(&sizes, "%s%s = %" PRId64, sizes.length ? ", " : "", value->name, value->bound);
  }
  diag_error(env->diagnostics, DIAG_FACT, fact->loc, "'%s' needs %s, which does not hold%s%s", kernel->name,
             str_text(&text), sizes.length ? " for " : "", str_text(&sizes));
  str_free(&text);
  str_free(&sizes);
  return false;
}

static bool check_facts(ir_kernel *kernel, specialisation *s, pass_env *env) {
  bool ok = true;
  int kept = 0;
  for (int i = 0; i < kernel->fact_count; i++) {
    ir_fact fact = kernel->facts[i];
    const ir_expr *condition = change(s, fact.condition);
    int64_t holds;
    if (ir_is_constant(condition, &holds)) {
      if (!holds) ok = broken_fact(kernel, &fact, env);
      continue;
    }
    fact.condition = condition;
    kernel->facts[kept++] = fact;
  }
  kernel->fact_count = kept;
  return ok;
}

/* What facts said about single sizes is also kept with them. */
static bool check_multiples(const ir_kernel *kernel, pass_env *env) {
  bool ok = true;
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *v = kernel->values[i];
    if (v->space != IR_SIZE || v->bound < 0) continue;
    if (v->bound > INT32_MAX) {
      ok = diag_error(env->diagnostics, DIAG_FACT, v->loc, "size %s is %" PRId64 ", more than %d", v->name, v->bound,
                      INT32_MAX);
    } else if (v->multiple_of > 1 && v->bound % v->multiple_of != 0) {
      ok = diag_error(env->diagnostics, DIAG_FACT, v->loc,
                      "'%s' needs %s to be a multiple of %" PRId64 ", and it is %" PRId64, kernel->name, v->name,
                      v->multiple_of, v->bound);
    }
  }
  return ok;
}

bool specialise(ir_kernel *kernel, pass_env *env) {
  specialisation s = {env->memory, ARENA_ARRAY(env->scratch, const ir_expr *, kernel->value_count),
                      kernel->value_count};
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    if (value->space == IR_SIZE && value->bound >= 0) s.replace[i] = ir_int(env->memory, value->bound);
  }
  if (!check_facts(kernel, &s, env) || !check_multiples(kernel, env)) return false;
  for (int i = 0; i < kernel->value_count; i++) {
    ir_value *value = kernel->values[i];
    change_each(value->extent, value->rank, &s);
    change_each(value->stride, value->rank, &s);
  }
  for (int i = 0; i < kernel->grid_count; i++)
    kernel->grid[i].extent = change(&s, kernel->grid[i].extent);
  if (kernel->block_count) kernel->block_count = change(&s, kernel->block_count);
  ir_walk(&kernel->body, change_op, &s);
  return true;
}
