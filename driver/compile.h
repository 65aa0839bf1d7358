/* The compiler as functions: text to a module, a module through the passes, a kernel to CUDA text, PTX, a cubin with
 * its record.
 *
 * Nothing is printed, nothing exits, nothing is global: what goes wrong is in the diag and in the status. Everything
 * that is returned lives in options->memory. One set of options is used by one thread; different sets may share the
 * nvrtc handle and a parsed tree. */
#ifndef BITBLASC_DRIVER_COMPILE_H
#define BITBLASC_DRIVER_COMPILE_H

#include "codegen/nvrtc.h"
#include "codegen/record.h"
#include "frontend/frontend.h"
#include "ir/ir.h"
#include "passes/pass.h"
#include "support/arena.h"
#include "support/diag.h"

#include <stdbool.h>
#include <stddef.h>

/* The values are the exit statuses of the program. */
typedef enum compile_status {
  COMPILE_OK = 0,
  COMPILE_INPUT = 1,       /* the text, the bindings or a request are wrong: diagnostics */
  COMPILE_BACKEND = 3,     /* NVRTC refused the text that we made: our mistake */
  COMPILE_ENVIRONMENT = 4, /* there is no NVRTC, or it broke */
  COMPILE_INTERNAL = 70    /* a pass or the emitter broke a rule: our mistake */
} compile_status;

typedef enum compile_language { COMPILE_TL, COMPILE_IR } compile_language;

/* A plan that was compared for a kernel. */
typedef struct compile_ranked_plan {
  const char *text;    /* "BM=128 BN=256 BK=64 stages=4" */
  const char *refusal; /* why it cannot run; NULL: it can, as far as the cost model sees */
  double microseconds; /* of a launch, by the cost model */
} compile_ranked_plan;

/* All of them, in the order of their ranks. */
typedef struct compile_ranking {
  arena *memory; /* they lie in it */
  compile_ranked_plan *plans;
  int count;
  int chosen; /* the rank of the plan that the kernel has; -1: none was compared */
} compile_ranking;

typedef struct compile_options {
  arena *memory;
  diag *diagnostics;

  /* Input: a parsed tree, or a text. */
  const frontend_ast *tree; /* NULL: `text` is parsed */
  const char *name;         /* of the text, for messages */
  const char *text;
  size_t length;
  compile_language language;
  const frontend_loader *loader;    /* for include; may be NULL */
  const frontend_binding *bindings; /* -D; for the IR: sizes only */
  int binding_count;
  const char *kernel_name; /* only this kernel of the text; NULL: all */

  /* Passes. */
  bool has_target; /* else the IR's own, and `target` for a .tl */
  ir_target target;
  pass_options passes;
  pipeline_options pipeline;
  str *explain;             /* schedule appends its table; may be NULL */
  compile_ranking *ranking; /* receives the plans of the last kernel; may be NULL */

  /* Code. */
  bool line_info;
  bool debug_barriers; /* waits for mbarriers that end with a report instead of never */
  bool count_events;   /* kernels that count what they do */
  const char *
      machine; /* what cubins are made for, such as "sm_90", so that a newer GPU runs code of an older target; NULL: the target */
  const nvrtc *nvrtc; /* NULL: PTX and cubins are COMPILE_ENVIRONMENT */
  const char *const *nvrtc_options;
  int nvrtc_option_count;
} compile_options;

/* Text to a verified module, in tile form for a .tl, in its own form for IR. *tree (may be NULL) receives the tree of a
 * .tl. */
compile_status compile_read(const compile_options *options, ir_module **module, const frontend_ast **tree);

/* Runs the passes that options->pipeline names over the module in place. When that is all of them, the plan of each
 * kernel is chosen before (choose.h), and the module has the chosen kernels. */
compile_status compile_lower(const compile_options *options, ir_module *module);

/* What one kernel becomes. */
typedef enum compile_product { COMPILE_CUDA, COMPILE_PTX, COMPILE_CUBIN } compile_product;

typedef struct compiled_kernel {
  const ir_kernel *kernel;
  const char *cuda;  /* NUL-terminated */
  record *record;    /* its launch record */
  const char *ptx;   /* COMPILE_PTX */
  const void *cubin; /* COMPILE_CUBIN: with the record in its note */
  size_t cubin_size;
  nvrtc_result backend; /* log and resources; zero for COMPILE_CUDA */
  const char *arch;     /* what NVRTC was asked for */
} compiled_kernel;

/* One kernel of thread form to CUDA text and further. With COMPILE_BACKEND, out->cuda and out->backend.log say what was
 * refused. */
compile_status compile_emit(const compile_options *options, const ir_module *module, const ir_kernel *kernel,
                            compile_product product, compiled_kernel *out);

/* The whole way for one kernel: read, lower, emit. The text has one kernel, or kernel_name says which. */
compile_status compile_kernel(const compile_options *options, compile_product product, compiled_kernel *out);

/* XXH3 of the text, hexadecimal, as in the record. */
const char *compile_source_hash(const compile_options *options);

#endif
