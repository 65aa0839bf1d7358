/* Ops of the thread form as lines of CUDA C++. */
#include "codegen/emitter.h"

#include <stdlib.h>
#include <string.h>

typedef void op_writer(emitter *e, const ir_op *op);

enum { WARP_THREADS = 32 };

/* -- Operands ------------------------------------------------------------------------------------------------------ */

/* The operand as its op's function takes it. */
static const char *operand(emitter *e, const ir_ref *ref) {
  const ir_value *value = ref->value;
  switch (value->space) {
  case IR_REGISTERS:
    return emit_register_pointer(e, ref);
  case IR_SHARED:
  case IR_BARRIER: {
    str text = STR_EMPTY;
    emit_slot_address(e, value, ref->slot, &text);
    const char *copy = arena_strdup(e->memory, str_text(&text));
    str_free(&text);
    return copy;
  }
  case IR_MAP:
    return arena_printf(e->memory, "&%s", e->names[value->number]);
  default:
    return e->names[value->number];
  }
}

static const char *argument(emitter *e, const ir_op *op, int index) {
  return emit_expr_text(e, op->expr[index], EMIT_TERNARY);
}

/* The tensor's address at a byte offset. */
static const char *global_address(emitter *e, const ir_value *tensor, const ir_expr *offset) {
  int64_t constant;
  const char *name = e->names[tensor->number];
  if (ir_is_constant(offset, &constant) && constant == 0) return name;
  return arena_printf(e->memory, "%s + %s", name, emit_expr_text(e, offset, EMIT_PRODUCT));
}

static bool is_bool(const ir_expr *x, bool value) {
  int64_t constant;
  return ir_is_constant(x, &constant) && (constant != 0) == value;
}

/* -- Control ------------------------------------------------------------------------------------------------------- */

static void body(emitter *e, const ir_block *block) {
  e->indent++;
  emit_block(e, block);
  e->indent--;
}

/* Whether a later statement of the loop could change the expression's value. */
static bool can_change(const ir_expr *x) {
  if (x->kind == IR_EXPR_VALUE) return x->value->space == IR_SCALAR && x->value->is_mutable;
  if (x->kind == IR_EXPR_ELEMENT) return true;
  for (int i = 0; i < x->arg_count; i++)
    if (can_change(x->args[i])) return true;
  return false;
}

static void write_unroll(emitter *e, const ir_op *op) {
  if (!ir_attr_has(&op->attrs, IR_ATTR_UNROLL)) return;
  int64_t factor = ir_attr_get(&op->attrs, IR_ATTR_UNROLL, 0);
  if (factor == 1)
    emit_line(e, "#pragma unroll");
  else
    emit_line(e, "#pragma unroll %d", factor > 1 ? (int)factor : 1);
}

static void write_for(emitter *e, const ir_op *op) {
  const ir_value *variable = op->write[0].value;
  const char *name = e->names[variable->number];
  int count = e->kernel->value_count;
  ir_range lo, hi;
  if (ir_expr_range(op->expr[0], e->ranges, count, &lo)) {
    bool bounded = ir_expr_range(op->expr[1], e->ranges, count, &hi);
    int64_t last = bounded ? hi.hi - 1 : INT32_MAX;
    e->ranges[variable->number] = (ir_range){lo.lo, last < lo.lo ? lo.lo : last};
  }
  const char *end = emit_expr_text(e, op->expr[1], EMIT_SHIFT);
  if (can_change(op->expr[1])) {
    const char *bound = emit_unique_name(e, arena_printf(e->memory, "%s_end", name));
    emit_line(e, "const int %s = %s;", bound, end);
    end = bound;
  }
  int64_t step = 0;
  bool by_one = ir_is_constant(op->expr[2], &step) && step == 1;
  write_unroll(e, op);
  emit_line(e, "for (int %s = %s; %s < %s; %s) {", name, argument(e, op, 0), name, end,
            by_one ? arena_printf(e->memory, "++%s", name)
                   : arena_printf(e->memory, "%s += %s", name, argument(e, op, 2)));
  const char *outer = e->iteration;
  e->iteration = name;
  body(e, &op->body);
  e->iteration = outer;
  emit_line(e, "}");
}

