/* Our side of a case: a kernel or an operator through bitblas.h, with its tensors on the device, run and checked. */
#ifndef BITBLASC_BENCH_OURS_H
#define BITBLASC_BENCH_OURS_H

#include "bench/cases.h"
#include "bench/data.h"
#include "lib/kernel.h"

enum { OURS_TENSORS = 6, OURS_SETS = 32 };

/* Where the elements of a tensor come from. */
typedef enum tensor_source {
  TENSOR_RANDOM, /* data_fill */
  TENSOR_CODES,  /* random codes, put into the order of the kernel */
  TENSOR_HOST,   /* `host`, the same in each set */
  TENSOR_OUTPUT
} tensor_source;

typedef struct ours_tensor {
  bitblas_tensor shape; /* its data is NULL */
  tensor_source source;
  data_gain gain; /* of the rows of a TENSOR_RANDOM */
  size_t bytes;
  void *host;               /* TENSOR_HOST: owned */
  size_t first[OURS_SETS];  /* of data_fill */
  void *address[OURS_SETS]; /* on the device */
} ours_tensor;

typedef struct ours ours;

/* What differs between kinds of cases. */
typedef struct ours_calls {
  /* Compiles, and describes the tensors and the workspace; from any thread. */
  bool (*create)(ours *o, const char *directory, complaint *problem);
  /* Random codes at `from` to the kernel's order at `to`; NULL where no tensor is TENSOR_CODES. */
  bool (*pack)(const ours *o, const void *from, size_t from_bytes, void *to, size_t to_bytes, complaint *problem);
  /* Enqueues one run of a set on the machine's stream. */
  bool (*run)(const ours *o, int set, complaint *problem);
  /* Compares elements of the set's output with sums of doubles. */
  bool (*check)(const ours *o, int set, complaint *problem);
  void (*destroy)(ours *o);
  /* Of kernels that have several plans, else NULL; from any thread but exchange: */
  bool (*rank)(const ours *o, const char *directory, compile_ranking *ranking, complaint *problem);
  bool (*create_plan)(const ours *o, const char *directory, int plan, bitblas_kernel **kernel, complaint *problem);
  /* Puts another kernel in the place of the one that runs, which it hands out, and sets workspace_bytes. */
  bool (*exchange)(ours *o, bitblas_kernel **kernel, complaint *problem);
} ours_calls;

struct ours {
  const machine *m;
  const bench_case *c;
  const data *d; /* from ours_place on */
  const ours_calls *calls;
  bitblas_kernel *kernel;
  bitblas_kernel *first; /* its own, while ours_use has put another in its place; else NULL */
  bitblas_matmul *matmul;
  bitblas_flash_atten *attention;
  int tensor_count;
  ours_tensor tensors[OURS_TENSORS];  /* the output last */
  uint32_t *scale_codes, *zero_codes; /* [OURS_TABLE]: those of weights are taken in turn */
  bitblas_type scale_type, zero_type;
  size_t workspace_bytes;
  void *workspace;
  int set_count; /* 0: nothing is on the device */
};

enum { OURS_TABLE = 8191 };

/* That its kernels are compiled in. */
bitblas_context *ours_context(const ours *o);
/* Compiles what the case needs, without its tensors; from any thread. `directory` has the examples' .tl. */
bool ours_create(const machine *m, const bench_case *c, const char *directory, ours **out, complaint *problem);
/* Puts its tensors on the device, as many sets as leave none of one in the L2 when the others have had their turn. */
bool ours_place(ours *o, const data *d, complaint *problem);
/* Frees them. */
void ours_remove(ours *o);
bool ours_run(const ours *o, int set, complaint *problem);
/* Writes over the output of the set, so that what a check finds was computed after this. */
bool ours_spoil(const ours *o, int set, complaint *problem);
bool ours_check(const ours *o, int set, complaint *problem);

/* The plans that the kernel may have, a kernel at one of them, and runs of that one from now on; it must outlive them or
 * be replaced before. A kernel that wants its weight in another order cannot be used. */
bool ours_rank(const ours *o, const char *directory, compile_ranking *ranking, complaint *problem);
bool ours_create_plan(const ours *o, const char *directory, int plan, bitblas_kernel **kernel, complaint *problem);
bool ours_use(ours *o, bitblas_kernel *kernel, complaint *problem);

void ours_destroy(ours *o); /* NULL is ignored */

/* Adds a tensor to the description; `extents` ends with 0. */
ours_tensor *ours_add_tensor(ours *o, tensor_source source, bitblas_type type, const int64_t *extents);
/* How many sets of so many bytes. */
int ours_sets_of(const machine *m, size_t bytes);

extern const ours_calls ours_kernel_calls, ours_matmul_calls, ours_decode_calls;

#endif
