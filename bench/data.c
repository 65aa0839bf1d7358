#include "bench/data.h"

#include "ir/numeric.h"
#include "lib/status.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  LENGTH_GPU = 16777213, /* the largest primes below 2^24 and 2^16 */
  LENGTH_EMULATOR = 65521,
  MOST_THREADS = 64,
};

/* The kinds of numbers: raw bytes serve all integers and codes. */
typedef enum block_kind { BLOCK_F16, BLOCK_BF16, BLOCK_F8E4M3, BLOCK_BYTES, BLOCK_COUNT } block_kind;

struct data {
  const machine *m;
  size_t length;
  unsigned char *host[BLOCK_COUNT];
  void *device[BLOCK_COUNT];
  float *value[2]; /* [65536], of each code of f16 and bf16 */
};

static const ir_type float_of[] = {IR_F16, IR_BF16, IR_F8E4M3};

static block_kind block_of(bitblas_type type) {
  return type == BITBLAS_TYPE_F16      ? BLOCK_F16
         : type == BITBLAS_TYPE_BF16   ? BLOCK_BF16
         : type == BITBLAS_TYPE_F8E4M3 ? BLOCK_F8E4M3
                                       : BLOCK_BYTES;
}

static size_t element_bytes(block_kind kind) { return kind <= BLOCK_BF16 ? 2 : 1; }

