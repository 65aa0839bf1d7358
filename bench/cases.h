/* What is measured: the rows of cases.def. */
#ifndef BITBLASC_BENCH_CASES_H
#define BITBLASC_BENCH_CASES_H

#include "include/bitblas.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum case_kind {
  CASE_DENSE,     /* examples/matmul.tl */
  CASE_WEIGHT,    /* bitblas_matmul with a decoded weight */
  CASE_FUSED,     /* examples/swiglu.tl, matmul_gelu_residual.tl */
  CASE_ATTENTION, /* examples/flash_attention.tl; with a window attention_window.tl */
  CASE_DECODE,    /* bitblas_flash_atten with one query */
  CASE_ROWS,      /* examples/rmsnorm.tl, softmax.tl */
  CASE_KIND_COUNT
} case_kind;

/* What a case is compared with. */
typedef enum case_peer {
  PEER_NONE,
  PEER_CUBLASLT, /* the same product; of decoded weights, with a weight of f16 */
  PEER_OWN,      /* our own plain kernel: case_own_peer */
  PEER_SDPA,     /* PyTorch: the faster of cuDNN and FlashAttention */
  PEER_COPY      /* a copy that moves as many bytes */
} case_peer;

enum { PROMOTED_SUM = 128 }; /* of our kernels by themselves, and of cuBLASLt */

typedef struct bench_case {
  case_kind kind;
  case_peer peer;
  int row;           /* of the list of goals that it belongs to */
  const char *label; /* begins its name */
  double least;      /* the goal for the ratio, of the peer's time to ours; 0: none */
  double least_tbps; /* the goal in TB/s; 0: none */
  bool shows_bytes;  /* TB/s in the table instead of TFLOP/s */
  bool in_graph;     /* timed as replays of a CUDA graph */
  bool older;        /* code of sm_80 */
  bool promotes;     /* DENSE of 8-bit floats: sums of PROMOTED_SUM k are added in f32 */

  /* DENSE, WEIGHT: C[m, n] = A[m, k] * W[n, k]^T. FUSED: the same, of swiglu two W. ROWS: m rows of n */
  long m, n, k;
  bitblas_type a, w;
  long group; /* codes that share a scale: -1 all of a row, 0 no scales */
  bitblas_type scale;
  bool with_zeros;
  bitblas_zeros_mode zeros_mode;

  /* ATTENTION, DECODE: of type `a` */
  long batch, heads, kv_heads, queries, keys, dim;
  bool causal;
  long window; /* keys that a query sees at most; 0: all */
  double cap;  /* of the scores; 0: none */
  /* Data that spread the scores; 0: as they are. */
  long query_times; /* queries are so many times as large */
  long key_growth;  /* keys grow so many times along the sequence, so that the maximum of a row keeps rising */
} bench_case;

/* All rows, in order. */
const bench_case *cases_all(int *count);

/* The shapes of tuning.def. */
const bench_case *cases_tuned(int *count);

/* "matmul-f16-8192x8192x8192": unique. */
void case_name(const bench_case *c, char *text, size_t size);

/* Multiplications and additions, and bytes that have to be moved at least: weights, scales, zeros and activations of a
 * product, but of decoded weights not C (what few rows of A are about is the weight); everything of the others. */
double case_flop(const bench_case *c);
double case_bytes(const bench_case *c);

/* Our own kernel that a case with PEER_OWN is compared with: the plain product of A's type, plain causal attention. It may
 * be more FLOP than the case; times are compared for as many. */
bench_case case_own_peer(const bench_case *c);

/* Whether its scores are spread. */
bool case_is_sharp(const bench_case *c);

/* What a case is counted with, "row 9, D = 64". */
void case_group(const bench_case *c, char *text, size_t size);

/* The same kind of case at sizes that suit the emulator. */
bench_case case_made_small(const bench_case *c);
/* Whether two cases are the same work. */
bool case_is_same(const bench_case *a, const bench_case *b);

/* Whether the name matches one of the patterns, as file names do ('*', '?'); no patterns match all. */
bool case_is_chosen(const bench_case *c, const char *const *patterns, int pattern_count);

#endif
