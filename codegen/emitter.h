/* What the parts of the CUDA emitter share: emit_cuda.c (units and kernels), emit_ops.c (ops), emit_expr.c
 * (expressions), emit_counts.c (--count-events), prelude.c (the functions that the text calls), intrinsics.c (families of such functions, made on
 * demand). */
#ifndef BITBLASC_CODEGEN_EMITTER_H
#define BITBLASC_CODEGEN_EMITTER_H

#include "codegen/emit.h"

#include <stdbool.h>
#include <stdint.h>

/* How tightly a C expression binds; larger is tighter. */
typedef enum emit_precedence {
  EMIT_TERNARY,
  EMIT_LOGICAL_OR,
  EMIT_LOGICAL_AND,
  EMIT_BIT_OR,
  EMIT_BIT_XOR,
  EMIT_BIT_AND,
  EMIT_EQUALITY,
  EMIT_RELATION,
  EMIT_SHIFT,
  EMIT_SUM,
  EMIT_PRODUCT,
  EMIT_UNARY,
  EMIT_PRIMARY
} emit_precedence;

/* Things of a kernel that are computed once, at its start, if at all. */
typedef enum emit_local {
  EMIT_TID,
  EMIT_LANE,
  EMIT_WARP,
  EMIT_BLOCK,
  EMIT_BLOCKS,
  EMIT_CTA_RANK,
  EMIT_SHARED,
  EMIT_LOCAL_COUNT
} emit_local;

enum { EMIT_ARCH_FP8_CVT = 89, EMIT_ARCH_HOPPER = 90 };

/* The functions of one translation unit. */
typedef struct prelude {
  arena *memory;
  int arch;     /* 80, 89, 90 */
  bool *wanted; /* by row of prelude_rows */
  str made;     /* text of the functions that intrinsics.c made, in the order of their first use */
  int made_count, made_capacity;
  const char **made_names;
} prelude;

typedef struct emitter {
  arena *memory;
  diag *d;
  const ir_module *module;
  const ir_kernel *kernel;
  const emit_options *options;
  const ir_target_info *target;
  prelude *functions;
  str *out; /* the body */
  int indent;
  const char **names; /* C name of each value, by number */
  ir_range *ranges;   /* of integer scalars and indices, by number */
  bool *buffers_used; /* SHARED and BARRIER values whose base address the text needs, by number */
  bool locals_used[EMIT_LOCAL_COUNT];
  int taken_count, taken_capacity;
  const char **taken; /* every name used in this kernel */
  int threads, min_blocks;
  const char *role;      /* that is being written, or NULL */
  const char *iteration; /* C name of the variable of the innermost loop, or NULL */
  src_loc statement;     /* of the last statement written */
  int64_t next_line;     /* the line number that the compiler gives to the next line of text; -1: unknown */
  uint16_t next_file;
  bool failed;
} emitter;

/* -- emit_cuda.c -- */

/* Reports that `loc` cannot be written; returns false. */
bool emit_fail(emitter *e, src_loc loc, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A name not used before in the kernel, from `wanted`; in the arena. */
const char *emit_unique_name(emitter *e, const char *wanted);
const char *emit_use_local(emitter *e, emit_local local);
/* One line of text, indented. */
void emit_line(emitter *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Registers a thread may have at the start, before setmaxnreg. */
int emit_register_cap(const emitter *e);

/* -- emit_expr.c -- */

/* Appends the expression, in parentheses when it binds less tightly than `least`. */
void emit_expr(emitter *e, const ir_expr *x, emit_precedence least, str *out);
/* The same as a text of its own, in the arena. */
const char *emit_expr_text(emitter *e, const ir_expr *x, emit_precedence least);
/* The expression converted to `type`, as an assignment to it does. */
const char *emit_converted(emitter *e, const ir_expr *x, ir_type type);
/* Appends the byte address of a shared buffer's or barrier's slot; returns how tightly it binds. */
emit_precedence emit_slot_address(emitter *e, const ir_value *value, const ir_expr *slot, str *out);
/* A pointer to a word of a register array. */
const char *emit_register_pointer(emitter *e, const ir_ref *ref);
/* The C type in which a scalar, or a word of a register array, of the type is kept. */
const char *emit_scalar_type(ir_type type);
const char *emit_word_type(ir_type type);
int emit_word_count(const ir_value *registers);
/* Whether expressions call a function of that name. */
bool emit_is_function(const char *name);
bool emit_is_nonnegative(const emitter *e, const ir_expr *x);
/* Bytes of one slot of a shared buffer, rounded up to what its base must be a multiple of. */
int64_t emit_slot_bytes(const ir_value *value);

/* -- emit_ops.c -- */

void emit_block(emitter *e, const ir_block *block);
/* Whether the table has an emission for it: every THREAD op, every expression. */
bool emit_has_op(ir_op_kind kind);
bool emit_has_expr(ir_expr_kind kind);

/* Appends what a field {..} of emit.def stands for; `field` is what is between the braces. */
void emit_field(emitter *e, const ir_op *op, const char *field, size_t length, str *out);

/* -- emit_counts.c -- */

/* The lines that count an op; none for most. */
void emit_counts(emitter *e, const ir_op *op);

/* -- prelude.c -- */

void prelude_begin(prelude *p, arena *memory, int arch);
/* Marks the function and those it calls. False when there is no such function. */
bool prelude_want(prelude *p, const char *name);
bool prelude_has(const char *name, size_t length);
/* Whether the function was made before; if not, it is recorded as made now and the caller appends its text to
 * p->made. */
bool prelude_made(prelude *p, const char *name);
void prelude_write(const prelude *p, str *out);

/* -- intrinsics.c: each returns the name of a function of the unit, made on its first use -- */

const char *intrinsic_load(emitter *e, bool shared, const ir_value *registers, int width, bool conditional);
const char *intrinsic_store(emitter *e, bool shared, const ir_value *registers, int width);
const char *intrinsic_cp_async(emitter *e, int width, bool partial, bool conditional);
const char *intrinsic_tma_load(emitter *e, int rank, bool multicast);
const char *intrinsic_tma_store(emitter *e, int rank, bool add);
/* NULL when there is no such instruction. */
const char *intrinsic_matrix(emitter *e, bool store, int count, bool transpose, ir_type type);
const char *intrinsic_reduce(emitter *e, ir_operation operation, ir_type type, bool shared);
const char *intrinsic_atomic(emitter *e, ir_operation operation, ir_type type);
const char *intrinsic_mma(emitter *e, int m, int n, int k, ir_type acc, ir_type a, ir_type b);
/* m16n8k32 of 16-bit floats into f32, with metadata from lanes 4g + 2 selector and the next; NULL for other types. */
const char *intrinsic_mma_sparse(emitter *e, int k, ir_type acc, ir_type a, ir_type b, int selector);
typedef struct wgmma_form {
  int n, k;
  ir_type acc, a, b;
  bool a_in_registers, transpose_a, transpose_b;
  bool is_new; /* the old accumulator is never read */
} wgmma_form;
const char *intrinsic_wgmma(emitter *e, const wgmma_form *form);
const char *intrinsic_table(emitter *e, bool encode, ir_type type);

#endif
