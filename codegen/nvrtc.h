/* CUDA text to a cubin (or PTX) through NVRTC, which is opened at run time: nothing here links CUDA.
 *
 * Looked for, in this order; the first that opens and has the functions we need is used:
 *   1. the path given (and no other, when one is given)
 *   2. the directory given (by the driver: nvrtc/ beside the executable)
 *   3. the dynamic loader's own search: libnvrtc.so.13, libnvrtc.so.12, libnvrtc.so
 *   4. lib64 and targets/x86_64-linux/lib of the CUDA root given, of /usr/local/cuda and of /usr/local/cuda-<version>
 *   5. nvidia/cu13/lib and nvidia/cuda_nvrtc/lib under each Python package directory given */
#ifndef BITBLASC_CODEGEN_NVRTC_H
#define BITBLASC_CODEGEN_NVRTC_H

#include "support/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nvrtc nvrtc;

/* Where to look. Every member may be NULL or 0. Nothing is read from the environment here: the caller does that. */
typedef struct nvrtc_search {
  const char *path;                      /* the library itself */
  const char *directory;                 /* a directory that holds it */
  const char *cuda_root;                 /* a CUDA toolkit */
  const char *const *python_directories; /* site-packages or dist-packages directories */
  int python_directory_count;
} nvrtc_search;

/* One place tried, for `bitblasc doctor`. */
typedef struct nvrtc_place {
  const char *path;
  const char *finding; /* "not there", the loader's message, or "NVRTC 13.0 at /..." */
  bool used;
} nvrtc_place;

typedef struct nvrtc_places {
  const nvrtc_place *items;
  int count;
} nvrtc_places;

/* NULL, with *error (in the arena) set, when none can be opened. `places` may be NULL. The handle is used from any
 * thread; it is not in the arena. nvrtc_close(NULL) does nothing. The library itself stays loaded: it keeps threads of
 * its own. */
nvrtc *nvrtc_open(const nvrtc_search *search, arena *a, nvrtc_places *places, const char **error);
void nvrtc_close(nvrtc *n);

const char *nvrtc_path(const nvrtc *n); /* lives as long as the handle */
void nvrtc_version(const nvrtc *n, int *major, int *minor);
/* Whether it compiles for sm_<number>, as "sm_90a" or "compute_90". True when the library cannot say. */
bool nvrtc_supports(const nvrtc *n, const char *arch);

typedef struct nvrtc_options {
  const char *arch;         /* "sm_90a" gives a cubin, "compute_90a" gives PTX */
  bool line_info;           /* --generate-line-info */
  bool no_cache;            /* --no-cache: for timing */
  const char *const *extra; /* further options, after ours */
  int extra_count;
} nvrtc_options;

typedef enum nvrtc_status {
  NVRTC_OK,
  NVRTC_REJECTED, /* the text or an option was refused: see log */
  NVRTC_BROKEN,   /* the library itself failed: see log */
} nvrtc_status;

/* What ptxas said of one kernel. */
typedef struct nvrtc_kernel_report {
  const char *entry;
  int registers;
  int barriers;
  int64_t stack_bytes;
  int64_t spill_store_bytes;
  int64_t spill_load_bytes;
  int64_t shared_bytes; /* static */
  int64_t constant_bytes;
} nvrtc_kernel_report;

typedef struct nvrtc_result {
  nvrtc_status status;
  const void *cubin; /* in the arena; NULL when PTX was asked for, or on failure */
  size_t cubin_size;
  const char *ptx; /* in the arena, NUL-terminated, beside a cubin too; NULL on failure */
  const char *log; /* the whole log, "" when there is none */
  const nvrtc_kernel_report *kernels;
  int kernel_count;
  const char *const *warnings; /* lines of the log that warn: C75xx (wgmma serialised) and others; no newlines */
  int warning_count;
  bool serialised; /* one of them says that ptxas serialised wgmma (C7510 and its kin) */
} nvrtc_result;

/* Compiles `source`, called `name` in messages. One arena a thread; the handle may be shared: NVRTC compiles programs
 * in parallel. */
nvrtc_result nvrtc_compile(const nvrtc *n, const char *source, const char *name, const nvrtc_options *options,
                           arena *a);

/* The report and the warnings out of a log: fills kernels, warnings, serialised. Apart, so that it is tested without
 * NVRTC. */
void nvrtc_read_log(const char *log, arena *a, nvrtc_result *result);

#endif
