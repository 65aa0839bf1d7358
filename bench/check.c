#include "bench/check.h"

#include <math.h>
#include <stdlib.h>

enum {
  GRID = 8,             /* rows and columns of a product, whose every crossing is compared */
  ROW_SAMPLES = 4,      /* of attention, rmsnorm and softmax */
  ELEMENTS_OF_ROW = 16, /* that are compared of each */
};

bool read_element(const machine *m, bitblas_type type, const void *from, size_t i, double *value, complaint *problem) {
  size_t bytes = (size_t)bitblas_type_bits(type) / 8;
  uint32_t code = 0;
  if (!machine_read(m, &code, (const char *)from + i * bytes, bytes, problem)) return false;
  *value = type == BITBLAS_TYPE_I32 ? (double)(int32_t)code : data_decode(type, code);
  return true;
}

double known_value(const known_matrix *m, long row, long column) {
  size_t i = (size_t)row * (size_t)m->columns + (size_t)column;
  double q = data_value(m->d, m->type, m->first, i);
  if (!m->scale_codes) return q;
  size_t group = ((size_t)row * (size_t)m->groups + (size_t)(column / m->group)) % OURS_TABLE;
  double s = data_decode(m->scale_type, m->scale_codes[group]);
  if (!m->zero_codes) return q * s;
  double z = data_decode(m->zero_type, m->zero_codes[group]);
  return m->zeros_mode == BITBLAS_ZEROS_RESCALE ? q * s - z : (q - z) * s;
}

static bool is_16_bits(bitblas_type type) { return type == BITBLAS_TYPE_F16 || type == BITBLAS_TYPE_BF16; }

static double unit_of(bitblas_type type) {
  return type == BITBLAS_TYPE_F16    ? 0x1p-11
         : type == BITBLAS_TYPE_BF16 ? 0x1p-8
         : type == BITBLAS_TYPE_F32  ? 0x1p-24
                                     : 0;
}

/* As tests/library/programs/numbers.h has it; `size` is the sum of the magnitudes of the products. */
static double allowed_of_product(const known_product *p, double size, double wanted) {
  if (p->out == BITBLAS_TYPE_I32) return 0;
  double sums = (double)p->k * 0x1p-24;
  /* Tensor cores keep 13 bits of sums of 8-bit floats (DeepSeek-V3 technical report, section 3.3.2). */
  if (!is_16_bits(p->a.type)) sums += 0x1p-13 * (2 + (double)(p->in_core ? p->in_core : p->k) / 128);
  return p->roundings * unit_of(p->a.type) * size + sums * size + unit_of(p->out) * fabs(wanted) + 0x1p-24;
}

/* Random rows of A or of W, decoded: [count, k]. */
static double *decode_rows(const known_matrix *m, long rows, long k, uint64_t seed, long *chosen) {
  double *values = malloc((size_t)(GRID * k) * sizeof *values);
  for (int i = 0; values && i < GRID; i++) {
    chosen[i] = (long)(data_mix(seed + (uint64_t)i) % (uint64_t)rows);
    for (long j = 0; j < k; j++)
      values[i * k + j] = known_value(m, chosen[i], j);
  }
  return values;
}

/* An element that should be `value`, and how far from that it may be. */
typedef struct wanted_element {
  double value, allowed;
} wanted_element;

/* A sum of products in the accumulator. */
static wanted_element sum_of(const known_product *p, const double *a, const double *w) {
  double value = 0, size = 0;
  for (long k = 0; k < p->k; k++) {
    value += a[k] * w[k];
    size += fabs(a[k] * w[k]);
  }
  return (wanted_element){value, allowed_of_product(p, size, p->up || p->bias ? 0 : value)};
}

/* Slopes of silu and of gelu are below 1.13. Exponentials are those of the hardware. */
static wanted_element silu_times(wanted_element g, wanted_element u) {
  double silu = g.value / (1 + exp(-g.value));
  double allowed = 1.13 * g.allowed * (fabs(u.value) + u.allowed) + fabs(silu) * u.allowed;
  return (wanted_element){silu * u.value, allowed + 0x1p-16 * fabs(silu * u.value)};
}

static wanted_element gelu_plus(wanted_element x, double residual) {
  double gelu = 0.5 * x.value * (1 + tanh(0.79788456080286536 * (x.value + 0.044715 * x.value * x.value * x.value)));
  return (wanted_element){gelu + residual, 1.13 * x.allowed + 0x1p-16 * fabs(x.value) + 0x1p-24 * fabs(residual)};
}

