/* The op tree as a flat list of instructions with jumps, and expressions as postfix programs, so that an agent is a
 * program counter and a mask, and can stop anywhere. */
#include "emulator/machine.h"

typedef struct compiler {
  machine *m;
  code *out;
  int depth; /* of control ops */
  bool in_parallel;
} compiler;

domain domain_of(ir_type type) {
  const ir_type_info *info = ir_type_of(type);
  switch (info->class) {
  case IR_CLASS_BOOL:
    return DOMAIN_PRED;
  case IR_CLASS_SINT:
    return info->bits > 32 ? DOMAIN_I64 : DOMAIN_I32;
  case IR_CLASS_UINT:
    return info->bits > 32 ? DOMAIN_U64 : DOMAIN_U32;
  case IR_CLASS_FLOAT:
  case IR_CLASS_SCALE:
  case IR_CLASS_TABLE:
    return info->bits > 32 ? DOMAIN_F64 : DOMAIN_F32;
  }
  BUG("type %s has no class", info->name);
}

/* -- Expressions --------------------------------------------------------------------------------------------------- */

typedef struct program_builder {
  compiler *c;
  program *p;
  int capacity;
  int depth, deepest;
} program_builder;

static void push_step(program_builder *b, step_code step_kind, const ir_expr *e) {
  step s = {step_kind, e->arg_count > 0 ? domain_of(e->args[0]->type) : domain_of(e->type), domain_of(e->type), e};
  ARENA_PUSH(b->c->m->memory, b->p->steps, b->p->count, b->capacity, s);
}

static void deepen(program_builder *b) {
  if (++b->depth > b->deepest) b->deepest = b->depth;
}

static bool is_varying_leaf(const compiler *c, const ir_expr *e) {
  switch (e->kind) {
  case IR_EXPR_TID:
  case IR_EXPR_LANE:
  case IR_EXPR_SHUFFLE:
  case IR_EXPR_SHUFFLE_UP:
  case IR_EXPR_SHUFFLE_XOR:
    return true;
  case IR_EXPR_VALUE:
    return c->out->varying[e->value->number];
  case IR_EXPR_ELEMENT:
    return e->value->space == IR_REGISTERS;
  default:
    return false;
  }
}

static void build_steps(program_builder *b, const ir_expr *e) {
  compiler *c = b->c;
  if (is_varying_leaf(c, e)) b->p->uniform = false;
  if (e->kind == IR_EXPR_BLOCKS) c->out->reads_blocks = true;
  if (e->kind == IR_EXPR_SELECT) {
    build_steps(b, e->args[0]);
    push_step(b, STEP_SELECT_TRUE, e);
    build_steps(b, e->args[1]);
    push_step(b, STEP_SELECT_FALSE, e);
    build_steps(b, e->args[2]);
    push_step(b, STEP_SELECT_END, e);
    b->depth -= 2;
    return;
  }
  int before = b->depth;
  if (e->kind == IR_EXPR_ADDRESS) {
    /* The argument only names the buffer and its slot. */
    if (e->args[0]->slot) build_steps(b, e->args[0]->slot);
  } else {
    if (e->slot) build_steps(b, e->slot);
    for (int i = 0; i < e->arg_count; i++)
      build_steps(b, e->args[i]);
  }
  push_step(b, STEP_OPERATOR, e);
  b->depth = before;
  deepen(b);
}

static const program *build_program(compiler *c, const ir_expr *e) {
  program *p = ARENA_NEW(c->m->memory, program);
  p->uniform = true;
  p->type = e->type;
  p->expr = e;
  program_builder b = {c, p, 0, 0, 0};
  build_steps(&b, e);
  /* Selects keep a condition below their arms. */
  if (b.deepest + 1 > c->out->stack_depth) c->out->stack_depth = b.deepest + 1;
  return p;
}

const program *compile_program(machine *m, const ir_expr *expr) {
  compiler c = {m, &m->code, 0, false};
  return build_program(&c, expr);
}

/* -- Which scalars differ between lanes ---------------------------------------------------------------------------- */

static bool expr_varies(const compiler *c, const ir_expr *e) {
  if (is_varying_leaf(c, e)) return true;
  if (e->slot && expr_varies(c, e->slot)) return true;
  for (int i = 0; i < e->arg_count; i++)
    if (expr_varies(c, e->args[i])) return true;
  return false;
}

/* A mutable scalar differs between the lanes of a warp, or between the coordinates of a parallel that is all that
 * assigns it. */
static void mark_mutable(compiler *c, const ir_block *body, bool in_parallel, bool *set_outside, bool *set_inside) {
  for (const ir_op *op = body->first; op; op = op->next) {
    bool inside = in_parallel || op->kind == IR_OP_PARALLEL;
    if ((op->kind == IR_OP_SET || op->kind == IR_OP_DECLARE) && op->write_count > 0 && op->write[0].value &&
        op->write[0].value->space == IR_SCALAR)
      (inside ? set_inside : set_outside)[op->write[0].value->number] = true;
    mark_mutable(c, &op->body, inside, set_outside, set_inside);
    mark_mutable(c, &op->other, inside, set_outside, set_inside);
  }
}

static void mark_definition(compiler *c, const ir_op *op) {
  if (op->write_count == 0 || !op->write[0].value) return;
  const ir_value *value = op->write[0].value;
  bool *varying = &c->out->varying[value->number];
  if (op->kind == IR_OP_LET || op->kind == IR_OP_FOR) {
    *varying = c->in_parallel;
    for (int i = 0; i < op->expr_count; i++)
      if (expr_varies(c, op->expr[i])) *varying = true;
  } else if (op->kind == IR_OP_ATOMIC_GLOBAL) {
    c->out->has_atomics = true;
    *varying = true;
  }
}

