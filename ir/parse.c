/* Reading modules: what ir_print_module wrote, or a person in its style. Stops at the first error. */
#include "ir/parser.h"

#include <stdlib.h>
#include <string.h>

/* -- Lines, places, attributes -- */

/* Past empty lines and comments. */
static void skip_lines(parser *p) {
  for (parse_blanks(p); *p->at == '\n'; parse_blanks(p))
    p->at++;
}

static bool end_line(parser *p) {
  parse_blanks(p);
  if (*p->at == '\n') {
    p->at++;
    return true;
  }
  return !*p->at || parse_fail(p, "expected the end of the line");
}

/* `@line:column` or `@file:line:column`, when there is one. */
static bool parse_loc(parser *p, src_loc *loc) {
  int64_t part[3];
  int count = 0;
  *loc = (src_loc){0};
  if (!parse_accept(p, "@")) return true;
  do {
    if (count == 3) return parse_fail(p, "expected @line:column");
    if (!parse_int_in(p, 0, INT32_MAX, &part[count])) return false;
    count++;
  } while (parse_accept(p, ":"));
  if (count < 2 || part[count - 1] > UINT16_MAX || (count == 3 && part[0] > UINT16_MAX) || part[count - 2] == 0)
    return parse_fail(p, "expected @line:column");
  loc->file = (uint16_t)(count == 3 ? part[0] : 0);
  loc->line = (uint32_t)part[count - 2];
  loc->column = (uint16_t)part[count - 1];
  loc->length = 1;
  return true;
}

static bool parse_attr(parser *p, ir_attrs *attrs) {
  word name, choice;
  if (!parse_word(p, false, &name)) return parse_fail(p, "expected an attribute");
  int attr = 0;
  while (attr < IR_ATTR_KIND_COUNT && !word_is(name, ir_attr_info_of((ir_attr)attr)->name))
    attr++;
  if (attr == IR_ATTR_KIND_COUNT) {
    p->at = name.text;
    return parse_fail(p, "there is no such attribute");
  }
  if (ir_attr_has(attrs, (ir_attr)attr)) return parse_fail(p, "the attribute is given twice");
  if (!parse_expect(p, "=")) return false;
  int64_t value;
  if (!ir_attr_info_of((ir_attr)attr)->is_enum) {
    if (!parse_int64(p, &value)) return false;
  } else {
    const char *choices = ir_attr_info_of((ir_attr)attr)->choices;
    if (!parse_word(p, false, &choice)) return parse_fail(p, "expected one of %s", choices);
    value = ir_attr_choice((ir_attr)attr, choice.text, choice.length);
    if (value < 0) return parse_fail(p, "expected one of %s", choices);
  }
  ir_attr_set(attrs, (ir_attr)attr, value);
  return true;
}

static bool parse_attrs(parser *p, ir_attrs *attrs) {
  if (!parse_accept(p, "{")) return true;
  do {
    if (!parse_attr(p, attrs)) return false;
  } while (parse_accept(p, ","));
  return parse_expect(p, "}");
}

/* -- Ops -- */

static bool parse_block(parser *p, ir_block *block);

static bool add_expr(parser *p, ir_op *op, int *capacity) {
  const ir_expr *e = parse_expr(p);
  if (!e) return false;
  ARENA_PUSH(p->memory, op->expr, op->expr_count, *capacity, e);
  return true;
}