static wanted_element finish(const known_product *p, wanted_element sum, long row, long column, const double *a) {
  if (p->up) {
    double *up = malloc((size_t)p->k * sizeof *up);
    for (long k = 0; up && k < p->k; k++)
      up[k] = known_value(p->up, column, k);
    wanted_element none = {NAN, 0};
    sum = up ? silu_times(sum, sum_of(p, a, up)) : none;
    free(up);
  } else if (p->bias) {
    sum.value += known_value(p->bias, 0, column);
    sum = gelu_plus(sum, known_value(p->residual, row, column));
  } else {
    return sum;
  }
  sum.allowed += unit_of(p->out) * fabs(sum.value);
  return sum;
}

static bool check_element(const machine *m, const known_product *p, const void *c, long row, long column,
                          const double *a, const double *w, complaint *problem) {
  double got;
  if (!read_element(m, p->out, c, (size_t)row * (size_t)p->n + (size_t)column, &got, problem)) return false;
  wanted_element wanted = finish(p, sum_of(p, a, w), row, column, a);
  if (fabs(got - wanted.value) <= wanted.allowed) return true;
  bool overflows = p->out == BITBLAS_TYPE_F16 && fabs(wanted.value) + wanted.allowed > 65504;
  if (overflows && isinf(got) && (got > 0) == (wanted.value > 0)) return true;
  return complain(problem, "C[%ld, %ld] is %.9g and should be %.9g (within %.3g)", row, column, got, wanted.value,
                  wanted.allowed);
}

bool check_product(const machine *m, const known_product *p, const void *c, complaint *problem) {
  long rows[GRID], columns[GRID];
  double *a = decode_rows(&p->a, p->m, p->k, 1, rows), *w = decode_rows(&p->w, p->n, p->k, 1001, columns);
  bool ok = a && w ? true : complain(problem, "no memory for a check");
  for (int i = 0; i < GRID; i++)
    for (int j = 0; ok && j < GRID; j++)
      ok = check_element(m, p, c, rows[i], columns[j], a + i * p->k, w + j * p->k, problem);
  free(a);
  free(w);
  return ok;
}

/* -- Attention ----------------------------------------------------------------------------------------------------- */

enum { MOST_DIM = 256 };

static void row_of(const known_matrix *m, long row, double *values) {
  data_values(m->d, m->type, m->first, (size_t)row * (size_t)m->columns, (size_t)m->columns, values);
  double gain = data_gain_of(&m->gain, row);
  for (long i = 0; m->gain.rows && i < m->columns; i++)
    values[i] = data_round(m->type, values[i] * gain);
}

/* Elements of a row of O, the sums of the magnitudes of what was added to them, and how far they move when each score is
 * as wrong as a sum of dim products in f32 may be. */
typedef struct attended_row {
  double value[ELEMENTS_OF_ROW], size[ELEMENTS_OF_ROW], unsure[ELEMENTS_OF_ROW];
} attended_row;

/* A key's score, and how wrong it may be. */
typedef struct attended_key {
  double score, error;
} attended_key;

static attended_key score_of(const bench_case *c, const double *query, const double *key) {
  double score = 0, size = 0;
  for (long d = 0; d < c->dim; d++) {
    score += query[d] * key[d];
    size += fabs(query[d] * key[d]);
  }
  score /= sqrt((double)c->dim);
  return (attended_key){c->cap > 0 ? c->cap * tanh(score / c->cap) : score, sqrt((double)c->dim) * 0x1p-24 * size};
}

/* The row of O at batch, head and query. `scores` has room for all keys. */
static void attend(const bench_case *c, const known_matrix *q, const known_matrix *k, const known_matrix *v,
                   const long at[3], attended_key *scores, attended_row *out) {
  long seen = c->causal ? at[2] + c->keys - c->queries + 1 : c->keys, shared = c->heads / c->kv_heads;
  long first = c->window && seen > c->window ? seen - c->window : 0;
  long k_row = (at[0] * c->kv_heads + at[1] / shared) * c->keys;
  double most = -INFINITY, total = 0, unsure = 0, query[MOST_DIM], row[MOST_DIM];
  *out = (attended_row){{0}, {0}, {0}};
  row_of(q, (at[0] * c->heads + at[1]) * c->queries + at[2], query);
  for (long j = first; j < seen; j++) {
    row_of(k, k_row + j, row);
    scores[j] = score_of(c, query, row);
    most = fmax(most, scores[j].score);
  }
  for (long j = first; j < seen; j++) {
    double p = exp(scores[j].score - most);
    total += p;
    unsure += p * scores[j].error;
    row_of(v, k_row + j, row);
    for (int d = 0; d < ELEMENTS_OF_ROW; d++) {
      double value = row[d * (c->dim / ELEMENTS_OF_ROW)];
      out->value[d] += p * value;
      out->size[d] += p * fabs(value);
      out->unsure[d] += p * scores[j].error * fabs(value);
    }
  }
  for (int d = 0; d < ELEMENTS_OF_ROW; d++) {
    out->value[d] /= total;
    out->size[d] /= total;
    out->unsure[d] = (out->unsure[d] + fabs(out->value[d]) * unsure) / total;
  }
}