static int width_of(const ir_op *op) { return (int)ir_attr_get(&op->attrs, IR_ATTR_WIDTH, 4); }

/* A copy by cp.async, where the condition holds; NULL is always. The condition is the instruction's: a branch would
 * keep ptxas from moving what stands around it. */
static void write_cp_async_if(emitter *e, const ir_op *op, const char *condition) {
  int width = width_of(op);
  if (width != 4 && width != 8 && width != 16) {
    emit_fail(e, op->loc, "cp.async moves 4, 8 or 16 bytes, not %d", width);
    return;
  }
  int64_t bytes;
  bool partial = !ir_is_constant(op->expr[2], &bytes) || bytes != width;
  const char *name = intrinsic_cp_async(e, width, partial, condition != NULL);
  const char *count = partial ? arena_printf(e->memory, ", %s", argument(e, op, 2)) : "",
             *when = condition ? arena_printf(e->memory, ", %s", condition) : "";
  emit_line(e, "%s(%s, %s%s%s);", name, argument(e, op, 0), global_address(e, op->read[0].value, op->expr[1]), count,
            when);
}

static bool is_one_copy(const ir_op *op) {
  return op->body.first && op->body.first == op->body.last && op->body.first->kind == IR_OP_CP_ASYNC &&
         !op->other.first;
}

static void write_if(emitter *e, const ir_op *op) {
  const char *condition = argument(e, op, 0);
  if (is_one_copy(op) && e->target->has_cpasync && !e->options->count_events) {
    write_cp_async_if(e, op->body.first, condition);
    return;
  }
  bool cold = ir_attr_get(&op->attrs, IR_ATTR_COLD, 0) != 0;
  emit_line(e, cold ? "if (__builtin_expect(%s, 0)) {" : "if (%s) {", condition);
  body(e, &op->body);
  if (op->other.first) {
    emit_line(e, "} else {");
    body(e, &op->other);
  }
  emit_line(e, "}");
}

static void write_while(emitter *e, const ir_op *op) {
  emit_line(e, "#pragma unroll 1");
  emit_line(e, "while (%s) {", argument(e, op, 0));
  body(e, &op->body);
  emit_line(e, "}");
}

static void set_registers(emitter *e, int64_t registers) {
  const char *name = registers < emit_register_cap(e) ? "setmaxnreg_dec" : "setmaxnreg_inc";
  prelude_want(e->functions, name);
  emit_line(e, "%s<%d>();", name, (int)registers);
}

/* Roles that follow one another are one chain; the last needs no condition when it has all warps that are left. */
static void write_role(emitter *e, const ir_op *op) {
  bool chained = op->previous && op->previous->kind == IR_OP_ROLE;
  int64_t first = ir_attr_get(&op->attrs, IR_ATTR_WARP_FIRST, 0),
          count = ir_attr_get(&op->attrs, IR_ATTR_WARP_COUNT, 0);
  int64_t warps = e->threads / WARP_THREADS, covered = 0;
  for (const ir_op *role = op->previous; role && role->kind == IR_OP_ROLE; role = role->previous)
    covered += ir_attr_get(&role->attrs, IR_ATTR_WARP_COUNT, 0);
  const char *warp = emit_use_local(e, EMIT_WARP);
  const char *lead = chained ? "} else " : "";
  if (chained && covered + count == warps)
    emit_line(e, "} else { // %s", op->name ? op->name : "role");
  else if (first == 0)
    emit_line(e, "%sif (%s < %d) { // %s", lead, warp, (int)count, op->name ? op->name : "role");
  else if (first + count == warps)
    emit_line(e, "%sif (%s >= %d) { // %s", lead, warp, (int)first, op->name ? op->name : "role");
  else
    emit_line(e, "%sif (%s >= %d && %s < %d) { // %s", lead, warp, (int)first, warp, (int)(first + count),
              op->name ? op->name : "role");
  int64_t registers = ir_attr_get(&op->attrs, IR_ATTR_REGISTERS, 0);
  bool own = op->body.first && op->body.first->kind == IR_OP_SETMAXNREG;
  if (registers && !own && e->target->has_wgmma) {
    e->indent++;
    set_registers(e, registers);
    e->indent--;
  }
  e->role = op->name;
  body(e, &op->body);
  e->role = NULL;
  if (!op->next || op->next->kind != IR_OP_ROLE) emit_line(e, "}");
}