uint64_t data_mix(uint64_t x) {
  x += UINT64_C(0x9e3779b97f4a7c15);
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

/* Mean 0, variance 1: the sum of four uniform numbers, which needs no library function. */
static double normal(uint64_t bits) {
  double sum = 0;
  for (int i = 0; i < 4; i++)
    sum += (double)(bits >> (16 * i) & 0xffff) + 0.5;
  return (sum / 65536 - 2) * 1.7320508075688772;
}

/* -- The blocks ---------------------------------------------------------------------------------------------------- */

typedef struct share {
  data *d;
  size_t begin, end;
} share;

static void *make_share(void *argument) {
  const share *s = argument;
  for (size_t i = s->begin; i < s->end; i++) {
    uint64_t bits = data_mix(i);
    s->d->host[BLOCK_BYTES][i] = (unsigned char)(bits >> 17);
    for (block_kind kind = BLOCK_F16; kind <= BLOCK_F8E4M3; kind++) {
      uint64_t code = ir_encode(float_of[kind], normal(data_mix(bits + kind)));
      memcpy(s->d->host[kind] + i * element_bytes(kind), &code, element_bytes(kind));
    }
  }
  return NULL;
}

static void make_blocks(data *d) {
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  int count = processors < 1 ? 1 : processors > MOST_THREADS ? MOST_THREADS : (int)processors;
  pthread_t threads[MOST_THREADS];
  share shares[MOST_THREADS];
  bool started[MOST_THREADS];
  for (int t = 0; t < count; t++) {
    shares[t] = (share){d, d->length / (size_t)count * (size_t)t, d->length / (size_t)count * (size_t)(t + 1)};
    if (t == count - 1) shares[t].end = d->length;
    started[t] = pthread_create(&threads[t], NULL, make_share, &shares[t]) == 0;
    if (!started[t]) make_share(&shares[t]);
  }
  for (int t = 0; t < count; t++)
    if (started[t]) pthread_join(threads[t], NULL);
}

static bool make_tables(data *d) {
  for (int t = 0; t < 2; t++) {
    d->value[t] = malloc(65536 * sizeof(float));
    if (!d->value[t]) return false;
    for (uint32_t code = 0; code < 65536; code++)
      d->value[t][code] = (float)ir_decode(float_of[t], code);
  }
  return true;
}

bool data_open(const machine *m, size_t length, data **out, complaint *problem) {
  data *d = *out = calloc(1, sizeof *d);
  if (!d) return complain(problem, "no memory for random numbers");
  d->m = m;
  d->length = length ? length : m->driver ? LENGTH_GPU : LENGTH_EMULATOR;
  bool ok = make_tables(d);
  for (block_kind kind = 0; ok && kind < BLOCK_COUNT; kind++)
    ok = (d->host[kind] = malloc(d->length * element_bytes(kind))) != NULL;
  if (!ok) return complain(problem, "no memory for random numbers");
  make_blocks(d);
  for (block_kind kind = 0; ok && kind < BLOCK_COUNT; kind++) {
    size_t bytes = d->length * element_bytes(kind);
    ok = is_done(bitblas_allocate(m->context, bytes, &d->device[kind]), "random numbers", problem) &&
         is_done(bitblas_upload(m->context, d->device[kind], d->host[kind], bytes, m->stream), "random numbers",
                 problem);
  }
  return ok && machine_wait(m, problem);
}

void data_close(data *d) {
  if (!d) return;
  for (block_kind kind = 0; kind < BLOCK_COUNT; kind++) {
    bitblas_free(d->m->context, d->device[kind]);
    free(d->host[kind]);
  }
  free(d->value[0]);
  free(d->value[1]);
  free(d);
}

/* -- Tensors ------------------------------------------------------------------------------------------------------- */

bool data_fill(const data *d, bitblas_type type, size_t first, size_t count, void *address, complaint *problem) {
  block_kind kind = block_of(type);
  size_t unit = element_bytes(kind);
  if (kind == BLOCK_BYTES) count = (count * (size_t)bitblas_type_bits(type) + 7) / 8;
  first %= d->length;
  for (size_t done = 0; done < count;) {
    size_t from = (first + done) % d->length, length = d->length - from;
    if (length > count - done) length = count - done;
    if (!machine_copy(d->m, (char *)address + done * unit, (const char *)d->device[kind] + from * unit, length * unit,
                      problem))
      return false;
    done += length;
  }
  return true;
}

enum { GAIN_STEPS = 64 };

static double gain_of_step(const data_gain *gain, long step) {
  return gain->times * pow(gain->growth, (double)step / GAIN_STEPS);
}

double data_gain_of(const data_gain *gain, long row) {
  return gain->rows ? gain_of_step(gain, row % gain->rows * GAIN_STEPS / gain->rows) : 1;
}

/* The first row of a step. */
static size_t begin_of_step(const data_gain *gain, size_t step) {
  return (step * (size_t)gain->rows + GAIN_STEPS - 1) / GAIN_STEPS;
}

/* Codes of the rows of one step, in each sequence of rows, by a table: there are few codes, and many numbers. */
static void scale_step(const data *d, bitblas_type type, size_t first, size_t count, size_t columns,
                       const data_gain *gain, size_t step, uint16_t *table, uint16_t *codes) {
  block_kind kind = block_of(type);
  double times = gain_of_step(gain, (long)step);
  size_t begin = begin_of_step(gain, step), rows = begin_of_step(gain, step + 1) - begin;
  for (uint32_t code = 0; rows && code < 65536; code++)
    table[code] = (uint16_t)ir_encode(float_of[kind], (double)d->value[kind][code] * times);
  for (size_t row = begin; row < count; row += (size_t)gain->rows) {
    size_t place = (first + row * columns) % d->length, here = rows < count - row ? rows : count - row;
    for (size_t i = row * columns; i < (row + here) * columns; i++) {
      uint16_t code;
      memcpy(&code, d->host[kind] + 2 * place, sizeof code);
      codes[i] = table[code];
      if (++place == d->length) place = 0;
    }
  }
}

bool data_fill_rows(const data *d, bitblas_type type, size_t first, size_t count, size_t columns, const data_gain *gain,
                    void *address, complaint *problem) {
  size_t bytes = 2 * count * columns;
  uint16_t *table = malloc(65536 * sizeof *table), *codes = malloc(bytes);
  bool ok = table && codes ? true : complain(problem, "no memory for random numbers");
  for (size_t step = 0; ok && step < GAIN_STEPS; step++)
    scale_step(d, type, first, count, columns, gain, step, table, codes);
  ok = ok && is_done(bitblas_upload(d->m->context, address, codes, bytes, d->m->stream), "random numbers", problem) &&
       machine_wait(d->m, problem);
  free(table);
  free(codes);
  return ok;
}

uint32_t data_code(const data *d, bitblas_type type, size_t first, size_t i) {
  block_kind kind = block_of(type);
  if (kind != BLOCK_BYTES) {
    uint32_t code = 0;
    memcpy(&code, d->host[kind] + (first + i) % d->length * element_bytes(kind), element_bytes(kind));
    return code;
  }
  size_t bits = (size_t)bitblas_type_bits(type), byte = i * bits / 8;
  return (uint32_t)(d->host[kind][(first + byte) % d->length] >> i * bits % 8) & ((1u << bits) - 1);
}

double data_round(bitblas_type type, double value) { return ir_round(lib_ir_type(type), value); }

double data_decode(bitblas_type type, uint32_t code) {
  if (type == BITBLAS_TYPE_I1) return code ? 1 : -1;
  return ir_decode(lib_ir_type(type), code);
}

double data_value(const data *d, bitblas_type type, size_t first, size_t i) {
  uint32_t code = data_code(d, type, first, i);
  block_kind kind = block_of(type);
  return kind <= BLOCK_BF16 ? (double)d->value[kind][code] : data_decode(type, code);
}

void data_values(const data *d, bitblas_type type, size_t first, size_t i, size_t count, double *values) {
  block_kind kind = block_of(type);
  size_t place = (first + i) % d->length;
  for (size_t j = 0; j < count; j++) {
    if (kind > BLOCK_BF16) {
      values[j] = data_value(d, type, first, i + j);
      continue;
    }
    uint16_t code;
    memcpy(&code, d->host[kind] + 2 * place, sizeof code);
    values[j] = (double)d->value[kind][code];
    if (++place == d->length) place = 0;
  }
}

size_t data_first(const data *d, int index) { return (size_t)(data_mix((uint64_t)index) % d->length); }
