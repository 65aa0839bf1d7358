/* The one intermediate representation: every form of a kernel, from what the user wrote to what one thread does.
 *
 * A module holds kernels; a kernel holds values (tensors, buffers, tiles, scalars) and a tree of ops. An op reads and
 * writes values through references and takes scalar operands as expression trees. Ops, expression operators, types,
 * attributes and targets are the rows of ops.def, exprs.def, types.def, attrs.def and targets.def; enums, printer,
 * parser, verifier, emulator and emitter expand those tables.
 *
 * Everything is allocated in the module's arena and never freed one by one. Expressions are immutable and may be
 * shared. */
#ifndef BITBLASC_IR_IR_H
#define BITBLASC_IR_IR_H

#include "ir/layout.h"
#include "support/arena.h"
#include "support/diag.h"
#include "support/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { IR_MAX_RANK = 5, IR_MAX_REFS = 4, IR_FETCH = 256 };

/* -- Types --------------------------------------------------------------------------------------------------------- */

typedef enum ir_type {
  IR_TYPE_NONE,
#define TYPE(id, name, class, bits, exponent, mantissa, cuda) IR_##id,
#include "ir/types.def"
#undef TYPE
  IR_TYPE_COUNT
} ir_type;

typedef enum ir_class {
  IR_CLASS_BOOL,
  IR_CLASS_SINT,
  IR_CLASS_UINT,
  IR_CLASS_FLOAT,
  IR_CLASS_SCALE,
  IR_CLASS_TABLE
} ir_class;

typedef struct ir_type_info {
  const char *name;
  ir_class class;
  int bits;
  int exponent_bits;
  int mantissa_bits;
  const char *cuda;
} ir_type_info;
const ir_type_info *ir_type_of(ir_type type);
ir_type ir_type_by_name(const char *name, size_t length); /* IR_TYPE_NONE when unknown */
static inline int ir_bits(ir_type type) { return ir_type_of(type)->bits; }
bool ir_is_float(ir_type type);   /* FLOAT, SCALE or TABLE: its value is a real number */
bool ir_is_integer(ir_type type); /* SINT or UINT */
ir_type ir_compute_type(
    ir_type
        type); /* what arithmetic on it is done in: f32 for floats up to 32 bits, i32/u32 for narrow integers, else itself */

/* -- Expressions --------------------------------------------------------------------------------------------------- */

typedef enum ir_expr_kind {
#define EXPR(id, text, arity, style, result, meaning) IR_EXPR_##id,
#include "ir/exprs.def"
#undef EXPR
  IR_EXPR_KIND_COUNT
} ir_expr_kind;

typedef enum ir_expr_style {
  IR_STYLE_LEAF,
  IR_STYLE_INFIX,
  IR_STYLE_PREFIX,
  IR_STYLE_CALL,
  IR_STYLE_TYPED
} ir_expr_style;
typedef enum ir_expr_result { IR_RESULT_ARG, IR_RESULT_PRED, IR_RESULT_OWN } ir_expr_result;

typedef struct ir_expr_info {
  const char *text;
  int arity; /* -1: any */
  ir_expr_style style;
  ir_expr_result result;
  const char *meaning;
} ir_expr_info;
const ir_expr_info *ir_expr_info_of(ir_expr_kind kind);

typedef struct ir_value ir_value;
typedef struct ir_expr ir_expr;
struct ir_expr {
  ir_expr_kind kind;
  ir_type type;        /* of the result */
  ir_type lane_type;   /* of TYPED operators: the element type in the packed word */
  int64_t int_value;   /* INT, BOOL */
  double float_value;  /* FLOAT */
  ir_value *value;     /* VALUE, ELEMENT */
  const ir_expr *slot; /* ELEMENT of a value with slots; NULL is slot 0 */
  int arg_count;
  const ir_expr **args; /* ELEMENT: the indices, one a dimension (none inside ADDRESS) */
};

/* -- Values -------------------------------------------------------------------------------------------------------- */

typedef enum ir_space {
  IR_GLOBAL, /* a tensor argument in device memory, row-major */
  IR_SHARED, /* a buffer of the block, `slots` copies of it */
  IR_TILE,   /* a block-wide (role-wide) tile in registers, until the thread form */
  IR_REGISTERS, /* thread form: an array of one thread; a type under 32 bits is held as packed u32 words and indexed by word */
  IR_SCALAR,  /* let or mutable scalar; block-uniform before the thread form */
  IR_INDEX,   /* loop, grid or parallel variable, i32, read-only */
  IR_SIZE,    /* a run-time size, i32 argument >= 0 */
  IR_BARRIER, /* `slots` mbarriers in shared memory */
  IR_MAP      /* a tensor map (TMA descriptor) over a global tensor */
} ir_space;
const char *ir_space_name(
    ir_space space); /* "global", "shared", "tile", "registers", "scalar", "index", "size", "barrier", "map" */