static void write_setmaxnreg(emitter *e, const ir_op *op) {
  int64_t registers = ir_attr_get(&op->attrs, IR_ATTR_REGISTERS, 0);
  if (registers < 24 || registers > 256 || registers % 8) {
    emit_fail(e, op->loc, "setmaxnreg takes a multiple of 8 from 24 to 256, not %d", (int)registers);
    return;
  }
  set_registers(e, registers);
}

/* -- Scalars and registers
 * ----------------------------------------------------------------------------------------------- */

static void write_declare(emitter *e, const ir_op *op) {
  for (int i = 0; i < op->write_count; i++) {
    const ir_value *value = op->write[i].value;
    const char *name = e->names[value->number];
    if (value->space == IR_REGISTERS)
      emit_line(e, "%s %s[%d];", emit_word_type(value->type), name, emit_word_count(value));
    else
      emit_line(e, "%s %s;", emit_scalar_type(value->type), name);
  }
}

static void write_let(emitter *e, const ir_op *op) {
  const ir_value *value = op->write[0].value;
  ir_range range;
  if (ir_expr_range(op->expr[0], e->ranges, e->kernel->value_count, &range)) e->ranges[value->number] = range;
  emit_line(e, "const %s %s = %s;", emit_scalar_type(value->type), e->names[value->number],
            emit_converted(e, op->expr[0], value->type));
}

static void write_set(emitter *e, const ir_op *op) {
  const ir_ref *ref = &op->write[0];
  const char *name = e->names[ref->value->number];
  if (ref->value->space == IR_SCALAR) {
    emit_line(e, "%s = %s;", name, emit_converted(e, op->expr[0], ref->value->type));
    return;
  }
  if (ref->value->space != IR_REGISTERS || ref->count != 1) {
    emit_fail(e, op->loc, "'%s' is not a scalar or a word of a register array", ref->value->name);
    return;
  }
  ir_type word = ir_bits(ref->value->type) < 32 ? IR_U32 : ref->value->type;
  emit_line(e, "%s[%s] = %s;", name, emit_expr_text(e, ref->start[0], EMIT_TERNARY),
            emit_converted(e, op->expr[0], word));
}

/* -- Synchronisation ----------------------------------------------------------------------------------------------- */

static void write_mbar_init(emitter *e, const ir_op *op) {
  const ir_ref *ref = &op->read[0];
  prelude_want(e->functions, "mbar_init");
  emit_line(e, "mbar_init(%s, %d, %s);", operand(e, ref), ref->slot ? 1 : ref->value->slots, argument(e, op, 0));
}

static void write_mbar_arrive(emitter *e, const ir_op *op) {
  bool remote = op->expr_count > 0;
  if (remote && !e->target->has_cluster) {
    emit_fail(e, op->loc, "%s has no clusters: a barrier of another block is out of reach", e->target->name);
    return;
  }
  prelude_want(e->functions, remote ? "mbar_arrive_remote" : "mbar_arrive");
  if (remote)
    emit_line(e, "mbar_arrive_remote(%s, %s);", operand(e, &op->read[0]), argument(e, op, 0));
  else
    emit_line(e, "mbar_arrive(%s);", operand(e, &op->read[0]));
}

static void write_mbar_wait(emitter *e, const ir_op *op) {
  const ir_ref *ref = &op->read[0];
  if (!e->options->debug_barriers) {
    prelude_want(e->functions, "mbar_wait");
    emit_line(e, "mbar_wait(%s, %s);", operand(e, ref), argument(e, op, 0));
    return;
  }
  prelude_want(e->functions, "mbar_wait_bounded");
  const char *slot = ref->slot ? emit_expr_text(e, ref->slot, EMIT_TERNARY) : "0";
  emit_line(e, "mbar_wait_bounded(%s, %s, \"%s\", \"%s\", %s, %s, %d);", operand(e, ref), argument(e, op, 0),
            e->role ? e->role : "all", e->names[ref->value->number], slot, e->iteration ? e->iteration : "0",
            (int)op->loc.line);
}

