/* Building modules, kernels, values and ops. */
#include "ir/expr.h"

#include <stdio.h>
#include <string.h>

enum { PACKED_MAP_RANK = 3, WORD_BITS = 32 };

ir_module *ir_module_create(arena *memory, const char *source_name) {
  ir_module *module = ARENA_NEW(memory, ir_module);
  module->memory = memory;
  module->source_name = arena_strdup(memory, source_name);
  return module;
}

ir_kernel *ir_kernel_create(ir_module *module, const char *name, src_loc loc) {
  ir_kernel *kernel = ARENA_NEW(module->memory, ir_kernel);
  kernel->name = arena_strdup(module->memory, name);
  kernel->loc = loc;
  ir_kernel **last = &module->kernels;
  while (*last)
    last = &(*last)->next;
  *last = kernel;
  return kernel;
}

/* -- Names: an open-addressed table, a power of two of places, at most half full -- */

static uint32_t hash_name(const char *name) { /* FNV-1a */
  uint32_t hash = 2166136261u;
  for (; *name; name++)
    hash = (hash ^ (unsigned char)*name) * 16777619u;
  return hash;
}

/* The place of the name, or the free place where it belongs. */
static ir_value **name_place(ir_value **names, int capacity, const char *name) {
  uint32_t mask = (uint32_t)capacity - 1;
  uint32_t at = hash_name(name) & mask;
  while (names[at] && strcmp(names[at]->name, name) != 0)
    at = (at + 1) & mask;
  return &names[at];
}

static void enter_name(arena *memory, ir_kernel *kernel, ir_value *value) {
  enum { FIRST_CAPACITY = 64 };
  ir_value **place = kernel->name_capacity ? name_place(kernel->names, kernel->name_capacity, value->name) : NULL;
  if (place && *place) { /* the name of a value that was taken off the list */
    *place = value;
    return;
  }
  if (2 * (kernel->name_count + 1) > kernel->name_capacity) {
    int capacity = kernel->name_capacity ? 4 * kernel->name_capacity : FIRST_CAPACITY;
    ir_value **names = ARENA_ARRAY(memory, ir_value *, capacity);
    for (int i = 0; i < kernel->name_capacity; i++)
      if (kernel->names[i]) *name_place(names, capacity, kernel->names[i]->name) = kernel->names[i];
    kernel->names = names;
    kernel->name_capacity = capacity;
  }
  *name_place(kernel->names, kernel->name_capacity, value->name) = value;
  kernel->name_count++;
}

ir_value *ir_value_find(const ir_kernel *kernel, const char *name) {
  ir_value *value = kernel->name_capacity ? *name_place(kernel->names, kernel->name_capacity, name) : NULL;
  /* A pass may have taken the value off the kernel's list; its name is free again. */
  bool is_listed = value && value->number < kernel->value_count && kernel->values[value->number] == value;
  return is_listed ? value : NULL;
}

/* A name that the text can hold: letters, digits and '_', no digit first. */
static char *clean_name(arena *memory, const char *name) {
  bool is_digit_first = !*name || (*name >= '0' && *name <= '9');
  char *clean = arena_printf(memory, "%s%s", is_digit_first ? "_" : "", name);
  for (char *p = clean; *p; p++)
    if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_')) *p = '_';
  return clean;
}

ir_value *ir_value_create(arena *memory, ir_kernel *kernel, ir_space space, ir_type type, const char *name,
                          src_loc loc) {
  ir_value *value = ARENA_NEW(memory, ir_value);
  const char *clean = clean_name(memory, name);
  value->name = clean;
  for (int suffix = 1; ir_value_find(kernel, value->name); suffix++)
    value->name = arena_printf(memory, "%s_%d", clean, suffix);
  value->space = space;
  value->type = type;
  value->loc = loc;
  value->multiple_of = 1;
  value->bound = -1;
  value->slots = 1;
  value->arrivals = 1;
  value->offset = -1;
  value->fetch = IR_FETCH;
  value->number = kernel->value_count;
  ARENA_PUSH(memory, kernel->values, kernel->value_count, kernel->value_capacity, value);
  enter_name(memory, kernel, value);
  return value;
}

int64_t ir_extent(const ir_value *value, int dim) {
  int64_t extent;
  if (dim < 0 || dim >= value->rank || !ir_is_constant(value->extent[dim], &extent))
    BUG("dimension %d of %%%s has no constant extent", dim, value->name);
  return extent;
}

int ir_map_rank(const ir_value *tensor) { return tensor->packed ? PACKED_MAP_RANK : tensor->rank; }

bool ir_map_has_panels(const ir_value *map) { return !map->tensor->packed && map->rank == map->tensor->rank + 1; }

int ir_map_bits(const ir_value *tensor) { return tensor->packed ? WORD_BITS : ir_bits(tensor->type); }

