/* The tensors of a run: made up or read from files, packed for a kernel, compared, written. */
#ifndef BITBLASC_DRIVER_MAIN_RUN_DATA_H
#define BITBLASC_DRIVER_MAIN_RUN_DATA_H

#include "codegen/record.h"
#include "ir/ir.h"
#include "support/arena.h"
#include "support/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the values of an input stand for, so that made-up ones are of a sensible size. */
typedef enum data_role { DATA_PLAIN, DATA_SCALE, DATA_ZERO } data_role;

typedef struct data_tensor {
  const char *name;
  ir_type type;
  int rank;
  int64_t extent[RECORD_RANK_MAX];
  int64_t stride[RECORD_RANK_MAX]; /* in elements */
  size_t stored; /* elements of memory: more than the product of the extents where strides leave gaps */
  size_t bytes;
  bool is_output; /* some kernel writes it */
  data_role role;
  int code_bits;           /* of the codes that a scale or zero is for; 0: unknown */
  unsigned char *actual;   /* the elements as a contiguous bit stream, little end first; what the run computes with */
  unsigned char *expected; /* the same for the reference; NULL without --check */
  double *wide;            /* what the reference wrote, unrounded; NULL without --check */
} data_tensor;

/* Sets stride (row-major where strides is NULL), stored and bytes from type and extents. False when the tensor is
 * beyond what memory can hold. */
bool data_shape(data_tensor *t, const int64_t *strides);

/* Made-up values: a function of the seed, the tensor's name and each element's place only. */
void data_make_up(data_tensor *t, uint64_t seed);

/* Values from and to a .npy file. Floats are converted to and from the type; integers are values for integer types and
 * codes for others. False with the reason appended to `error`. */
bool data_read(data_tensor *t, const char *path, arena *memory, str *error);
bool data_write(const data_tensor *t, const char *path, str *error);

/* The elements in the order that a packed weight wants: blocks of block_rows x block_columns over the last two
 * dimensions, `order[p]` being the element (row * block_columns + column) at position p. Ragged edges are filled with
 * zero codes. In the arena. */
unsigned char *data_pack(const data_tensor *t, int block_rows, int block_columns, const int32_t *order, arena *memory,
                         size_t *bytes);
/* The order of an IR layout, and of a record's. In the arena. */
const int32_t *data_order_of_layout(const packed_layout *layout, arena *memory);
const int32_t *data_order_of_record(const record_packing *packing, arena *memory);

/* How exact a result can be. */
typedef struct data_precision {
  double rounding; /* relative error of the least exact step inside the kernel */
  double factor;   /* --tolerance */
} data_precision;

typedef struct data_comparison {
  size_t compared;
  size_t wrong;
  double worst_error;             /* greatest difference */
  double worst_allowed;           /* what was allowed there */
  int64_t first[RECORD_RANK_MAX]; /* coordinates of the first wrong element, and both values */
  double first_actual, first_expected;
} data_comparison;

/* Compares actual with wide, element by element. An element may be off by the rounding of its type, and by the kernel's
 * rounding times the size of its row. */
data_comparison data_compare(const data_tensor *t, const data_precision *precision);

#endif