/* A barrier with `name`<id, threads>(); one whose number the thread computes with `name`_at<threads>(id). */
static void write_bar(emitter *e, const ir_op *op, const char *name) {
  int id = (int)ir_attr_get(&op->attrs, IR_ATTR_ID, 0),
      threads = (int)ir_attr_get(&op->attrs, IR_ATTR_THREADS, e->threads);
  if (id < 0 || id > 15 || threads % WARP_THREADS) {
    emit_fail(e, op->loc, "%s takes a barrier 0 to 15 and a multiple of 32 threads, not %d and %d",
              ir_op_info_of(op->kind)->mnemonic, id, threads);
    return;
  }
  char at[32];
  snprintf(at, sizeof at, "%s%s", name, op->expr_count ? "_at" : "");
  prelude_want(e->functions, at);
  if (op->expr_count)
    emit_line(e, "%s<%d>(%d + %s);", at, threads, id, emit_expr_text(e, op->expr[0], EMIT_SUM));
  else
    emit_line(e, "%s<%d, %d>();", at, id, threads);
}

static void write_bar_sync(emitter *e, const ir_op *op) {
  bool all = ir_attr_get(&op->attrs, IR_ATTR_THREADS, e->threads) == e->threads;
  if (all && ir_attr_get(&op->attrs, IR_ATTR_ID, 0) == 0)
    emit_line(e, "__syncthreads();");
  else
    write_bar(e, op, "bar_sync");
}

static void write_bar_arrive(emitter *e, const ir_op *op) { write_bar(e, op, "bar_arrive"); }

static void write_bulk_wait(emitter *e, const ir_op *op) {
  const char *name = ir_attr_get(&op->attrs, IR_ATTR_READ, 0) ? "bulk_wait_read" : "bulk_wait";
  prelude_want(e->functions, name);
  emit_line(e, "%s<%d>();", name, (int)ir_attr_get(&op->attrs, IR_ATTR_PENDING, 0));
}

/* -- Memory -------------------------------------------------------------------------------------------------------- */

static bool good_width(emitter *e, const ir_op *op, const ir_value *registers, int width) {
  int word = ir_bits(registers->type) > 32 ? 8 : 4;
  bool good = width == 1 || width == 2 || width == 4 || width == 8 || width == 16;
  if (good && (width >= word || word == 4)) return true;
  return emit_fail(e, op->loc, "%s of %d bytes: the width is 1, 2, 4, 8 or 16 and no less than an element of '%s'",
                   ir_op_info_of(op->kind)->mnemonic, width, registers->name);
}

static void write_load(emitter *e, const ir_op *op, bool shared, const char *address) {
  const ir_value *registers = op->write[0].value;
  if (!good_width(e, op, registers, width_of(op))) return;
  bool conditional = !is_bool(op->expr[1], true);
  const char *name = intrinsic_load(e, shared, registers, width_of(op), conditional);
  const char *where = emit_register_pointer(e, &op->write[0]);
  if (conditional)
    emit_line(e, "%s(%s, %s, %s);", name, where, address, argument(e, op, 1));
  else
    emit_line(e, "%s(%s, %s);", name, where, address);
}

static void write_ld_global(emitter *e, const ir_op *op) {
  write_load(e, op, false, global_address(e, op->read[0].value, op->expr[0]));
}

static void write_ld_shared(emitter *e, const ir_op *op) { write_load(e, op, true, argument(e, op, 0)); }

/* `if (condition) call`, or the call alone. */
static void write_guarded(emitter *e, const ir_expr *condition, const char *call) {
  if (is_bool(condition, true))
    emit_line(e, "%s", call);
  else
    emit_line(e, "if (%s) %s", emit_expr_text(e, condition, EMIT_TERNARY), call);
}

static void write_store(emitter *e, const ir_op *op, bool shared, const char *address) {
  const ir_value *registers = op->read[0].value;
  if (!good_width(e, op, registers, width_of(op))) return;
  const char *name = intrinsic_store(e, shared, registers, width_of(op));
  write_guarded(e, op->expr[1],
                arena_printf(e->memory, "%s(%s, %s);", name, address, emit_register_pointer(e, &op->read[0])));
}

