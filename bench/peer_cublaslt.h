/* The peer of products: cuBLASLt, opened at run time, the fastest of the first algorithms that its heuristic names. */
#ifndef BITBLASC_BENCH_PEER_CUBLASLT_H
#define BITBLASC_BENCH_PEER_CUBLASLT_H

#include "bench/contest.h"
#include "bench/data.h"

typedef struct cublaslt cublaslt;
typedef struct cublaslt_product cublaslt_product;

/* Opens the library at `path`, or else at BITBLAS_CUBLASLT_PATH, or libcublasLt.so.13, .12 or .so where
 * libraries are looked for, or in /usr/local/cuda. The machine has a GPU. */
bool cublaslt_open(const machine *m, const char *path, cublaslt **out, complaint *problem);
void cublaslt_close(cublaslt *l); /* NULL is ignored */
/* 130100 is 13.1.0, about. */
size_t cublaslt_version(const cublaslt *l);

/* C[m, n] = A[m, k] * W[n, k]^T of f16, bf16 (C the same, sums f32), f8e4m3 (C f16; `promotes`: sums of 128 k in f32,
 * which is its default, else its fast accumulation) or i8 (C and sums i32). Tensors of its own, on the device. */
bool cublaslt_product_create(cublaslt *l, const data *d, bitblas_type type, bool promotes, long m, long n, long k,
                             cublaslt_product **out, complaint *problem);
void cublaslt_product_destroy(cublaslt_product *p); /* NULL is ignored */
/* Runs set 0 and compares elements of its C. */
bool cublaslt_product_check(cublaslt_product *p, complaint *problem);
contestant cublaslt_contestant(cublaslt_product *p, bool in_graph);

#endif