typedef enum ir_direction { IR_IN, IR_OUT, IR_INOUT } ir_direction;

struct ir_value {
  const char *name; /* unique in the kernel; from the source, made unique by a suffix */
  ir_space space;
  ir_type type;
  int rank;
  const ir_expr *extent[IR_MAX_RANK]; /* GLOBAL: over sizes; others: constants */
  src_loc loc;                        /* of the declaration */
  int number;                         /* position in kernel->values, for side tables of passes */
  /* GLOBAL */
  ir_direction direction;
  const ir_expr *stride[IR_MAX_RANK]; /* in elements; NULL: row-major contiguous */
  const packed_layout *
      packed; /* not NULL: stored as blocks in fragment order, not row-major (fuse-decode, written to the launch record) */
  /* SIZE */
  int64_t multiple_of; /* known divisor, at least 1 */
  int64_t bound;       /* >= 0: specialised to this constant; -1: run-time */
  /* SHARED, BARRIER */
  int slots;                   /* copies (ring); at least 1 */
  int arrivals;                /* BARRIER: arrivals that complete a phase */
  int offset;                  /* byte offset in dynamic shared memory; -1 until placed */
  const shared_layout *shared; /* laid-out form and later */
  /* TILE */
  const tile_layout *tile; /* laid-out form and later */
  /* MAP */
  ir_value *tensor; /* the global tensor it describes; one in packed order as its blocks lie: [blocks along rows, blocks
                       along k, words of 32 bits of a block]. A map of one dimension more than the tensor has cuts the
                       last one into panels as wide as its box: [panels, all dimensions but the last, in a panel] */
  int box[IR_MAX_RANK]; /* elements, dimensions in the tensor's order */
  shared_swizzle swizzle;
  int fetch; /* bytes that L2 fetches where it is asked for some of them: IR_FETCH or half of it */
  /* SCALAR */
  bool is_mutable;
};

/* -- Ops ----------------------------------------------------------------------------------------------------------- */

typedef enum ir_op_kind {
#define OP(id, mnemonic, writes, reads, exprs, bodies, forms, effects, meaning) IR_OP_##id,
#include "ir/ops.def"
#undef OP
  IR_OP_KIND_COUNT
} ir_op_kind;

enum { IR_FORMS_TILE = 1, IR_FORMS_PIPE = 2, IR_FORMS_THREAD = 4, IR_FORMS_ANY = 7 };
typedef enum ir_effects { IR_EFFECT_N, IR_EFFECT_O, IR_EFFECT_C } ir_effects;

typedef struct ir_op_info {
  const char *mnemonic;
  const char *writes; /* see ops.def */
  const char *reads;
  int expr_count;
  bool more_exprs;
  int bodies;
  int forms;
  ir_effects effects;
  const char *meaning;
} ir_op_info;
const ir_op_info *ir_op_info_of(ir_op_kind kind);

typedef enum ir_attr {
#define ATTR(id, name, kind, choices, meaning) IR_ATTR_##id,
#include "ir/attrs.def"
#undef ATTR
  IR_ATTR_KIND_COUNT
} ir_attr;

typedef struct ir_attr_info {
  const char *name;
  bool is_enum;
  const char *choices;
  const char *meaning;
} ir_attr_info;
const ir_attr_info *ir_attr_info_of(ir_attr attr);
int ir_attr_choice(ir_attr attr, const char *name, size_t length); /* -1 when it is none of the choices */
void ir_attr_choice_name(ir_attr attr, int choice, str *out);

/* Choices of the ENUM attributes, in the order of attrs.def. */
typedef enum ir_operation { IR_SUM, IR_MAX, IR_MIN, IR_MUL, IR_AND, IR_OR, IR_XOR } ir_operation;
typedef enum ir_zero_mode { IR_ZERO_NONE, IR_ZERO_ORIGINAL, IR_ZERO_RESCALE, IR_ZERO_QUANTIZED } ir_zero_mode;
typedef enum ir_place { IR_PLACE_NONE, IR_PLACE_OPERAND, IR_PLACE_SHARED, IR_PLACE_REGISTERS } ir_place;
typedef enum ir_instruction {
  IR_INSTRUCTION_NONE,
  IR_INSTRUCTION_FMA,
  IR_INSTRUCTION_MMA,
  IR_INSTRUCTION_WGMMA
} ir_instruction;
enum { IR_PROMOTE_UNIT = 32 }; /* k of 8-bit floats that one tensor-core instruction sums: `promote` is a multiple */
typedef enum ir_engine {
  IR_ENGINE_NONE,
  IR_ENGINE_SIMT,
  IR_ENGINE_CPASYNC,
  IR_ENGINE_TMA,
  IR_ENGINE_BULK,
  IR_ENGINE_MATRIX
} ir_engine;