static void write_st_global(emitter *e, const ir_op *op) {
  write_store(e, op, false, global_address(e, op->write[0].value, op->expr[0]));
}

static void write_st_shared(emitter *e, const ir_op *op) { write_store(e, op, true, argument(e, op, 0)); }

static bool fail_operation(emitter *e, const ir_op *op, ir_type type) {
  str operation = STR_EMPTY;
  ir_attr_choice_name(IR_ATTR_OPERATION, (int)ir_attr_get(&op->attrs, IR_ATTR_OPERATION, IR_SUM), &operation);
  emit_fail(e, op->loc, "%s has no '%s' of %s", ir_op_info_of(op->kind)->mnemonic, str_text(&operation),
            ir_type_of(type)->name);
  str_free(&operation);
  return false;
}

/* The element is the register's value, or the low bits of its packed word. */
static void write_reduction(emitter *e, const ir_op *op, bool shared, const char *address) {
  const ir_value *tensor = op->write[0].value, *registers = op->read[0].value;
  ir_operation operation = (ir_operation)ir_attr_get(&op->attrs, IR_ATTR_OPERATION, IR_SUM);
  const char *name = intrinsic_reduce(e, operation, tensor->type, shared);
  if (!name) {
    fail_operation(e, op, tensor->type);
    return;
  }
  const ir_expr *index = op->read[0].count ? op->read[0].start[0] : NULL;
  const char *word = arena_printf(e->memory, "%s[%s]", e->names[registers->number],
                                  index ? emit_expr_text(e, index, EMIT_TERNARY) : "0");
  if (ir_bits(tensor->type) == 16 && ir_bits(registers->type) == 32) {
    const char *encode = tensor->type == IR_F16 ? "encode_f16" : "encode_bf16";
    prelude_want(e->functions, encode);
    word = arena_printf(e->memory, "%s(%s)", encode, word);
  }
  write_guarded(e, op->expr[1], arena_printf(e->memory, "%s(%s, %s);", name, address, word));
}

static void write_red_global(emitter *e, const ir_op *op) {
  write_reduction(e, op, false, global_address(e, op->write[0].value, op->expr[0]));
}

static void write_red_shared(emitter *e, const ir_op *op) { write_reduction(e, op, true, argument(e, op, 0)); }

static void write_atomic_global(emitter *e, const ir_op *op) {
  const ir_value *old = op->write[0].value, *tensor = op->read[0].value;
  const char *name =
      intrinsic_atomic(e, (ir_operation)ir_attr_get(&op->attrs, IR_ATTR_OPERATION, IR_SUM), tensor->type);
  if (!name) {
    fail_operation(e, op, tensor->type);
    return;
  }
  emit_line(e, "%s%s%s = %s(%s, %s);", old->is_mutable ? "" : "const ",
            old->is_mutable ? "" : arena_printf(e->memory, "%s ", emit_scalar_type(old->type)), e->names[old->number],
            name, global_address(e, tensor, op->expr[0]), argument(e, op, 1));
}

static void write_matrix(emitter *e, const ir_op *op, bool store) {
  const ir_ref *registers = store ? &op->read[0] : &op->write[0];
  int count = (int)ir_attr_get(&op->attrs, IR_ATTR_COUNT, 1);
  const char *name = count == 1 || count == 2 || count == 4
                         ? intrinsic_matrix(e, store, count, ir_attr_get(&op->attrs, IR_ATTR_TRANSPOSE, 0) != 0,
                                            registers->value->type)
                         : NULL;
  if (!name) {
    emit_fail(e, op->loc, "%s moves 1, 2 or 4 matrices of 32-bit words, not %d of %s",
              ir_op_info_of(op->kind)->mnemonic, count, ir_type_of(registers->value->type)->name);
    return;
  }
  const char *pointer = emit_register_pointer(e, registers), *address = argument(e, op, 0);
  emit_line(e, "%s(%s, %s);", name, store ? address : pointer, store ? pointer : address);
}

static void write_ldmatrix(emitter *e, const ir_op *op) { write_matrix(e, op, false); }
static void write_stmatrix(emitter *e, const ir_op *op) { write_matrix(e, op, true); }

static void write_cp_async(emitter *e, const ir_op *op) { write_cp_async_if(e, op, NULL); }

