/* Formats of quantised checkpoints: each row of lib/formats.def has a function that sees from the tensors whether they are
 * of it, and one that reads them into the canonical weight. What the readers share is declared here. */
#ifndef BITBLASC_LIB_FORMAT_H
#define BITBLASC_LIB_FORMAT_H

#include "lib/checkpoint.h"
#include "lib/weight.h"

typedef struct format_reader {
  const bitblas_checkpoint *checkpoint;
  const char *prefix;
  bitblas_weight_config config;
  const char *format;     /* its name, for messages */
  bitblas_weight *weight; /* being made; NULL while looking */
  bool *used;             /* by tensor: found by the reader; may be NULL */
} format_reader;

#define FORMAT(id, name, key, detect, read, source)                                                                    \
  bool detect(const format_reader *r);                                                                                 \
  bitblas_status read(format_reader *r);
#include "lib/formats.def"
#undef FORMAT

/* The weights of a checkpoint by their key tensors: fills its layers. */
void format_find_layers(bitblas_checkpoint *c);
/* bitblas_weight_read, which also marks the tensors that belong to the weight. */
bitblas_status format_read(const bitblas_checkpoint *c, const char *prefix, const bitblas_weight_config *config,
                           bool *used, bitblas_weight **weight);

/* Matrices at a layer: the experts of a stack, else 1. */
int64_t format_experts(const bitblas_checkpoint *c, int layer);

/* -- For the readers ----------------------------------------------------------------------------------------------- */

#define FORMAT_FLOATS "F16|BF16|F32"

/* The tensor prefix + suffix; NULL: there is none. A prefix "" takes the suffix without its dot. */
const bitblas_checkpoint_tensor *format_find(const format_reader *r, const char *suffix);
/* Whether there is one, of one of these encodings ("I32|U32"). */
bool format_has(const format_reader *r, const char *suffix, const char *encodings);
/* The same for a reader that cannot do without: also its rank and extents (-1: any) must be these. */
bitblas_status format_need(const format_reader *r, const char *suffix, const char *encodings, int rank,
                           const int64_t *shape, const bitblas_checkpoint_tensor **out);
/* Fails with "format: prefix: ..." */
bitblas_status format_fail(const format_reader *r, bitblas_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds a sentence to the weight's note. */
void format_note(format_reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *format_setting(const format_reader *r, const char *key);               /* NULL: none */
int64_t format_number(const format_reader *r, const char *key, int64_t otherwise); /* a setting as a whole number */
/* Bits of a code that the caller, else the settings state; 0: nobody does. */
int format_stated_bits(const format_reader *r);
/* The group size of `groups` groups a row: as stated, else as they divide. */
bitblas_status format_group_size(const format_reader *r, int64_t columns, int64_t groups, int64_t *group_size);
/* weight_shape for sizes that are positive, with codes of `bits` bits of an unsigned (or signed) integer type. */
bitblas_status format_shape(format_reader *r, bitblas_type type, int64_t rows, int64_t columns, int64_t group_size);
bitblas_type format_unsigned(int bits); /* U1..U8 */

/* One matrix: the tensor itself (rank `inner`), or the stated one of a stack with a dimension more. `shape` receives
 * its extents, *data where it begins. */
bitblas_status format_matrix(const format_reader *r, const bitblas_checkpoint_tensor *t, int inner,
                             const int64_t **shape, const unsigned char **data);

/* Elements of a tensor of floats (F64, F32, F16, BF16, F8_*), one or all of them. */
float format_float(const bitblas_checkpoint_tensor *t, size_t index);
void format_floats(const bitblas_checkpoint_tensor *t, float *out);
size_t format_count(const bitblas_checkpoint_tensor *t);
/* A tensor of one or more whole numbers, the element `index`. */
int64_t format_integer(const bitblas_checkpoint_tensor *t, size_t index);
/* [groups, rows] to [rows, groups]. */
void format_transpose(const bitblas_checkpoint_tensor *t, int64_t groups, int64_t rows, float *out);
/* Scales of a whole tensor (one number), of rows ([rows] or [rows, 1]) or of blocks ([rows / a, groups]), spread over
 * the weight's groups and multiplied by `factor`. */
bitblas_status format_spread(format_reader *r, const bitblas_checkpoint_tensor *t, double factor);

/* Codes of `bits` bits from a stream, little end first. */
void format_unpack(const unsigned char *stream, int bits, size_t count, unsigned char *codes);
/* Blocks of `block` elements that run over the flat [rows, columns], each with a value of its own, as groups along the
 * rows: the group size is their greatest common divisor, so that no group lies in two blocks. */
int64_t format_flat_group(int64_t block, int64_t columns);
void format_spread_flat(const bitblas_weight *w, int64_t block, const float *values, float *out);

#endif
