/* From a syntax tree and its bindings to a module in tile form: params, the signature, facts, the grid, then the
 * body. */
#include "frontend/lower.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 1000000, MAX_GRID_RANK = 3, MAX_ARGUMENTS = 256 };

/* -- Bindings (-D) ------------------------------------------------------------------------------------------------- */

static const char *find_bound(lower *l, const char *name) {
  const char *value = NULL;
  for (int i = 0; i < l->binding_count; i++) {
    if (strcmp(l->bindings[i].name, name) != 0) continue;
    l->binding_used[i] = true;
    value = l->bindings[i].value; /* the last one counts */
  }
  return value;
}

static bool parse_int(const char *text, int64_t *out) {
  const char *digits = text + (*text == '-');
  int64_t value = 0;
  if (!*digits) return false;
  for (const char *p = digits; *p; p++) {
    if (*p < '0' || *p > '9' || __builtin_mul_overflow(value, 10, &value) ||
        __builtin_sub_overflow(value, *p - '0', &value))
      return false;
  }
  if (*text != '-') return !__builtin_sub_overflow((int64_t)0, value, out);
  *out = value;
  return true;
}

static bool parse_float(const char *text, double *out) {
  const char *end = text;
  if (!strpbrk(text, "0123456789") && strcmp(text, "inf") != 0 && strcmp(text, "-inf") != 0) return false;
  *out = str_parse_double(text, &end);
  return end != text && *end == '\0';
}

static bool report_binding(lower *l, const ast_constant *c, const char *text, const char *wanted) {
  diag_error(l->d, DIAG_BINDING, c->loc, "-D %s=%s: %s is %s", c->name, text, c->name, wanted);
  return false;
}

/* The value of -D as the kind of the default. */
static bool bind_constant(lower *l, const ast_constant *c, const char *text, operand *value) {
  int64_t integer = 0;
  double number = 0;
  bool is_int = parse_int(text, &integer);
  if (value->kind == OPERAND_TYPE) {
    ir_type type = ir_type_by_name(text, strlen(text));
    if (type == IR_TYPE_NONE) return report_binding(l, c, text, "a type");
    *value = operand_type(c->loc, type);
    return true;
  }
  if (value->type == IR_F32) {
    if (!parse_float(text, &number)) return report_binding(l, c, text, "a number");
    *value = operand_float(c->loc, number);
    return true;
  }
  if (value->type == IR_PRED) {
    bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (!yes && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
      return report_binding(l, c, text, "true or false");
    *value = operand_bool(c->loc, yes);
    return true;
  }
  if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
    is_int = true;
    integer = text[0] == 't';
  }
  if (!is_int) return report_binding(l, c, text, "an integer");
  *value = operand_int(c->loc, integer);
  return true;
}

/* -- Constants ----------------------------------------------------------------------------------------------------- */

static const char *choices_text(lower *l, const ast_constant *c) {
  str text = STR_EMPTY;
  str_append(&text, "one of ");
  for (const ast_item *choice = c->choices; choice; choice = choice->next)
    str_printf(&text, "%s%s", choice->name, choice->next ? ", " : "");
  const char *kept = arena_strdup(l->memory, str_text(&text));
  str_free(&text);
  return kept;
}

static int choice_index(const ast_constant *c, const char *name) {
  int index = 0;
  for (const ast_item *choice = c->choices; choice; choice = choice->next, index++)
    if (strcmp(choice->name, name) == 0) return index;
  return -1;
}

/* A param with choices: each is a name for its position. */
static bool choice_value(lower *l, const ast_constant *c, const char *bound, operand *out) {
  int index = 0;
  for (const ast_item *choice = c->choices; choice; choice = choice->next, index++) {
    const binding *old = scope_find(l->scope, choice->name);
    if (old && old->kind == BINDING_CONSTANT && old->constant.type == IR_TYPE_NONE && old->constant.int_value == index)
      continue;
    binding *b = scope_add(l, BINDING_CONSTANT, choice->name, choice->loc);
    if (!b)
      return diag_note(l->d, choice->loc,
                       "two params may share the name of a choice only at the same place in their lists");
    b->constant = operand_int(choice->loc, index);
  }
  const char *name = bound ? bound : c->value->kind == AST_NAME ? c->value->name : "";
  index = choice_index(c, name);
  if (index >= 0) {
    *out = operand_int(c->loc, index);
    return true;
  }
  if (bound) report_binding(l, c, bound, choices_text(l, c));
  index = c->value->kind == AST_NAME ? choice_index(c, c->value->name) : -1;
  *out = operand_int(c->loc, index);
  if (index >= 0) return true;
  return diag_error(l->d, DIAG_BINDING, c->value->loc, "the default of '%s' is %s", c->name, choices_text(l, c));
}