bool check_attention(const machine *m, const bench_case *c, const known_matrix *q, const known_matrix *k,
                     const known_matrix *v, const void *o, complaint *problem) {
  attended_key *scores = malloc((size_t)c->keys * sizeof *scores);
  double unit = unit_of(c->a);
  bool ok = scores && c->dim <= MOST_DIM ? true : complain(problem, "no memory for a check");
  for (int sample = 0; ok && sample < ROW_SAMPLES; sample++) {
    uint64_t bits = data_mix((uint64_t)sample + 77);
    const long at[3] = {(long)(bits % (uint64_t)c->batch), (long)((bits >> 20) % (uint64_t)c->heads),
                        (long)((bits >> 40) % (uint64_t)c->queries)};
    attended_row wanted;
    attend(c, q, k, v, at, scores, &wanted);
    for (int d = 0; ok && d < ELEMENTS_OF_ROW; d++) {
      long row = (at[0] * c->heads + at[1]) * c->queries + at[2], column = d * (c->dim / ELEMENTS_OF_ROW);
      double got;
      ok = read_element(m, c->a, o, (size_t)(row * c->dim + column), &got, problem);
      /* The weights are rounded to the type, and so is the result; the exponential is that of the hardware. */
      double capping =
          c->cap > 0 ? 2 * 2 * 0x1p-11 : 0; /* tanh.approx; weighted scores that are normal are 2 at most in the mean */
      double allowed =
          (unit + 0x1p-13 + capping) * wanted.size[d] + wanted.unsure[d] + unit * fabs(wanted.value[d]) + 0x1p-24;
      if (ok && !(fabs(got - wanted.value[d]) <= allowed))
        ok = complain(problem, "O[%ld, %ld, %ld, %ld] is %.9g and should be %.9g (within %.3g)", at[0], at[1], at[2],
                      column, got, wanted.value[d], allowed);
    }
  }
  free(scores);
  return ok;
}

/* -- Rows ---------------------------------------------------------------------------------------------------------- */

/* What every element of the row is multiplied by (rmsnorm), or its exponential (softmax). */
static double factor_of_row(const bench_case *c, const known_matrix *x, bool is_rmsnorm, long row) {
  double sum = 0;
  for (long n = 0; n < c->n; n++) {
    double value = known_value(x, row, n);
    sum += is_rmsnorm ? value * value : exp(value);
  }
  return is_rmsnorm ? 1 / sqrt(sum / (double)c->n + 1e-6) : 1 / sum;
}

bool check_rows(const machine *m, const bench_case *c, const known_matrix *x, const known_matrix *weight, const void *y,
                complaint *problem) {
  for (int sample = 0; sample < ROW_SAMPLES; sample++) {
    long row = (long)(data_mix((uint64_t)sample + 5) % (uint64_t)c->m);
    double factor = factor_of_row(c, x, weight != NULL, row);
    for (int i = 0; i < ELEMENTS_OF_ROW; i++) {
      long n = (long)(data_mix((uint64_t)(sample * ELEMENTS_OF_ROW + i)) % (uint64_t)c->n);
      double value = known_value(x, row, n), got;
      double wanted = weight ? value * factor * known_value(weight, 0, n) : exp(value) * factor;
      if (!read_element(m, c->a, y, (size_t)(row * c->n + n), &got, problem)) return false;
      double allowed = (unit_of(c->a) + 0x1p-14) * fabs(wanted) + 0x1p-24;
      if (!(fabs(got - wanted) <= allowed))
        return complain(problem, "Y[%ld, %ld] is %.9g and should be %.9g (within %.3g)", row, n, got, wanted, allowed);
    }
  }
  return true;
}
