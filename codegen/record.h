/* The launch record: everything that anybody needs to launch a compiled kernel, as data.
 *
 * Code generation fills it from the IR. It travels inside the cubin (elf_note.h), comes out as JSON or as a C launcher
 * (emit_host.h), and the runtime launches from it. Sizes that are compiled in do not appear; those known only at launch
 * are `sizes`, and every number that depends on them is a size_expr over them. All pointers live in one arena and are
 * immutable once the record is made. */
#ifndef BITBLASC_CODEGEN_RECORD_H
#define BITBLASC_CODEGEN_RECORD_H

#include "codegen/size_expr.h"
#include "support/arena.h"
#include "support/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  RECORD_RANK_MAX = 8,     /* of a tensor */
  RECORD_MAP_RANK_MAX = 5, /* of a tensor map: the hardware's limit */
  RECORD_LIST_MAX = 256,   /* sizes, tensors, maps, ...: a longer list in a file is an error */
  RECORD_JSON_BYTES_MAX = 16 << 20,
};
#define RECORD_SCHEMA "bitblasc.kernel/1"

typedef enum record_access { RECORD_IN, RECORD_OUT, RECORD_INOUT } record_access;

/* A size known at launch: an i32, 0 or more. */
typedef struct record_size {
  const char *name;
  int64_t multiple_of; /* 1: any */
} record_size;

/* How the codes of a packed weight lie in memory. The matrix [rows, columns] is cut into blocks of block_rows x
 * block_columns, stored one after the other, block row by block row. The code at position p of a block (counted in
 * codes from its first bit, little end first) is the element i = XOR of columns[b] over the bits b set in p, at row i /
 * block_columns, column i % block_columns of the block. block_rows * block_columns == 1 << column_count. */
typedef struct record_packing {
  int32_t block_rows;
  int32_t block_columns;
  int32_t code_bits;
  int32_t column_count;
  const uint32_t *columns;
} record_packing;

/* A tensor that the caller passes: row-major, the last dimension fastest. */
typedef struct record_tensor {
  const char *name;
  const char *type; /* element type name as in the .tl: "f16", "u4", ... */
  int32_t bits;     /* of an element */
  record_access access;
  int32_t rank;
  const size_expr *extents[RECORD_RANK_MAX]; /* elements */
  const size_expr *strides[RECORD_RANK_MAX]; /* elements from one to the next; all NULL: contiguous */
  int32_t alignment;                         /* of the address, in bytes: a power of two */
  const record_packing *packing;             /* NULL: not packed */
} record_tensor;

/* A scalar that is no size: a softmax scale, an alpha. */
typedef struct record_scalar {
  const char *name;
  const char *type; /* "i32", "u32", "f32", "i64", "u64", "f64": its size follows from it (record_scalar_bytes) */
} record_scalar;

/* Arguments of cuTensorMapEncodeTiled. Dimension 0 is the innermost. No interleave; out of range reads give zero. */
typedef struct record_map {
  int32_t tensor;                                /* whose address */
  const char *type;                              /* of map_types.def: how the hardware sees an element */
  int32_t rank;                                  /* 1..5 */
  const size_expr *extents[RECORD_MAP_RANK_MAX]; /* elements */
  const size_expr *strides[RECORD_MAP_RANK_MAX]; /* bytes between neighbours along dimension i + 1: rank - 1 of them */
  int32_t box[RECORD_MAP_RANK_MAX];              /* elements */
  int32_t element_strides[RECORD_MAP_RANK_MAX];  /* 1 as a rule */
  int32_t swizzle_bytes;                         /* 0, 32, 64, 128 */
  int32_t promotion_bytes;                       /* L2 promotion: 0, 64, 128, 256 */
} record_map;

/* What a parameter of the kernel is. `index` counts through the list that the kind names; of a workspace it is 0. */
typedef enum record_parameter_kind {
  RECORD_TENSOR,    /* 8 bytes: device address */
  RECORD_MAP,       /* 128 bytes, 64-byte aligned */
  RECORD_SIZE,      /* 4 bytes, i32 */
  RECORD_SCALAR,    /* record_scalar_bytes */
  RECORD_WORKSPACE, /* 8 bytes: device address */
} record_parameter_kind;

typedef struct record_parameter {
  record_parameter_kind kind;
  int32_t index;
} record_parameter;

/* Must be non-zero at launch. */
typedef struct record_constraint {
  const size_expr *condition;
  const char *text; /* as the user wrote it, for the message */
} record_constraint;

typedef struct record {
  const char *entry;       /* symbol in the cubin: a C identifier; unique prefix of all that the launcher declares */
  const char *target;      /* "sm_90a" */
  const char *version;     /* of the bitblasc that made it */
  const char *source_file; /* base name; "" when unknown */
  const char *source_hash; /* hexadecimal; "" when unknown */

  int32_t block_threads;
  int32_t cluster[3];   /* blocks; 1, 1, 1 is no cluster */
  int32_t min_blocks;   /* resident on an SM, that registers were budgeted for; 0: not asked for */
  int64_t shared_bytes; /* dynamic */
  bool pdl;             /* launched so that it may start before the kernel ahead of it in the stream has ended */

  /* The grid is either `grid` (blocks along x, y, z), or, when persistent, min(tiles, resident blocks) along x, a
   * multiple of the cluster, and `grid` is all NULL. */
  bool persistent;
  const size_expr *tiles;
  const size_expr *grid[3];

  int32_t size_count;
  const record_size *sizes;
  int32_t tensor_count;
  const record_tensor *tensors;
  int32_t scalar_count;
  const record_scalar *scalars;
  int32_t map_count;
  const record_map *maps;
  int32_t parameter_count;
  const record_parameter *parameters; /* the kernel's own order */
  int32_t constraint_count;
  const record_constraint *constraints;

  const size_expr *workspace_bytes; /* NULL: none */
  bool workspace_zero;              /* its bytes are zero before the first launch; the kernel leaves them zero */
} record;

size_names record_size_names(const record *r, arena *a);

int32_t record_scalar_bytes(const char *type);                             /* 0: no such scalar type */
bool record_map_type(const char *type, int *code, int32_t *element_bytes); /* of map_types.def; false: no such */
int record_swizzle_code(int32_t swizzle_bytes);                            /* CUtensorMapSwizzle; -1: no such */
int record_promotion_code(int32_t promotion_bytes);                        /* CUtensorMapL2promotion; -1: no such */

/* Whether everything in the record is in range and consistent. False: *error (in the arena) says what is not. */
bool record_verify(const record *r, arena *a, const char **error);

/* One JSON object, keys in a fixed order, no floats, equal records give equal bytes. `pretty` is one key a line. */
void record_to_json(const record *r, bool pretty, str *out);
/* NULL, with *error (in the arena) set, when the text is not a valid record; the result has passed record_verify. */
record *record_from_json(arena *a, const char *json, size_t length, const char **error);

#endif