typedef struct ir_attrs {
  uint64_t present[2]; /* bit set of ir_attr */
  int64_t value[IR_ATTR_KIND_COUNT];
} ir_attrs;
bool ir_attr_has(const ir_attrs *attrs, ir_attr attr);
int64_t ir_attr_get(const ir_attrs *attrs, ir_attr attr, int64_t otherwise);
void ir_attr_set(ir_attrs *attrs, ir_attr attr, int64_t value);
void ir_attr_clear(ir_attrs *attrs, ir_attr attr);

/* What an op reads or writes.
 *   %As                              the whole buffer
 *   %As@%s                           one slot of it
 *   %A[%bm*128 : 128, %k*64 : 64]    a region: start and, where the region extends, its span; without a span the dimension is a point
 *   %acc[%r]                         registers: the first word
 * `count` is 0 for the whole value. Spans are constants; the spanned dimensions, in order, are the dimensions of the
 * tile on the other side. */
typedef struct ir_ref {
  ir_value *value; /* NULL prints as none */
  const ir_expr *slot;
  int count;
  const ir_expr *start[IR_MAX_RANK];
  int span[IR_MAX_RANK]; /* 0: a point */
} ir_ref;

typedef struct ir_op ir_op;
typedef struct ir_block { /* a doubly linked list of ops */
  ir_op *first, *last;
} ir_block;

struct ir_op {
  ir_op *next, *previous;
  ir_op_kind kind;
  src_loc loc;
  int write_count;
  ir_ref write[IR_MAX_REFS]; /* FOR: write[0].value is the variable; LET: the scalar */
  int read_count;
  ir_ref read[IR_MAX_REFS];
  int expr_count;
  const ir_expr **expr; /* FOR: lo, hi, step */
  int variable_count;   /* PARALLEL: its coordinates, extents in expr */
  ir_value **variable;
  const char *name; /* ROLE: "producer", "consumer" */
  ir_attrs attrs;
  ir_block body, other; /* other: else */
};

/* -- Kernels ------------------------------------------------------------------------------------------------------- */

typedef enum ir_form {
  IR_FORM_TILE,
  IR_FORM_FUSED,
  IR_FORM_SCHEDULED,
  IR_FORM_LAID_OUT,
  IR_FORM_PIPELINED,
  IR_FORM_THREAD
} ir_form;
const char *ir_form_name(ir_form form); /* "tile", "fused", "scheduled", "laid_out", "pipelined", "thread" */

typedef enum ir_target {
#define TARGET(id, ...) IR_##id,
#include "ir/targets.def"
#undef TARGET
  IR_TARGET_COUNT
} ir_target;

typedef struct ir_target_info {
  const char *name;
  int sms, shared_bytes, registers, max_warps;
  int64_t l2_bytes;
  double clock_ghz, hbm_gbps;
  int l2_bytes_clk, shared_bytes_clk, mma16_macs_clk, mma8_macs_clk, exp_clk;
  bool has_cpasync, has_tma, has_wgmma, has_cluster, has_native_fp8_mma;
} ir_target_info;
const ir_target_info *ir_target_of(ir_target target);
int ir_target_by_name(const char *name); /* -1 when unknown */
/* The newest GPU of the table that is no newer than a compute capability, 90 for 9.0; NULL: all are. */
const ir_target_info *ir_target_by_capability(int capability);

/* A fact about run-time sizes, checked at launch. */
typedef struct ir_fact {
  const ir_expr *condition;
  src_loc loc;
} ir_fact;

/* A named compile-time constant of the source, kept for messages, the tuner and the launch record. */
typedef struct ir_param {
  const char *name;
  int64_t value;
  bool tunable; /* from a tune clause and not fixed by -D: the scheduler may choose another */
} ir_param;

typedef struct ir_grid_dim {
  ir_value *index;       /* IR_INDEX */
  const ir_expr *extent; /* over sizes */
} ir_grid_dim;