static void record_param(lower *l, const ast_constant *c, const operand *value, bool bound) {
  if (c->kind == AST_CONST || value->kind != OPERAND_CONST || value->type == IR_F32) return;
  ir_kernel *kernel = l->kernel;
  ir_param param = {.name = c->name, .value = value->int_value, .tunable = c->kind == AST_TUNE && !bound};
  ARENA_PUSH(l->memory, kernel->params, kernel->param_count, kernel->param_capacity, param);
}

static bool constant_value(lower *l, const ast_constant *c, const char *bound, operand *out) {
  if (c->choices) return choice_value(l, c, bound, out);
  *out = eval(l, c->value);
  if (out->kind == OPERAND_BAD) return false;
  if (out->kind != OPERAND_CONST && out->kind != OPERAND_TYPE)
    return diag_error(l->d, DIAG_NOT_CONSTANT, c->value->loc,
                      "'%s' must be known at compile time; use let for values of run time", c->name);
  if (c->kind == AST_TUNE && (out->kind == OPERAND_TYPE || out->type == IR_F32))
    return diag_error(l->d, DIAG_TYPE, c->value->loc, "a tune is an integer; use param for a %s",
                      out->kind == OPERAND_TYPE ? "type" : "float");
  if (bound) bind_constant(l, c, bound, out); /* a wrong one is reported and the default stays */
  return true;
}

void lower_constants(lower *l, const ast_constant *list) {
  for (const ast_constant *c = list; c; c = c->next) {
    const char *bound = l->constants_only ? find_bound(l, c->name) : NULL; /* a const in a body is its own affair */
    operand value = operand_bad(c->loc);
    bool ok = constant_value(l, c, bound, &value);
    binding *b = scope_add(l, BINDING_CONSTANT, c->name, c->loc);
    if (!b) continue;
    b->constant = ok ? value : operand_bad(c->loc); /* its uses are not errors too */
    if (ok) record_param(l, c, &value, bound != NULL);
  }
}

/* -- The signature ------------------------------------------------------------------------------------------------- */

static void add_size(lower *l, const char *name, src_loc loc) {
  binding *b = scope_add(l, BINDING_VALUE, name, loc);
  if (!b) return;
  ir_value *size = ir_value_create(l->memory, l->kernel, IR_SIZE, IR_I32, name, loc);
  const char *bound = find_bound(l, name);
  int64_t value = 0;
  size->multiple_of = 1;
  size->bound = -1;
  if (bound && (!parse_int(bound, &value) || value < 0 || value > INT32_MAX))
    diag_error(l->d, DIAG_BINDING, loc, "-D %s=%s: %s is a run-time size, 0 to %d", name, bound, name, INT32_MAX);
  else if (bound)
    size->bound = value;
  b->value = size;
  set_range(l, size, bound ? value : 0, bound ? value : INT32_MAX, NULL);
}

static bool is_argument(const ast_kernel *k, const char *name) {
  for (const ast_declaration *d = k->arguments; d; d = d->next)
    if (strcmp(d->name, name) == 0 && strcmp(d->type, "size") != 0) return true;
  return false;
}

/* Names of a shape that nothing declares are run-time sizes. */
static void find_sizes(lower *l, const ast_kernel *k, const ast_expr *e) {
  if (!e) return;
  if (e->kind == AST_NAME && !scope_find(l->scope, e->name)) {
    if (ir_type_by_name(e->name, strlen(e->name)) != IR_TYPE_NONE) return;
    if (is_argument(k, e->name))
      diag_error(l->d, DIAG_TYPE, e->loc, "'%s' is a tensor, and an extent is an integer", e->name);
    else
      add_size(l, e->name, e->loc);
    return;
  }
  bool chosen = false;
  find_sizes(l, k, e->condition);
  bool known = e->condition && eval_bool(l, e->condition, "the condition of an extent", &chosen);
  if (!known || chosen) find_sizes(l, k, e->left);
  if (!known || !chosen) find_sizes(l, k, e->right);
  for (const ast_item *item = e->items; item; item = item->next)
    find_sizes(l, k, item->value);
}

