/* The front end: `.tl` text to tile-form IR (the language is docs/language.md).
 *
 * Parsing and lowering are apart, because one text is lowered many times: the tuner lowers the same tree with other
 * tune values. The tree never changes once it is parsed and may be lowered by several threads at once (each with its
 * own arena and diag). */
#ifndef BITBLASC_FRONTEND_FRONTEND_H
#define BITBLASC_FRONTEND_FRONTEND_H

#include "ir/ir.h"
#include "support/arena.h"
#include "support/diag.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct frontend_ast frontend_ast;

/* Finds the text of `include "name"`. `from` is the path of the file that includes it, so that a loader can look
 * beside it first. On success gives the path to show in messages and dependency files and the text, both allocated in
 * `memory`, and returns true. Returns false when there is no such file: the front end reports it. */
typedef bool frontend_load(void *context, arena *memory, const char *from, const char *name, const char **path,
                           const char **text, size_t *length);

typedef struct frontend_loader {
  frontend_load *load;
  void *context;
} frontend_loader;

/* Parses `text` (`length` bytes, need not end in NUL) and everything it includes. `path` is the name shown in
 * messages. `loader` may be NULL: then `include` is an error. The tree and what it points to live in `memory`; the
 * texts are registered with `d`. NULL and diagnostics when there is an error; every syntax error of the text is
 * reported, up to the limit of `d`. */
frontend_ast *frontend_parse(arena *memory, diag *d, const char *path, const char *text, size_t length,
                             const frontend_loader *loader);

/* The files the tree was made from, the first one first, each once: what -MD writes. */
int frontend_file_count(const frontend_ast *ast);
const char *frontend_file_path(const frontend_ast *ast, int index);

/* One -D NAME=VALUE. The name is a param, const or tune of the file, or a run-time size (M, N, ...), which then
 * becomes that constant. The value is an integer, a float, true or false, a type (bf16), or a choice of the param, as
 * text. */
typedef struct frontend_binding {
  const char *name;
  const char *value;
} frontend_binding;

/* Lowers every kernel of the tree with the bindings applied. The module is in tile form, in `memory`, one kernel a
 * `kernel` of the source in its order, with source_name the first file's path. A tune that no binding fixes is marked
 * tunable in ir_kernel.params. A bound size has value->bound set and reads as the constant. A binding that fits
 * nothing in any kernel is an error. NULL and diagnostics when there is an error. */
ir_module *frontend_lower(const frontend_ast *ast, arena *memory, diag *d, const frontend_binding *bindings,
                          int binding_count);

#endif