static const char *coordinates(emitter *e, const ir_op *op, int first) {
  const char *list = "";
  for (int i = first; i < op->expr_count; i++)
    list = arena_printf(e->memory, "%s, %s", list, argument(e, op, i));
  return list;
}

static bool good_rank(emitter *e, const ir_op *op, const ir_value *map, int rank) {
  if (rank >= 1 && rank <= IR_MAX_RANK && rank == map->rank) return true;
  return emit_fail(e, op->loc, "%s gives %d coordinates to '%s', a map of %d dimensions",
                   ir_op_info_of(op->kind)->mnemonic, rank, map->name, map->rank);
}

static void write_tma_load(emitter *e, const ir_op *op) {
  int rank = op->expr_count - 2;
  if (!good_rank(e, op, op->read[0].value, rank)) return;
  int64_t mask = 0;
  bool multicast = !ir_is_constant(op->expr[1], &mask) || mask != 0;
  const char *name = intrinsic_tma_load(e, rank, multicast);
  emit_line(e, "%s(%s, %s, %s%s%s);", name, argument(e, op, 0), operand(e, &op->read[0]), operand(e, &op->read[1]),
            multicast ? arena_printf(e->memory, ", %s", argument(e, op, 1)) : "", coordinates(e, op, 2));
}

static void write_tma_store(emitter *e, const ir_op *op) {
  int rank = op->expr_count - 1;
  if (!good_rank(e, op, op->write[0].value, rank)) return;
  enum { REDUCE_ADD = 1 };
  const char *name = intrinsic_tma_store(e, rank, ir_attr_get(&op->attrs, IR_ATTR_REDUCE, 0) == REDUCE_ADD);
  emit_line(e, "%s(%s, %s%s);", name, operand(e, &op->write[0]), argument(e, op, 0), coordinates(e, op, 1));
}

static void write_bulk_load(emitter *e, const ir_op *op) {
  prelude_want(e->functions, "bulk_load");
  emit_line(e, "bulk_load(%s, %s, %s, %s);", argument(e, op, 0), global_address(e, op->read[0].value, op->expr[1]),
            argument(e, op, 2), operand(e, &op->read[1]));
}

/* -- Tensor cores -------------------------------------------------------------------------------------------------- */

static void write_mma(emitter *e, const ir_op *op) {
  int m = (int)ir_attr_get(&op->attrs, IR_ATTR_M, 16), n = (int)ir_attr_get(&op->attrs, IR_ATTR_N, 8),
      k = (int)ir_attr_get(&op->attrs, IR_ATTR_K, 16);
  const ir_value *acc = op->write[0].value, *a = op->read[0].value, *b = op->read[1].value;
  bool is_sparse = op->read_count > 2;
  const char *name = is_sparse ? intrinsic_mma_sparse(e, k, acc->type, a->type, b->type,
                                                      (int)ir_attr_get(&op->attrs, IR_ATTR_SELECTOR, 0))
                               : intrinsic_mma(e, m, n, k, acc->type, a->type, b->type);
  if (!name) {
    emit_fail(e, op->loc, "%s has no mma m%dn%dk%d of %s and %s into %s", e->target->name, m, n, k,
              ir_type_of(a->type)->name, ir_type_of(b->type)->name, ir_type_of(acc->type)->name);
    return;
  }
  const char *metadata = is_sparse ? arena_printf(e->memory, ", %s", emit_register_pointer(e, &op->read[2])) : "";
  emit_line(e, "%s(%s, %s, %s%s);", name, emit_register_pointer(e, &op->write[0]),
            emit_register_pointer(e, &op->read[0]), emit_register_pointer(e, &op->read[1]), metadata);
}

/* The matrix descriptor of a shared operand: its low word with the buffer's leading offset, and the constant high
 * word. NULL: reported. */