typedef struct argument {
  const ast_declaration *d;
  ir_value *value;
} argument;

/* Whether the argument is there, which its `when` says. */
static bool is_present(lower *l, const ast_declaration *d) {
  bool present = true;
  return (!d->condition || eval_bool(l, d->condition, "the condition after when", &present)) && present;
}

static bool declare_tensor(lower *l, const ast_declaration *d, ir_value **out) {
  ir_type type = IR_TYPE_NONE;
  if (!eval_type(l, d->type, d->type_loc, &type)) return false;
  int rank = ast_item_count(d->shape);
  if (rank < 1 || rank > IR_MAX_RANK)
    return diag_error(l->d, DIAG_RANK, d->loc, "'%s' has %d dimensions; a tensor has 1 to %d%s", d->name, rank,
                      IR_MAX_RANK, rank ? "" : ", and a number is passed as TYPE[1]");
  binding *b = scope_add(l, BINDING_VALUE, d->name, d->loc);
  if (!b) return false;
  b->value = *out = ir_value_create(l->memory, l->kernel, IR_GLOBAL, type, d->name, d->loc);
  b->value->direction = d->direction;
  b->value->rank = rank;
  return true;
}

/* The sizes in order of appearance, then the tensors. Returns how many tensors; -1 after a diagnostic. */
static int declare_arguments(lower *l, const ast_kernel *k, argument *arguments) {
  int count = 0, errors = diag_error_count(l->d);
  bool declared = true;
  for (const ast_declaration *d = k->arguments; d; d = d->next) {
    if (!is_present(l, d)) {
      scope_add(l, BINDING_ABSENT, d->name, d->loc);
      continue;
    }
    if (!d->shape && strcmp(d->type, "size") == 0) {
      add_size(l, d->name, d->loc);
      continue;
    }
    if (count == MAX_ARGUMENTS) {
      diag_error(l->d, DIAG_TOO_LARGE, d->loc, "a kernel has at most %d arguments", MAX_ARGUMENTS);
      return -1;
    }
    arguments[count++] = (argument){.d = d};
    for (const ast_item *item = d->shape; item; item = item->next)
      find_sizes(l, k, item->value);
    for (const ast_item *item = d->strides; item; item = item->next)
      find_sizes(l, k, item->value);
  }
  for (int i = 0; i < count; i++)
    declared = declare_tensor(l, arguments[i].d, &arguments[i].value) && declared;
  return declared && diag_error_count(l->d) == errors ? count : -1;
}

static void lower_shape(lower *l, const argument *a) {
  int dim = 0;
  ir_value *value = a->value;
  for (const ast_item *item = a->d->shape; item; item = item->next) {
    const ir_expr *extent = eval_extent(l, item->value);
    value->extent[dim++] = extent ? extent : ir_int(l->memory, 1);
  }
  if (!a->d->strides) return;
  if (ast_item_count(a->d->strides) != value->rank) {
    diag_error(l->d, DIAG_RANK, a->d->loc, "'%s' has %d dimensions and %d strides", value->name, value->rank,
               ast_item_count(a->d->strides));
    return;
  }
  dim = 0;
  for (const ast_item *item = a->d->strides; item; item = item->next)
    value->stride[dim++] = eval_scalar(l, item->value, IR_I32, "a stride");
}

/* -- Facts --------------------------------------------------------------------------------------------------------- */

static int64_t gcd(int64_t a, int64_t b) { return b ? gcd(b, a % b) : a; }

/* size % c == 0 makes c a known divisor. */
static void learn_divisor(const ir_expr *e) {
  int64_t zero = 0, divisor = 0;
  if (e->kind != IR_EXPR_EQ || !ir_is_constant(e->args[1], &zero) || zero != 0) return;
  const ir_expr *mod = e->args[0];
  if (mod->kind != IR_EXPR_MOD || !ir_is_constant(mod->args[1], &divisor) || divisor < 1) return;
  ir_value *size = mod->args[0]->kind == IR_EXPR_VALUE ? mod->args[0]->value : NULL;
  if (!size || size->space != IR_SIZE) return;
  int64_t step = divisor / gcd(size->multiple_of, divisor), product = 0;
  if (!__builtin_mul_overflow(size->multiple_of, step, &product) && product <= INT32_MAX) size->multiple_of = product;
}