int64_t ir_element_count(const ir_value *value) {
  int64_t count = 1;
  for (int i = 0; i < value->rank; i++)
    count *= ir_extent(value, i);
  return count;
}

/* -- Ops -- */

ir_op *ir_op_create(arena *memory, ir_op_kind kind, src_loc loc) {
  ir_op *op = ARENA_NEW(memory, ir_op);
  op->kind = kind;
  op->loc = loc;
  return op;
}

void ir_op_add_write(ir_op *op, ir_ref ref) {
  ASSERT(op->write_count < IR_MAX_REFS);
  op->write[op->write_count++] = ref;
}

void ir_op_add_read(ir_op *op, ir_ref ref) {
  ASSERT(op->read_count < IR_MAX_REFS);
  op->read[op->read_count++] = ref;
}

void ir_op_add_expr(arena *memory, ir_op *op, const ir_expr *expr) {
  const ir_expr **exprs = ARENA_ARRAY(memory, const ir_expr *, op->expr_count + 1);
  if (op->expr_count) memcpy(exprs, op->expr, sizeof *exprs * (size_t)op->expr_count);
  exprs[op->expr_count++] = expr;
  op->expr = exprs;
}

ir_ref ir_ref_whole(ir_value *value) { return (ir_ref){.value = value}; }

ir_ref ir_ref_none(void) { return (ir_ref){.value = NULL}; }

void ir_block_append(ir_block *block, ir_op *op) {
  op->previous = block->last;
  op->next = NULL;
  if (block->last)
    block->last->next = op;
  else
    block->first = op;
  block->last = op;
}

void ir_block_insert_before(ir_block *block, ir_op *before, ir_op *op) {
  op->next = before;
  op->previous = before->previous;
  if (before->previous)
    before->previous->next = op;
  else
    block->first = op;
  before->previous = op;
}

void ir_block_insert_after(ir_block *block, ir_op *after, ir_op *op) {
  if (after->next)
    ir_block_insert_before(block, after->next, op);
  else
    ir_block_append(block, op);
}

void ir_block_remove(ir_block *block, ir_op *op) {
  if (op->previous)
    op->previous->next = op->next;
  else
    block->first = op->next;
  if (op->next)
    op->next->previous = op->previous;
  else
    block->last = op->previous;
  op->next = op->previous = NULL;
}

/* -- Copies -- */

static ir_value *mapped(ir_value *value, ir_value *const *map) {
  return value && map && map[value->number] ? map[value->number] : value;
}

/* The same tree over other values; shared when nothing changes. */
static const ir_expr *map_expr(arena *memory, const ir_expr *e, ir_value *const *map) {
  if (!e || !map) return e;
  ir_expr node = *e;
  node.value = mapped(e->value, map);
  node.slot = map_expr(memory, e->slot, map);
  bool changed = node.value != e->value || node.slot != e->slot;
  if (e->arg_count) {
    node.args = ARENA_ARRAY(memory, const ir_expr *, e->arg_count);
    for (int i = 0; i < e->arg_count; i++) {
      node.args[i] = map_expr(memory, e->args[i], map);
      changed |= node.args[i] != e->args[i];
    }
  }
  return changed ? ir_expr_raw(memory, &node) : e;
}

static void map_refs(arena *memory, ir_ref *refs, int count, ir_value *const *map) {
  for (int i = 0; i < count; i++) {
    refs[i].value = mapped(refs[i].value, map);
    refs[i].slot = map_expr(memory, refs[i].slot, map);
    for (int d = 0; d < refs[i].count; d++)
      refs[i].start[d] = map_expr(memory, refs[i].start[d], map);
  }
}

ir_op *ir_op_clone(arena *memory, const ir_op *op, ir_value *const *map) {
  ir_op *copy = arena_copy(memory, op, sizeof *op);
  copy->next = copy->previous = NULL;
  map_refs(memory, copy->write, copy->write_count, map);
  map_refs(memory, copy->read, copy->read_count, map);
  copy->expr = op->expr_count ? arena_copy(memory, op->expr, sizeof *op->expr * (size_t)op->expr_count) : NULL;
  for (int i = 0; i < copy->expr_count; i++)
    copy->expr[i] = map_expr(memory, copy->expr[i], map);
  if (op->variable_count) {
    copy->variable = arena_copy(memory, op->variable, sizeof *op->variable * (size_t)op->variable_count);
    for (int i = 0; i < copy->variable_count; i++)
      copy->variable[i] = mapped(copy->variable[i], map);
  }
  copy->body = ir_block_clone(memory, &op->body, map);
  copy->other = ir_block_clone(memory, &op->other, map);
  return copy;
}

ir_block ir_block_clone(arena *memory, const ir_block *block, ir_value *const *map) {
  ir_block copy = {NULL, NULL};
  for (const ir_op *op = block->first; op; op = op->next)
    ir_block_append(&copy, ir_op_clone(memory, op, map));
  return copy;
}