static const char *matrix_descriptor(emitter *e, const ir_op *op, const ir_value *buffer, bool transpose,
                                     const ir_expr *low) {
  const shared_layout *layout = buffer->shared;
  wgmma_operand facts;
  int k_dim = 0;
  if (layout && layout->rank >= 2) {
    int other = layout->contiguous == layout->rank - 1 ? layout->rank - 2 : layout->rank - 1;
    k_dim = transpose ? other : layout->contiguous;
  }
  if (!layout || layout->rank < 2 || !shared_layout_wgmma(layout, k_dim, &facts)) {
    emit_fail(e, op->loc, "'%s' has no layout that a wgmma descriptor describes", buffer->name);
    return NULL;
  }
  uint64_t constant = wgmma_operand_descriptor(&facts);
  prelude_want(e->functions, "descriptor");
  return arena_printf(e->memory, "descriptor(%s + 0x%xu, 0x%xu)", emit_expr_text(e, low, EMIT_SUM),
                      (unsigned)(uint32_t)constant, (unsigned)(constant >> 32));
}

static void write_wgmma(emitter *e, const ir_op *op) {
  const ir_value *acc = op->write[0].value, *registers = op->read[0].value, *a = op->read[1].value,
                 *b = op->read[2].value;
  if ((!registers && !a) || !b) {
    emit_fail(e, op->loc, "wgmma needs operand a in registers or shared memory, and b in shared memory");
    return;
  }
  int64_t accumulates;
  wgmma_form form = {
      .n = (int)ir_attr_get(&op->attrs, IR_ATTR_N, 0),
      .k = (int)ir_attr_get(&op->attrs, IR_ATTR_K, 0),
      .acc = acc->type,
      .a = registers ? registers->type : a->type,
      .b = b->type,
      .a_in_registers = registers != NULL,
      .transpose_a = ir_attr_get(&op->attrs, IR_ATTR_TRANSPOSE_A, 0) != 0,
      .transpose_b = ir_attr_get(&op->attrs, IR_ATTR_TRANSPOSE_B, 0) != 0,
      .is_new = ir_is_constant(op->expr[2], &accumulates) && !accumulates,
  };
  const char *name = intrinsic_wgmma(e, &form);
  if (!name) {
    emit_fail(e, op->loc, "there is no wgmma m64n%dk%d of %s and %s into %s", form.n, form.k, ir_type_of(form.a)->name,
              ir_type_of(form.b)->name, ir_type_of(form.acc)->name);
    return;
  }
  const char *first =
      registers ? emit_register_pointer(e, &op->read[0]) : matrix_descriptor(e, op, a, form.transpose_a, op->expr[0]);
  const char *second = matrix_descriptor(e, op, b, form.transpose_b, op->expr[1]);
  if (!first || !second) return;
  const char *d = emit_register_pointer(e, &op->write[0]);
  if (form.is_new)
    emit_line(e, "%s(%s, %s, %s);", name, d, first, second);
  else
    emit_line(e, "%s(%s, %s, %s, %s);", name, d, first, second, argument(e, op, 2));
}

/* -- The table ----------------------------------------------------------------------------------------------------- */

typedef enum needs { NEEDS_any, NEEDS_cpasync, NEEDS_tma, NEEDS_wgmma, NEEDS_cluster } needs;

typedef struct op_form {
  bool present;
  needs needs;
  const char *text;
  op_writer *writer;
} op_form;

static const op_form op_forms[IR_OP_KIND_COUNT] = {
#define EMIT_OP(op, capability, text, writer) [IR_OP_##op] = {true, NEEDS_##capability, text, writer},
#include "codegen/emit.def"
#undef EMIT_OP
};

bool emit_has_op(ir_op_kind kind) { return op_forms[kind].present; }

static bool target_has(const ir_target_info *target, needs capability) {
  switch (capability) {
  case NEEDS_cpasync:
    return target->has_cpasync;
  case NEEDS_tma:
    return target->has_tma;
  case NEEDS_wgmma:
    return target->has_wgmma;
  case NEEDS_cluster:
    return target->has_cluster;
  default:
    return true;
  }
}

/* The attribute of that name; every name in emit.def is one of attrs.def. */
static int64_t named_attribute(const ir_op *op, const char *name, size_t length, int64_t otherwise) {
  for (int i = 0; i < IR_ATTR_KIND_COUNT; i++) {
    const char *candidate = ir_attr_info_of((ir_attr)i)->name;
    if (strlen(candidate) == length && memcmp(candidate, name, length) == 0)
      return ir_attr_get(&op->attrs, (ir_attr)i, otherwise);
  }
  BUG("emit.def names an unknown attribute %.*s", (int)length, name);
}

