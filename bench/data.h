/* Random tensors, made fast: one block of a prime number of elements for each kind of number lies on the host and on the
 * device, and tensors are filled with copies of it, so that any element of any tensor is known on the host by its place.
 *
 * Floats are normal with mean 0 and variance 1, integers and codes are uniform over all that the type has. */
#ifndef BITBLASC_BENCH_DATA_H
#define BITBLASC_BENCH_DATA_H

#include "bench/machine.h"

#include <stddef.h>
#include <stdint.h>

typedef struct data data;

/* Makes the blocks and puts them on the device. `length`: elements of each, a prime; 0: one that suits the machine. */
bool data_open(const machine *m, size_t length, data **out, complaint *problem);
void data_close(data *d); /* NULL is ignored */

/* Fills a device tensor of `count` elements: element i is number (first + i) of the endless repetition of the type's
 * block; codes narrower than a byte are counted in bytes, `first` too. Types: f16, bf16, f8e4m3, and integers and codes of
 * 1, 2, 4 and 8 bits. Enqueued on the machine's stream. */
bool data_fill(const data *d, bitblas_type type, size_t first, size_t count, void *address, complaint *problem);

/* How the rows of a tensor differ from those of the block: the first of `rows` are `times` as large, the last of them
 * about `growth` times that, in steps; the rows after them begin again. */
typedef struct data_gain {
  double times, growth;
  long rows; /* 0: no gain at all */
} data_gain;

/* What the numbers of a row are multiplied by, before they are rounded to their type. */
double data_gain_of(const data_gain *gain, long row);

/* As data_fill, for `count` rows of f16 or bf16 with a gain. Waits. */
bool data_fill_rows(const data *d, bitblas_type type, size_t first, size_t count, size_t columns, const data_gain *gain,
                    void *address, complaint *problem);

/* Code and value of element i of a tensor that data_fill filled. */
uint32_t data_code(const data *d, bitblas_type type, size_t first, size_t i);
double data_value(const data *d, bitblas_type type, size_t first, size_t i);
/* Values of the elements from i to i + count - 1, which is faster. */
void data_values(const data *d, bitblas_type type, size_t first, size_t i, size_t count, double *values);

/* Where the elements of tensor number `index` begin: another place of the block for each. */
size_t data_first(const data *d, int index);

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators): a number for each x. */
uint64_t data_mix(uint64_t x);

/* The value rounded to the type. */
double data_round(bitblas_type type, double value);

/* The number that a code of the type stands for: i1 is -1 and 1, as the library has it. */
double data_decode(bitblas_type type, uint32_t code);

#endif
