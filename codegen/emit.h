/* CUDA C++ text from the thread form of kernels, and the launch record that goes with it.
 *
 * The text needs no header: it is compiled by NVRTC (codegen/nvrtc.h) or nvcc for the kernels' target. One op is one
 * line; names are the IR's; only the functions of prelude.cuh that are used are written, each with the section of the
 * PTX ISA that it comes from. The same module gives the same bytes.
 *
 * A kernel's parameters, in the text and in the record: every tensor's address (a `global` value, in the order of the
 * values), then every tensor map, then every size that is not fixed by a bound (i32). */
#ifndef BITBLASC_CODEGEN_EMIT_H
#define BITBLASC_CODEGEN_EMIT_H

#include "codegen/record.h"
#include "ir/ir.h"

#include <stdbool.h>

typedef struct emit_options {
  bool
      line_directives; /* #line back to the module's source wherever the line changes; else a comment that names the line */
  bool debug_barriers;     /* waits for mbarriers give up after so many polls, say where they stand, and trap */
  bool count_events;       /* kernels count what they do (ir/events.def) in an array of the module */
  const char *source_text; /* of the module's source, or NULL: then the comments quote the statement */
} emit_options;

/* Appends the translation unit of every kernel of the module, all in thread form, verified, of one target. False and a
 * diagnostic when an op asks for what the target or PTX does not have. Source: codegen/emit_cuda.c */
bool emit_cuda(const ir_module *module, const emit_options *options, diag *d, str *out);

/* The symbol of the kernel in the cubin: its name, made a C identifier that nothing else in the text uses. In the
 * arena. */
const char *emit_entry_name(const ir_kernel *kernel, arena *memory);

/* With count_events: the symbol of the counters of the kernel with that entry name, u64 [IR_EVENT_COUNT] in global memory, zero when the module is
 * loaded. In the arena. */
const char *emit_counts_name(const char *entry, arena *memory);

/* The kernel's parameters in their order: GLOBAL, MAP and SIZE values, in the arena; *count of them. */
ir_value *const *emit_parameters(const ir_kernel *kernel, arena *memory, int *count);

/* The launch record of a thread-form kernel, in the arena; NULL and a diagnostic when a size expression cannot be one
 * of a record. Source: codegen/fill_record.c */
record *fill_record(const ir_module *module, const ir_kernel *kernel, arena *memory, diag *d);

#endif