void emit_field(emitter *e, const ir_op *op, const char *field, size_t length, str *out) {
  bool numbered = length == 2 && field[1] >= '0' && field[1] <= '9';
  if (length == 1 && *field == 'w') {
    str_append(out, operand(e, &op->write[0]));
  } else if (numbered && *field == 'r') {
    str_append(out, operand(e, &op->read[field[1] - '0']));
  } else if (numbered && *field == 'e') {
    str_append(out, argument(e, op, field[1] - '0'));
  } else {
    size_t name = strcspn(field, "=}");
    str_printf(out, "%lld",
               (long long)named_attribute(op, field, name, field[name] == '=' ? atoll(field + name + 1) : 0));
  }
}

static void write_text(emitter *e, const ir_op *op, const char *text) {
  prelude_want(e->functions, arena_strndup(e->memory, text, strcspn(text, "(<")));
  str line = STR_EMPTY;
  while (*text) {
    size_t plain = strcspn(text, "{");
    str_append_bytes(&line, text, plain);
    text += plain;
    if (!*text) break;
    size_t length = strcspn(text + 1, "}");
    emit_field(e, op, text + 1, length, &line);
    text += length + 2;
  }
  emit_line(e, "%s", str_text(&line));
  str_free(&line);
}

/* -- Places in the source
 * ------------------------------------------------------------------------------------------------ */

static const char *file_name(const emitter *e, uint16_t file) {
  if (file == 0 && e->module->source_name) return e->module->source_name;
  const char *name = diag_file_name(e->d, file);
  return name ? name : "";
}

/* Line `number` of the text, without the blanks around it; NULL when there is none. */
static const char *source_line(emitter *e, uint32_t number) {
  const char *line = e->options->source_text;
  for (uint32_t i = 1; line && i < number; i++) {
    line = strchr(line, '\n');
    if (line) line++;
  }
  if (!line) return NULL;
  line += strspn(line, " \t");
  size_t length = strcspn(line, "\r\n");
  while (length && (line[length - 1] == ' ' || line[length - 1] == '\t' || line[length - 1] == '\\'))
    length--;
  return length ? arena_strndup(e->memory, line, length) : NULL;
}

/* Before an op: a comment where a new statement of the source begins, and the #line that makes the compiler's next
 * line the source's. */
static void write_place(emitter *e, const ir_op *op) {
  src_loc loc = op->loc;
  if (!loc.line || (op->kind == IR_OP_ROLE && op->previous && op->previous->kind == IR_OP_ROLE)) return;
  bool moved = loc.line != e->statement.line || loc.file != e->statement.file;
  e->statement = loc;
  if (moved) {
    const char *text = loc.file == 0 ? source_line(e, loc.line) : NULL;
    if (text)
      emit_line(e, "// %u: %s", (unsigned)loc.line, text);
    else if (!e->options->line_directives)
      emit_line(e, "// %s:%u", file_name(e, loc.file), (unsigned)loc.line);
  }
  if (!e->options->line_directives || (e->next_line == (int64_t)loc.line && e->next_file == loc.file)) return;
  str_printf(e->out, "#line %u ", (unsigned)loc.line);
  str_append_json(e->out, file_name(e, loc.file));
  str_append_char(e->out, '\n');
  e->next_line = loc.line;
  e->next_file = loc.file;
}

void emit_block(emitter *e, const ir_block *block) {
  for (const ir_op *op = block->first; op; op = op->next) {
    const op_form *form = &op_forms[op->kind];
    if (!form->present) {
      emit_fail(e, op->loc, "'%s' is no op of the thread form", ir_op_info_of(op->kind)->mnemonic);
      continue;
    }
    if (!target_has(e->target, form->needs)) {
      emit_fail(e, op->loc, "%s has no instruction for '%s'", e->target->name, ir_op_info_of(op->kind)->mnemonic);
      continue;
    }
    write_place(e, op);
    if (e->options->count_events) {
      emit_counts(e, op);
      write_place(e, op); /* the lines that count are no part of the source */
    }
    if (form->text)
      write_text(e, op, form->text);
    else
      form->writer(e, op);
  }
}