static const char *bound_sizes_text(lower *l) {
  str text = STR_EMPTY;
  for (int i = 0; i < l->kernel->value_count; i++) {
    const ir_value *value = l->kernel->values[i];
    if (value->space == IR_SIZE && value->bound >= 0)
      str_printf(&text, "%s%s = %lld", text.length ? ", " : " with ", value->name, (long long)value->bound);
  }
  const char *kept = arena_strdup(l->memory, str_text(&text));
  str_free(&text);
  return kept;
}

static void lower_fact(lower *l, const ast_expr *e) {
  if (e->kind == AST_AND_ALSO) {
    lower_fact(l, e->left);
    lower_fact(l, e->right);
    return;
  }
  operand o = operand_convert(l, eval(l, e), IR_PRED, false);
  if (o.kind == OPERAND_BAD) return;
  if (o.kind == OPERAND_TILE) {
    diag_error(l->d, DIAG_TYPE, e->loc, "a fact is about sizes, not tiles");
  } else if (o.kind == OPERAND_CONST) {
    if (!o.int_value) diag_error(l->d, DIAG_FACT, e->loc, "this does not hold%s", bound_sizes_text(l));
  } else {
    ir_fact fact = {.condition = o.expr, .loc = e->loc};
    ARENA_PUSH(l->memory, l->kernel->facts, l->kernel->fact_count, l->kernel->fact_capacity, fact);
    learn_divisor(o.expr);
  }
}

/* -- The grid and the schedule ------------------------------------------------------------------------------------- */

static void lower_grid(lower *l, const ast_kernel *k) {
  int count = ast_item_count(k->grid);
  if (count > MAX_GRID_RANK) {
    diag_error(l->d, DIAG_RANK, k->grid_loc, "a grid has at most %d dimensions, not %d", MAX_GRID_RANK, count);
    return;
  }
  const ir_expr *extents[MAX_GRID_RANK];
  int dim = 0;
  for (const ast_item *item = k->grid; item; item = item->next) {
    extents[dim] = eval_scalar(l, item->value, IR_I32, "an extent of the grid");
    int64_t known = 1;
    if (extents[dim] && ir_is_constant(extents[dim], &known) && known < 0)
      diag_error(l->d, DIAG_RANGE, item->value->loc, "an extent of the grid cannot be %lld", (long long)known);
    if (!extents[dim++]) return;
  }
  dim = 0;
  for (const ast_item *item = k->grid; item; item = item->next, dim++) {
    int64_t extent = 0;
    bool known = ir_is_constant(extents[dim], &extent);
    bool single = known && extent == 1 && (item->next || l->kernel->grid_count); /* only a name for 0 */
    binding *b = scope_add(l, single ? BINDING_CONSTANT : BINDING_VALUE, item->name, item->loc);
    if (!b) continue;
    if (single) {
      b->constant = operand_int(item->loc, 0);
      continue;
    }
    b->value = ir_value_create(l->memory, l->kernel, IR_INDEX, IR_I32, item->name, item->loc);
    set_range(l, b->value, 0, known ? (extent ? extent - 1 : 0) : INT32_MAX - 1, extents[dim]);
    l->kernel->grid[l->kernel->grid_count++] = (ir_grid_dim){.index = b->value, .extent = extents[dim]};
  }
}

static void lower_schedule(lower *l, const ast_kernel *k) {
  static const struct {
    const char *name;
    ir_attr attr;
    int64_t lo, hi;
  } settings[] = {{"raster", IR_ATTR_RASTER, 0, 1024}, {"reverse", IR_ATTR_REVERSE, 0, 1},
                  {"warps", IR_ATTR_WARPS, 1, 32},     {"producers", IR_ATTR_PRODUCERS, 0, 4},
                  {"cluster", IR_ATTR_CLUSTER, 1, 16}, {"min_blocks", IR_ATTR_MIN_BLOCKS, 1, 32},
                  {"pdl", IR_ATTR_PDL, 0, 1}};
  for (const ast_item *item = k->schedule; item; item = item->next) {
    const char *best = NULL;
    bool found = false;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
      best = nearer_name(item->name, best, settings[i].name);
      if (strcmp(settings[i].name, item->name) != 0) continue;
      int64_t value = 0;
      found = true;
      if (eval_int(l, item->value, settings[i].lo, settings[i].hi, item->name, &value))
        ir_attr_set(&l->kernel->attrs, settings[i].attr, value);
    }
    if (!found)
      diag_error(l->d, DIAG_SCHEDULE, item->loc,
                 "a schedule has raster, reverse, warps, producers, cluster, min_blocks and pdl, not '%s'%s%s%s",
                 item->name, best ? "; did you mean '" : "", best ? best : "", best ? "'?" : "");
  }
}