typedef struct ir_kernel ir_kernel;
struct ir_kernel {
  ir_kernel *next;
  const char *name;
  src_loc loc;
  ir_form form;
  ir_target target;
  ir_value **names; /* hash table of the values by name; kept by ir_value_create */
  int name_count, name_capacity;
  int value_count, value_capacity;
  ir_value **values; /* every value, in order of declaration; arguments first, in the order of the signature */
  int fact_count, fact_capacity;
  ir_fact *facts;
  int param_count, param_capacity;
  ir_param *params;
  int grid_count;
  ir_grid_dim grid
      [3]; /* [0] varies fastest over neighbouring blocks; empty once a persistent loop or thread form computes it from block() */
  const ir_expr *
      block_count; /* thread form: blocks to launch, over sizes; for persistent kernels the number of tiles, the launch takes the smaller of it and what fits */
  ir_attrs attrs;
  ir_block body;
};

typedef struct ir_module {
  arena *memory; /* not owned */
  const char *source_name;
  ir_kernel *kernels;
} ir_module;

/* -- Building (build.c)
 * -------------------------------------------------------------------------------------------------------------- */

ir_module *ir_module_create(arena *memory, const char *source_name);
ir_kernel *ir_kernel_create(ir_module *module, const char *name, src_loc loc);
/* A new value; `name` is made unique by a suffix. Extents are set by the caller. */
ir_value *ir_value_create(arena *memory, ir_kernel *kernel, ir_space space, ir_type type, const char *name,
                          src_loc loc);
ir_value *ir_value_find(const ir_kernel *kernel, const char *name); /* NULL when unknown */
int64_t ir_extent(const ir_value *value, int dim);                  /* a constant extent; BUG when it is not one */
int64_t ir_element_count(const ir_value *value);                    /* product of constant extents */
int ir_map_rank(const ir_value *tensor);                            /* dimensions of a tensor map over it */
int ir_map_bits(const ir_value *tensor);                            /* of an element as such a map sees it */
bool ir_map_has_panels(const ir_value *map);

ir_op *ir_op_create(arena *memory, ir_op_kind kind, src_loc loc);
void ir_op_add_write(ir_op *op, ir_ref ref);
void ir_op_add_read(ir_op *op, ir_ref ref);
void ir_op_add_expr(arena *memory, ir_op *op, const ir_expr *expr);
ir_ref ir_ref_whole(ir_value *value);
ir_ref ir_ref_none(void);
void ir_block_append(ir_block *block, ir_op *op);
void ir_block_insert_before(ir_block *block, ir_op *before, ir_op *op);
void ir_block_insert_after(ir_block *block, ir_op *after, ir_op *op);
void ir_block_remove(ir_block *block, ir_op *op);
/* A deep copy of the op and its bodies. `map` (by value number, may be NULL) replaces values; variables of loops and
 * lets are kept. */
ir_op *ir_op_clone(arena *memory, const ir_op *op, ir_value *const *map);
ir_block ir_block_clone(arena *memory, const ir_block *block, ir_value *const *map);

/* Expressions. Each builder folds constants and applies the identities of fold.c, so passes may build freely.
 *   types     VALUE and ELEMENT have the compute type of what they read (an element of an f16 tile is f32); an element of a register array of a
 *             type under 32 bits is a u32 word. Operators whose result is that of an argument have its compute type;
 *             only casts and literals have narrow types: f16(x) is rounded to f16, f16(x) + 1.0 is computed in f32.
 *   literals  an i32 literal beside an operand of another integer type takes that type
 *   overflow  index arithmetic, i32 and i64, is taken not to overflow where division and remainder are simplified: (x
 *   * 8) / 8 is x */
const ir_expr *ir_int(arena *memory, int64_t value); /* i32 */
const ir_expr *ir_typed_int(arena *memory, ir_type type, int64_t value);
const ir_expr *ir_float(arena *memory, double value); /* f32 */
const ir_expr *ir_bool(arena *memory, bool value);
const ir_expr *ir_read(arena *memory, ir_value *value); /* VALUE */
const ir_expr *ir_element(arena *memory, ir_value *value, const ir_expr *slot, int count, const ir_expr *const *index);
const ir_expr *ir_unary(arena *memory, ir_expr_kind kind, const ir_expr *a);
const ir_expr *ir_binary(arena *memory, ir_expr_kind kind, const ir_expr *a, const ir_expr *b);
const ir_expr *ir_ternary(arena *memory, ir_expr_kind kind, const ir_expr *a, const ir_expr *b, const ir_expr *c);
const ir_expr *ir_cast(arena *memory, ir_type type, const ir_expr *a);
const ir_expr *ir_typed(arena *memory, ir_expr_kind kind, ir_type lane_type, ir_type type, int count,
                        const ir_expr *const *args);