/* -- Ops ----------------------------------------------------------------------------------------------------------- */

static operand build_operand(compiler *c, const ir_ref *ref) {
  operand o = {.value = ref->value, .count = ref->count};
  if (ref->slot) o.slot = build_program(c, ref->slot);
  for (int i = 0; i < ref->count; i++) {
    if (ref->start[i]) o.start[i] = build_program(c, ref->start[i]);
    o.span[i] = ref->span[i];
  }
  return o;
}

static int append(compiler *c, instruction_code kind, const ir_op *op, int frame_index) {
  instruction in = {.code = kind, .op = op, .target = -1, .frame = frame_index};
  ARENA_PUSH(c->m->memory, c->out->instructions, c->out->count, c->out->capacity, in);
  return c->out->count - 1;
}

static void fill_operands(compiler *c, int at) {
  /* Programs are built before the instruction is looked up again: building does not append, but keeps the pattern safe.
   */
  const ir_op *op = c->out->instructions[at].op;
  const program **programs = ARENA_ARRAY(c->m->memory, const program *, op->expr_count + 1);
  for (int i = 0; i < op->expr_count; i++)
    programs[i] = build_program(c, op->expr[i]);
  instruction *in = &c->out->instructions[at];
  in->expr = programs;
  for (int i = 0; i < op->write_count; i++)
    in->write[i] = build_operand(c, &op->write[i]);
  for (int i = 0; i < op->read_count; i++)
    in->read[i] = build_operand(c, &op->read[i]);
}

static void build_block(compiler *c, const ir_block *body);

static void build_if(compiler *c, const ir_op *op, int at) {
  build_block(c, &op->body);
  if (op->other.first) {
    int otherwise = append(c, CODE_ELSE, op, c->depth - 1);
    c->out->instructions[at].target = otherwise + 1;
    build_block(c, &op->other);
    int end = append(c, CODE_END_IF, op, c->depth - 1);
    c->out->instructions[otherwise].target = end;
  } else {
    int end = append(c, CODE_END_IF, op, c->depth - 1); /* may move the instructions */
    c->out->instructions[at].target = end;
  }
}

/* begin: target is behind the loop; end: target is begin + 1 (while: begin, where the predicate is). */
static void build_loop(compiler *c, const ir_op *op, int at, instruction_code next) {
  build_block(c, &op->body);
  int end = append(c, next, op, c->depth - 1);
  c->out->instructions[end].target = next == CODE_WHILE_NEXT ? at : at + 1;
  c->out->instructions[at].target = end + 1;
}

static void build_role(compiler *c, const ir_op *op, int at) {
  build_block(c, &op->body);
  int end = append(c, CODE_ROLE_END, op, c->depth - 1);
  c->out->instructions[at].target = end + 1;
  if (!c->m->thread_form) {
    c->out->instructions[at].child = ++c->out->role_count;
    if (!op->next || op->next->kind != IR_OP_ROLE) append(c, CODE_JOIN, op, c->depth - 1);
  }
}

static void build_op(compiler *c, const ir_op *op) {
  static const struct {
    ir_op_kind kind;
    instruction_code begin;
  } control[] = {{IR_OP_FOR, CODE_FOR},           {IR_OP_IF, CODE_IF},
                 {IR_OP_WHERE, CODE_WHERE},       {IR_OP_WHILE, CODE_WHILE},
                 {IR_OP_PARALLEL, CODE_PARALLEL}, {IR_OP_ROLE, CODE_ROLE}};
  instruction_code kind = CODE_OP;
  for (size_t i = 0; i < sizeof control / sizeof *control; i++)
    if (control[i].kind == op->kind) kind = control[i].begin;
  int at = append(c, kind, op, c->depth);
  fill_operands(c, at);
  if (c->m->overlapped) c->out->instructions[at].awaited = ir_awaited_tensor((ir_op *)op, false);
  mark_definition(c, op);
  if (kind == CODE_OP) return;
  bool outside = c->in_parallel;
  if (kind == CODE_PARALLEL) {
    c->in_parallel = true;
    for (int i = 0; i < op->variable_count; i++)
      c->out->varying[op->variable[i]->number] = true;
  }
  if (++c->depth > c->out->frame_count) c->out->frame_count = c->depth;
  switch (kind) {
  case CODE_IF:
  case CODE_WHERE:
    build_if(c, op, at);
    break;
  case CODE_FOR:
    build_loop(c, op, at, CODE_FOR_NEXT);
    break;
  case CODE_WHILE:
    build_loop(c, op, at, CODE_WHILE_NEXT);
    break;
  case CODE_PARALLEL:
    build_loop(c, op, at, CODE_PARALLEL_NEXT);
    break;
  default:
    build_role(c, op, at);
    break;
  }
  c->depth--;
  c->in_parallel = outside;
}

static void build_block(compiler *c, const ir_block *body) {
  for (const ir_op *op = body->first; op; op = op->next)
    build_op(c, op);
}

void compile_kernel_code(machine *m) {
  const ir_kernel *kernel = m->kernel;
  code *out = &m->code;
  out->varying = ARENA_ARRAY(m->memory, bool, kernel->value_count);
  compiler c = {m, out, 0, false};
  bool *set_outside = ARENA_ARRAY(m->memory, bool, kernel->value_count);
  bool *set_inside = ARENA_ARRAY(m->memory, bool, kernel->value_count);
  mark_mutable(&c, &kernel->body, false, set_outside, set_inside);
  for (int i = 0; i < kernel->value_count; i++)
    out->varying[i] = m->thread_form ? set_outside[i] || set_inside[i] : set_inside[i] && !set_outside[i];
  build_block(&c, &kernel->body);
  append(&c, CODE_END, NULL, 0);
}