/* -- Kernels ------------------------------------------------------------------------------------------------------- */

static void lower_kernel(lower *l, const ast_kernel *k) {
  argument arguments[MAX_ARGUMENTS];
  l->kernel = ir_kernel_create(l->module, k->name, k->loc);
  l->scope = NULL;
  l->ranges = NULL;
  l->limits = NULL;
  l->range_capacity = 0;
  l->steps_left = MAX_STEPS;
  l->in_parallel = false;
  l->block = &l->kernel->body;
  scope_push(l);
  l->constants_only = true;
  lower_constants(l, l->ast->constants);
  scope_push(l);
  lower_constants(l, k->constants);
  int count = declare_arguments(l, k, arguments);
  if (count < 0) return; /* everything below would only repeat it */
  for (const ast_item *item = k->facts; item; item = item->next)
    lower_fact(l, item->value);
  for (int i = 0; i < count; i++)
    lower_shape(l, &arguments[i]);
  lower_grid(l, k);
  lower_schedule(l, k);
  l->constants_only = false;
  lower_block(l, &k->body);
}

/* Every name that -D could have meant. */
static const char *nearest_bindable(lower *l, const char *name) {
  const char *best = NULL;
  for (const ast_constant *c = l->ast->constants; c; c = c->next)
    best = nearer_name(name, best, c->name);
  for (const ast_kernel *k = l->ast->kernels; k; k = k->next)
    for (const ast_constant *c = k->constants; c; c = c->next)
      best = nearer_name(name, best, c->name);
  for (const ir_kernel *k = l->module->kernels; k; k = k->next)
    for (int i = 0; i < k->value_count; i++)
      if (k->values[i]->space == IR_SIZE) best = nearer_name(name, best, k->values[i]->name);
  return best;
}

static void check_bindings(lower *l) {
  for (int i = 0; i < l->binding_count; i++) {
    if (l->binding_used[i]) continue;
    const char *name = l->bindings[i].name, *best = nearest_bindable(l, name);
    diag_error(l->d, DIAG_UNBOUND, (src_loc){0}, "-D %s: no kernel has a param, const, tune or size of this name%s%s%s",
               name, best ? "; did you mean '" : "", best ? best : "", best ? "'?" : "");
  }
}

static void check_duplicates(lower *l) {
  for (const ast_kernel *k = l->ast->kernels; k; k = k->next)
    for (const ast_kernel *other = l->ast->kernels; other != k; other = other->next)
      if (strcmp(k->name, other->name) == 0) {
        diag_error(l->d, DIAG_DUPLICATE, k->loc, "two kernels are called '%s'", k->name);
        diag_note(l->d, other->loc, "the first '%s' is here", k->name);
      }
  for (const ast_function *f = l->ast->functions; f; f = f->next)
    for (const ast_function *other = l->ast->functions; other != f; other = other->next)
      if (strcmp(f->name, other->name) == 0) {
        diag_error(l->d, DIAG_DUPLICATE, f->loc, "two inline functions are called '%s'", f->name);
        diag_note(l->d, other->loc, "the first '%s' is here", f->name);
      }
}

ir_module *frontend_lower(const frontend_ast *ast, arena *memory, diag *d, const frontend_binding *bindings,
                          int binding_count) {
  int errors = diag_error_count(d);
  lower l = {.ast = ast, .memory = memory, .d = d, .bindings = bindings, .binding_count = binding_count};
  l.binding_used = ARENA_ARRAY(memory, bool, binding_count);
  l.module = ir_module_create(memory, ast->source_name);
  check_duplicates(&l);
  for (const ast_kernel *k = ast->kernels; k && diag_error_count(d) - errors <= 20; k = k->next)
    lower_kernel(&l, k);
  if (diag_error_count(d) == errors) check_bindings(&l);
  return diag_error_count(d) == errors ? l.module : NULL;
}