const ir_expr *ir_leaf(arena *memory, ir_expr_kind kind, ir_type type); /* TID, LANE, ... */
const ir_expr *ir_address(arena *memory, ir_value *buffer, const ir_expr *slot);
bool ir_is_constant(const ir_expr *e, int64_t *value); /* INT or BOOL */
bool ir_is_zero(const ir_expr *e);                     /* the number 0, INT or FLOAT */
bool ir_expr_equal(const ir_expr *a, const ir_expr *b);
/* The same expression with values replaced: replace[value->number] when not NULL. Folds. */
const ir_expr *ir_substitute(arena *memory, const ir_expr *e, const ir_expr *const *replace, int count);
/* A divisor that every value of the integer expression has, from facts about sizes (at least 1; 0 for the constant
 * 0). */
int64_t ir_known_divisor(const ir_expr *e);
typedef struct ir_range {
  int64_t lo, hi;
} ir_range; /* inclusive */
/* What the caller knows of values and of the launch. */
typedef struct ir_bounds {
  const ir_range *of; /* by value number; lo > hi is unknown */
  int count;
  int64_t threads, blocks; /* of a block, of the launch; 0 is unknown */
} ir_bounds;
/* Bounds of an integer expression, inclusive: false when unknown. */
bool ir_expr_bounds(const ir_expr *e, const ir_bounds *known, ir_range *out);
/* The same where nothing is known of the launch. */
bool ir_expr_range(const ir_expr *e, const ir_range *ranges, int count, ir_range *out);

/* -- Effects (uses.c): what a pass may ask without knowing the op
 * --------------------------------------------------------------------- */

/* Calls `visit` for every value that the op itself reads or writes, in operand order: references, elements in
 * expressions, nested bodies when `nested`. */
typedef void ir_visit(void *context, ir_op *op, ir_value *value, bool written);
void ir_op_visit(ir_op *op, bool nested, ir_visit *visit, void *context);
bool ir_op_reads(ir_op *op, const ir_value *value); /* nested bodies included */
bool ir_op_writes(ir_op *op, const ir_value *value);
bool ir_orders(const ir_op *op);
/* Whether a kernel that is launched before the one ahead in the stream has ended (attribute pdl) may read the tensor all
 * the same: it only reads it, and the tensor is in packed order. What is packed was put into the kernel's own order once,
 * by whoever prepared it, and is taken to be complete before the launches that overlap. */
bool ir_is_prepared(const ir_value *tensor);
/* A tensor that is not so and that the op, or an op inside it when `nested`, reads or writes: grid.wait comes first. NULL:
 * none. */
const ir_value *ir_awaited_tensor(ir_op *op, bool nested);
/* Calls `visit` for every op of the block, bodies included, in program order; stops when it returns false. */
typedef bool ir_walk_visit(void *context, ir_block *block, ir_op *op);
bool ir_walk(ir_block *block, ir_walk_visit *visit, void *context);
/* Takes the values that no op and no grid names any more off the kernel's list, arguments and sizes excepted, and numbers
 * the rest anew: tables by value number are stale afterwards. `scratch` is used for a table. */
void ir_drop_unused(ir_kernel *kernel, arena *scratch);
void ir_op_each_expr(ir_op *op, const ir_expr *(*change)(void *context, const ir_expr *e),
                     void *context); /* rewrites every expression of the op, references included */

/* -- Text (print.c, parse.c): print(parse(print(x))) == print(x)
 * ---------------------------------------------------------------------- */

void ir_print_expr(const ir_expr *e, str *out);
void ir_print_ref(const ir_ref *ref, str *out);
void ir_print_op(const ir_op *op, str *out); /* the head line only, no indentation, no newline */
void ir_print_kernel(const ir_kernel *kernel, str *out);
void ir_print_module(const ir_module *module, str *out);
/* Reads what ir_print_module wrote. NULL and diagnostics on bad text. `file` is the index of the text in `d`. */
ir_module *ir_parse_module(arena *memory, diag *d, uint16_t file, const char *text, size_t length);

/* -- Rules (verify.c) ---------------------------------------------------------------------------------------------- */

/* Checks the rules of the kernel's form: operand kinds, types, shapes, attributes, definitions before uses. False and
 * diagnostics when broken. */
bool ir_verify(const ir_kernel *kernel, diag *d);

/* Text of the tables, for --list-ops and the documentation. */
void ir_list_ops(str *out);

#endif