/* Whether a value may stand for an operand letter of ops.def. */
static bool letter_fits(char letter, ir_space space) {
  static const struct {
    char letter;
    ir_space space;
  } pairs[] = {{'g', IR_GLOBAL}, {'s', IR_SHARED}, {'t', IR_TILE},    {'r', IR_REGISTERS},
               {'v', IR_SCALAR}, {'v', IR_INDEX},  {'b', IR_BARRIER}, {'m', IR_MAP},
               {'*', IR_GLOBAL}, {'*', IR_SHARED}, {'*', IR_TILE},    {'*', IR_REGISTERS}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
    if (pairs[i].letter == letter && pairs[i].space == space) return true;
  return false;
}

static bool at_operand(parser *p) {
  parse_blanks(p);
  return *p->at && *p->at != '\n' && *p->at != '{' && *p->at != '@';
}

static bool at_keyword(parser *p, const char *keyword) {
  const char *start = p->at;
  bool found = parse_keyword(p, keyword);
  p->at = start;
  return found;
}

/* References as the row's letters say, then expressions. An optional reference that is left out at the end is told from
 * an expression by the kind of value. */
static bool parse_operands(parser *p, ir_op *op) {
  const ir_op_info *info = ir_op_info_of(op->kind);
  bool any = false;
  for (const char *letter = info->reads; *letter; letter++) {
    bool is_optional = letter[1] == '?';
    const char *start = p->at;
    if (any ? !parse_accept(p, ",") : !at_operand(p)) return true;
    if (is_optional && !at_keyword(p, "none")) {
      ir_value *value = parse_peek_value(p);
      if (!value || !letter_fits(*letter, value->space)) {
        p->at = start;
        break;
      }
    }
    ir_ref ref;
    if (!parse_ref(p, &ref)) return false;
    ir_op_add_read(op, ref);
    any = true;
    if (is_optional) letter++;
  }
  int capacity = 0;
  if (!any && (!at_operand(p) || at_keyword(p, "do"))) return true;
  if (any && !parse_accept(p, ",")) return true;
  do {
    if (!add_expr(p, op, &capacity)) return false;
  } while (parse_accept(p, ","));
  return true;
}

static bool parse_writes(parser *p, ir_op *op) {
  do {
    ir_ref ref;
    if (op->write_count == IR_MAX_REFS) return parse_fail(p, "an op writes at most %d values", IR_MAX_REFS);
    if (!parse_ref(p, &ref)) return false;
    ir_op_add_write(op, ref);
  } while (parse_accept(p, ","));
  return true;
}

static bool parse_for(parser *p, ir_op *op) {
  int capacity = 0;
  ir_value *variable = parse_value(p);
  if (!variable) return false;
  ir_op_add_write(op, ir_ref_whole(variable));
  return (parse_keyword(p, "in") || parse_fail(p, "expected 'in'")) && add_expr(p, op, &capacity) &&
         parse_expect(p, "..") && add_expr(p, op, &capacity) &&
         (parse_keyword(p, "step") || parse_fail(p, "expected 'step'")) && add_expr(p, op, &capacity);
}

static bool parse_parallel(parser *p, ir_op *op) {
  int capacity = 0, variable_capacity = 0;
  if (!at_operand(p) || at_keyword(p, "do")) return true;
  do {
    ir_value *variable = parse_value(p);
    if (!variable) return false;
    ARENA_PUSH(p->memory, op->variable, op->variable_count, variable_capacity, variable);
    if (!parse_keyword(p, "in")) return parse_fail(p, "expected 'in'");
    if (!add_expr(p, op, &capacity)) return false;
  } while (parse_accept(p, ","));
  return true;
}

static bool parse_role(parser *p, ir_op *op) {
  word name;
  if (!parse_word(p, false, &name)) return parse_fail(p, "expected the name of the role");
  op->name = arena_strndup(p->memory, name.text, name.length);
  return true;
}

static int op_by_name(word w) {
  for (int kind = 0; kind < IR_OP_KIND_COUNT; kind++)
    if (word_is(w, ir_op_info_of((ir_op_kind)kind)->mnemonic)) return kind;
  return -1;
}

/* What stands before the attributes: `writes <- mnemonic operands`, or a statement of its own form. */
static bool parse_head(parser *p, ir_op *op) {
  word w;
  const char *start = p->at;
  int capacity = 0;
  if (*p->at == '%') {
    if (!parse_writes(p, op) || !parse_expect(p, "<-")) return false;
    parse_blanks(p);
    const char *after = p->at;
    int kind = parse_word(p, true, &w) ? op_by_name(w) : -1;
    if (kind < 0 || kind == IR_OP_SET) {
      p->at = after;
      op->kind = IR_OP_SET;
      return add_expr(p, op, &capacity);
    }
    op->kind = (ir_op_kind)kind;
    if (op->kind == IR_OP_FOR || op->kind == IR_OP_LET || op->kind == IR_OP_DECLARE || op->kind == IR_OP_ROLE ||
        op->kind == IR_OP_PARALLEL) {
      p->at = after;
      return parse_fail(p, "%s has no '<-' before it", ir_op_info_of(op->kind)->mnemonic);
    }
    return parse_operands(p, op);
  }
  if (!parse_word(p, true, &w)) return parse_fail(p, "expected an op");
  int kind = op_by_name(w);
  if (kind < 0 || kind == IR_OP_SET) {
    p->at = start;
    return parse_fail(p, "there is no op %.*s", w.length > 60 ? 60 : (int)w.length, w.text);
  }
  op->kind = (ir_op_kind)kind;
  switch (op->kind) {
  case IR_OP_FOR:
    return parse_for(p, op);
  case IR_OP_PARALLEL:
    return parse_parallel(p, op);
  case IR_OP_ROLE:
    return parse_role(p, op);
  case IR_OP_DECLARE:
    return parse_writes(p, op);
  case IR_OP_LET:
    return parse_writes(p, op) && parse_expect(p, "<-") && add_expr(p, op, &capacity);
  default:
    return parse_operands(p, op);
  }
}

static bool parse_op(parser *p, ir_op *op) {
  if (!parse_head(p, op) || !parse_attrs(p, &op->attrs) || !parse_loc(p, &op->loc)) return false;
  int bodies = ir_op_info_of(op->kind)->bodies;
  if (!bodies) return end_line(p);
  if (!parse_keyword(p, "do")) return parse_fail(p, "expected 'do'");
  if (!end_line(p) || !parse_block(p, &op->body)) return false;
  if (bodies == 2 && parse_keyword(p, "else") && (!end_line(p) || !parse_block(p, &op->other))) return false;
  return (parse_keyword(p, "end") || parse_fail(p, "expected 'end'")) && end_line(p);
}

/* Ops up to `end` or `else`, which are left. */
static bool parse_block(parser *p, ir_block *block) {
  if (++p->depth > PARSE_MAX_DEPTH) return parse_fail(p, "the nesting is too deep");
  for (skip_lines(p); *p->at && !at_keyword(p, "end") && !at_keyword(p, "else"); skip_lines(p)) {
    ir_op *op = ir_op_create(p->memory, IR_OP_SET, (src_loc){0});
    if (!parse_op(p, op)) return false;
    ir_block_append(block, op);
  }
  p->depth--;
  return true;
}

/* -- Declarations -- */

/* `type[extent, ...]` */
static bool parse_shape(parser *p, ir_type *type, int *rank, const ir_expr *extent[IR_MAX_RANK]) {
  word name;
  if (!parse_word(p, false, &name)) return parse_fail(p, "expected a type");
  *type = ir_type_by_name(name.text, name.length);
  if (*type == IR_TYPE_NONE) {
    p->at = name.text;
    return parse_fail(p, "there is no type %.*s", name.length > 60 ? 60 : (int)name.length, name.text);
  }
  *rank = 0;
  if (!parse_expect(p, "[")) return false;
  if (parse_accept(p, "]")) return true;
  do {
    if (*rank == IR_MAX_RANK) return parse_fail(p, "a shape has at most %d dimensions", IR_MAX_RANK);
    if (!(extent[*rank] = parse_expr(p))) return false;
    ++*rank;
  } while (parse_accept(p, ","));
  return parse_expect(p, "]");
}

static ir_value *create(parser *p, ir_space space, ir_type type, const char *name) {
  return ir_value_create(p->memory, p->kernel, space, type, name, (src_loc){0});
}

static bool parse_size(parser *p) {
  const char *name;
  if (!parse_new_name(p, &name)) return false;
  ir_value *value = create(p, IR_SIZE, IR_I32, name);
  if (parse_accept(p, "{")) {
    do {
      if (parse_keyword(p, "multiple_of")) {
        if (!parse_expect(p, "=") || !parse_int_in(p, 1, INT32_MAX, &value->multiple_of)) return false;
      } else if (parse_keyword(p, "bound")) {
        if (!parse_expect(p, "=") || !parse_int_in(p, 0, INT32_MAX, &value->bound)) return false;
      } else {
        return parse_fail(p, "expected multiple_of or bound");
      }
    } while (parse_accept(p, ","));
    if (!parse_expect(p, "}")) return false;
  }
  return parse_loc(p, &value->loc) && end_line(p);
}

static bool parse_strides(parser *p, ir_value *value) {
  if (!parse_expect(p, "[")) return false;
  for (int i = 0; i < value->rank; i++) {
    if (i && !parse_expect(p, ",")) return false;
    if (parse_keyword(p, "none")) continue;
    if (!(value->stride[i] = parse_expr(p))) return false;
  }
  return parse_expect(p, "]");
}

static bool parse_packed(parser *p, ir_value *value) {
  if (!parse_keyword(p, "packed") || !parse_expect(p, "=")) return parse_fail(p, "expected packed = #packed...");
  parse_blanks(p);
  packed_layout *layout = ARENA_NEW(p->memory, packed_layout);
  const char *error = "bad layout";
  if (!packed_layout_parse(&p->at, layout, &error)) return parse_fail(p, "%s", error);
  value->packed = layout;
  return parse_expect(p, "}");
}

static bool parse_argument(parser *p) {
  const char *name;
  ir_type type;
  int rank;
  const ir_expr *extent[IR_MAX_RANK] = {NULL};
  if (!parse_new_name(p, &name) || !parse_expect(p, ":")) return false;
  if (!parse_keyword(p, "global")) return parse_fail(p, "expected 'global'");
  if (!parse_shape(p, &type, &rank, extent)) return false;
  ir_value *value = create(p, IR_GLOBAL, type, name);
  value->rank = rank;
  memcpy(value->extent, extent, sizeof extent);
  if (parse_keyword(p, "in"))
    value->direction = IR_IN;
  else if (parse_keyword(p, "out"))
    value->direction = IR_OUT;
  else if (parse_keyword(p, "inout"))
    value->direction = IR_INOUT;
  else
    return parse_fail(p, "expected in, out or inout");
  if (parse_keyword(p, "stride") && !parse_strides(p, value)) return false;
  if (parse_accept(p, "{") && !parse_packed(p, value)) return false;
  return parse_loc(p, &value->loc) && end_line(p);
}

static bool parse_param(parser *p) {
  word name;
  ir_param param = {0};
  if (!parse_word(p, false, &name)) return parse_fail(p, "expected a name");
  if (!parse_expect(p, "=") || !parse_int64(p, &param.value)) return false;
  param.name = arena_strndup(p->memory, name.text, name.length);
  param.tunable = parse_keyword(p, "tune");
  ir_kernel *kernel = p->kernel;
  ARENA_PUSH(p->memory, kernel->params, kernel->param_count, kernel->param_capacity, param);
  return end_line(p);
}

static bool parse_fact(parser *p) {
  ir_fact fact = {0};
  if (!(fact.condition = parse_expr(p)) || !parse_loc(p, &fact.loc)) return false;
  ir_kernel *kernel = p->kernel;
  ARENA_PUSH(p->memory, kernel->facts, kernel->fact_count, kernel->fact_capacity, fact);
  return end_line(p);
}

static bool parse_grid(parser *p) {
  const char *name;
  enum { GRID_RANK = sizeof p->kernel->grid / sizeof *p->kernel->grid };
  if (p->kernel->grid_count == GRID_RANK) return parse_fail(p, "a grid has at most %d dimensions", GRID_RANK);
  if (!parse_new_name(p, &name)) return false;
  if (!parse_keyword(p, "in")) return parse_fail(p, "expected 'in'");
  const ir_expr *extent = parse_expr(p);
  if (!extent) return false;
  ir_value *index = create(p, IR_INDEX, IR_I32, name);
  p->kernel->grid[p->kernel->grid_count++] = (ir_grid_dim){index, extent};
  return parse_loc(p, &index->loc) && end_line(p);
}

static bool parse_blocks(parser *p) {
  p->kernel->block_count = parse_expr(p);
  return p->kernel->block_count && end_line(p);
}

/* `map of %A box [64, 128] swizzle 128`, and `fetch 128` where it is not 256 */
static bool parse_map(parser *p, const char *name) {
  if (!parse_keyword(p, "of")) return parse_fail(p, "expected 'of'");
  ir_value *tensor = parse_value(p);
  if (!tensor) return false;
  ir_value *value = create(p, IR_MAP, tensor->type, name);
  value->tensor = tensor;
  if (!parse_keyword(p, "box") || !parse_expect(p, "[")) return parse_fail(p, "expected 'box ['");
  int64_t number;
  do {
    if (value->rank == IR_MAX_RANK) return parse_fail(p, "a box has at most %d dimensions", IR_MAX_RANK);
    if (!parse_int_in(p, 1, INT32_MAX, &number)) return false;
    value->box[value->rank++] = (int)number;
  } while (parse_accept(p, ","));
  if (!parse_expect(p, "]")) return false;
  if (!parse_keyword(p, "swizzle")) return parse_fail(p, "expected 'swizzle'");
  if (!parse_int_in(p, 0, SHARED_SWIZZLE_128, &number)) return false;
  if (number != SHARED_SWIZZLE_NONE && number != SHARED_SWIZZLE_32 && number != SHARED_SWIZZLE_64 &&
      number != SHARED_SWIZZLE_128)
    return parse_fail(p, "a swizzle is 0, 32, 64 or 128");
  value->swizzle = (shared_swizzle)number;
  if (parse_keyword(p, "fetch")) {
    if (!parse_int_in(p, 1, IR_FETCH, &number)) return false;
    if (number != IR_FETCH && number != IR_FETCH / 2)
      return parse_fail(p, "a fetch is of %d or %d bytes", IR_FETCH / 2, IR_FETCH);
    value->fetch = (int)number;
  }
  return parse_loc(p, &value->loc) && end_line(p);
}

static bool parse_layout(parser *p, ir_value *value) {
  const char *error = "bad layout";
  parse_blanks(p);
  if (value->space == IR_TILE) {
    tile_layout *layout = ARENA_NEW(p->memory, tile_layout);
    value->tile = layout;
    return tile_layout_parse(&p->at, layout, &error) || parse_fail(p, "%s", error);
  }
  shared_layout *layout = ARENA_NEW(p->memory, shared_layout);
  value->shared = layout;
  return shared_layout_parse(&p->at, layout, &error) || parse_fail(p, "%s", error);
}

/* What follows the type of an alloc, in any order. */
static bool parse_options(parser *p, ir_value *value) {
  bool is_placed = value->space == IR_SHARED || value->space == IR_BARRIER;
  bool has_layout = value->space == IR_SHARED || value->space == IR_TILE;
  word w;
  int64_t number;
  while (parse_word(p, false, &w)) {
    if (is_placed && word_is(w, "slots")) {
      if (!parse_int_in(p, 1, UINT16_MAX, &number)) return false;
      value->slots = (int)number;
    } else if (is_placed && word_is(w, "offset")) {
      if (!parse_int_in(p, 0, INT32_MAX, &number)) return false;
      value->offset = (int)number;
    } else if (value->space == IR_BARRIER && word_is(w, "arrivals")) {
      if (!parse_int_in(p, 0, INT32_MAX, &number)) return false;
      value->arrivals = (int)number;
    } else if (value->space == IR_SCALAR && word_is(w, "mutable")) {
      value->is_mutable = true;
    } else if (has_layout && word_is(w, "layout")) {
      if (!parse_layout(p, value)) return false;
    } else {
      p->at = w.text;
      return parse_fail(p, "unexpected '%.*s'", w.length > 60 ? 60 : (int)w.length, w.text);
    }
  }
  return parse_loc(p, &value->loc) && end_line(p);
}

static bool parse_alloc(parser *p) {
  const char *name;
  word w;
  if (!parse_new_name(p, &name) || !parse_expect(p, ":")) return false;
  if (!parse_word(p, false, &w)) return parse_fail(p, "expected where %%%s lives", name);
  int space = IR_SHARED;
  while (space <= IR_MAP && (space == IR_SIZE || !word_is(w, ir_space_name((ir_space)space))))
    space++;
  ir_type type = IR_TYPE_NONE;
  int rank = 0;
  const ir_expr *extent[IR_MAX_RANK] = {NULL};
  switch (space) {
  case IR_SHARED:
  case IR_TILE:
  case IR_REGISTERS:
    if (!parse_shape(p, &type, &rank, extent)) return false;
    break;
  case IR_SCALAR:
    if (!parse_word(p, false, &w) || (type = ir_type_by_name(w.text, w.length)) == IR_TYPE_NONE)
      return parse_fail(p, "expected a type");
    break;
  case IR_INDEX:
    type = IR_I32;
    break;
  case IR_BARRIER:
    type = IR_U64;
    break;
  case IR_MAP:
    return parse_map(p, name);
  default:
    p->at = w.text;
    return parse_fail(p, "expected shared, tile, registers, scalar, index, barrier or map");
  }
  ir_value *value = create(p, (ir_space)space, type, name);
  value->rank = rank;
  memcpy(value->extent, extent, sizeof extent);
  return parse_options(p, value);
}

/* -- Kernels -- */

static bool parse_header(parser *p) {
  word name;
  if (!parse_expect(p, "@") || !parse_word(p, false, &name)) return parse_fail(p, "expected @name");
  ir_kernel *kernel = ir_kernel_create(p->module, arena_strndup(p->memory, name.text, name.length), (src_loc){0});
  p->kernel = kernel;
  if (!parse_keyword(p, "target") || !parse_word(p, false, &name))
    return parse_fail(p, "expected 'target' and a target");
  int target = ir_target_by_name(arena_strndup(p->memory, name.text, name.length));
  if (target < 0) return parse_fail(p, "there is no such target");
  kernel->target = (ir_target)target;
  if (!parse_keyword(p, "form") || !parse_word(p, false, &name)) return parse_fail(p, "expected 'form' and a form");
  int form = 0;
  while (form <= IR_FORM_THREAD && !word_is(name, ir_form_name((ir_form)form)))
    form++;
  if (form > IR_FORM_THREAD) return parse_fail(p, "there is no such form");
  kernel->form = (ir_form)form;
  return parse_attrs(p, &kernel->attrs) && parse_loc(p, &kernel->loc) && end_line(p);
}

static bool parse_declaration(parser *p) {
  static const struct {
    const char *keyword;
    bool (*parse)(parser *p);
  } kinds[] = {{"size", parse_size}, {"arg", parse_argument},  {"param", parse_param}, {"fact", parse_fact},
               {"grid", parse_grid}, {"blocks", parse_blocks}, {"alloc", parse_alloc}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (parse_keyword(p, kinds[i].keyword)) return kinds[i].parse(p);
  return parse_fail(p, "expected size, arg, param, fact, grid, blocks, alloc or do");
}

static bool parse_kernel(parser *p) {
  if (!parse_keyword(p, "kernel")) return parse_fail(p, "expected 'kernel'");
  if (!parse_header(p)) return false;
  for (skip_lines(p); !parse_keyword(p, "do"); skip_lines(p))
    if (!parse_declaration(p)) return false;
  if (!end_line(p) || !parse_block(p, &p->kernel->body)) return false;
  return (parse_keyword(p, "end") || parse_fail(p, "expected 'end'")) && end_line(p);
}

/* Four hexadecimal digits; false when they are not. */
static bool read_hex4(const char *text, uint32_t *code) {
  *code = 0;
  for (int i = 0; i < 4; i++) {
    char c = text[i];
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) return false;
    *code = *code << 4 | (uint32_t)digit;
  }
  return true;
}

static void append_utf8(str *s, uint32_t code) {
  if (code < 0x80) {
    str_append_char(s, (char)code);
  } else if (code < 0x800) {
    str_append_char(s, (char)(0xC0 | code >> 6));
    str_append_char(s, (char)(0x80 | (code & 0x3F)));
  } else {
    str_append_char(s, (char)(0xE0 | code >> 12));
    str_append_char(s, (char)(0x80 | (code >> 6 & 0x3F)));
    str_append_char(s, (char)(0x80 | (code & 0x3F)));
  }
}

/* The inverse of str_append_json. */
static bool parse_string(parser *p, str *s) {
  static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
  if (!parse_expect(p, "\"")) return false;
  for (; *p->at && *p->at != '"' && *p->at != '\n'; p->at++) {
    if (*p->at != '\\') {
      str_append_char(s, *p->at);
      continue;
    }
    p->at++;
    uint32_t code;
    if (*p->at == 'u' && read_hex4(p->at + 1, &code) && code) {
      /* What stands for a byte that is not UTF-8 is read as such a byte, so that it is printed alike. */
      enum { REPLACEMENT = 0xFFFD };
      if (code == REPLACEMENT)
        str_append_char(s, '\xff');
      else
        append_utf8(s, code);
      p->at += 4;
      continue;
    }
    const char *escape = escapes;
    while (*escape && *escape != *p->at)
      escape += 2;
    if (!*escape || !*p->at) return parse_fail(p, "bad escape");
    str_append_char(s, escape[1]);
  }
  return parse_expect(p, "\"");
}

static bool parse_module(parser *p) {
  str source = STR_EMPTY;
  skip_lines(p);
  bool ok = true;
  if (parse_keyword(p, "source")) ok = parse_string(p, &source) && end_line(p);
  if (ok) p->module = ir_module_create(p->memory, str_text(&source));
  str_free(&source);
  if (!ok) return false;
  for (skip_lines(p); *p->at; skip_lines(p))
    if (!parse_kernel(p)) return false;
  return p->at == p->end || parse_fail(p, "the text has a NUL byte in it");
}

ir_module *ir_parse_module(arena *memory, diag *d, uint16_t file, const char *text, size_t length) {
  char *copy = arena_strndup(memory, text, length);
  parser p = {.memory = memory, .d = d, .file = file, .text = copy, .end = copy + length, .at = copy};
  return parse_module(&p) ? p.module : NULL;
}
